//! Taking a message in: on disk, whole or not at all, and only then acknowledged.
//!
//! The order is the promise (docs/architecture.md): the message and the envelope are written; their contents and the
//! message's name are made durable; the envelope is linked into `todo`, which makes the message visible to qmail-send;
//! `todo` is made durable; the trigger is pulled. Where the file system keeps order (`sys::volume::keeps_order`), the
//! contents are only written out before the link, and the last step makes all of it durable, with one commit of the journal
//! instead of two. Each of these steps can serve many messages at once (`Round`). A crash
//! before the link leaves litter that qmail-clean sweeps; after it, the whole message.
//!
//! Source  qmail-queue(8)

mod draft;
mod round;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Deref;

use base::Bytes;
use sys::Dir;

use crate::names::{Layout, MessageId, Part};
use crate::record::ADDRESS_LIMIT;
use draft::Draft;
use round::Whole;

pub use round::Round;

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
    held: Held,
    whole: Option<Whole>,
    keeps_order: bool,
}

/// Directories of the parts by bucket; none where they are opened when they are needed.
#[derive(Debug, Default)]
struct Held {
    mess: Vec<Dir>,
    intd: Vec<Dir>,
    todo: Vec<Dir>,
}

/// A directory that is held anyway, or was opened for one message.
#[derive(Debug)]
enum Place<'a> {
    Held(&'a Dir),
    Opened(Dir),
}

impl Deref for Place<'_> {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        match self {
            Place::Held(dir) => dir,
            Place::Opened(dir) => dir,
        }
    }
}

/// Directories of one part that are held at most; a larger queue gets its directories opened for each message.
const HELD_LIMIT: u64 = 512;

impl Intake {
    /// Opens the queue below the working directory (home), for one message.
    ///
    /// # Errors
    /// The directory that could not be entered, as a fault.
    pub fn open() -> Result<Intake, Fault> {
        Intake::of(Dir::open("queue").map_err(|_| Fault::Queue)?)
    }

    /// Opens the queue below the working directory (home), and its directories too, for many messages.
    ///
    /// # Errors
    /// The directory that could not be entered, as a fault.
    pub fn open_for_many() -> Result<Intake, Fault> {
        let mut intake = Intake::open()?;
        intake.held = Held {
            mess: intake.hold(Part::Mess).map_err(|_| Fault::Mess)?,
            intd: intake.hold(Part::Intd).map_err(|_| Fault::Intd)?,
            todo: intake.hold(Part::Todo).map_err(|_| Fault::Todo)?,
        };
        let held = [&intake.held.mess, &intake.held.intd, &intake.held.todo];
        // Directories that are not held may lie anywhere.
        if held.iter().all(|dirs| !dirs.is_empty()) {
            intake.whole = Whole::of(&intake.queue, held.into_iter().flatten());
            intake.keeps_order = intake.whole.is_some() && sys::volume::keeps_order(&intake.queue);
        }
        Ok(intake)
    }

    fn of(queue: Dir) -> Result<Intake, Fault> {
        let pid = queue.open_dir(b"pid").map_err(|_| Fault::Pid)?;
        let layout = Layout::read(&queue).map_err(|_| Fault::Mess)?;
        let held = Held::default();
        Ok(Intake {
            queue,
            layout,
            pid,
            held,
            whole: None,
            keeps_order: false,
        })
    }

    fn hold(&self, part: Part) -> io::Result<Vec<Dir>> {
        if self.layout.is_split(part) && self.layout.split > HELD_LIMIT {
            return Ok(Vec::new());
        }
        let open = |name: &Bytes| self.queue.open_dir(name);
        self.layout.dirs(part).iter().map(open).collect()
    }

    fn held(&self, part: Part, id: MessageId) -> Option<&Dir> {
        let dirs = match part {
            Part::Mess => &self.held.mess,
            Part::Intd => &self.held.intd,
            _ => &self.held.todo,
        };
        let bucket = if self.layout.is_split(part) {
            self.layout.bucket(id)
        } else {
            0
        };
        dirs.get(usize::try_from(bucket).ok()?)
    }

    /// The directory of one part of a message.
    fn place(&self, part: Part, id: MessageId) -> io::Result<Place<'_>> {
        match self.held(part, id) {
            Some(dir) => Ok(Place::Held(dir)),
            None => Ok(Place::Opened(
                self.queue.open_dir(&self.layout.dir(part, id))?,
            )),
        }
    }

    /// A directory and the name of one part of a message in it.
    fn name(&self, part: Part, id: MessageId) -> (&Dir, Bytes) {
        match self.held(part, id) {
            Some(dir) => (dir, id.to_string().into_bytes()),
            None => (&self.queue, self.layout.path(part, id)),
        }
    }

    /// Whether the file system of the queue makes a name in `todo` durable only after what was written out before: then
    /// messages need no flush before they are linked.
    pub fn keeps_order(&self) -> bool {
        self.keeps_order
    }

    /// The queue itself.
    pub fn queue(&self) -> &Dir {
        &self.queue
    }

    /// Begins a message that comes in pieces. Until it grows, nothing of it is on disk.
    pub fn expect(&self, origin: &Origin) -> Incoming<'_> {
        Incoming {
            draft: Draft::new(self, origin),
            grammar: Grammar::default(),
            ended: false,
        }
    }

    /// Makes published messages durably visible: once for all of them.
    ///
    /// Keeps   with `Ok`, a power cut cannot lose one of them.
    ///
    /// # Errors
    /// `Fault::Todo`; see there.
    pub fn settle(&self, batch: &[Published<'_>]) -> Result<(), Fault> {
        let bucket = |p: &Published<'_>| {
            if self.layout.is_split(Part::Todo) {
                self.layout.bucket(p.id)
            } else {
                0
            }
        };
        let mut seen = Vec::new();
        let mut done = Ok(());
        for published in batch {
            let bucket = bucket(published);
            if !seen.contains(&bucket) {
                seen.push(bucket);
                if published.todo.sync().is_err() {
                    done = Err(Fault::Todo);
                }
            }
        }
        done
    }

    /// Takes one message: all of `message`, then one envelope from `envelope`. Then the trigger is to be pulled.
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
        let mut incoming = self.expect(origin);
        incoming.draft.start()?;
        let mut piece = vec![0; PIECE];
        loop {
            let count = read(message, &mut piece)?;
            if count == 0 {
                break;
            }
            incoming.message(piece.get(..count).unwrap_or_default())?;
        }
        incoming.draft.start_envelope()?;
        while !incoming.ended {
            let count = read(envelope, &mut piece)?;
            if count == 0 {
                return Err(Fault::Read);
            }
            incoming.envelope(piece.get(..count).unwrap_or_default())?;
        }
        let published = incoming.write_out()?.sync()?.link()?;
        self.settle(std::slice::from_ref(&published))?;
        Ok(published.id)
    }
}

/// A message on its way in. Dropped before it is linked, it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming<'a> {
    draft: Draft<'a>,
    grammar: Grammar,
    ended: bool,
}

/// A message whose files are written, and not yet durable. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Written<'a>(Draft<'a>);

impl<'a> Written<'a> {
    /// Bytes of its files.
    pub fn on_disk(&self) -> u64 {
        self.0.on_disk()
    }

    /// Makes it durable, or sees to it that it will be before its name in `todo` is.
    ///
    /// Waits   for the disk.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn sync(self) -> Result<Durable<'a>, Fault> {
        self.0.sync()?;
        Ok(Durable(self.0))
    }
}

/// A message whose files are durable, or will be before its name in `todo` is. Nobody sees it. Dropped, it leaves nothing
/// behind.
#[derive(Debug)]
pub struct Durable<'a>(Draft<'a>);

impl<'a> Durable<'a> {
    /// Makes it visible to qmail-send.
    ///
    /// # Errors
    /// Trouble with the disk.
    pub fn link(self) -> Result<Published<'a>, Fault> {
        self.0.link()
    }
}

/// A message that is visible to qmail-send, but not durably so before `Intake::settle`.
#[derive(Debug)]
pub struct Published<'a> {
    id: MessageId,
    todo: Place<'a>,
}

impl Published<'_> {
    /// The number of the message.
    pub fn id(&self) -> MessageId {
        self.id
    }
}

impl<'a> Incoming<'a> {
    /// More of the message. Must come before `envelope`.
    ///
    /// # Errors
    /// No place on disk for it; then it must be dropped.
    pub fn message(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.draft.message(bytes)
    }

    /// More of the envelope; see `Intake::take` for its shape.
    ///
    /// # Errors
    /// It is not one, or as `message`; then it must be dropped.
    pub fn envelope(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.ended {
            return Ok(());
        }
        for (at, &byte) in bytes.iter().enumerate() {
            if self.grammar.feed(byte)? {
                self.ended = true;
                return self.draft.envelope(bytes.get(..at).unwrap_or_default());
            }
        }
        self.draft.envelope(bytes)
    }

    /// Bytes of it that are on disk already.
    pub fn on_disk(&self) -> u64 {
        self.draft.on_disk()
    }

    /// The end of it: all is written out, and on its way to the disk.
    ///
    /// # Errors
    /// `Fault::Read` when the envelope has not ended; trouble with the disk.
    pub fn write_out(mut self) -> Result<Written<'a>, Fault> {
        if !self.ended {
            return Err(Fault::Read);
        }
        self.draft.finish()?;
        Ok(Written(self.draft))
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

/// Tells qmail-send that there is something to do. Trouble is ignored: it looks by itself now and then. What is open for
/// that is closed when the answer is dropped.
pub fn pull_trigger(queue: &Dir) -> Option<File> {
    let fifo = queue.open_write(b"lock/trigger").ok()?;
    // Without waiting: if the pipe is full, it has been pulled already.
    let _ = sys::fd::write(&fifo, b"\0");
    Some(fifo)
}

#[cfg(test)]
mod tests;
