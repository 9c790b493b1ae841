//! Knowing a delivery again. Each maildir that is written for a message gets a name with an identity: the same at every
//! attempt, and another one for any other message, recipient or line of the instructions.
//!
//! qmail-lspawn begins it, since it has looked at the message and knows from qmail-send which recipient this is. The
//! rest is known where the delivery is made.
//!
//! Source  docs/decisions/0016-delivered-once.md

use base::Bytes;
use mailbox::maildir;
use queue::frames::{Attempt, Past};
use sys::Stat;

use crate::args::Args;

/// The variable in which qmail-lspawn tells qmail-local. For qmail-local only: nobody else gets it from there.
pub const VARIABLE: &str = "QMAILDELIVERY";
/// What follows the digits when an earlier attempt may have delivered.
const DOUBT: &[u8] = b"?";
/// Digits of a number.
const DIGITS: usize = 16;

/// A message and one of its recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    origin: u64,
    past: maildir::Past,
}

impl Once {
    /// `message` is the file in the queue. While a message is in the queue nobody writes to it, so its time of change
    /// tells it from those that had its number before.
    pub fn new(message: &Stat, attempt: Attempt) -> Once {
        let mut digest = Digest::default();
        digest.number(message.ino);
        digest.number(message.size);
        digest.number(message.mtime.cast_unsigned());
        digest.number(message.mtime_nsec.cast_unsigned());
        digest.number(attempt.at);
        let past = match attempt.past {
            Past::Clean => maildir::Past::Clean,
            Past::Unknown => maildir::Past::Unknown,
        };
        Once {
            origin: digest.0,
            past,
        }
    }

    /// As a word: digits, and a question mark if an earlier attempt may have delivered.
    pub fn word(&self) -> Bytes {
        let doubt = match self.past {
            maildir::Past::Clean => b"",
            maildir::Past::Unknown => DOUBT,
        };
        [format!("{:016x}", self.origin).as_bytes(), doubt].concat()
    }

    /// Reads a word. `None`: it is none.
    pub fn read(word: &[u8]) -> Option<Once> {
        let (digits, past) = match word.strip_suffix(DOUBT) {
            Some(digits) => (digits, maildir::Past::Unknown),
            None => (word, maildir::Past::Clean),
        };
        let text = std::str::from_utf8(digits).ok()?;
        let origin = u64::from_str_radix(text, 16).ok()?;
        let once = Once { origin, past };
        (digits.len() == DIGITS && once.word() == word).then_some(once)
    }

    /// What the maildir that is named in a line of the instructions is to know.
    ///
    /// `opening` is how the message begins: with the line of qmail-queue, which names its process.
    pub(crate) fn of(&self, args: &Args, opening: &[u8], line: usize) -> maildir::Once {
        let mut digest = Digest::default();
        digest.number(self.origin);
        for word in [&args.user, &args.local, &args.host, &args.sender] {
            digest.text(word);
        }
        digest.text(opening);
        digest.number(line as u64);
        maildir::Once {
            identity: digest.0,
            past: self.past,
        }
    }
}

/// FNV-1a. Nobody gains from a collision: two deliveries must be the same in all that the queue has given them, which nobody
/// can choose, and in the same maildir.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// With its length, so that two texts do not flow into each other.
    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.bytes(text);
    }
}

#[cfg(test)]
mod tests;
