//! A client that can be as odd as a test wants.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use queue::service::{Answer, END, put_pieces};

/// The envelope as qmail-queue reads it.
pub(crate) fn envelope(sender: &str, recipients: &[String]) -> Vec<u8> {
    let mut bytes = format!("F{sender}\0").into_bytes();
    for recipient in recipients {
        bytes.extend(format!("T{recipient}\0").bytes());
    }
    bytes.push(0);
    bytes
}

pub(crate) struct Client {
    pub(crate) socket: UnixStream,
}

impl Client {
    pub(crate) fn new(path: &Path) -> Client {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(kit::LIMIT)).unwrap();
        Client { socket }
    }

    /// Whether nothing comes for a moment.
    pub(crate) fn is_silent(&self) -> bool {
        !sys::poll::readable(&self.socket, Duration::from_millis(50)).unwrap()
    }

    /// Says some bytes. The service may have hung up already.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// A message without the letter before it.
    pub(crate) fn message(&mut self, text: &[u8], envelope: &[u8]) {
        let mut bytes = Vec::new();
        put_pieces(&mut bytes, text);
        bytes.extend_from_slice(END);
        put_pieces(&mut bytes, envelope);
        bytes.extend_from_slice(END);
        self.say(&bytes);
    }

    /// The next answer; `None`: the service has hung up.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        loop {
            match self.socket.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                Ok(_) => return None,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer in time"),
                Err(_) => return None,
            }
            if let Some(answer) = Answer::read(&bytes).unwrap() {
                return Some(answer);
            }
        }
    }

    /// One message and its answer.
    pub(crate) fn one(mut self, text: &[u8], envelope: &[u8]) -> Option<Answer> {
        self.say(b"q");
        self.message(text, envelope);
        let answer = self.answer();
        if answer.is_some() {
            assert!(self.answer().is_none(), "the service hangs up after one");
        }
        answer
    }
}
