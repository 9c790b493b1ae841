//! A message that is being written. Dropped before its `commit`, it leaves nothing behind.

use std::fs::File;
use std::io::{ErrorKind, Write};

use base::Bytes;
use sys::Dir;

use super::{Fault, Origin};
use crate::names::{Layout, MessageId, Part};

/// How often a name in `pid` or a number is tried.
const TRIES: u32 = 9;
/// Bytes gathered before a write.
const BUFFER: usize = 64 * 1024;

/// The files of a message on its way in.
pub(super) struct Draft<'a> {
    queue: &'a Dir,
    layout: Layout,
    id: MessageId,
    mess: File,
    intd: Option<File>,
    buffer: Bytes,
    /// what a drop has to remove
    names: Names,
}

/// Names that exist now and must not stay if the message is given up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// the message is visible: its names stay
    None,
    Mess,
    MessAndIntd,
}

impl<'a> Draft<'a> {
    /// Makes the message's file, which gives it its number and its name.
    pub(super) fn begin(
        queue: &'a Dir,
        layout: Layout,
        pid: &Dir,
        origin: &Origin,
    ) -> Result<Draft<'a>, Fault> {
        // A number can be taken only in a queue that was copied. Files that were refused stay open until one fits,
        // so that their numbers do not come back.
        let mut refused = Vec::new();
        for sequence in 1..=TRIES {
            let name = format!("{}.{}.{sequence}", origin.pid, origin.now).into_bytes();
            let mess = match pid.create_new(&name, 0o644) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(_) => return Err(Fault::Pid),
            };
            let found = link(queue, layout, pid, &name, &mess);
            let unlinked = pid.unlink(&name);
            match found {
                Ok(Some(id)) => {
                    let draft = Draft {
                        queue,
                        layout,
                        id,
                        mess,
                        intd: None,
                        buffer: Bytes::with_capacity(BUFFER),
                        names: Names::Mess,
                    };
                    // From here on a drop cleans up.
                    return unlinked.map_err(|_| Fault::Pid).map(|()| draft);
                }
                Ok(None) => refused.push(mess),
                Err(fault) => return Err(fault),
            }
        }
        Err(if refused.is_empty() {
            Fault::Pid
        } else {
            Fault::Mess
        })
    }

    /// More bytes: of the message, and after `begin_envelope` of the envelope.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            return self.file().write_all(bytes).map_err(|_| Fault::Write);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn file(&mut self) -> &mut File {
        self.intd.as_mut().unwrap_or(&mut self.mess)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let buffer = std::mem::take(&mut self.buffer);
        let done = self.file().write_all(&buffer).map_err(|_| Fault::Write);
        self.buffer = buffer;
        self.buffer.clear();
        done
    }

    /// Ends the message and makes the envelope's file.
    pub(super) fn begin_envelope(&mut self) -> Result<(), Fault> {
        self.flush()?;
        sys::dir::start_sync(&self.mess);
        let path = self.layout.path(Part::Intd, self.id);
        self.intd = Some(
            self.queue
                .create_new(&path, 0o644)
                .map_err(|_| Fault::Intd)?,
        );
        self.names = Names::MessAndIntd;
        Ok(())
    }

    /// Makes it durable, then visible, then durably visible.
    pub(super) fn commit(mut self) -> Result<MessageId, Fault> {
        self.flush()?;
        let intd = self.intd.as_ref().ok_or(Fault::Bug)?;
        let named = self.open(Part::Mess, Fault::Mess)?;
        let todo = self.open(Part::Todo, Fault::Todo)?;
        // Both contents are on their way before the first is waited for: on a journalling file system they share a
        // commit, and so does the message's name.
        sys::dir::start_sync(intd);
        sys::dir::sync(intd).map_err(|_| Fault::Write)?;
        sys::dir::sync(&self.mess).map_err(|_| Fault::Write)?;
        named.sync().map_err(|_| Fault::Write)?;

        let path = self.layout.path(Part::Intd, self.id);
        let name = self.id.to_string();
        self.queue
            .link(&path, &todo, name.as_bytes())
            .map_err(|_| Fault::Todo)?;
        // qmail-send may have it from here on, so nothing is taken back.
        self.names = Names::None;
        todo.sync().map_err(|_| Fault::Todo)?;
        Ok(self.id)
    }

    fn open(&self, part: Part, fault: Fault) -> Result<Dir, Fault> {
        self.queue
            .open_dir(&self.layout.dir(part, self.id))
            .map_err(|_| fault)
    }
}

/// Links a new file into `mess` by its number. `None`: that number is taken.
fn link(
    queue: &Dir,
    layout: Layout,
    pid: &Dir,
    name: &[u8],
    mess: &File,
) -> Result<Option<MessageId>, Fault> {
    let stat = sys::dir::stat_fd(mess).map_err(|_| Fault::Pid)?;
    let id = MessageId::new(stat.ino).ok_or(Fault::Pid)?;
    match pid.link(name, queue, &layout.path(Part::Mess, id)) {
        Ok(()) => Ok(Some(id)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(_) => Err(Fault::Mess),
    }
}

impl Drop for Draft<'_> {
    /// Removes the envelope first: a message without envelope is litter, an envelope without message is damage.
    fn drop(&mut self) {
        if self.names == Names::MessAndIntd
            && self
                .queue
                .unlink(&self.layout.path(Part::Intd, self.id))
                .is_err()
        {
            return;
        }
        if self.names != Names::None {
            let _ = self.queue.unlink(&self.layout.path(Part::Mess, self.id));
        }
    }
}
