//! Taking a message in: on disk, whole or not at all, and only then acknowledged.
//!
//! The order is the promise (docs/architecture.md): the message and the envelope are written; their contents and the
//! message's name are made durable; the envelope is linked into `todo`, which makes the message visible to qmail-send;
//! `todo` is made durable; the trigger is pulled. A crash before the link leaves litter that qmail-clean sweeps; after
//! it, the whole message.
//!
//! Source  qmail-queue(8)

mod draft;

use std::io::{self, ErrorKind, Read};

use base::Bytes;
use sys::Dir;

use crate::names::{Layout, MessageId};
use crate::record::ADDRESS_LIMIT;
use draft::Draft;

/// Why a message was not taken. The numbers are exit codes of qmail-queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// an address is longer than `ADDRESS_LIMIT`
    AddressTooLong = 11,
    /// an input ended by `ErrorKind::TimedOut`
    TimedOut = 52,
    /// the disk is full, or broken
    Write = 53,
    /// an input could not be read, or ended too early
    Read = 54,
    /// no home
    Home = 61,
    /// no queue
    Queue = 62,
    /// no file in `pid`
    Pid = 63,
    /// no file in `mess`
    Mess = 64,
    /// no file in `intd`
    Intd = 65,
    /// no name in `todo`; or the name is there, but maybe not durable: the message may then be delivered
    Todo = 66,
    /// a bug
    Bug = 81,
    /// the envelope is not one
    Envelope = 91,
}

impl Fault {
    /// The exit code of qmail-queue.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Who brings a message.
#[derive(Clone, Debug)]
pub struct Origin {
    /// user id of the caller
    pub uid: u32,
    /// the process id to be known by, `qp` in logs
    pub pid: u32,
    /// Unix seconds
    pub now: i64,
    /// what stands before the message: whole header lines
    pub header: Bytes,
}

/// The directories that take messages in, held open.
#[derive(Debug)]
pub struct Intake {
    queue: Dir,
    layout: Layout,
    pid: Dir,
}

impl Intake {
    /// Opens the queue below the working directory (home).
    ///
    /// # Errors
    /// The directory that could not be entered, as a fault.
    pub fn open() -> Result<Intake, Fault> {
        let queue = Dir::open("queue").map_err(|_| Fault::Queue)?;
        let pid = queue.open_dir(b"pid").map_err(|_| Fault::Pid)?;
        let layout = Layout::read(&queue).map_err(|_| Fault::Mess)?;
        Ok(Intake { queue, layout, pid })
    }

    /// Takes one message: all of `message`, then one envelope from `envelope`.
    ///
    /// Shape   the envelope is `F` sender NUL, any number of `T` recipient NUL, NUL; what follows it is not read, or
    ///         read and dropped.
    /// Keeps   with `Ok`, a power cut cannot lose the message. With a fault nothing is left behind, except for
    ///         `Fault::Todo`, see there.
    ///
    /// # Errors
    /// An input that fails with `ErrorKind::TimedOut` gives `Fault::TimedOut`, any other failure of it `Fault::Read`.
    pub fn take(
        &self,
        origin: &Origin,
        message: &mut impl Read,
        envelope: &mut impl Read,
    ) -> Result<MessageId, Fault> {
        let mut draft = Draft::begin(&self.queue, self.layout, &self.pid, origin)?;
        draft.write(&origin.header)?;
        copy(message, &mut draft)?;
        draft.begin_envelope()?;
        draft.write(format!("u{}\0p{}\0", origin.uid, origin.pid).as_bytes())?;
        copy_envelope(envelope, &mut draft)?;
        let id = draft.commit()?;
        pull_trigger(&self.queue);
        Ok(id)
    }
}

/// Bytes read at once.
const PIECE: usize = 64 * 1024;

fn unread(error: &io::Error) -> Fault {
    if error.kind() == ErrorKind::TimedOut {
        Fault::TimedOut
    } else {
        Fault::Read
    }
}

/// Reads once more; 0 at the end.
fn read(input: &mut impl Read, piece: &mut [u8]) -> Result<usize, Fault> {
    loop {
        match input.read(piece) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done.map_err(|e| unread(&e)),
        }
    }
}

fn copy(input: &mut impl Read, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = read(input, &mut piece)?;
        if count == 0 {
            return Ok(());
        }
        draft.write(piece.get(..count).unwrap_or_default())?;
    }
}

/// Checks an envelope while it comes, byte by byte.
#[derive(Debug, Default)]
struct Grammar {
    /// bytes of the current address so far; `None` between addresses
    address: Option<usize>,
    has_sender: bool,
}

impl Grammar {
    /// Looks at one byte. `true`: it is the last one, which ends the envelope and does not belong to it.
    fn feed(&mut self, byte: u8) -> Result<bool, Fault> {
        match (&mut self.address, byte) {
            (Some(_), 0) => self.address = None,
            (Some(length), _) if *length + 2 > ADDRESS_LIMIT => return Err(Fault::AddressTooLong),
            (Some(length), _) => *length += 1,
            (None, b'F') if !self.has_sender => {
                self.has_sender = true;
                self.address = Some(0);
            }
            (None, b'T') if self.has_sender => self.address = Some(0),
            (None, 0) if self.has_sender => return Ok(true),
            (None, _) => return Err(Fault::Envelope),
        }
        Ok(false)
    }
}

fn copy_envelope(input: &mut impl Read, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let mut grammar = Grammar::default();
    let mut piece = vec![0; PIECE];
    loop {
        let count = read(input, &mut piece)?;
        if count == 0 {
            return Err(Fault::Read);
        }
        let piece = piece.get(..count).unwrap_or_default();
        for (at, &byte) in piece.iter().enumerate() {
            if grammar.feed(byte)? {
                return draft.write(piece.get(..at).unwrap_or_default());
            }
        }
        draft.write(piece)?;
    }
}

/// Tells qmail-send that there is something to do. Trouble is ignored: it looks by itself now and then.
pub fn pull_trigger(queue: &Dir) {
    if let Ok(fifo) = queue.open_write(b"lock/trigger") {
        // Without waiting: if the pipe is full, it has been pulled already.
        let _ = sys::fd::write(&fifo, b"\0");
    }
}

#[cfg(test)]
mod tests;
