//! A maildir as one session sees it: which messages there were when it began, under which numbers.
//!
//! A mailbox may hold a million messages, so a message costs its file name and 24 bytes. The list is made once; another
//! program may rename files meanwhile (an IMAP server keeps flags in their names), so a message is found again by the
//! part of the name that never changes.
//!
//! Source  maildir(5); qmail-pop3d(8)

mod name;
mod numbers;
mod scan;

use std::fs::File;
use std::io::{self, ErrorKind};

use base::Bytes;
use sys::Dir;
use sys::dir::Stamp;

pub(crate) use name::arrival;
pub use name::{base, size};
pub(crate) use scan::clean_tmp;

use crate::uidl::{self, Template};

/// How often a session looks through the whole maildir again because a message is not where it was.
const RESCANS: u32 = 64;

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// not seen by any reader yet
    New,
    /// seen
    Cur,
}

/// One message. Field sizes matter: there may be a million.
#[derive(Clone, Copy, Debug)]
struct Message {
    /// bytes
    size: u64,
    /// where its file name begins in `names`
    at: u32,
    /// Unix seconds of its arrival
    time: u32,
    /// its number in a list of unique names, 0 for none; or where its unique name begins in `texts`
    uid: u32,
    /// bytes of its file name
    length: u8,
    state: u8,
}

/// The message lies in cur.
const IN_CUR: u8 = 1;
/// The client wants it deleted.
const DELETED: u8 = 2;
/// Its unique name stands in `texts`.
const IN_TEXTS: u8 = 4;

/// The messages of a maildir, in the order of their arrival.
#[derive(Debug)]
pub struct Folder {
    root: Dir,
    new: Dir,
    cur: Dir,
    names: Bytes,
    messages: Vec<Message>,
    /// unique names that do not follow the template, each with a line end
    texts: Bytes,
    /// how numbers become unique names, and the validity; `None`: names of files are the unique names
    template: Option<(Template, u32)>,
    /// what new and cur looked like before they were read
    stamps: [Option<Stamp>; 2],
    rescans: u32,
}

impl Folder {
    /// Reads the maildir that is the working directory. Messages of the current second are left for the next session,
    /// so that two sessions number the same messages in the same way.
    ///
    /// # Errors
    /// new or cur cannot be read, or their names need more than 4 GiB.
    pub fn open(now: i64) -> io::Result<Folder> {
        let mut folder = Folder {
            root: Dir::open(".")?,
            new: Dir::open("new")?,
            cur: Dir::open("cur")?,
            names: Bytes::new(),
            messages: Vec::new(),
            texts: Bytes::new(),
            template: None,
            stamps: stamps(),
            rescans: 0,
        };
        folder.scan(now)?;
        Ok(folder)
    }

    /// The maildir itself.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// The directory of a place.
    pub fn dir(&self, place: Place) -> &Dir {
        match place {
            Place::New => &self.new,
            Place::Cur => &self.cur,
        }
    }

    /// How many messages there were, deleted ones with them.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn message(&self, index: usize) -> Option<&Message> {
        self.messages.get(index)
    }

    fn name_of(&self, message: &Message) -> &[u8] {
        let at = message.at as usize;
        let end = at.saturating_add(message.length.into());
        self.names.get(at..end).unwrap_or_default()
    }

    /// The file name of a message, without its directory.
    pub fn name(&self, index: usize) -> &[u8] {
        self.message(index)
            .map_or(&[][..], |message| self.name_of(message))
    }

    /// Where a message lies.
    pub fn place(&self, index: usize) -> Place {
        let in_cur = self.message(index).is_some_and(|m| m.state & IN_CUR != 0);
        if in_cur { Place::Cur } else { Place::New }
    }

    /// Bytes of a message, as its name or its file says.
    pub fn size(&self, index: usize) -> u64 {
        self.message(index).map_or(0, |m| m.size)
    }

    /// Whether the client wants it deleted.
    pub fn is_deleted(&self, index: usize) -> bool {
        self.message(index).is_some_and(|m| m.state & DELETED != 0)
    }

    /// Marks a message for deletion.
    pub fn delete(&mut self, index: usize) {
        if let Some(message) = self.messages.get_mut(index) {
            message.state |= DELETED;
        }
    }

    /// Takes all marks away.
    pub fn keep_all(&mut self) {
        for message in &mut self.messages {
            message.state &= !DELETED;
        }
    }

    /// Bytes of all messages that are not marked.
    pub fn total(&self) -> u64 {
        let kept = self.messages.iter().filter(|m| m.state & DELETED == 0);
        kept.fold(0, |sum, m| sum.saturating_add(m.size))
    }

    /// Appends the unique name of a message: as its list says, else the part of its file name that never changes.
    pub fn uidl(&self, index: usize, out: &mut Bytes) {
        let Some((message, (template, validity))) = self.message(index).zip(self.template.as_ref())
        else {
            return uidl::put_name(self.base(index), out);
        };
        if message.state & IN_TEXTS == 0 {
            return template.put(message.uid, *validity, self.base(index), out);
        }
        let text = self.texts.get(message.uid as usize..).unwrap_or_default();
        out.extend(text.iter().take_while(|&&b| b != b'\n'));
    }

    /// Opens a message for reading.
    ///
    /// # Errors
    /// The file is gone, may not be read, or is none.
    pub fn open_message(&mut self, index: usize) -> io::Result<File> {
        let file = self.at_its_place(index, |dir, name| dir.open_read(name))?;
        if sys::dir::stat_fd(&file)?.is_file() {
            Ok(file)
        } else {
            Err(ErrorKind::InvalidInput.into())
        }
    }

    /// Removes a message. `true`: now; `false`: somebody else has done so before.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self, index: usize) -> io::Result<bool> {
        match self.at_its_place(index, Dir::unlink) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Does something to the file of a message. Where it has been renamed, it is looked for once.
    fn at_its_place<T>(
        &mut self,
        index: usize,
        act: impl Fn(&Dir, &[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        match act(self.dir(self.place(index)), self.name(index)) {
            Err(e) if e.kind() == ErrorKind::NotFound && self.look_again()? => {
                act(self.dir(self.place(index)), self.name(index))
            }
            done => done,
        }
    }
}

/// What new and cur look like now.
fn stamps() -> [Option<Stamp>; 2] {
    [&b"new"[..], b"cur"].map(|name| sys::dir::stamp_path(name).ok())
}
