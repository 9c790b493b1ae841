//! One connection: what it has said so far.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use queue::intake::{Fault, Incoming};
use queue::service::{MANY, Malformed, ONE, Piece, Pieces};

use super::ledger::Holder;

/// How long a connection may stand before the first byte of a message.
const FIRST: Duration = Duration::from_secs(30);
/// Reads in a row before others get their turn.
const TURN: usize = 16;

/// A client.
#[derive(Debug)]
pub(super) struct Conn<'q> {
    pub(super) socket: OwnedFd,
    pub(super) uid: u32,
    pub(super) holder: Holder,
    /// its place among those who wait, once it had to
    pub(super) slot: Option<usize>,
    pub(super) many: bool,
    pub(super) qp: u32,
    /// the message that comes; there from its first byte on
    pub(super) incoming: Option<Incoming<'q>>,
    /// bytes of it on disk that the ledger knows of
    pub(super) booked: u64,
    pieces: Pieces,
    part: Part,
    /// when the message, or the wait for it, began
    began: Instant,
    /// when it last said something
    heard: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Letter,
    Text,
    Envelope,
    Whole,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// all that there was, or enough for now
    Some,
    /// the message is whole
    Whole,
    /// the client has gone
    Gone,
    /// it cannot be taken
    Fault(Fault),
}

impl<'q> Conn<'q> {
    pub(super) fn new(socket: OwnedFd, uid: u32, holder: Holder) -> Conn<'q> {
        let now = Instant::now();
        Conn {
            socket,
            uid,
            holder,
            slot: None,
            many: false,
            qp: 0,
            incoming: None,
            booked: 0,
            pieces: Pieces::default(),
            part: Part::Letter,
            began: now,
            heard: now,
        }
    }

    /// Gets ready for the next message.
    pub(super) fn renew(&mut self) {
        let now = Instant::now();
        self.incoming = None;
        self.part = Part::Text;
        (self.began, self.heard) = (now, now);
    }

    /// Whether the next byte is the first of a message.
    pub(super) fn is_between(&self) -> bool {
        self.incoming.is_none()
    }

    /// Whether it has had its time.
    pub(super) fn is_over(&self, now: Instant, idle: Duration, whole: Duration) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        let idle = if self.is_between() {
            idle.min(FIRST)
        } else {
            idle
        };
        since(self.heard) >= idle || since(self.began) >= whole
    }

    /// Reads what there is, without waiting. `begin` makes a message and its number.
    pub(super) fn hear(
        &mut self,
        buffer: &mut [u8],
        mut begin: impl FnMut(u32) -> (u32, Incoming<'q>),
    ) -> Heard {
        for _ in 0..TURN {
            let count = match sys::fd::read(&self.socket, buffer) {
                Ok(0) => return Heard::Gone,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Heard::Some,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Heard::Gone,
            };
            self.heard = Instant::now();
            let mut bytes = buffer.get(..count).unwrap_or_default();
            if self.part == Part::Letter {
                let (letter, rest) = bytes.split_at(1.min(bytes.len()));
                if letter != [ONE] && letter != [MANY] {
                    return Heard::Fault(Fault::Envelope);
                }
                self.many = letter == [MANY];
                self.part = Part::Text;
                bytes = rest;
            }
            if self.incoming.is_none() && !bytes.is_empty() {
                let (qp, incoming) = begin(self.uid);
                (self.qp, self.incoming) = (qp, Some(incoming));
            }
            match self.feed(bytes) {
                Ok(()) if self.part == Part::Whole => return Heard::Whole,
                // A short read has emptied the socket; the next one would only say so.
                Ok(()) if count < buffer.len() => return Heard::Some,
                Ok(()) => {}
                Err(fault) => return Heard::Fault(fault),
            }
        }
        Heard::Some
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        while let Some(piece) = self
            .pieces
            .next(&mut bytes)
            .map_err(|Malformed| Fault::Envelope)?
        {
            match (piece, self.part) {
                (Piece::Bytes(text), Part::Text) => incoming.message(text)?,
                (Piece::Bytes(text), Part::Envelope) => incoming.envelope(text)?,
                (Piece::End, Part::Text) => self.part = Part::Envelope,
                (Piece::End, Part::Envelope) => self.part = Part::Whole,
                // The next message has to wait for the answer to this one.
                _ => return Err(Fault::Envelope),
            }
        }
        Ok(())
    }
}
