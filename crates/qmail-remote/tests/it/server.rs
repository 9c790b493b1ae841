//! An SMTP server that does what a test tells it to, one session after the other.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a session waits for the client.
const WAIT: Duration = kit::LIMIT;

/// A connection, in clear or under TLS.
pub(crate) struct Line {
    tcp: TcpStream,
    tls: Option<tls::server::Session>,
}

impl Line {
    /// The handshake, if the client wants one.
    fn secure(&mut self, config: &tls::server::Config) {
        let mut session = tls::server::Session::new(config).unwrap();
        while session.is_handshaking() {
            if session.has_output() {
                let _ = session.give(&mut self.tcp);
            } else if !matches!(session.take(&mut self.tcp), Ok(1..)) || session.process().is_err()
            {
                break;
            }
        }
        while session.has_output() && session.give(&mut self.tcp).is_ok() {}
        self.tls = Some(session);
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(session) = &mut self.tls else {
            return self.tcp.read(buffer);
        };
        loop {
            if let Some(chunk) = session.plain()? {
                let count = chunk.len().min(buffer.len());
                buffer[..count].copy_from_slice(&chunk[..count]);
                session.consume(count);
                return Ok(count);
            }
            session.take(&mut self.tcp)?;
            if session.process().is_err() {
                return Err(ErrorKind::InvalidData.into());
            }
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Some(session) = &mut self.tls else {
            return self.tcp.write(bytes);
        };
        session.say(bytes)?;
        while session.has_output() {
            session.give(&mut self.tcp)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One connection, and all that came over it.
pub(crate) struct Session {
    reader: BufReader<Line>,
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

    /// Goes on under TLS. Bytes that came before are lost.
    pub(crate) fn secure(&mut self, config: &tls::server::Config) {
        self.seen.extend_from_slice(b"[TLS]\r\n");
        self.reader.get_mut().secure(config);
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.reader.get_ref().tls.is_some()
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
    /// what STARTTLS leads to
    tls: Option<tls::server::Config>,
    /// TLS comes first
    implicit: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            replies: Vec::new(),
            tls: None,
            implicit: false,
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

    /// Knows STARTTLS. A reply to `TLS EHLO` is for EHLO under TLS.
    pub(crate) fn with_tls(mut self, config: &tls::server::Config) -> Script {
        self.tls = Some(config.clone());
        self.on("STARTTLS", "220 go ahead")
            .on("EHLO", "250-hello\r\n250 STARTTLS")
            .on("TLS EHLO", "250-hello\r\n250 HELP")
    }

    /// TLS comes before the greeting.
    pub(crate) fn implicit(mut self) -> Script {
        self.implicit = true;
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
        if self.implicit {
            session.secure(self.tls.as_ref().unwrap());
        }
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
            if verb == "EHLO" && session.is_secure() && self.reply("TLS EHLO").is_some() {
                verb = "TLS EHLO";
            }
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
            let starts = verb == "STARTTLS" && reply.starts_with('2');
            session.say(reply);
            if starts && let Some(config) = &self.tls {
                session.secure(config);
            }
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
                    // What was said is with the client then.
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(WAIT)).unwrap();
                    stream.set_write_timeout(Some(WAIT)).unwrap();
                    let mut session = Session {
                        reader: BufReader::new(Line {
                            tcp: stream,
                            tls: None,
                        }),
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
