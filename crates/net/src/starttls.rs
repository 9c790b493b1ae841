//! UCSPI-TLS, the program's side: a TLS server stands ready, and the program tells it when to begin.
//!
//! The server leaves the plain connection on the descriptors 0 and 1 and offers three more: the program writes one byte
//! to the control descriptor, and from then on talks plain text over the other two while the server speaks TLS with the
//! client. `Y` also asks for what was agreed on: `NAME=value` pairs that end with NUL each, then one more NUL.
//!
//! Source  UCSPI-TLS (Superscript); sslserver(1); docs/compat/ucspi-tls.md

use std::io::{self, ErrorKind, Read};
use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use base::bytes::{number, split_once};
use base::io::Timed;
use base::{Bytes, env};

/// The variables of the convention. A program takes them away from what it starts.
pub const VARIABLES: [&[u8]; 4] = [b"UCSPITLS", b"SSLCTLFD", b"SSLREADFD", b"SSLWRITEFD"];

/// Those of them that name descriptors, in the order in which a fork server gets these.
pub const DESCRIPTORS: [&[u8]; 3] = [b"SSLCTLFD", b"SSLREADFD", b"SSLWRITEFD"];

/// How long a handshake may take, when the caller knows nothing better. The server gives up before.
pub const HANDSHAKE_TIME: Duration = Duration::from_mins(1);

/// The most bytes that a server may tell: room for two chains of certificates.
const TOLD_LIMIT: usize = 65_536;

/// The beginnings of the names that a server may set: never PATH and the like.
const PREFIXES: [&[u8]; 2] = [b"SSL_", b"TLS_"];

/// What a TLS server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    control: RawFd,
    read: RawFd,
    write: RawFd,
    /// UCSPITLS is `!`: no mail before TLS
    pub required: bool,
}

/// What was agreed on: variables, as the server told them.
pub type Told = Vec<(Bytes, Bytes)>;

/// What a TLS server offers to this program: UCSPITLS is set, to anything but `-`, and the three descriptors were open
/// when the program began. `None`: no TLS, or TLS has begun already.
pub fn offered() -> Option<Offer> {
    offer(env, sys::fd::was_open)
}

/// Whether a TLS server told that the connection has TLS already, from the first byte.
pub fn is_on() -> bool {
    env("SSL_PROTOCOL").is_some_and(|protocol| !protocol.is_empty())
}

fn offer(env: impl Fn(&str) -> Option<Bytes>, is_open: impl Fn(RawFd) -> bool) -> Option<Offer> {
    let wanted = env("UCSPITLS").filter(|word| word != b"-")?;
    let descriptor = |name| {
        let number = i32::try_from(number(&env(name)?)?).ok()?;
        (number > 2 && is_open(number)).then_some(number)
    };
    Some(Offer {
        control: descriptor("SSLCTLFD")?,
        read: descriptor("SSLREADFD")?,
        write: descriptor("SSLWRITEFD")?,
        required: wanted == b"!",
    })
}

impl Offer {
    /// The descriptors, for a process beside the program: it must not hold them.
    pub fn descriptors(self) -> [RawFd; 3] {
        [self.control, self.read, self.write]
    }

    /// Begins TLS: when this returns, the client has been through the handshake, and the descriptors 0 and 1 are the
    /// plain text of the encrypted connection.
    ///
    /// The caller has sent its last plain word, and forgets every byte that it has read ahead: a client that sent more
    /// than the command for TLS did so in plain text.
    ///
    /// Waits   at most `timeout` for the handshake.
    ///
    /// # Errors
    /// There is no TLS, and the plain connection is of no more use: the caller ends. `BrokenPipe`, `UnexpectedEof`: the
    /// server gave up; `TimedOut`; `InvalidData`: it did not keep to the convention. Begun twice: `EBADF`.
    pub fn start(self, timeout: Duration) -> io::Result<Told> {
        let control = sys::fd::take(self.control)?;
        let read = sys::fd::take(self.read)?;
        let write = if self.write == self.read {
            read.try_clone()?
        } else {
            sys::fd::take(self.write)?
        };
        let told = begin(control, timeout)?;
        sys::fd::replace(0, read)?;
        sys::fd::replace(1, write)?;
        Ok(told)
    }
}

/// Asks for TLS, and waits for the answer.
fn begin(control: OwnedFd, timeout: Duration) -> io::Result<Told> {
    // A server that has gone must be an error, not a signal.
    if sys::local::send(&control, b"Y")? != 1 {
        return Err(ErrorKind::WriteZero.into());
    }
    let mut input = Timed::new(control, timeout);
    input.set_deadline(Instant::now().checked_add(timeout));
    let mut text = Bytes::new();
    let mut piece = [0; 4096];
    while !text.ends_with(b"\0\0") {
        let count = input.read(&mut piece)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        text.extend_from_slice(piece.get(..count).unwrap_or_default());
        if text.len() > TOLD_LIMIT {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    told(&text).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// The variables of an answer; `None`: there is none at all, which is how some servers tell of trouble.
fn told(text: &[u8]) -> Option<Told> {
    let all: Told = text
        .split(|&b| b == 0)
        .filter_map(|pair| split_once(pair, b'='))
        .filter(|(name, _)| is_allowed(name))
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    (!all.is_empty()).then_some(all)
}

fn is_allowed(name: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The value of one variable.
pub fn value<'a>(told: &'a Told, name: &[u8]) -> Option<&'a [u8]> {
    told.iter()
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.as_slice())
}

#[cfg(test)]
mod tests;
