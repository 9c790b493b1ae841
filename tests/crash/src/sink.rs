//! Another host's mail server: takes everything, keeps what arrived whole, bears a peer that dies.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Hears of each message before the other side hears that it was taken.
pub type Hook = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The running sink.
#[derive(Clone)]
pub struct Sink {
    /// its port on 127.0.0.1
    pub port: u16,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    /// recipients that will be told to come later
    later: Arc<AtomicUsize>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sink({})", self.port)
    }
}

impl Sink {
    /// Starts listening on a free port.
    ///
    /// # Errors
    /// No port.
    pub fn start() -> std::io::Result<Sink> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let sink = Sink {
            port: listener.local_addr()?.port(),
            received: Arc::default(),
            later: Arc::default(),
            hook: Arc::default(),
        };
        let running = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = running.clone();
                thread::spawn(move || serve(&stream, &sink));
            }
        });
        Ok(sink)
    }

    /// What arrived since the last call: a copy for each recipient.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.received.lock().unwrap())
    }

    /// The next so many recipients are told to come later.
    pub fn defer(&self, count: usize) {
        self.later.store(count, Ordering::SeqCst);
    }

    /// From now on, or no more: calls this.
    pub fn hook(&self, hook: Option<Hook>) {
        *self.hook.lock().unwrap() = hook;
    }

    /// How many messages wait for `take`.
    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }
}

fn serve(stream: &TcpStream, sink: &Sink) -> Option<()> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line_of = move || {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok()?;
        Some(line.strip_suffix(b"\r\n")?.to_vec())
    };
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).ok();
    let mut recipients = 0;
    say("220 sink.test ESMTP")?;
    loop {
        let line = line_of()?;
        let verb = line.get(..4).unwrap_or(&line).to_ascii_uppercase();
        match verb.as_slice() {
            b"DATA" => {
                say("354 go ahead")?;
                let mut message = Vec::new();
                loop {
                    let line = line_of()?;
                    if line == b"." {
                        break;
                    }
                    message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    message.push(b'\n');
                }
                if let Some(hook) = sink.hook.lock().ok()?.clone() {
                    hook(&message);
                }
                let copies = std::iter::repeat_n(message, recipients);
                sink.received.lock().ok()?.extend(copies);
                say("250 ok")?;
            }
            b"RCPT"
                if sink
                    .later
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok() =>
            {
                say("451 later")?;
            }
            b"RCPT" => {
                recipients += 1;
                say("250 ok")?;
            }
            b"MAIL" | b"RSET" => {
                recipients = 0;
                say("250 ok")?;
            }
            b"QUIT" => return say("221 bye"),
            _ => say("250 ok")?,
        }
    }
}
