//! A queue on a disk that may lose its power: of what was not made durable, chance keeps some.
//!
//! A file is known by its identity, not by its number: numbers come back as soon as no name and nobody holds the
//! file, as on a real disk, and the names of messages with them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use base::Bytes;

use super::chance::Chance;

/// Which file.
pub(super) type Identity = usize;

/// What was done to the contents of a file.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, Bytes, i64),
    Cut(usize),
    Times(i64),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    bytes: Bytes,
    mtime: i64,
}

impl Contents {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(at, bytes, when) => {
                let end = at + bytes.len();
                if self.bytes.len() < end {
                    self.bytes.resize(end, 0);
                }
                self.bytes[*at..end].copy_from_slice(bytes);
                self.mtime = *when;
            }
            Change::Cut(size) => self.bytes.resize(*size, 0),
            Change::Times(when) => self.mtime = *when,
        }
    }
}

#[derive(Debug)]
struct File {
    number: u64,
    born: i64,
    now: Contents,
    safe: Contents,
    pending: Vec<(u64, Change)>,
    holders: u32,
}

type Entries = BTreeMap<Bytes, Identity>;

#[derive(Debug, Default)]
struct Folder {
    now: Entries,
    safe: Entries,
    /// a name, and what it is now
    pending: Vec<(u64, Bytes, Option<Identity>)>,
}

fn apply(entries: &mut Entries, name: &Bytes, file: Option<Identity>) {
    match file {
        Some(file) => entries.insert(name.clone(), file),
        None => entries.remove(name),
    };
}

/// What a power cut leaves of what was not durable.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Nothing,
    Everything,
    /// names as a journal does: all up to some moment
    Prefix(u64),
    /// each change or not
    Any,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    files: Vec<File>,
    folders: BTreeMap<Bytes, Folder>,
    /// counts changes
    count: u64,
}

fn cut_path(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path.iter().rposition(|&b| b == b'/').unwrap();
    (&path[..at], &path[at + 1..])
}

fn missing<T>() -> io::Result<T> {
    Err(ErrorKind::NotFound.into())
}

impl Disk {
    pub(super) fn make_folder(&mut self, path: &[u8]) {
        self.folders.insert(path.to_vec(), Folder::default());
    }

    pub(super) fn find(&self, path: &[u8]) -> io::Result<Identity> {
        let (folder, name) = cut_path(path);
        let found = self.folders.get(folder).and_then(|f| f.now.get(name));
        found.copied().map_or_else(missing, Ok)
    }

    fn name(&mut self, path: &[u8], file: Option<Identity>) -> io::Result<()> {
        let (folder, name) = cut_path(path);
        self.count += 1;
        let count = self.count;
        let Some(folder) = self.folders.get_mut(folder) else {
            return missing();
        };
        let name = name.to_vec();
        apply(&mut folder.now, &name, file);
        folder.pending.push((count, name, file));
        Ok(())
    }

    /// The lowest number that is free, most of the time: they come back fast.
    fn free_number(&self, chance: &mut Chance) -> u64 {
        let mut used: Vec<u64> = self
            .folders
            .values()
            .flat_map(|f| f.now.values())
            .map(|&id| self.files[id].number)
            .chain(
                self.files
                    .iter()
                    .filter(|f| f.holders > 0)
                    .map(|f| f.number),
            )
            .collect();
        used.sort_unstable();
        used.dedup();
        if chance.one_in(4) {
            return used.last().unwrap_or(&10) + 1;
        }
        let mut number = 11;
        while used.binary_search(&number).is_ok() {
            number += 1;
        }
        number
    }

    /// Makes a file, whose name must be free.
    pub(super) fn create(
        &mut self,
        path: &[u8],
        wall: i64,
        chance: &mut Chance,
    ) -> io::Result<Identity> {
        if self.find(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let contents = Contents {
            bytes: Bytes::new(),
            mtime: wall,
        };
        self.files.push(File {
            number: self.free_number(chance),
            born: wall,
            now: contents.clone(),
            safe: contents,
            pending: Vec::new(),
            holders: 0,
        });
        let file = self.files.len() - 1;
        self.name(path, Some(file))?;
        Ok(file)
    }

    /// Gives a file one more name, which must be free.
    pub(super) fn link(&mut self, file: Identity, path: &[u8]) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.name(path, Some(file))
    }

    pub(super) fn unlink(&mut self, path: &[u8]) -> io::Result<()> {
        self.find(path)?;
        self.name(path, None)
    }

    fn change(&mut self, file: Identity, change: Change) {
        self.count += 1;
        let file = &mut self.files[file];
        file.now.apply(&change);
        file.pending.push((self.count, change));
    }

    pub(super) fn write(&mut self, file: Identity, at: usize, bytes: &[u8], wall: i64) {
        self.change(file, Change::Write(at, bytes.to_vec(), wall));
    }

    pub(super) fn cut(&mut self, file: Identity, size: usize) {
        self.change(file, Change::Cut(size));
    }

    pub(super) fn set_times(&mut self, file: Identity, when: i64) {
        self.change(file, Change::Times(when));
    }

    pub(super) fn number(&self, file: Identity) -> u64 {
        self.files[file].number
    }

    pub(super) fn bytes(&self, file: Identity) -> &[u8] {
        &self.files[file].now.bytes
    }

    /// Times of change and of access.
    pub(super) fn times(&self, file: Identity) -> (i64, i64) {
        (self.files[file].now.mtime, self.files[file].born)
    }

    pub(super) fn names(&self, folder: &[u8]) -> io::Result<Vec<Bytes>> {
        let folder = self.folders.get(folder);
        folder.map_or_else(missing, |f| Ok(f.now.keys().cloned().collect()))
    }

    pub(super) fn hold(&mut self, file: Identity) {
        self.files[file].holders += 1;
    }

    pub(super) fn release(&mut self, file: Identity) {
        let holders = &mut self.files[file].holders;
        *holders = holders.saturating_sub(1);
    }

    /// What has been done until now.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Makes the contents durable that a file had at `count`.
    pub(super) fn settle_file(&mut self, file: Identity, count: u64) {
        let file = &mut self.files[file];
        while file.pending.first().is_some_and(|(c, _)| *c <= count) {
            let (_, change) = file.pending.remove(0);
            file.safe.apply(&change);
        }
    }

    /// Makes the names durable that a folder had at `count`.
    pub(super) fn settle_folder(&mut self, folder: &[u8], count: u64) -> io::Result<()> {
        let Some(folder) = self.folders.get_mut(folder) else {
            return missing();
        };
        while folder.pending.first().is_some_and(|(c, _, _)| *c <= count) {
            let (_, name, file) = folder.pending.remove(0);
            apply(&mut folder.safe, &name, file);
        }
        Ok(())
    }

    /// Whether a power cut would leave the file of this name, whole.
    pub(super) fn is_safe(&self, path: &[u8]) -> bool {
        let (folder, name) = cut_path(path);
        let safe = self.folders.get(folder).and_then(|f| f.safe.get(name));
        safe.is_some_and(|&file| self.has_safe_contents(file))
            && self.find(path).ok().as_ref() == safe
    }

    /// Whether the contents are durable, but for what was changed in place.
    pub(super) fn has_safe_contents(&self, file: Identity) -> bool {
        let file = &self.files[file];
        file.now.bytes.len() == file.safe.bytes.len()
    }

    /// The power fails.
    pub(super) fn lose_power(&mut self, chance: &mut Chance) {
        let rest = match chance.below(8) {
            0 => Rest::Nothing,
            1 => Rest::Everything,
            2..4 => Rest::Prefix(self.count.saturating_sub(chance.below(20))),
            _ => Rest::Any,
        };
        for file in &mut self.files {
            for (count, mut change) in std::mem::take(&mut file.pending) {
                if let Change::Write(_, bytes, _) = &mut change
                    && matches!(rest, Rest::Any)
                    && chance.one_in(4)
                {
                    bytes.truncate(chance.index(bytes.len() + 1));
                }
                if stays(rest, count, chance)
                    && (!matches!(rest, Rest::Prefix(_)) || chance.one_in(2))
                {
                    file.safe.apply(&change);
                }
            }
            file.now = file.safe.clone();
            file.holders = 0;
        }
        for folder in self.folders.values_mut() {
            for (count, name, file) in std::mem::take(&mut folder.pending) {
                if stays(rest, count, chance) {
                    apply(&mut folder.safe, &name, file);
                }
            }
            folder.now = folder.safe.clone();
        }
    }
}

fn stays(rest: Rest, count: u64, chance: &mut Chance) -> bool {
    match rest {
        Rest::Nothing => false,
        Rest::Everything => true,
        Rest::Prefix(until) => count <= until,
        Rest::Any => chance.one_in(2),
    }
}
