//! Signals. A caught signal only sets a flag and writes one byte into a pipe; the program acts on it in its loop.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

pub use nix::sys::signal::Signal;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction, sigprocmask,
};

static CAUGHT: AtomicU64 = AtomicU64::new(0);
static WAKE_READ: AtomicI32 = AtomicI32::new(-1);
static WAKE_WRITE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(number: libc::c_int) {
    CAUGHT.fetch_or(1u64 << (number & 63), Ordering::SeqCst);
    let fd = WAKE_WRITE.load(Ordering::SeqCst);
    if fd >= 0 {
        // SAFETY: write and errno are async-signal-safe; errno is put back for the code that was interrupted. A full
        // pipe is fine: it will wake the reader anyway.
        unsafe {
            let saved = *libc::__errno_location();
            libc::write(fd, std::ptr::from_ref(&0u8).cast(), 1);
            *libc::__errno_location() = saved;
        }
    }
}

/// One bit for each signal that has ever had a handler in this process: those of `catch`, and the two that the Rust runtime
/// takes for itself.
static HANDLED: AtomicU64 = AtomicU64::new(1 << libc::SIGSEGV | 1 << libc::SIGBUS);

/// The numbers of the signals that may have a handler.
pub(crate) fn handled() -> impl Iterator<Item = libc::c_int> {
    let bits = HANDLED.load(Ordering::SeqCst);
    (1..64).filter(move |number| bits & (1 << number) != 0)
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers used are default, ignore and `note`, which is async-signal-safe.
    unsafe { sigaction(signal, &action) }.map_err(crate::error)?;
    Ok(())
}

/// Catches `signal`: system calls that wait are interrupted, `pending` tells of it.
pub fn catch(signal: Signal) -> io::Result<()> {
    HANDLED.fetch_or(1 << (signal as i32 & 63), Ordering::SeqCst);
    set(signal, SigHandler::Handler(note))
}

/// Ignores `signal`.
pub fn ignore(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigIgn)
}

/// Gives `signal` its default action.
pub fn default(signal: Signal) -> io::Result<()> {
    set(signal, SigHandler::SigDfl)
}

/// Whether a caught `signal` came since the last call.
pub fn pending(signal: Signal) -> bool {
    let bit = 1u64 << (signal as i32 & 63);
    CAUGHT.fetch_and(!bit, Ordering::SeqCst) & bit != 0
}

/// A descriptor that becomes readable when a caught signal comes: poll it beside the others, then call `woken`.
///
/// This closes the gap between looking at `pending` and going to wait.
pub fn wake() -> io::Result<BorrowedFd<'static>> {
    if WAKE_READ.load(Ordering::SeqCst) < 0 {
        let (reader, writer) = crate::fd::pipe()?;
        crate::fd::nonblocking(&reader, true)?;
        crate::fd::nonblocking(&writer, true)?;
        WAKE_READ.store(reader.into_raw_fd(), Ordering::SeqCst);
        WAKE_WRITE.store(writer.into_raw_fd(), Ordering::SeqCst);
    }
    // SAFETY: the pipe is never closed once made.
    Ok(unsafe { BorrowedFd::borrow_raw(WAKE_READ.load(Ordering::SeqCst)) })
}

/// Empties the pipe of `wake`.
pub fn woken() {
    struct Raw(RawFd);
    impl AsRawFd for Raw {
        fn as_raw_fd(&self) -> RawFd {
            self.0
        }
    }
    let fd = WAKE_READ.load(Ordering::SeqCst);
    if fd >= 0 {
        let mut bytes = [0u8; 64];
        while matches!(crate::fd::read(&Raw(fd), &mut bytes), Ok(n) if n == bytes.len()) {}
    }
}

/// Forgets the pipe of `wake` without closing it: in a fresh copy of the process its numbers will be those of other
/// files, and a handler must not write there.
pub(crate) fn forget_wake() {
    WAKE_WRITE.store(-1, Ordering::SeqCst);
    WAKE_READ.store(-1, Ordering::SeqCst);
    CAUGHT.store(0, Ordering::SeqCst);
}

/// Holds `signal` back until `unblock`.
pub fn block(signal: Signal) -> io::Result<()> {
    mask(SigmaskHow::SIG_BLOCK, signal)
}

/// Lets `signal` through again.
pub fn unblock(signal: Signal) -> io::Result<()> {
    mask(SigmaskHow::SIG_UNBLOCK, signal)
}

/// Lets every signal through: a child may start with signals held back by its parent.
pub fn unblock_all() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(crate::error)
}

fn mask(how: SigmaskHow, signal: Signal) -> io::Result<()> {
    let mut set = SigSet::empty();
    set.add(signal);
    sigprocmask(how, Some(&set), None).map_err(crate::error)
}

/// Sends SIGALRM to this process after `seconds`; 0 takes an earlier request back.
pub fn alarm(seconds: u32) {
    // SAFETY: alarm only sets a timer.
    unsafe {
        libc::alarm(seconds);
    }
}

/// Sends `signal` to one process.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    if pid == 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).map_err(crate::error)
}

/// Sends `signal` to every process of the group that `pid` leads.
pub fn send_group(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    if pid == 0 {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), signal).map_err(crate::error)
}
