//! mailbox: one message into a maildir or an mbox, durable before it is called delivered.
//!
//! Programs   none; a library
//! Runs as    the recipient
//! Reads      the message, from where its descriptor stands
//! Writes     maildir/{tmp,new}, mbox files
//! May use    base sys
//! Source     maildir(5), mbox(5)
//!
//! Paths are followed as the kernel follows them, symbolic links too: the program runs as the recipient, so a link
//! leads only where he may write himself. A maildir is held by descriptors of its directories from the first look to
//! the last, so nobody can exchange one under a running delivery.

mod limit;
pub mod maildir;
pub mod mbox;

use std::io::{self, ErrorKind, Read};

use base::Bytes;

use limit::Limit;

/// Bytes gathered before a write. Most messages are smaller, and memory that is touched for the first time costs more
/// than a write.
const PIECE: usize = 16 * 1024;

/// Why a message was not delivered. Nothing of it is visible to a reader of the mailbox then.
#[derive(Debug)]
pub enum Trouble {
    /// the maildir could not be entered, or the mbox could not be opened
    Open(io::Error),
    /// the time was over: a day for a maildir, the wait for the lock of an mbox
    Slow,
    /// the message could not be read
    Read(io::Error),
    /// the mailbox could not be written: full, over quota, broken
    Write(io::Error),
}

impl Trouble {
    /// The same trouble, for another message that it hits as well.
    fn again(&self) -> Trouble {
        let same = |e: &io::Error| match e.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => e.kind().into(),
        };
        match self {
            Trouble::Open(e) => Trouble::Open(same(e)),
            Trouble::Slow => Trouble::Slow,
            Trouble::Read(e) => Trouble::Read(same(e)),
            Trouble::Write(e) => Trouble::Write(same(e)),
        }
    }
}

/// Copies `message` to its end, in pieces, through `put`.
fn copy(
    message: &mut impl Read,
    limit: &Limit,
    mut put: impl FnMut(&[u8]) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut piece = vec![0; PIECE];
    loop {
        if limit.is_over() {
            return Err(Trouble::Slow);
        }
        match message.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => put(piece.get(..count).unwrap_or_default())?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Trouble::Read(e)),
        }
    }
}

/// A file that is written in large pieces.
struct Writer<'a> {
    file: &'a std::fs::File,
    limit: &'a Limit,
    buffer: Bytes,
}

impl<'a> Writer<'a> {
    fn new(file: &'a std::fs::File, limit: &'a Limit) -> Writer<'a> {
        Writer {
            file,
            limit,
            buffer: Bytes::with_capacity(PIECE),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            match sys::fd::write(self.file, rest) {
                Ok(0) => return Err(Trouble::Write(ErrorKind::WriteZero.into())),
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {
                    if self.limit.is_over() {
                        return Err(Trouble::Slow);
                    }
                }
                Err(e) => return Err(Trouble::Write(e)),
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Makes a directory's entries durable. File systems that cannot do so for a directory say that the request makes no
/// sense; there is nothing better to be had from them.
fn sync_entries(dir: &sys::Dir) -> Result<(), Trouble> {
    match dir.sync() {
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done.map_err(Trouble::Write),
    }
}
