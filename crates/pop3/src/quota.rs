//! The size of a Maildir++ mailbox: a file of sums, to which whoever adds or removes mail appends a line.
//!
//! Source  maildirsize of Maildir++: a first line with the quota, then lines of signed bytes and count

use std::io::{self, Write};

use sys::Dir;

/// The file of sums.
const FILE: &[u8] = b"maildirsize";

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    bytes: u64,
    messages: u64,
}

impl Freed {
    /// One more message.
    pub fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.messages = self.messages.saturating_add(1);
    }

    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        self.messages == 0
    }
}

/// Whether this maildir keeps sums.
pub fn is_kept(maildir: &Dir) -> bool {
    maildir.stat_link(FILE).is_ok_and(|s| s.is_file())
}

/// Appends what was removed, in one write, so that lines of others stay whole.
///
/// # Errors
/// The file cannot be written, or has gone.
pub fn note(maildir: &Dir, freed: &Freed) -> io::Result<()> {
    let line = format!("-{} -{}\n", freed.bytes, freed.messages);
    maildir.open_append_old(FILE)?.write_all(line.as_bytes())
}
