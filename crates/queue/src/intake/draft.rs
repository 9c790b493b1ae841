//! A message that is being written. Dropped before it is published, it leaves nothing behind.
//!
//! Small messages stay in memory until they are whole. The envelope's file is made when the message has ended.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

use base::Bytes;
use sys::Dir;

use super::{Fault, Intake, Origin, Place, Published};
use crate::names::{MessageId, Part};

/// How often a name in `pid` or a number is tried.
const TRIES: u32 = 9;
/// Bytes gathered before a write.
const BUFFER: usize = 64 * 1024;

/// The files of a message on its way in.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    intake: &'a Intake,
    pid: u32,
    now: i64,
    named: Option<Named<'a>>,
    intd: Option<File>,
    message: Bytes,
    envelope: Bytes,
    on_disk: u64,
    /// what a drop has to remove
    names: Names,
}

/// The message's own file.
#[derive(Debug)]
struct Named<'a> {
    id: MessageId,
    mess: File,
    dir: Place<'a>,
}

/// Names that exist now and must not stay if the message is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// none yet; or the message is visible, and its names stay
    None,
    Mess,
    MessAndIntd,
}

impl<'a> Draft<'a> {
    /// In memory only.
    pub(super) fn new(intake: &'a Intake, origin: &Origin) -> Draft<'a> {
        Draft {
            intake,
            pid: origin.pid,
            now: origin.now,
            named: None,
            intd: None,
            message: origin.header.clone(),
            envelope: format!("u{}\0p{}\0", origin.uid, origin.pid).into_bytes(),
            on_disk: 0,
            names: Names::None,
        }
    }

    /// Makes the message's file, which gives it its number and its name.
    pub(super) fn start(&mut self) -> Result<(), Fault> {
        if self.named.is_some() {
            return Ok(());
        }
        // A number can be taken only in a queue that was copied or damaged. Files that were refused stay open until one
        // fits, so that their numbers do not come back.
        let mut refused = Vec::new();
        for sequence in 1..=TRIES {
            let name = format!("{}.{}.{sequence}", self.pid, self.now).into_bytes();
            let mess = match self.intake.pid.create_new(&name, 0o644) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(_) => return Err(Fault::Pid),
            };
            let found = name_it(self.intake, &name, &mess);
            if !matches!(found, Ok(Some(_))) {
                self.intake
                    .pid
                    .unlink(&name)
                    .map_err(|_| found.as_ref().err().copied().unwrap_or(Fault::Pid))?;
            }
            match found? {
                Some((id, dir)) => {
                    self.named = Some(Named { id, mess, dir });
                    self.names = Names::Mess;
                    return Ok(());
                }
                None => refused.push(mess),
            }
        }
        Err(if refused.is_empty() {
            Fault::Pid
        } else {
            Fault::Mess
        })
    }

    /// More of the message.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.message.extend_from_slice(bytes);
        if self.message.len() >= BUFFER {
            self.flush_message()?;
        }
        Ok(())
    }

    fn flush_message(&mut self) -> Result<(), Fault> {
        self.start()?;
        if let Some(named) = &mut self.named {
            write(&mut named.mess, &mut self.message, &mut self.on_disk)?;
        }
        Ok(())
    }

    /// Ends the message and makes the envelope's file.
    pub(super) fn start_envelope(&mut self) -> Result<(), Fault> {
        if self.intd.is_some() {
            return Ok(());
        }
        self.flush_message()?;
        self.message = Bytes::new();
        let named = self.named.as_ref().ok_or(Fault::Bug)?;
        self.intd = Some(envelope_file(self.intake, named.id).map_err(|_| Fault::Intd)?);
        self.names = Names::MessAndIntd;
        Ok(())
    }

    /// More of the envelope.
    pub(super) fn envelope(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.envelope.extend_from_slice(bytes);
        if self.envelope.len() >= BUFFER {
            self.flush_envelope()?;
        }
        Ok(())
    }

    fn flush_envelope(&mut self) -> Result<(), Fault> {
        self.start_envelope()?;
        if let Some(intd) = &mut self.intd {
            write(intd, &mut self.envelope, &mut self.on_disk)?;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub(super) fn on_disk(&self) -> u64 {
        self.on_disk
    }

    /// Writes out what is still in memory, and has both contents on their way to the disk before any is waited for.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        self.flush_envelope()?;
        if let (Some(named), Some(intd)) = (&self.named, &self.intd) {
            sys::volume::start_writing(&named.mess);
            sys::volume::start_writing(intd);
        }
        Ok(())
    }

    /// Makes sure that no name in `todo` will be durable before both files and the name of the message are.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        let named = self.named.as_ref().ok_or(Fault::Bug)?;
        let intd = self.intd.as_ref().ok_or(Fault::Bug)?;
        if is_in_order(&named.mess, intd) {
            sys::volume::write_out(&named.mess).map_err(|_| Fault::Write)?;
            return sys::volume::write_out(intd).map_err(|_| Fault::Write);
        }
        sys::dir::sync(intd).map_err(|_| Fault::Write)?;
        sys::dir::sync(&named.mess).map_err(|_| Fault::Write)?;
        named.dir.sync().map_err(|_| Fault::Write)
    }

    /// Makes it visible.
    pub(super) fn link(mut self) -> Result<Published<'a>, Fault> {
        let id = self.named.as_ref().ok_or(Fault::Bug)?.id;
        let intake = self.intake;
        let todo = intake.place(Part::Todo, id).map_err(|_| Fault::Todo)?;
        let (dir, name) = intake.name(Part::Intd, id);
        dir.link(&name, &todo, id.to_string().as_bytes())
            .map_err(|_| Fault::Todo)?;
        // qmail-send may have it from here on, so nothing is taken back.
        self.names = Names::None;
        Ok(Published { id, todo })
    }
}

/// Whether both lie on one file system that keeps order; `todo` lies where the envelope does.
fn is_in_order(mess: &File, intd: &File) -> bool {
    let device = |file: &File| Some(sys::dir::stat_fd(file).ok()?.dev);
    device(mess).is_some_and(|d| device(intd) == Some(d))
        && sys::volume::keeps_order(mess)
        && sys::volume::keeps_order(intd)
}

/// Writes a buffer out and empties it.
fn write(file: &mut File, buffer: &mut Bytes, on_disk: &mut u64) -> Result<(), Fault> {
    file.write_all(buffer).map_err(|_| Fault::Write)?;
    *on_disk = on_disk.saturating_add(buffer.len() as u64);
    buffer.clear();
    Ok(())
}

/// Moves a new file from `pid` into `mess`, by its number. `None`: that number is taken; the file stays in `pid`.
///
/// It is taken, too, if `todo` has it: qmail-send would send what comes now to whom that envelope names, and while the entry
/// is there, the next free number is the same again.
fn name_it<'a>(
    intake: &'a Intake,
    name: &[u8],
    mess: &File,
) -> Result<Option<(MessageId, Place<'a>)>, Fault> {
    let stat = sys::dir::stat_fd(mess).map_err(|_| Fault::Pid)?;
    let id = MessageId::new(stat.ino).ok_or(Fault::Pid)?;
    let (todo, visible) = intake.name(Part::Todo, id);
    match todo.stat_link(&visible) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Ok(_) => return Ok(None),
        Err(_) => return Err(Fault::Todo),
    }
    let dir = intake.place(Part::Mess, id).map_err(|_| Fault::Mess)?;
    match rename(&intake.pid, name, &dir, id.to_string().as_bytes()) {
        Ok(()) => Ok(Some((id, dir))),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(_) => Err(Fault::Mess),
    }
}

/// Makes the envelope's file of a message that has its number.
///
/// A crash can leave an envelope without its message, on a file system that forgets the older of two names. As neither
/// `mess` nor `todo` had that number until now, it is nobody's; and the next free number is the same again, so it would stop all
/// mail.
fn envelope_file(intake: &Intake, id: MessageId) -> io::Result<File> {
    let (dir, name) = intake.name(Part::Intd, id);
    match dir.create_new(&name, 0o644) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        done => return done,
    }
    dir.unlink(&name)?;
    dir.create_new(&name, 0o644)
}

/// Renames to a name that must be free; in two steps where the file system cannot do it in one.
fn rename(from: &Dir, name: &[u8], to: &Dir, new_name: &[u8]) -> io::Result<()> {
    match from.rename_new(name, to, new_name) {
        Err(e) if sys::dir::is_unsupported(&e) => {}
        done => return done,
    }
    from.link(name, to, new_name)?;
    from.unlink(name).inspect_err(|_| {
        let _ = to.unlink(new_name);
    })
}

impl Drop for Draft<'_> {
    /// Removes the envelope first: a message without envelope is litter, an envelope without message is damage.
    fn drop(&mut self) {
        let Some(named) = &self.named else {
            return;
        };
        if self.names == Names::MessAndIntd {
            let (dir, name) = self.intake.name(Part::Intd, named.id);
            if dir.unlink(&name).is_err() {
                return;
            }
        }
        if self.names != Names::None {
            let _ = named.dir.unlink(named.id.to_string().as_bytes());
        }
    }
}
