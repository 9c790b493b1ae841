//! The other way: a talk with the queue service.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::Duration;

use base::Bytes;

use super::Phase;
use crate::service::{ANSWER_LIMIT, Answer, END, ONE, SOCKET, put_pieces};

/// How long the service may leave a connection or some bytes waiting: it reads at once unless it is overloaded.
const SEND_WAIT: Duration = Duration::from_mins(1);
/// How long it may take to make a message durable, longer than any disk that is alive.
const ANSWER_WAIT: Duration = Duration::from_mins(30);
/// Bytes gathered before a write.
const BUFFER: usize = 64 * 1024;

/// A talk about one message.
#[derive(Debug)]
pub(super) struct Talk {
    socket: OwnedFd,
    /// what has no frame yet
    raw: Bytes,
    /// what waits to be sent
    framed: Bytes,
    /// whether the service may have seen a byte
    has_begun: bool,
}

/// How a talk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answer(Answer),
    /// no answer in time: the message may be in the queue
    TimedOut,
    /// no answer at all: the message may be in the queue
    Gone,
    /// not a byte went through
    Untouched,
}

/// Whether the service seems to be there.
pub(super) fn is_there() -> bool {
    sys::dir::stat_path(SOCKET.as_bytes()).is_ok_and(|s| s.is_socket())
}

/// Whether somebody listens there. He does not notice.
pub(super) fn answers() -> bool {
    sys::local::is_served(SOCKET.as_bytes())
}

impl Talk {
    /// Calls the service and gives it what there is so far. `None`: it has taken nothing.
    pub(super) fn begin(text: &[u8], envelope: &[u8], phase: Phase) -> Option<Talk> {
        let socket = sys::local::connect(SOCKET.as_bytes(), SEND_WAIT, ANSWER_WAIT).ok()?;
        let mut talk = Talk {
            socket,
            raw: Bytes::new(),
            framed: Bytes::with_capacity(text.len() + envelope.len() + 64),
            has_begun: false,
        };
        talk.framed.push(ONE);
        put_pieces(&mut talk.framed, text);
        if phase == Phase::Envelope {
            talk.framed.extend_from_slice(END);
            put_pieces(&mut talk.framed, envelope);
        }
        Some(talk)
    }

    /// More of what comes now. `false`: the service does not listen any more.
    #[must_use]
    pub(super) fn put(&mut self, bytes: &[u8]) -> bool {
        self.raw.extend_from_slice(bytes);
        if self.raw.len() < BUFFER {
            return true;
        }
        self.frame();
        self.flush()
    }

    fn frame(&mut self) {
        put_pieces(&mut self.framed, &self.raw);
        self.raw.clear();
    }

    /// Ends the text or the envelope.
    pub(super) fn end(&mut self) {
        self.frame();
        self.framed.extend_from_slice(END);
    }

    fn flush(&mut self) -> bool {
        let mut left = self.framed.as_slice();
        while !left.is_empty() {
            match sys::local::send(&self.socket, left) {
                Ok(count) => {
                    self.has_begun |= count > 0;
                    left = left.get(count..).unwrap_or_default();
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.framed.clear();
        true
    }

    /// Ends the envelope and waits for the answer. If `failed`, the message is taken back instead. With it comes what is
    /// still open.
    pub(super) fn close(mut self, failed: bool) -> (Ended, OwnedFd) {
        if failed {
            // There may be an answer that says why the service stopped listening.
            return (self.answer(true), self.socket);
        }
        self.end();
        let sent = self.flush();
        let ended = match self.answer(!sent) {
            Ended::Gone if !self.has_begun => Ended::Untouched,
            ended => ended,
        };
        (ended, self.socket)
    }

    /// Reads the answer. `now`: only if it is there already.
    fn answer(&self, now: bool) -> Ended {
        let mut bytes = Bytes::new();
        let mut part = [0; ANSWER_LIMIT];
        if now && !sys::poll::readable(&self.socket, Duration::ZERO).unwrap_or(false) {
            return Ended::Gone;
        }
        loop {
            match sys::fd::read(&self.socket, &mut part) {
                Ok(0) => return Ended::Gone,
                Ok(count) => bytes.extend_from_slice(part.get(..count).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ended::TimedOut,
                Err(_) => return Ended::Gone,
            }
            match Answer::read(&bytes) {
                Ok(Some(answer)) => return Ended::Answer(answer),
                Ok(None) => {}
                Err(_) => return Ended::Gone,
            }
        }
    }
}
