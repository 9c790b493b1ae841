//! A directory held open, and names looked up relative to it: hold the thing, not its name.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag};
use nix::sys::time::TimeSpec;

/// What the kernel says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// device and inode: the identity of a file
    pub dev: u64,
    /// inode number
    pub ino: u64,
    /// owner
    pub uid: u32,
    /// group
    pub gid: u32,
    /// type and permission bits
    pub mode: u32,
    /// bytes
    pub size: u64,
    /// last change of the content, Unix seconds
    pub mtime: i64,
    /// and the nanoseconds of it
    pub mtime_nsec: i64,
    /// last access, Unix seconds
    pub atime: i64,
    /// number of names
    pub links: u64,
}

impl Stat {
    // The kernel's field widths differ between systems.
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        clippy::cast_lossless
    )]
    fn new(raw: &nix::sys::stat::FileStat) -> Stat {
        Stat {
            dev: raw.st_dev as u64,
            ino: raw.st_ino as u64,
            uid: raw.st_uid,
            gid: raw.st_gid,
            mode: raw.st_mode as u32,
            size: u64::try_from(raw.st_size).unwrap_or(0),
            mtime: raw.st_mtime as i64,
            mtime_nsec: raw.st_mtime_nsec as i64,
            atime: raw.st_atime as i64,
            links: raw.st_nlink as u64,
        }
    }

    fn is(&self, kind: SFlag) -> bool {
        SFlag::from_bits_truncate(self.mode as libc::mode_t & libc::S_IFMT) == kind
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.is(SFlag::S_IFREG)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.is(SFlag::S_IFDIR)
    }

    /// Whether it is a FIFO.
    pub fn is_fifo(&self) -> bool {
        self.is(SFlag::S_IFIFO)
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        self.is(SFlag::S_IFSOCK)
    }

    /// Whether `other` is the same file.
    pub fn is_same_file(&self, other: &Stat) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }
}

/// Status of an open descriptor.
pub fn stat_fd(fd: &impl AsRawFd) -> io::Result<Stat> {
    Ok(Stat::new(
        &nix::sys::stat::fstat(crate::fd::borrow(fd)).map_err(crate::error)?,
    ))
}

/// Status of a path, following symbolic links.
pub fn stat_path(path: &[u8]) -> io::Result<Stat> {
    Ok(Stat::new(
        &nix::sys::stat::stat(path).map_err(crate::error)?,
    ))
}

/// Tells one state of a file from another: a file that was changed or replaced has another stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    file: (u64, u64),
    size: i64,
    /// of its content and of its inode, seconds and nanoseconds
    changed: [i64; 4],
}

impl Stamp {
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "field widths differ between systems"
    )]
    fn new(raw: &nix::sys::stat::FileStat) -> Stamp {
        Stamp {
            file: (raw.st_dev as u64, raw.st_ino as u64),
            size: raw.st_size.into(),
            changed: [
                raw.st_mtime.into(),
                raw.st_mtime_nsec.into(),
                raw.st_ctime.into(),
                raw.st_ctime_nsec.into(),
            ],
        }
    }

    /// When it was changed last, content or inode, Unix seconds.
    pub fn changed(&self) -> i64 {
        let [content, _, inode, _] = self.changed;
        content.max(inode)
    }
}

/// The stamp of a path, following symbolic links.
pub fn stamp_path(path: &[u8]) -> io::Result<Stamp> {
    let raw = nix::sys::stat::stat(path).map_err(crate::error)?;
    Ok(Stamp::new(&raw))
}

/// The stamp of the regular file that has this very name.
///
/// # Errors
/// `InvalidInput`: a symbolic link, or anything else that is none.
pub fn stamp_file(path: &[u8]) -> io::Result<Stamp> {
    let raw = nix::sys::stat::lstat(path).map_err(crate::error)?;
    if Stat::new(&raw).is_file() {
        Ok(Stamp::new(&raw))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// Opens an existing file for writing, without waiting for a reader if it is a FIFO.
///
/// # Errors
/// `is_without_reader` knows the one of a FIFO that nobody has open for reading.
pub fn open_write(path: &[u8]) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())
        .map_err(crate::error)?
        .into())
}

/// Whether opening a FIFO for writing failed only because nobody reads it.
pub fn is_without_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// Gives the file at `path` to another user and group.
pub fn set_owner(path: &[u8], uid: u32, gid: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(self::path(path), Some(uid), Some(gid))
}

/// Opens the file at `path` for reading, without waiting for a writer if it is a FIFO. For places whose directory may
/// be searched but not read, so that no `Dir` can be had. Symbolic links are followed.
pub fn open_read(path: &[u8]) -> io::Result<File> {
    open_path(path, OFlag::O_RDONLY, 0)
}

/// As `open_read`, but a symbolic link at its end is refused (`ELOOP`).
pub fn open_read_no_link(path: &[u8]) -> io::Result<File> {
    open_path(path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW, 0)
}

/// Opens the file at `path` for appending, making it with `mode` if it is missing; does not wait if it is a FIFO.
/// Symbolic links are followed.
pub fn open_append(path: &[u8], mode: u32) -> io::Result<File> {
    open_path(
        path,
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT,
        mode,
    )
}

fn open_path(path: &[u8], flags: OFlag, mode: u32) -> io::Result<File> {
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(path, flags, mode_bits(mode)).map_err(crate::error)?;
    Ok(fd.into())
}

/// Whether a call failed because the system or the file system has no such call.
pub fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP)
    )
}

/// Size and room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// bytes in all
    pub bytes: u64,
    /// bytes that an ordinary user may still use
    pub bytes_free: u64,
    /// inodes in all; 0 where they have no fixed number
    pub files: u64,
    /// inodes that an ordinary user may still use
    pub files_free: u64,
}

/// Makes the content and the length of an open file (or the entries of an open directory) durable.
///
/// # Errors
/// Any error is final for this file: a second try that works proves nothing.
pub fn sync(fd: &impl AsRawFd) -> io::Result<()> {
    nix::unistd::fsync(crate::fd::borrow(fd)).map_err(crate::error)
}

/// A directory held open. Names given to its functions are relative to it.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl AsRawFd for Dir {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn mode_bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode as libc::mode_t)
}

impl Dir {
    /// Opens the directory at `path` (relative to the working directory). Symbolic links are followed.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Dir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path.as_ref(), flags, Mode::empty()).map_err(crate::error)?;
        Ok(Dir { fd })
    }

    /// Opens the directory `name` inside this one.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Dir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Dir {
            fd: self.open_with(name, flags, 0)?,
        })
    }

    /// Another descriptor of the same directory.
    pub fn again(&self) -> io::Result<Dir> {
        Ok(Dir {
            fd: self.fd.try_clone()?,
        })
    }

    /// Makes this directory the working directory of the process.
    pub fn enter(&self) -> io::Result<()> {
        nix::unistd::fchdir(&self.fd).map_err(crate::error)
    }

    fn open_with(&self, name: &[u8], flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        nix::fcntl::openat(&self.fd, name, flags | OFlag::O_CLOEXEC, mode_bits(mode))
            .map_err(crate::error)
    }

    /// Opens `name` for reading, without waiting for a writer if it is a FIFO.
    pub fn open_read(&self, name: &[u8]) -> io::Result<File> {
        Ok(self
            .open_with(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0)?
            .into())
    }

    /// Opens an existing `name` for reading and writing.
    pub fn open_update(&self, name: &[u8]) -> io::Result<File> {
        Ok(self.open_with(name, OFlag::O_RDWR, 0)?.into())
    }

    /// Opens an existing `name` for writing, without waiting for a reader if it is a FIFO.
    pub fn open_write(&self, name: &[u8]) -> io::Result<File> {
        Ok(self
            .open_with(name, OFlag::O_WRONLY | OFlag::O_NONBLOCK, 0)?
            .into())
    }

    /// Opens `name` for appending, making it with `mode` if it is missing.
    ///
    /// # Errors
    /// Also when it is a symbolic link: nothing is made where one leads to.
    pub fn open_append(&self, name: &[u8], mode: u32) -> io::Result<File> {
        Ok(self
            .open_with(
                name,
                OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW,
                mode,
            )?
            .into())
    }

    /// Like `open_append`, without waiting for a reader if `name` is a FIFO: `ENXIO` then.
    pub fn open_append_now(&self, name: &[u8], mode: u32) -> io::Result<File> {
        Ok(self
            .open_with(
                name,
                OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NONBLOCK,
                mode,
            )?
            .into())
    }

    /// Opens an existing `name` for appending, without waiting for a reader if it is a FIFO.
    pub fn open_append_old(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK;
        Ok(self.open_with(name, flags, 0)?.into())
    }

    /// Makes `name`, which must not exist, and opens it for reading and writing.
    pub fn create_new(&self, name: &[u8], mode: u32) -> io::Result<File> {
        Ok(self
            .open_with(name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL, mode)?
            .into())
    }

    /// Makes `name`, or empties it if it exists, and opens it for writing.
    pub fn create(&self, name: &[u8], mode: u32) -> io::Result<File> {
        Ok(self
            .open_with(
                name,
                OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC,
                mode,
            )?
            .into())
    }

    /// Gives `name` a second name `new_name` in `to`, which must be free.
    pub fn link(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> io::Result<()> {
        nix::unistd::linkat(&self.fd, name, &to.fd, new_name, AtFlags::empty())
            .map_err(crate::error)
    }

    /// Renames, replacing what is there.
    pub fn rename(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> io::Result<()> {
        nix::fcntl::renameat(&self.fd, name, &to.fd, new_name).map_err(crate::error)
    }

    /// Renames to a name that must be free: `AlreadyExists` if it is not.
    ///
    /// # Errors
    /// `is_unsupported` knows the one of a file system that cannot do this in one step.
    #[cfg(target_os = "linux")]
    pub fn rename_new(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> io::Result<()> {
        let free = nix::fcntl::RenameFlags::RENAME_NOREPLACE;
        nix::fcntl::renameat2(&self.fd, name, &to.fd, new_name, free).map_err(crate::error)
    }

    /// Renames to a name that must be free; this system cannot do so in one step.
    #[cfg(not(target_os = "linux"))]
    pub fn rename_new(&self, _: &[u8], _: &Dir, _: &[u8]) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }

    /// What is left of the file system of this directory.
    // The widths of these fields differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    pub fn space(&self) -> io::Result<Space> {
        let raw = nix::sys::statvfs::fstatvfs(&self.fd).map_err(crate::error)?;
        let block = (raw.fragment_size() as u64).max(1);
        Ok(Space {
            bytes: (raw.blocks() as u64).saturating_mul(block),
            bytes_free: (raw.blocks_available() as u64).saturating_mul(block),
            files: (raw.files() as u64),
            files_free: (raw.files_available() as u64),
        })
    }

    /// Removes a file's name.
    pub fn unlink(&self, name: &[u8]) -> io::Result<()> {
        nix::unistd::unlinkat(&self.fd, name, nix::unistd::UnlinkatFlags::NoRemoveDir)
            .map_err(crate::error)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        nix::unistd::unlinkat(&self.fd, name, nix::unistd::UnlinkatFlags::RemoveDir)
            .map_err(crate::error)
    }

    /// Makes a directory.
    pub fn make_dir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        nix::sys::stat::mkdirat(&self.fd, name, mode_bits(mode)).map_err(crate::error)
    }

    /// Makes a FIFO.
    pub fn make_fifo(&self, name: &[u8], mode: u32) -> io::Result<()> {
        nix::unistd::mkfifoat(&self.fd, name, mode_bits(mode)).map_err(crate::error)
    }

    /// Status of `name`, following symbolic links.
    pub fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        let raw =
            nix::sys::stat::fstatat(&self.fd, name, AtFlags::empty()).map_err(crate::error)?;
        Ok(Stat::new(&raw))
    }

    /// Status of `name` itself, even if it is a symbolic link.
    pub fn stat_link(&self, name: &[u8]) -> io::Result<Stat> {
        let raw = nix::sys::stat::fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(crate::error)?;
        Ok(Stat::new(&raw))
    }

    /// Sets permission bits of `name`.
    pub fn set_mode(&self, name: &[u8], mode: u32) -> io::Result<()> {
        nix::sys::stat::fchmodat(
            &self.fd,
            name,
            mode_bits(mode),
            FchmodatFlags::FollowSymlink,
        )
        .map_err(crate::error)
    }

    /// Sets the times of last access and change of `name`, Unix seconds.
    pub fn set_times(&self, name: &[u8], access: i64, change: i64) -> io::Result<()> {
        nix::sys::stat::utimensat(
            &self.fd,
            name,
            &TimeSpec::new(access, 0),
            &TimeSpec::new(change, 0),
            nix::sys::stat::UtimensatFlags::FollowSymlink,
        )
        .map_err(crate::error)
    }

    /// Makes the entries of this directory durable.
    pub fn sync(&self) -> io::Result<()> {
        sync(&self.fd)
    }

    /// A fresh reader of this directory's names.
    pub fn entries(&self) -> io::Result<Entries> {
        // A new open file: a shared one would share its position.
        let fd = self.open_with(b".", OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0)?;
        let dir = nix::dir::Dir::from_fd(fd).map_err(crate::error)?;
        Ok(Entries {
            inner: dir.into_iter(),
        })
    }
}

/// The names of a directory, without `.` and `..`, one at a time.
#[derive(Debug)]
pub struct Entries {
    inner: nix::dir::OwningIter,
}

impl Iterator for Entries {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            return match self.inner.next()? {
                Ok(entry) => {
                    let name = entry.file_name().to_bytes();
                    if name == b"." || name == b".." {
                        continue;
                    }
                    Some(Ok(name.to_vec()))
                }
                Err(e) => Some(Err(crate::error(e))),
            };
        }
    }
}

/// Makes sure that a byte string can be a C string.
pub(crate) fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// A path from bytes.
pub fn path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_where_a_link_leads_to() {
        let place = std::env::temp_dir().join(format!("qmail-rs-dir-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let target = place.join("target");
        std::os::unix::fs::symlink(&target, place.join("link")).unwrap();
        let dir = Dir::open(&place).unwrap();
        assert!(dir.open_append(b"link", 0o600).is_err());
        assert!(!target.exists());
        assert!(dir.open_append(b"plain", 0o600).is_ok());
        std::fs::remove_dir_all(&place).unwrap();
    }
}
