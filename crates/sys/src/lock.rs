//! Whole-file locks (flock).

use std::io;
use std::os::fd::AsRawFd;

fn flock(fd: &impl AsRawFd, operation: libc::c_int) -> io::Result<()> {
    // SAFETY: flock takes a number and flags; a bad number is EBADF.
    if unsafe { libc::flock(fd.as_raw_fd(), operation) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes the exclusive lock if it is free. `Ok(false)`: somebody else holds it.
pub fn try_exclusive(fd: &impl AsRawFd) -> io::Result<bool> {
    match flock(fd, libc::LOCK_EX | libc::LOCK_NB) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

/// Takes the exclusive lock, or fails at once.
///
/// # Errors
/// `WouldBlock`, the kernel's own, when somebody else holds it.
pub fn exclusive_now(fd: &impl AsRawFd) -> io::Result<()> {
    flock(fd, libc::LOCK_EX | libc::LOCK_NB)
}

/// Waits for the exclusive lock.
///
/// Waits   without limit of its own; set `signal::alarm` with a caught SIGALRM, which ends it with `Interrupted`.
pub fn exclusive(fd: &impl AsRawFd) -> io::Result<()> {
    flock(fd, libc::LOCK_EX)
}

/// Gives the lock back.
pub fn unlock(fd: &impl AsRawFd) -> io::Result<()> {
    flock(fd, libc::LOCK_UN)
}
