//! Control files that a program has read ahead, for the copies that it makes of itself.
//!
//! A copy asks the kernel once, before the first file that it wants, whether the directory or one of the files has changed
//! since. If so, it reads all of them as ever. So a change counts for whoever starts after it, as if nothing were kept; and all
//! that one copy sees is of one moment.
//!
//! A stamp tells a changed file only where the clock of the file system has gone on since it was taken, and only where
//! every change is seen at once: nothing is kept that has changed lately, that is large, that is a link, or that lies on
//! a file system of another host.

use std::cell::RefCell;
use std::io::{self, ErrorKind};

use base::Bytes;
use sys::dir::{Stamp, stamp_file, stamp_path};
use sys::volume::is_local;

/// Where control files are.
const DIRECTORY: &[u8] = b"control";
/// The largest file that is kept, bytes.
const LIMIT: usize = 64 * 1024;
/// How long ago the last change must be, seconds: the coarsest clock of a file system goes in steps of two.
const SETTLED: i64 = 3;

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::Nothing) };
}

#[derive(Debug)]
enum State {
    Nothing,
    /// what is read now is kept
    Taking(Files),
    /// perhaps something has changed since
    Taken(Files),
    /// nothing had, when this process asked
    Sound(Files),
}

#[derive(Debug)]
struct Files {
    place: &'static [u8],
    /// of the directory
    stamp: Stamp,
    /// what has changed before is kept, Unix seconds
    until: i64,
    list: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: String,
    /// `None`: there was no such file
    found: Option<(Stamp, Bytes)>,
}

/// Nothing is known of this file.
#[derive(Debug)]
struct NotKept;

/// Keeps what `read` reads of the control files below the working directory, for this process and its copies; what was
/// kept before is forgotten.
pub fn ahead(read: impl FnOnce()) {
    let until = base::tai::unix_now().saturating_sub(SETTLED);
    ahead_in(DIRECTORY, until, read);
}

fn ahead_in(place: &'static [u8], until: i64, read: impl FnOnce()) {
    change(|_| Files::new(place, until).map_or(State::Nothing, State::Taking));
    read();
    change(|state| match state {
        State::Taking(files) => State::Taken(files),
        _ => State::Nothing,
    });
}

/// The file `name`: as it is kept, or as `read` finds it.
///
/// # Errors
/// Those of `read`.
pub(crate) fn or_read(
    name: &str,
    read: impl FnOnce() -> io::Result<Option<Bytes>>,
) -> io::Result<Option<Bytes>> {
    change(|state| match state {
        State::Taken(files) if files.is_sound() => State::Sound(files),
        State::Taken(_) => State::Nothing,
        other => other,
    });
    if let Ok(found) = find(name) {
        return Ok(found);
    }
    let Some(path) = taken_from(name) else {
        return read();
    };
    // Before the file is read: should it change meanwhile, this stamp is an old one.
    let before = stamp_file(&path);
    let text = read()?;
    keep(name, before, text.as_ref());
    Ok(text)
}

fn change(next: impl FnOnce(State) -> State) {
    STATE.with_borrow_mut(|state| {
        let old = std::mem::replace(state, State::Nothing);
        *state = next(old);
    });
}

/// Where a file lies that is to be kept.
fn taken_from(name: &str) -> Option<Bytes> {
    STATE.with_borrow(|state| match state {
        State::Taking(files) => Some(files.path(name)),
        _ => None,
    })
}

fn find(name: &str) -> Result<Option<Bytes>, NotKept> {
    STATE.with_borrow(|state| match state {
        State::Sound(files) => files.find(name),
        _ => Err(NotKept),
    })
}

fn keep(name: &str, before: io::Result<Stamp>, text: Option<&Bytes>) {
    STATE.with_borrow_mut(|state| {
        if let State::Taking(files) = state {
            files.keep(name, before, text);
        }
    });
}

impl Files {
    fn new(place: &'static [u8], until: i64) -> Option<Files> {
        let files = Files {
            place,
            stamp: stamp_path(place).ok()?,
            until,
            list: Vec::new(),
        };
        files.can_tell(place, &files.stamp).then_some(files)
    }

    fn path(&self, name: &str) -> Bytes {
        [self.place, b"/", name.as_bytes()].concat()
    }

    /// Whether every change of what has `stamp` and lies at `path` will give it another.
    fn can_tell(&self, path: &[u8], stamp: &Stamp) -> bool {
        stamp.changed() < self.until && is_local(path)
    }

    fn keep(&mut self, name: &str, before: io::Result<Stamp>, text: Option<&Bytes>) {
        let found = match (before, text) {
            (Ok(stamp), Some(text))
                if text.len() <= LIMIT && self.can_tell(&self.path(name), &stamp) =>
            {
                Some((stamp, text.clone()))
            }
            (Err(e), None) if e.kind() == ErrorKind::NotFound => None,
            _ => return,
        };
        let name = name.to_owned();
        self.list.push(File { name, found });
    }

    /// Whether nothing has changed: no name in the directory, and no file.
    fn is_sound(&self) -> bool {
        let is = |path: &[u8], stamp: &Stamp| stamp_path(path).is_ok_and(|found| found == *stamp);
        let same = |file: &File| match &file.found {
            Some((stamp, _)) => is(&self.path(&file.name), stamp),
            None => true,
        };
        is(self.place, &self.stamp) && self.list.iter().all(same)
    }

    fn find(&self, name: &str) -> Result<Option<Bytes>, NotKept> {
        let file = self.list.iter().find(|file| file.name == name);
        let found = &file.ok_or(NotKept)?.found;
        Ok(found.as_ref().map(|(_, text)| text.clone()))
    }
}

#[cfg(test)]
mod tests;
