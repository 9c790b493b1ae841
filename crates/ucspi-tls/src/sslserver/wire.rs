//! What the processes of a server say to each other: a letter, a number, and the rest; some bring a descriptor.
//!
//! Every message is one packet, so that none can run into the next. The listener trusts none of them more than it must:
//! what it gets from a worker is a number that it knows, text for the log, and variables for a program.

use base::Bytes;
use base::bytes::split_once;

/// The longest message, bytes: what a program is told of two chains of certificates fits.
pub(super) const LIMIT: usize = 65_536;
/// The most bytes of a reason that reach the log.
const REASON_LIMIT: usize = 200;

/// What is said about connection `id`, or worker number `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) rest: Bytes,
}

/// Listener to worker, with the client's socket: a connection. The rest is its `Way`.
pub(super) const CLIENT: u8 = b'C';
/// Listener to worker, with the side of the program.
pub(super) const PLAIN: u8 = b'P';
/// Listener to worker, with the control socket of UCSPI-TLS.
pub(super) const CONTROL: u8 = b'U';
/// Listener to worker: end when nothing is left to do.
pub(super) const DRAIN: u8 = b'D';

/// Worker to listener: the handshake is over; the rest is what the program is told.
pub(super) const READY: u8 = b'R';
/// Worker to listener: there is no TLS; the rest is why.
pub(super) const FAILED: u8 = b'F';
/// Worker to listener: the session is over; the rest is why, if it was not in good order.
pub(super) const OVER: u8 = b'O';

/// Keeper to listener, with the worker's channel: a new worker; the id is its generation.
pub(super) const WORKER: u8 = b'W';
/// Keeper to listener: certificates or keys cannot be used; the rest is why.
pub(super) const UNUSABLE: u8 = b'X';
/// Keeper to listener: something for the log.
pub(super) const NOTE: u8 = b'N';
/// Listener to keeper: look whether there are new certificates.
pub(super) const LOOK: u8 = b'L';
/// Listener to keeper: read them anyway.
pub(super) const READ: u8 = b'G';

/// Told by a worker, not to the program: where a connection came from that a front end passed on, and where it went.
pub(super) const SOURCE: &[u8] = b"source";
pub(super) const DESTINATION: &[u8] = b"destination";

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// with TLS
    Implicit,
    /// with a header of the PROXY protocol, then with TLS
    Passed,
    /// with plain text, until the program asks for TLS
    Delayed,
}

impl Way {
    pub(super) fn letter(self) -> u8 {
        match self {
            Way::Implicit => b'i',
            Way::Passed => b'p',
            Way::Delayed => b'd',
        }
    }

    pub(super) fn of(rest: &[u8]) -> Option<Way> {
        match rest {
            b"i" => Some(Way::Implicit),
            b"p" => Some(Way::Passed),
            b"d" => Some(Way::Delayed),
            _ => None,
        }
    }
}

impl Message {
    pub(super) fn new(kind: u8, id: u32, rest: impl Into<Bytes>) -> Message {
        Message {
            kind,
            id,
            rest: rest.into(),
        }
    }

    /// With a reason that is short and safe for a log.
    pub(super) fn with_reason(kind: u8, id: u32, reason: &str) -> Message {
        let mut safe = base::bytes::printable(reason.as_bytes());
        safe.truncate(REASON_LIMIT);
        Message::new(kind, id, safe)
    }

    pub(super) fn bytes(&self) -> Bytes {
        [&[self.kind][..], &self.id.to_be_bytes(), &self.rest].concat()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Message> {
        let (&kind, bytes) = bytes.split_first()?;
        let (id, rest) = bytes.split_first_chunk()?;
        Some(Message::new(kind, u32::from_be_bytes(*id), rest))
    }
}

/// Variables as text: `NAME=value`, a NUL after each.
pub(super) fn pairs(told: &[(Bytes, Bytes)]) -> Bytes {
    let safe = told
        .iter()
        .filter(|(name, value)| !name.contains(&0) && !value.contains(&0));
    safe.flat_map(|(name, value)| [name, &b"="[..], value, b"\0"].concat())
        .collect()
}

/// The variables of such a text.
pub(super) fn told(text: &[u8]) -> Vec<(Bytes, Bytes)> {
    text.split(|&b| b == 0)
        .filter_map(|pair| split_once(pair, b'='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let message = Message::new(READY, 77, b"A=b\0".as_slice());
        assert_eq!(Message::read(&message.bytes()), Some(message));
        for short in [&b""[..], b"R", b"R\0\0\0"] {
            assert_eq!(Message::read(short), None);
        }
        let reason = Message::with_reason(FAILED, 1, &"x\n".repeat(500));
        assert_eq!(reason.rest.len(), REASON_LIMIT);
        assert!(!reason.rest.contains(&b'\n'));
    }

    #[test]
    fn variables_come_back() {
        let all = vec![
            (b"A".to_vec(), b"x=y".to_vec()),
            (b"B".to_vec(), b"".to_vec()),
        ];
        assert_eq!(told(&pairs(&all)), all);
        let broken = vec![(b"A".to_vec(), b"x\0B=y".to_vec())];
        assert_eq!(pairs(&broken), b"");
    }
}
