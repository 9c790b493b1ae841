//! The checker's end of the protocol: who says that he is somebody, and how he proves it.
//!
//! Source  checkpassword's interface page; docs/decisions/0015-scram-over-checkpassword.md

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use base::Bytes;

use crate::checker::{DESCRIPTOR, LIMIT, LONG_LIMIT};
use crate::digest::Hash;
use crate::encoding::{decode, encode};
use crate::sasl::{Mechanism, digest_word};
use crate::scram::Stored;

/// How long the other side may take for each part: people type, and networks are slow.
const PATIENCE: Duration = Duration::from_mins(5);

/// What was claimed.
#[derive(Debug)]
pub struct Claim {
    /// who he says he is: not empty, no NUL, else any bytes
    pub name: Bytes,
    /// why we should believe him
    pub proof: Proof,
}

/// The forms of a proof.
#[derive(Debug)]
pub enum Proof {
    /// a password, or the response to `challenge`: the protocol does not tell which
    Secret {
        /// password or response
        secret: Bytes,
        /// the `<stamp>` that the server gave the client, if it did
        challenge: Option<Bytes>,
    },
    /// a token of XOAUTH2
    Token(Bytes),
    /// SCRAM: the proof comes when salt and rounds are said
    Scram(Conversation),
}

/// Why there is no claim.
#[derive(Debug)]
pub enum NoClaim {
    /// descriptor 3 is closed or cannot be read: this was not called by a server
    NotCalled,
    /// more than fits, or not enough strings
    Malformed,
    /// nothing came for a long time
    TimedOut,
}

/// The rest of a SCRAM exchange.
#[derive(Debug)]
pub struct Conversation {
    hash: Hash,
    fd: OwnedFd,
}

/// Reads a claim from descriptor 3.
pub fn read() -> Result<Claim, NoClaim> {
    let fd = sys::fd::take(DESCRIPTOR).map_err(|_| NoClaim::NotCalled)?;
    read_from(fd)
}

/// Reads a claim from any descriptor.
///
/// Waits   five minutes for each part.
pub fn read_from(fd: OwnedFd) -> Result<Claim, NoClaim> {
    let mut text = Bytes::new();
    loop {
        if let Some((name, hash)) = scram(&text) {
            let proof = Proof::Scram(Conversation { hash, fd });
            return Ok(Claim { name, proof });
        }
        match some(&fd, PATIENCE) {
            Ok(piece) if piece.is_empty() => return claim(&text),
            Ok(piece) => text.extend_from_slice(&piece),
            Err(e) if e.kind() == ErrorKind::TimedOut => return Err(NoClaim::TimedOut),
            Err(_) => return Err(NoClaim::NotCalled),
        }
        if text.len() > LONG_LIMIT {
            return Err(NoClaim::Malformed);
        }
    }
}

/// What is there, or comes in time; nothing at the end.
fn some(fd: &OwnedFd, patience: Duration) -> io::Result<Bytes> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut piece = [0; LIMIT];
        let ready = match sys::poll::readable(fd, left) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        if !ready {
            return Err(ErrorKind::TimedOut.into());
        }
        match sys::fd::read(fd, &mut piece) {
            Ok(count) => return Ok(piece.get(..count).unwrap_or_default().to_vec()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// A name and a SCRAM mechanism: three whole strings, the middle one empty.
fn scram(text: &[u8]) -> Option<(Bytes, Hash)> {
    let strings = text.strip_suffix(b"\0")?;
    let [name, b"", mechanism] = strings.split(|&b| b == 0).collect::<Vec<_>>()[..] else {
        return None;
    };
    match Mechanism::parse(mechanism)? {
        Mechanism::Scram(hash, crate::sasl::Bound::Free) if !name.is_empty() => {
            Some((name.to_vec(), hash))
        }
        _ => None,
    }
}

/// Everything that came, at its end. The first two strings must be whole; of the third, callers may forget the NUL.
fn claim(text: &[u8]) -> Result<Claim, NoClaim> {
    let mut parts = text.splitn(3, |&b| b == 0);
    let (Some(name), Some(second), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoClaim::Malformed);
    };
    let third = rest.split(|&b| b == 0).next().unwrap_or_default();
    let is_token = third == b"XOAUTH2";
    if name.is_empty() || (text.len() > LIMIT && !is_token) {
        return Err(NoClaim::Malformed);
    }
    let proof = if is_token {
        Proof::Token(second.to_vec())
    } else if is_challenge(second) && digest_word(third).is_some() {
        // The order of the first SMTP AUTH patch.
        secret(third, Some(second))
    } else {
        secret(second, is_challenge(third).then_some(third))
    };
    let name = name.to_vec();
    Ok(Claim { name, proof })
}

fn secret(secret: &[u8], challenge: Option<&[u8]>) -> Proof {
    Proof::Secret {
        secret: secret.to_vec(),
        challenge: challenge.map(<[u8]>::to_vec),
    }
}

fn is_challenge(text: &[u8]) -> bool {
    text.starts_with(b"<") && text.ends_with(b">") && text.contains(&b'@')
}

impl Conversation {
    /// Of the mechanism.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Says salt and rounds, checks the proof, answers with our signature, and waits until the client has seen it.
    /// `Ok(true)`: it is him.
    ///
    /// Waits   five minutes for each part.
    ///
    /// # Errors
    /// The server is gone, or says something else: nobody can tell.
    pub fn is_proved(self, stored: &Stored) -> io::Result<bool> {
        let rounds = stored.rounds.to_string();
        self.say(
            &[
                encode(&stored.salt).as_slice(),
                b"\0",
                rounds.as_bytes(),
                b"\0",
            ]
            .concat(),
        )?;
        let mut text = Bytes::new();
        while text.split(|&b| b == 0).count() <= 2 {
            let piece = some(&self.fd, PATIENCE)?;
            if piece.is_empty() || text.len() > LONG_LIMIT {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            text.extend_from_slice(&piece);
        }
        let mut parts = text.split(|&b| b == 0);
        let message = parts.next().unwrap_or_default();
        let proof = parts.next().and_then(decode).unwrap_or_default();
        let Some(signature) = stored.prove(message, &proof) else {
            return Ok(false);
        };
        self.say(&[encode(&signature).as_slice(), b"\0"].concat())?;
        if some(&self.fd, PATIENCE)? == b"+" {
            Ok(true)
        } else {
            Err(ErrorKind::UnexpectedEof.into())
        }
    }

    fn say(&self, text: &[u8]) -> io::Result<()> {
        if sys::local::send(&self.fd, text)? == text.len() {
            Ok(())
        } else {
            Err(ErrorKind::WriteZero.into())
        }
    }
}

#[cfg(test)]
mod tests;
