//! Being told of new names in directories, where the kernel can tell (inotify of Linux).

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// a directory has a new name
    Name(Vec<u8>),
    /// more has happened than the kernel could remember: look yourself
    Lost,
}

/// Directories that are watched.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
}

#[cfg(target_os = "linux")]
impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(target_os = "linux")]
impl Watch {
    /// Bytes read at once.
    const PIECE: usize = 16 * 1024;

    /// Watches nothing yet. It is closed on exec, and reads never wait.
    ///
    /// # Errors
    /// The kernel cannot, or has no more of them to give.
    pub fn new() -> io::Result<Watch> {
        // SAFETY: takes flags, gives a descriptor or -1.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Watch { fd })
    }

    /// Watches a directory for names that are made or moved there.
    pub fn add(&self, dir: &[u8]) -> io::Result<()> {
        let dir = std::ffi::CString::new(dir)?;
        let events = libc::IN_CREATE | libc::IN_MOVED_TO | libc::IN_ONLYDIR;
        // SAFETY: `dir` ends with a NUL and outlives the call.
        let done = unsafe { libc::inotify_add_watch(self.fd.as_raw_fd(), dir.as_ptr(), events) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// What has happened since the last time. Names are without their directory.
    ///
    /// # Errors
    /// `WouldBlock`: nothing.
    pub fn read(&self) -> io::Result<Vec<News>> {
        const HEAD: usize = size_of::<libc::inotify_event>();
        let mut piece = vec![0; Self::PIECE];
        let count = crate::fd::read(&self.fd, &mut piece)?;
        let mut rest = piece.get(..count).unwrap_or_default();
        let mut all = Vec::new();
        // Each event: watch, mask, cookie, length of the name with its padding, each of four bytes; the name.
        while let (Some(head), Some(after)) = (rest.get(..HEAD), rest.get(HEAD..)) {
            let word = |at: usize| {
                let bytes = head.get(at..at + 4).and_then(|b| b.try_into().ok());
                bytes.map_or(0, u32::from_ne_bytes)
            };
            let length = usize::try_from(word(12)).unwrap_or(usize::MAX);
            if word(4) & libc::IN_Q_OVERFLOW != 0 {
                all.push(News::Lost);
            }
            let (name, next) = after.split_at_checked(length).unwrap_or((after, &[]));
            let name = name.split(|&b| b == 0).next().unwrap_or_default();
            if !name.is_empty() {
                all.push(News::Name(name.to_vec()));
            }
            rest = next;
        }
        Ok(all)
    }
}

/// Elsewhere nobody is told.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Watch {
    never: std::os::fd::OwnedFd,
}

#[cfg(not(target_os = "linux"))]
impl std::os::fd::AsRawFd for Watch {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.never.as_raw_fd()
    }
}

#[cfg(not(target_os = "linux"))]
impl Watch {
    /// # Errors
    /// Always.
    pub fn new() -> io::Result<Watch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// # Errors
    /// Always.
    pub fn add(&self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// # Errors
    /// Always.
    pub fn read(&self) -> io::Result<Vec<News>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn new_names_are_told_in_their_order() {
        let dir = std::env::temp_dir().join(format!("qmail-rs-watch-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let watch = Watch::new().unwrap();
        watch.add(dir.as_os_str().as_encoded_bytes()).unwrap();
        assert_eq!(watch.read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for name in ["1", "a longer name", "23"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        std::fs::remove_file(dir.join("1")).unwrap();
        let told = watch.read().unwrap();
        let names = ["1", "a longer name", "23"].map(|n| News::Name(n.into()));
        assert_eq!(told, names);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(watch.add(b"/nonexistent").is_err());
    }
}
