//! The queue's files, as far as qmail-send touches them: a seam, so that a simulation can stand in for the kernel.
//!
//! One call here is one call of the kernel, or two; nothing is called for each byte.
//!
//! Source  docs/decisions/0012-simulation.md

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use base::Bytes;
use sys::{Dir, Stat};

/// For what a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// to be read; it must be a regular file
    Read,
    /// to be changed in place; it must be a regular file
    Update,
    /// to grow; made if it is missing
    Append,
    /// to be made; it must not be there
    New,
}

/// Names below `queue/`.
pub(crate) trait Files: Debug + Send {
    /// Opens a file.
    fn open(&self, path: &[u8], purpose: Purpose) -> io::Result<Box<dyn Open>>;
    /// What the kernel says of a name, which may be a symbolic link.
    fn stat(&self, path: &[u8]) -> io::Result<Stat>;
    /// Removes a name.
    fn unlink(&self, path: &[u8]) -> io::Result<()>;
    /// Sets the times of access and change, Unix seconds.
    fn set_times(&self, path: &[u8], when: i64) -> io::Result<()>;
    /// The names in a directory.
    fn names(&self, dir: &[u8]) -> io::Result<Box<dyn Names>>;
    /// Makes the names of a directory durable.
    fn sync(&self, dir: &[u8]) -> io::Result<()>;
}

/// An open file.
pub(crate) trait Open: Read + Debug + Send {
    /// What the kernel says of it.
    fn stat(&self) -> io::Result<Stat>;
    /// Adds to its end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts its end off.
    fn cut(&self, size: u64) -> io::Result<()>;
    /// The byte at a place.
    fn byte_at(&self, at: u64) -> io::Result<u8>;
    /// Replaces the byte at a place.
    fn set_byte_at(&self, at: u64, byte: u8) -> io::Result<()>;
    /// Begins to make its contents durable.
    fn start_sync(&self);
    /// Makes its contents durable.
    fn sync(&self) -> io::Result<()>;
}

/// Names of a directory, one after the other.
pub(crate) trait Names: Iterator<Item = io::Result<Bytes>> + Debug {}

impl<T: Iterator<Item = io::Result<Bytes>> + Debug> Names for T {}

impl Files for Dir {
    fn open(&self, path: &[u8], purpose: Purpose) -> io::Result<Box<dyn Open>> {
        Ok(Box::new(match purpose {
            Purpose::Read => regular(self.open_read(path)?)?,
            Purpose::Update => regular(self.open_update(path)?)?,
            Purpose::Append => self.open_append(path, 0o600)?,
            Purpose::New => self.create_new(path, 0o600)?,
        }))
    }

    fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        self.stat_link(path)
    }

    fn unlink(&self, path: &[u8]) -> io::Result<()> {
        Dir::unlink(self, path)
    }

    fn set_times(&self, path: &[u8], when: i64) -> io::Result<()> {
        Dir::set_times(self, path, when, when)
    }

    fn names(&self, dir: &[u8]) -> io::Result<Box<dyn Names>> {
        Ok(Box::new(self.open_dir(dir)?.entries()?))
    }

    fn sync(&self, dir: &[u8]) -> io::Result<()> {
        self.open_dir(dir)?.sync()
    }
}

/// The file, if it is a regular one.
fn regular(file: File) -> io::Result<File> {
    if sys::dir::stat_fd(&file)?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

impl Open for File {
    fn stat(&self) -> io::Result<Stat> {
        sys::dir::stat_fd(self)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn byte_at(&self, at: u64) -> io::Result<u8> {
        let mut byte = [0];
        self.read_exact_at(&mut byte, at)?;
        Ok(byte[0])
    }

    fn set_byte_at(&self, at: u64, byte: u8) -> io::Result<()> {
        self.write_all_at(&[byte], at)
    }

    fn start_sync(&self) {
        sys::volume::start_writing(self);
    }

    fn sync(&self) -> io::Result<()> {
        sys::dir::sync(self)
    }
}
