//! An SMTP server that does what a test tells it to, one session after the other.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a session waits for the client.
const WAIT: Duration = Duration::from_secs(15);

/// One connection, and all that came over it.
pub(crate) struct Session {
    reader: BufReader<TcpStream>,
    pub(crate) seen: Vec<u8>,
}

impl Session {
    /// The next line with its end; empty when the client has gone.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        let _ = self.reader.read_until(b'\n', &mut line);
        self.seen.extend_from_slice(&line);
        line
    }

    /// Sends; a client that has gone is no trouble. `false`: it has.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Takes lines up to the lone dot. `false`: the client went before it.
    pub(crate) fn text(&mut self) -> bool {
        loop {
            let line = self.line();
            if line == b".\r\n" || line.is_empty() {
                return !line.is_empty();
            }
        }
    }
}

/// An obedient server: what it says to each verb. `None` closes the connection.
#[derive(Clone)]
pub(crate) struct Script {
    replies: Vec<(&'static str, Option<String>)>,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            replies: Vec::new(),
        }
        .on("greeting", "220 hi")
        .on("EHLO", "250-hello\r\n250 HELP")
        .on("HELO", "250 hello")
        .on("MAIL", "250 sender ok")
        .on("RCPT", "250 recipient ok")
        .on("DATA", "354 go ahead")
        .on(".", "250 taken")
        .on("RSET", "250 as you like")
        .on("QUIT", "221 bye")
    }
}

impl Script {
    /// Answers `verb` with `reply`.
    pub(crate) fn on(mut self, verb: &'static str, reply: &str) -> Script {
        self.replies.retain(|(v, _)| *v != verb);
        self.replies.push((verb, Some(format!("{reply}\r\n"))));
        self
    }

    /// Closes the connection at `verb`.
    pub(crate) fn close_on(mut self, verb: &'static str) -> Script {
        self.replies.retain(|(v, _)| *v != verb);
        self.replies.push((verb, None));
        self
    }

    fn reply(&self, verb: &str) -> Option<String> {
        let found = self.replies.iter().find(|(v, _)| *v == verb);
        match found {
            Some((_, reply)) => reply.clone(),
            None => Some("500 what?\r\n".to_owned()),
        }
    }

    /// Plays the server of one session.
    pub(crate) fn play(&self, session: &mut Session) {
        self.play_until(session, "", 1);
    }

    /// Plays until `verb` has come for the `nth` time, without an answer to it. `idle` comes after each message.
    pub(crate) fn play_until(&self, session: &mut Session, verb: &str, nth: usize) {
        let mut left = nth;
        let mut is_last = |now: &str| {
            left -= usize::from(now == verb);
            left == 0
        };
        let Some(greeting) = self.reply("greeting") else {
            return;
        };
        session.say(greeting);
        loop {
            let line = String::from_utf8_lossy(&session.line()).into_owned();
            if line.is_empty() {
                return;
            }
            let words = line.split_whitespace().collect::<Vec<_>>();
            let mut verb = words.first().copied().unwrap_or_default();
            // A recipient may have a reply of its own.
            if verb == "RCPT"
                && let Some((own, _)) = self
                    .replies
                    .iter()
                    .find(|(v, _)| v.contains('@') && line.contains(v))
            {
                verb = own;
            }
            if is_last(verb) {
                return;
            }
            let Some(reply) = self.reply(verb) else {
                return;
            };
            let goes_ahead = verb == "DATA" && reply.starts_with('3');
            session.say(reply);
            if verb == "QUIT" {
                return;
            }
            if goes_ahead {
                if !session.text() || is_last(".") {
                    return;
                }
                match self.reply(".") {
                    Some(reply) => session.say(reply),
                    None => return,
                };
                if is_last("idle") {
                    return;
                }
            }
        }
    }
}

type Play = Arc<dyn Fn(&mut Session) + Send + Sync>;

/// A listening server. It ends with this value.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Every session goes as `play` says.
    pub(crate) fn playing(
        at: (&str, u16),
        play: impl Fn(&mut Session) + Send + Sync + 'static,
    ) -> Server {
        let ip: IpAddr = at.0.parse().unwrap();
        let listener = TcpListener::bind((ip, at.1)).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let play: Play = Arc::new(play);
        let thread = {
            let (stop, seen) = (stop.clone(), seen.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let Ok(stream) = stream else { continue };
                    stream.set_read_timeout(Some(WAIT)).unwrap();
                    stream.set_write_timeout(Some(WAIT)).unwrap();
                    let mut session = Session {
                        reader: BufReader::new(stream),
                        seen: Vec::new(),
                    };
                    play(&mut session);
                    seen.lock().unwrap().push(session.seen);
                }
            })
        };
        Server {
            address,
            stop,
            seen,
            thread: Some(thread),
        }
    }

    /// Every session follows `script`.
    pub(crate) fn start(at: (&str, u16), script: Script) -> Server {
        Server::playing(at, move |session| script.play(session))
    }

    /// On 127.0.0.1, any port.
    pub(crate) fn local(script: Script) -> Server {
        Server::start(("127.0.0.1", 0), script)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// A line of smtproutes that sends everything here.
    pub(crate) fn route(&self) -> String {
        format!(
            ":{}\n",
            match self.address {
                SocketAddr::V4(v4) => v4.to_string(),
                SocketAddr::V6(v6) => v6.to_string(),
            }
        )
    }

    /// Ends the server and gives what came over each connection.
    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.end();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// The one session there was, as text.
    pub(crate) fn session(self) -> String {
        let mut sessions = self.finish();
        assert_eq!(sessions.len(), 1, "sessions");
        String::from_utf8_lossy(&sessions.remove(0)).into_owned()
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.address);
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
