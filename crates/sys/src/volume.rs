//! What the file system that something lies on is known to promise.

use std::io;
use std::os::fd::AsRawFd;

use crate::Dir;

/// What has reached the disk, and not its cache only, when `sync_whole` says that all went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// perhaps nothing (FUSE for one keeps the call to itself)
    Unknown,
    /// everything but names: ext4 without a journal writes those after its last flush of the disk
    AllButNames,
    /// everything
    Everything,
}

/// Starts writing the content of an open file to disk and does not wait: several files get their flush cheaper when each
/// was started before the first is waited for. Promises nothing; trouble will show in the flush.
pub fn start_writing(fd: &impl AsRawFd) {
    #[cfg(target_os = "linux")]
    let _ = linux::write_range(fd, libc::SYNC_FILE_RANGE_WRITE);
    #[cfg(not(target_os = "linux"))]
    let _ = fd;
}

/// Has the content of an open file written, and waits until the disk has all of it, perhaps in its cache only. That alone
/// keeps nothing; what it is good for says `keeps_order`.
///
/// Waits   for the disk.
///
/// # Errors
/// As those of `dir::sync`: any is final for this file. `Unsupported` outside Linux.
///
/// Source  `sync_file_range`(2)
pub fn write_out(fd: &impl AsRawFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return linux::write_range(fd, linux::WRITE_AND_WAIT);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether a file system that is in order keeps this open file (or directory): no change of names becomes durable there
/// before those that were made earlier, and before the place and length of what `write_out` had written earlier; and what
/// makes it durable flushes that content out of the disk's cache too.
///
/// So a file that was written out may get a name, and one flush of that name's directory makes all of it durable: after
/// a power cut there is the whole file under its name, or no such name.
///
/// Known of ext4 with a journal on its own disk, and of xfs for what is not on a realtime device: both log the place and
/// the length before a page counts as written, log in order, and flush the disk before a record counts. Not true of btrfs.
#[cfg(target_os = "linux")]
pub fn keeps_order(fd: &impl AsRawFd) -> bool {
    linux::keeps_order(fd)
}

/// Nothing is known here.
#[cfg(not(target_os = "linux"))]
pub fn keeps_order(_: &impl AsRawFd) -> bool {
    false
}

/// Makes durable whatever anybody has written on the file system that `dir` lies on.
///
/// Waits   for all of it, also what others have written.
///
/// # Errors
/// Something since this directory was opened, or the last call, could not be written.
///
/// Source  syncfs(2)
#[cfg(target_os = "linux")]
pub fn sync_whole(dir: &Dir) -> io::Result<()> {
    nix::unistd::syncfs(dir).map_err(crate::error)
}

/// What `sync_whole` is known to do here.
#[cfg(target_os = "linux")]
pub fn reach(dir: &Dir) -> Reach {
    linux::reach(dir)
}

/// Not here.
#[cfg(not(target_os = "linux"))]
pub fn sync_whole(_: &Dir) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not here.
#[cfg(not(target_os = "linux"))]
pub fn reach(_: &Dir) -> Reach {
    Reach::Unknown
}

/// Whether `path` lies on a file system that only this machine changes, as far as is known: then a stamp is never that of
/// a state that is gone.
#[cfg(target_os = "linux")]
pub fn is_local(path: &[u8]) -> bool {
    linux::is_local(path)
}

/// Nothing is known here.
#[cfg(not(target_os = "linux"))]
pub fn is_local(_: &[u8]) -> bool {
    false
}

/// The request by which a program asks for the attributes of an open file.
#[cfg(target_os = "linux")]
pub(crate) use linux::GET_ATTRIBUTES;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::AsRawFd;
    use std::sync::{Mutex, PoisonError};

    use nix::sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
        XFS_SUPER_MAGIC,
    };

    use super::Reach;

    /// All that is dirty is written, also what is being written already, and waited for.
    pub(super) const WRITE_AND_WAIT: u32 = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    /// Before it, syncfs does not tell of errors; and before 5.2, `WRITE_AND_WAIT` may leave something out.
    const OLDEST: (u32, u32) = (5, 8);

    /// What was found out of one file system, by its device number: most processes see one.
    static LAST: Mutex<Option<(u64, Kind)>> = Mutex::new(None);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Kind {
        Ext4WithJournal,
        Xfs,
        Other,
    }

    pub(super) fn write_range(fd: &impl AsRawFd, flags: u32) -> io::Result<()> {
        // SAFETY: takes numbers; a bad descriptor is EBADF.
        let done = unsafe { libc::sync_file_range(fd.as_raw_fd(), 0, 0, flags) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub(super) fn keeps_order(fd: &impl AsRawFd) -> bool {
        match kind(fd) {
            Kind::Ext4WithJournal => true,
            Kind::Xfs => is_on_data_device(fd),
            Kind::Other => false,
        }
    }

    fn kind(fd: &impl AsRawFd) -> Kind {
        let Ok(stat) = crate::dir::stat_fd(fd) else {
            return Kind::Other;
        };
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((dev, kind)) if dev == stat.dev => kind,
            _ => {
                let kind = find_kind(fd, stat.dev);
                *last = Some((stat.dev, kind));
                kind
            }
        }
    }

    fn find_kind(fd: &impl AsRawFd, dev: u64) -> Kind {
        if !is_new_enough() {
            return Kind::Other;
        }
        let found = nix::sys::statfs::fstatfs(crate::fd::borrow(fd));
        match found.map(|found| found.filesystem_type()) {
            Ok(XFS_SUPER_MAGIC) => Kind::Xfs,
            Ok(EXT4_SUPER_MAGIC) if has_journal(dev) => Kind::Ext4WithJournal,
            _ => Kind::Other,
        }
    }

    fn is_new_enough() -> bool {
        let version = nix::sys::utsname::uname().ok().and_then(|found| {
            let mut numbers = found.release().to_str()?.split(['.', '-']);
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        });
        version.is_some_and(|version: (u32, u32)| version >= OLDEST)
    }

    /// Whether the ext4 file system with this device number is seen to have a journal on its own disk.
    fn has_journal(dev: u64) -> bool {
        // The kernel's own name of a device with number 8:1 is where the link points to; the journal of sda1 is inode 8
        // there, and called sda1-8. Asked by name: this works also for who may read no directory.
        let (major, minor) = (nix::sys::stat::major(dev), nix::sys::stat::minor(dev));
        let Ok(device) = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")) else {
            return false;
        };
        let Some(name) = device.file_name().and_then(|name| name.to_str()) else {
            return false;
        };
        std::fs::metadata(format!("/proc/fs/jbd2/{name}-8")).is_ok()
    }

    /// struct fsxattr
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        flags: u32,
        rest: [u32; 6],
    }

    const FS_XFLAG_REALTIME: u32 = 1;
    /// `FS_IOC_FSGETXATTR`
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a request has 32 bits, whatever type carries it"
    )]
    pub(crate) const GET_ATTRIBUTES: u32 =
        nix::request_code_read!(b'X', 31, size_of::<Attributes>()) as u32;

    /// Source  `ioctl_xfs_fsgetxattr`(2)
    fn is_on_data_device(fd: &impl AsRawFd) -> bool {
        let mut found = Attributes::default();
        // SAFETY: the kernel writes one fsxattr, which `found` is.
        let done = unsafe { libc::ioctl(fd.as_raw_fd(), GET_ATTRIBUTES.into(), &raw mut found) };
        done == 0 && found.flags & FS_XFLAG_REALTIME == 0
    }

    pub(super) fn reach(dir: &crate::Dir) -> Reach {
        if !is_new_enough() {
            return Reach::Unknown;
        }
        match nix::sys::statfs::fstatfs(dir).map(|found| found.filesystem_type()) {
            Ok(XFS_SUPER_MAGIC | BTRFS_SUPER_MAGIC) => Reach::Everything,
            Ok(EXT4_SUPER_MAGIC) if kind(dir) == Kind::Ext4WithJournal => Reach::Everything,
            Ok(EXT4_SUPER_MAGIC) => Reach::AllButNames,
            _ => Reach::Unknown,
        }
    }

    pub(super) fn is_local(path: &[u8]) -> bool {
        let known = [
            EXT4_SUPER_MAGIC,
            XFS_SUPER_MAGIC,
            BTRFS_SUPER_MAGIC,
            F2FS_SUPER_MAGIC,
            OVERLAYFS_SUPER_MAGIC,
            TMPFS_MAGIC,
        ];
        nix::sys::statfs::statfs(path).is_ok_and(|found| known.contains(&found.filesystem_type()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_out_is_clean() {
        let place = std::env::temp_dir().join(format!("qmail-rs-volume-{}", std::process::id()));
        let mut file = std::fs::File::create(&place).unwrap();
        io::Write::write_all(&mut file, &[7; 10_000]).unwrap();
        start_writing(&file);
        write_out(&file).unwrap();
        std::fs::remove_file(&place).unwrap();
        let (reader, _writer) = crate::fd::pipe().unwrap();
        assert!(write_out(&reader).is_err());
    }

    #[test]
    fn a_file_system_in_memory_keeps_nothing() {
        let Ok(place) = std::fs::File::open("/dev/shm") else {
            return;
        };
        assert!(!keeps_order(&place));
        assert!(!keeps_order(&std::fs::File::open("/proc").unwrap()));
    }

    /// Most of what follows is tried by tests/crash, on file systems of its own.
    #[test]
    fn what_keeps_order_can_be_flushed_whole() {
        let dir = Dir::open(std::env::temp_dir()).unwrap();
        if keeps_order(&dir) {
            assert_eq!(reach(&dir), Reach::Everything);
        }
    }
}
