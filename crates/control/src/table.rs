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

/// An open table that is read piece by piece, for a process that must outlive its tables: one that is cut short under
/// us is an error here, where a `Table` would end the process.
#[derive(Debug)]
pub struct Reader {
    file: std::fs::File,
}

impl Reader {
    /// The longest record that is given out, bytes.
    pub const RECORD_LIMIT: usize = 1 << 20;

    /// Opens the table at `path`; `Ok(None)` when there is no such file. Whether it is a cdb shows in `get`.
    ///
    /// # Errors
    /// Unreadable.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Option<Reader>> {
        match std::fs::File::open(path) {
            Ok(file) => Ok(Some(Reader { file })),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The first record of `key`.
    ///
    /// # Errors
    /// The table is damaged, or the record too long.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        let hash = hash(key);
        let (start, slots) = self.pair(u64::from(hash % 256) * 8)?;
        if slots == 0 {
            return Ok(None);
        }
        for step in 0..slots {
            let slot = (u64::from(hash >> 8) + u64::from(step)) % u64::from(slots);
            let (found, at) = self.pair(u64::from(start) + slot * 8)?;
            if at == 0 {
                return Ok(None);
            }
            if found == hash
                && let Some(data) = self.record(u64::from(at), key)?
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The data of the record at `at`, if its key is `key`.
    fn record(&self, at: u64, key: &[u8]) -> io::Result<Option<Bytes>> {
        let (key_length, data_length) = self.pair(at)?;
        if usize::try_from(key_length).ok() != Some(key.len())
            || self.bytes(at + 8, key.len())? != key
        {
            return Ok(None);
        }
        let length = usize::try_from(data_length).unwrap_or(usize::MAX);
        self.bytes(at + 8 + u64::from(key_length), length).map(Some)
    }

    /// Two numbers of four bytes.
    fn pair(&self, at: u64) -> io::Result<(u32, u32)> {
        use std::os::unix::fs::FileExt;
        let (mut first, mut second) = ([0; 4], [0; 4]);
        let mut both = [0; 8];
        self.file.read_exact_at(&mut both, at)?;
        let (left, right) = both.split_at(first.len());
        first.copy_from_slice(left);
        second.copy_from_slice(right);
        Ok((u32::from_le_bytes(first), u32::from_le_bytes(second)))
    }

    fn bytes(&self, at: u64, length: usize) -> io::Result<Bytes> {
        use std::os::unix::fs::FileExt;
        if length > Reader::RECORD_LIMIT {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

/// The hash of cdb.
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, &byte| {
        hash.wrapping_mul(33) ^ u32::from(byte)
    })
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
    let mut maker = Maker::create(temporary, mode)?;
    for (key, value) in records {
        maker.add(key.as_ref(), value.as_ref())?;
    }
    maker.commit()?;
    Maker::rename(temporary, path)
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
    fn read_and_mapped_it_is_the_same_table() {
        let dir = std::env::temp_dir().join(format!("control-reader-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("t.cdb");
        let records = (0..2000).map(|n| (format!("key {}", n % 1500), format!("value {n}")));
        make(&path, &dir.join("t.tmp"), 0o644, records).unwrap();
        let table = Table::open(&path).unwrap().unwrap();
        let reader = Reader::open(&path).unwrap().unwrap();
        for n in 0..1600 {
            let key = format!("key {n}");
            let found = reader.get(key.as_bytes()).unwrap();
            assert_eq!(found, table.get(key.as_bytes()).unwrap(), "{key}");
            assert_eq!(found.is_some(), n < 1500);
        }
        assert!(Reader::open(dir.join("none")).unwrap().is_none());
        // Cut short under it, it is an error, or as it was.
        drop(table);
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 1, 2047, 2048, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            for n in (0..1600).step_by(40) {
                let key = format!("key {n}");
                match reader.get(key.as_bytes()) {
                    Ok(None) => assert!(n >= 1500),
                    Ok(Some(data)) => assert!(data.starts_with(b"value ")),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::UnexpectedEof),
                }
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

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
