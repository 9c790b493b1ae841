//! The virtual users of one directory: .vusers for people and managers, .vusers.cdb for checkers. Both belong to the
//! owner of the directory, and nobody else reads them.
//!
//! A line is `name:quota:secret secret ...:directory`; in the cdb the name is the key. Only the directory may hold a colon. The name is what stands behind the
//! dash of the .qmail files of that directory, in lower case; an empty name is the owner of the directory himself.

use std::io::{self, ErrorKind};
use std::path::Path;

use base::Bytes;
use base::bytes::split_once;
use control::Table;
use sys::Dir;

use crate::files;

pub(crate) const TEXT: &[u8] = b".vusers";
pub(crate) const TABLE: &str = ".vusers.cdb";
const ASIDE: &str = ".vusers.cdb.tmp";
const LOCK: &[u8] = b".vusers.lock";
/// The largest text, bytes.
const LIMIT: u64 = 1 << 30;

/// One virtual user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// his directory, relative to the table's
    pub(crate) dir: Bytes,
    /// Maildir++ form; empty: none
    pub(crate) quota: Bytes,
    /// stored passwords
    pub(crate) secrets: Vec<Bytes>,
}

impl Record {
    fn parse(text: &[u8]) -> Option<Record> {
        let (quota, rest) = split_once(text, b':')?;
        let (secrets, dir) = split_once(rest, b':')?;
        let is_below = !dir.starts_with(b"/") && dir.split(|&b| b == b'/').all(|p| p != b"..");
        let secrets = secrets.split(|&b| b == b' ').filter(|s| !s.is_empty());
        (is_below && !dir.is_empty()).then(|| Record {
            dir: dir.to_vec(),
            quota: quota.to_vec(),
            secrets: secrets.map(<[u8]>::to_vec).collect(),
        })
    }

    fn text(&self) -> Bytes {
        let secrets = self.secrets.join(&b' ');
        [&self.quota, &secrets, &self.dir]
            .map(Vec::as_slice)
            .join(&b':')
    }
}

/// One record of the table in the working directory.
///
/// # Errors
/// Unreadable or damaged. No table is `Ok(None)`.
pub(crate) fn find(name: &[u8]) -> io::Result<Option<Record>> {
    let Some(table) = Table::open(TABLE)? else {
        return Ok(None);
    };
    let found = table.get(&name.to_ascii_lowercase())?;
    found
        .map(|text| Record::parse(&text).ok_or(ErrorKind::InvalidData.into()))
        .transpose()
}

/// The whole list, for managers: read, change, `write`. Holds the lock.
pub(crate) struct List {
    dir: Dir,
    _lock: std::fs::File,
    pub(crate) records: Vec<(Bytes, Record)>,
}

impl List {
    /// Opens the list of the working directory.
    ///
    /// # Errors
    /// `WouldBlock`: somebody else is changing it. `InvalidData`: a line has another form.
    pub(crate) fn open() -> io::Result<List> {
        let dir = Dir::open(".")?;
        let lock = dir.open_append(LOCK, 0o600)?;
        sys::lock::exclusive_now(&lock)?;
        let text = match dir.open_read(TEXT) {
            Ok(file) => files::content(file, LIMIT)?,
            Err(e) if e.kind() == ErrorKind::NotFound => Bytes::new(),
            Err(e) => return Err(e),
        };
        let lines = text.split(|&b| b == b'\n').filter(|l| !l.is_empty());
        let records = lines.map(|line| {
            let (name, rest) = split_once(line, b':')?;
            Some((name.to_vec(), Record::parse(rest)?))
        });
        let records: Option<Vec<_>> = records.collect();
        Ok(List {
            dir,
            _lock: lock,
            records: records.ok_or(ErrorKind::InvalidData)?,
        })
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Record> {
        self.records.iter().find(|(n, _)| n == name).map(|(_, r)| r)
    }

    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Record> {
        let mut each = self.records.iter_mut();
        each.find(|(n, _)| n == name).map(|(_, r)| r)
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Writes text and table, each whole or not at all. Checkers see the change when the table is there.
    ///
    /// # Errors
    /// The text may be newer than the table then; the next change mends it.
    pub(crate) fn write(&self) -> io::Result<()> {
        let lines = self
            .records
            .iter()
            .map(|(name, record)| [name.as_slice(), b":", &record.text(), b"\n"].concat());
        files::replace(&self.dir, TEXT, &lines.collect::<Vec<_>>().concat(), 0o600)?;
        let records = self.records.iter().map(|(name, r)| (name, r.text()));
        control::table::make(Path::new(TABLE), Path::new(ASIDE), 0o600, records)
    }
}
