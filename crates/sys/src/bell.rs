//! A bell between a process and its copies: who holds it may ring, and rings are counted until somebody hears them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A bell; close-on-exec. Copies of this process hold the same one.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// Out of descriptors; `Unsupported` where the kernel has none.
    pub fn new() -> io::Result<Bell> {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: numbers only.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
            Ok(Bell(unsafe {
                <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd)
            }))
        }
        #[cfg(not(target_os = "linux"))]
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Rings once. Never waits.
    pub fn ring(&self) -> io::Result<()> {
        crate::fd::write(&self.0, &1u64.to_ne_bytes()).map(drop)
    }

    /// How often it has been rung since it was heard last; waits for the first time.
    ///
    /// # Errors
    /// `TimedOut`: nobody has, for `wait`.
    pub fn heard(&self, wait: Duration) -> io::Result<u64> {
        let mut count = [0; 8];
        loop {
            match crate::fd::read(&self.0, &mut count) {
                Ok(_) => return Ok(u64::from_ne_bytes(count)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !crate::poll::readable(&self.0, wait)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(e) => return Err(e),
            }
        }
    }
}

/// For waiting for it with others: a bell that has been rung is readable.
impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn rings_are_counted_until_heard() {
        let bell = Bell::new().unwrap();
        let silent = bell.heard(Duration::from_millis(1)).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
        for _ in 0..3 {
            bell.ring().unwrap();
        }
        assert_eq!(bell.heard(Duration::ZERO).unwrap(), 3);
        assert!(bell.heard(Duration::ZERO).is_err());
        std::thread::scope(|scope| {
            scope.spawn(|| bell.ring().unwrap());
            assert_eq!(bell.heard(Duration::from_mins(1)).unwrap(), 1);
        });
    }
}
