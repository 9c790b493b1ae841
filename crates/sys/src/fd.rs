//! Descriptors: which are open, taking them by number, pipes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

/// One bit for each of the descriptors 0 to 63 that was open when the process began.
static OPEN_AT_START: AtomicU64 = AtomicU64::new(0);
/// One bit for each descriptor that `take` has given away.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// What the caller had set for SIGPIPE: 1 if ignored.
static SIGPIPE_WAS_IGNORED: AtomicI32 = AtomicI32::new(0);

/// Runs before the Rust runtime, which opens /dev/null in place of closed standard descriptors and ignores
/// SIGPIPE: both would hide from a program what its caller gave it.
extern "C" fn look() {
    let mut list = [const {
        libc::pollfd {
            fd: 0,
            events: 0,
            revents: 0,
        }
    }; 64];
    for (entry, number) in list.iter_mut().zip(0..) {
        entry.fd = number;
    }
    // One call for all: a closed descriptor gives POLLNVAL. More entries than the limit of open files are refused, so
    // under a small limit fewer are asked for; above it nothing can be open but what was opened before it was lowered.
    let mut count: libc::nfds_t = 64;
    // SAFETY: `list` has at least `count` entries; a timeout of 0 does not wait.
    while count > 0 && unsafe { libc::poll(list.as_mut_ptr(), count, 0) } < 0 {
        count /= 2;
    }
    let asked = list.iter().take(usize::try_from(count).unwrap_or(0));
    let open = asked
        .filter(|e| e.revents & libc::POLLNVAL == 0)
        .fold(0u64, |open, e| open | 1 << e.fd);
    OPEN_AT_START.store(open, Ordering::Relaxed);
    // SAFETY: sigaction with a null new action only reads; `old` is a plain C struct, valid when zeroed.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
        {
            SIGPIPE_WAS_IGNORED.store(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: the section holds pointers to functions of this type, which the loader calls before `main`. `look`
// touches only atomics and asks the kernel.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Puts back the SIGPIPE that the process inherited. Called once by `base::run`.
pub fn restore_sigpipe() {
    let handler = if SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed) == 1 {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    // SAFETY: setting a signal to its default or to ignored runs no code of ours.
    unsafe {
        libc::signal(libc::SIGPIPE, handler);
    }
}

/// Whether descriptor `number` (0 to 63) was open when the process began.
pub fn was_open(number: RawFd) -> bool {
    (0..64).contains(&number) && OPEN_AT_START.load(Ordering::Relaxed) & (1 << number) != 0
}

/// Takes ownership of a descriptor that the caller of this program handed over, by its number.
///
/// The descriptor is set close-on-exec: a child gets it only if it is listed for the child.
///
/// # Errors
/// `EBADF` when the number was closed at the start or has been taken before.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    if !was_open(number) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    if TAKEN.fetch_or(1 << number, Ordering::SeqCst) & (1 << number) != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the descriptor was open at the start, which nothing in this process opened, and `TAKEN` gives each
    // number away once; std only borrows 0, 1 and 2.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    close_on_exec(&fd, true)?;
    Ok(fd)
}

/// A descriptor by number, borrowed for the whole run: for a program that hands it on or asks about it.
///
/// # Errors
/// `EBADF` when it was closed at the start.
pub fn inherited(number: RawFd) -> io::Result<BorrowedFd<'static>> {
    if !was_open(number) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: open at the start; a program that also `take`s the same number and drops it would make this stale, and
    // then the kernel answers EBADF: no memory is at risk.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

/// Sets or clears close-on-exec.
pub fn close_on_exec(fd: &impl AsRawFd, on: bool) -> io::Result<()> {
    let flags = if on {
        FdFlag::FD_CLOEXEC
    } else {
        FdFlag::empty()
    };
    fcntl(borrow(fd), FcntlArg::F_SETFD(flags)).map_err(crate::error)?;
    Ok(())
}

/// Marks every open descriptor from `first` up close-on-exec: a program started from here on gets only what it is
/// given. For programs that start others as another user.
pub fn close_on_exec_from(first: RawFd) {
    #[cfg(target_os = "linux")]
    {
        let first = libc::c_uint::try_from(first).unwrap_or(0);
        // SAFETY: changes flags of our own descriptors only; a kernel without the call says so.
        let done = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                first,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        if done == 0 {
            return;
        }
    }
    for number in (first..64).filter(|&n| was_open(n)) {
        if let Ok(fd) = inherited(number) {
            let _ = close_on_exec(&fd, true);
        }
    }
}

/// Sets or clears non-blocking mode. The mode belongs to the open file, so it is shared with other holders.
pub fn nonblocking(fd: &impl AsRawFd, on: bool) -> io::Result<()> {
    let old = fcntl(borrow(fd), FcntlArg::F_GETFL).map_err(crate::error)?;
    let mut flags = OFlag::from_bits_truncate(old);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(borrow(fd), FcntlArg::F_SETFL(flags)).map_err(crate::error)?;
    Ok(())
}

/// A pipe: first the end to read from, then the end to write to. Both close-on-exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(crate::error)
}

/// Reads once. Interrupted calls are reported as such, so that a caller can look at its signals.
pub fn read(fd: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<usize> {
    nix::unistd::read(borrow(fd), buffer).map_err(crate::error)
}

/// Writes once, as much as goes.
pub fn write(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    nix::unistd::write(borrow(fd), bytes).map_err(crate::error)
}

/// A descriptor that somebody else owns, one call of the kernel for each read and write: for those who ask for a `Read` or a
/// `Write` and deal with what is not there yet.
#[derive(Debug)]
pub struct Raw<'a, F>(pub &'a F);

impl<F: AsRawFd> io::Read for Raw<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read(self.0, buffer)
    }
}

impl<F: AsRawFd> io::Write for Raw<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all, going on after interruptions. Not for non-blocking descriptors.
pub fn write_all(fd: &impl AsRawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The open file of `with` takes the place of the one that descriptor `number` stands for; whoever uses that number from
/// now on means the new one. `number` stays close-on-exec, or not, as it was.
pub fn replace(number: RawFd, with: OwnedFd) -> io::Result<()> {
    // SAFETY: asks about a number and changes what it stands for: a holder of it goes on holding an open file.
    unsafe {
        let flags = libc::fcntl(number, libc::F_GETFD);
        let keep = if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
            libc::O_CLOEXEC
        } else {
            0
        };
        if with.as_raw_fd() == number {
            let _ = with.into_raw_fd();
            return Ok(());
        }
        while libc::dup3(with.as_raw_fd(), number, keep) < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Makes an open descriptor one that this process looks upon as given by its caller: programs that it starts would get
/// it, `was_open` knows it, and it can be taken once. Returns its number.
///
/// # Errors
/// `EBADF`: its number is too large for that; it is closed.
pub fn adopt(fd: OwnedFd) -> io::Result<RawFd> {
    let number = fd.as_raw_fd();
    if !(3..64).contains(&number) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    close_on_exec(&fd, false)?;
    let number = fd.into_raw_fd();
    OPEN_AT_START.fetch_or(1 << number, Ordering::SeqCst);
    TAKEN.fetch_and(!(1 << number), Ordering::SeqCst);
    Ok(number)
}

/// Borrows any descriptor holder for the length of a call.
pub(crate) fn borrow<T: AsRawFd>(fd: &T) -> BorrowedFd<'_> {
    // SAFETY: the number belongs to `fd`, which stays borrowed as long as the result.
    unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_gets_another_file() {
        let (old_reader, _old_writer) = pipe().unwrap();
        let (reader, writer) = pipe().unwrap();
        write_all(&writer, b"x").unwrap();
        let number = old_reader.as_raw_fd();
        replace(number, reader).unwrap();
        let mut buffer = [0; 2];
        assert_eq!(read(&old_reader, &mut buffer).unwrap(), 1);
        let flags = fcntl(borrow(&old_reader), FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        close_on_exec(&old_reader, false).unwrap();
        let (reader, _writer) = pipe().unwrap();
        replace(number, reader).unwrap();
        let flags = fcntl(borrow(&old_reader), FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, 0);
    }
}
