//! Making the classic files of a message that was served from todo: info, local, remote, bounce; many at a time.
//!
//! They are durable, with their names, when this is done; until the envelope in todo is removed after that, they do not
//! count, and whoever takes the envelope up again discards them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use base::Bytes;
use queue::names::{Layout, MessageId, Part};
use queue::record::record;

use super::files::{Files, Open, Purpose};

/// What is to be written of one message.
#[derive(Debug)]
pub(crate) struct Conversion {
    pub(crate) id: MessageId,
    pub(crate) sender: Bytes,
    /// when the message came, by the system's clock: the time of change of info
    pub(crate) birth: i64,
    /// recipients with their marks, and when to try them again, by the system's clock: the time of change of
    /// their file
    pub(crate) recipients: Vec<(Part, Bytes, i64)>,
    /// what to tell the sender; may be empty
    pub(crate) bounce: Bytes,
    /// files of the same names have been removed, maybe not durably: none of them may come back later
    pub(crate) is_second: bool,
}

/// What is made of an envelope.
pub(crate) const MADE: [Part; 4] = [Part::Local, Part::Remote, Part::Info, Part::Bounce];

/// Removes what is made of an envelope; returns what was there. The error is the part that could not be removed.
pub(crate) fn discard(queue: &dyn Files, layout: Layout, id: MessageId) -> Result<Vec<Part>, Part> {
    let mut found = Vec::new();
    for part in MADE {
        match queue.unlink(&layout.path(part, id)) {
            Ok(()) => found.push(part),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(_) => return Err(part),
        }
    }
    Ok(found)
}

/// Files of one message that are written and not durable.
type Written = io::Result<Vec<(Part, Box<dyn Open>)>>;

/// Does all of them, and tells of each; the error begins with what failed. Until then a crash delivers again what was
/// delivered: whatever can be done after that is done after that.
pub(crate) fn all(
    queue: &dyn Files,
    layout: Layout,
    list: &[Conversion],
    mut tell: impl FnMut(MessageId, Result<(), &'static str>),
) {
    let written: Vec<(MessageId, Written)> = list
        .iter()
        .map(|c| (c.id, write(queue, layout, c)))
        .collect();
    let mut dirs = BTreeSet::new();
    for (id, files) in &written {
        for (part, file) in files.iter().flatten() {
            // The first one is waited for next.
            if !dirs.is_empty() {
                file.start_sync();
            }
            dirs.insert(layout.dir(*part, *id));
        }
    }
    for c in list.iter().filter(|c| c.is_second) {
        dirs.extend(MADE.map(|part| layout.dir(part, c.id)));
    }
    let results: Vec<_> = written
        .iter()
        .map(|(id, files)| {
            let done = match files {
                Err(_) => Err("trouble writing to info of todo/"),
                Ok(files) if files.iter().any(|(_, f)| f.sync().is_err()) => {
                    Err("trouble fsyncing info of todo/")
                }
                Ok(_) => Ok(()),
            };
            (*id, done)
        })
        .collect();
    let lost: BTreeSet<Bytes> = dirs
        .into_iter()
        .filter(|dir| queue.sync(dir).is_err())
        .collect();
    for (id, mut done) in results {
        if !lost.is_empty() && done.is_ok() {
            done = Err("trouble fsyncing directories of todo/");
        }
        if done.is_err() {
            let _ = discard(queue, layout, id);
        }
        tell(id, done);
    }
}

/// Writes the files of one message; none stays if it fails.
fn write(queue: &dyn Files, layout: Layout, c: &Conversion) -> Written {
    // A name that is left from the first time would stay when the envelope goes.
    if c.is_second && discard(queue, layout, c.id).is_err() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let info = record(b'F', &c.sender);
    let mut files = vec![(Part::Info, info.as_slice(), c.birth)];
    for (part, text, when) in &c.recipients {
        files.push((*part, text, *when));
    }
    if !c.bounce.is_empty() {
        files.push((Part::Bounce, &c.bounce, c.birth));
    }
    let made: Written = files
        .into_iter()
        .map(|(part, text, when)| {
            let path = layout.path(part, c.id);
            let mut file = queue.open(&path, Purpose::New)?;
            file.append(text)?;
            queue.set_times(&path, when)?;
            Ok((part, file))
        })
        .collect();
    if made.is_err() {
        let _ = discard(queue, layout, c.id);
    }
    made
}
