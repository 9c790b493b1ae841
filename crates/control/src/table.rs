//! cdb tables: constant databases on disk.

use std::io::{self, ErrorKind};
use std::path::Path;

use base::Bytes;

/// An open table. It sees the file as it was when it was opened.
pub struct Table {
    inner: cdb::CDB,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

impl Table {
    /// Opens the table at `path`; `Ok(None)` when there is no such file.
    ///
    /// # Errors
    /// Unreadable or not a cdb.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Option<Table>> {
        match cdb::CDB::open(path) {
            Ok(inner) => Ok(Some(Table { inner })),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The first record of `key`.
    ///
    /// # Errors
    /// The table is damaged.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        self.inner.get(key).transpose()
    }
}

/// Writes a table whole or not at all: `temporary` is written, synced and renamed to `path` (same directory).
///
/// Of records with the same key, readers find the first.
///
/// # Errors
/// Any step; `path` is then as it was.
pub fn make<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    path: &Path,
    temporary: &Path,
    mode: u32,
    records: impl IntoIterator<Item = (K, V)>,
) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let _ = std::fs::remove_file(temporary);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .read(true)
        .create_new(true)
        .mode(mode)
        .open(temporary)?;
    let kept = file.try_clone()?;
    let mut writer = cdb::CDBMake::new(file)?;
    for (key, value) in records {
        writer.add(key.as_ref(), value.as_ref())?;
    }
    writer.finish()?;
    sys::dir::sync(&kept)?;
    std::fs::rename(temporary, path)?;
    let directory = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    sys::Dir::open(directory)?.sync()
}

/// A table that is being written, for programs that say which step failed: `create`, any number of `add`, `commit`,
/// `rename`. Left before the end, it leaves the temporary file behind.
pub struct Maker {
    writer: cdb::CDBMake,
    file: std::fs::File,
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Maker")
    }
}

impl Maker {
    /// Makes the file `temporary`, in place of an older one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(temporary: &Path, mode: u32) -> io::Result<Maker> {
        use std::os::unix::fs::OpenOptionsExt;
        let _ = std::fs::remove_file(temporary);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .mode(mode)
            .open(temporary)?;
        let writer = cdb::CDBMake::new(file.try_clone()?)?;
        Ok(Maker { writer, file })
    }

    /// One more record. Of records with the same key, readers find the first.
    ///
    /// # Errors
    /// It cannot be written, or the table would be larger than 4 GB.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.writer.add(key, value)
    }

    /// Writes the index and makes the file durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn commit(self) -> io::Result<()> {
        self.writer.finish()?;
        sys::dir::sync(&self.file)
    }

    /// Puts the finished file `temporary` in the place of `path` (same file system), durably.
    ///
    /// # Errors
    /// `path` is then as it was, unless only the directory could not be synced.
    pub fn rename(temporary: &Path, path: &Path) -> io::Result<()> {
        std::fs::rename(temporary, path)?;
        let directory = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        sys::Dir::open(directory)?.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_records_is_found() {
        let dir = std::env::temp_dir().join(format!("control-table-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("t.cdb");
        make(
            &path,
            &dir.join("t.tmp"),
            0o644,
            [("a", "1"), ("a", "2"), ("", "e")],
        )
        .unwrap();
        let table = Table::open(&path).unwrap().unwrap();
        assert_eq!(table.get(b"a").unwrap().unwrap(), b"1");
        assert_eq!(table.get(b"").unwrap().unwrap(), b"e");
        assert!(table.get(b"b").unwrap().is_none());
        assert!(Table::open(dir.join("none")).unwrap().is_none());
        std::fs::write(dir.join("bad"), b"xx").unwrap();
        assert!(Table::open(dir.join("bad")).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
