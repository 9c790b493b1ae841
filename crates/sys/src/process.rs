//! This process and its children's ends.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask as set_umask};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// it left with this code
    Exit(u8),
    /// this signal ended it
    Signal(i32),
}

impl End {
    /// Whether it left with code 0.
    pub fn is_success(self) -> bool {
        self == End::Exit(0)
    }
}

fn end(status: libc::c_int) -> Option<End> {
    if libc::WIFEXITED(status) {
        Some(End::Exit(
            u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(255),
        ))
    } else if libc::WIFSIGNALED(status) {
        Some(End::Signal(libc::WTERMSIG(status)))
    } else {
        None
    }
}

fn wait(pid: libc::pid_t, flags: libc::c_int) -> io::Result<Option<(u32, End)>> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    let found = unsafe { libc::waitpid(pid, &raw mut status, flags) };
    match found {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(end(status).map(|e| (found.unsigned_abs(), e))),
    }
}

/// Takes the end of any child that has ended. `None`: none has (or there are no children).
pub fn ended() -> Option<(u32, End)> {
    loop {
        match wait(-1, libc::WNOHANG) {
            Ok(found) => return found,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Takes the wait status of any child that has ended, as the kernel gives it: exit code times 256, or the signal, plus
/// 128 if the child left a core. Logs show this number. `None`: none has ended (or there are no children).
pub fn ended_status() -> Option<(u32, i32)> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the answer.
        let found = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if found > 0 {
            return Some((found.unsigned_abs(), status));
        }
        if found == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Takes the end of child `pid` if it has ended.
pub fn ended_pid(pid: u32) -> io::Result<Option<End>> {
    Ok(wait(pid as libc::pid_t, libc::WNOHANG)?.map(|(_, e)| e))
}

/// Waits for child `pid`, going on after signals.
pub fn wait_for(pid: u32) -> io::Result<End> {
    loop {
        match wait(pid as libc::pid_t, 0) {
            Ok(Some((_, end))) => return Ok(end),
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Waits for child `pid`, at most `limit`. `Ok(None)`: it still runs.
pub fn wait_within(pid: u32, limit: Duration) -> io::Result<Option<End>> {
    /// Between two looks, where the kernel cannot tell us.
    const STEP: Duration = Duration::from_millis(10);
    let end = Instant::now() + limit;
    let watch = watch(pid);
    loop {
        if let Some(found) = ended_pid(pid)? {
            return Ok(Some(found));
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        match &watch {
            Some(fd) => match crate::poll::readable(fd, left) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            },
            None => std::thread::sleep(STEP.min(left)),
        }
    }
}

/// A descriptor that becomes readable when process `pid` ends, where the kernel has such.
#[cfg(target_os = "linux")]
fn watch(pid: u32) -> Option<OwnedFd> {
    // SAFETY: makes a descriptor or says why not; looks at no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it. It is close-on-exec.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(not(target_os = "linux"))]
fn watch(_: u32) -> Option<OwnedFd> {
    None
}

/// Gets hold of process `pid` as a debugger does, without stopping it, until this process ends: the step that lets one
/// read and change the other's memory. For tests of what must not be possible.
#[cfg(target_os = "linux")]
pub fn seize(pid: u32) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request looks at no memory of ours.
    let done = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid as libc::pid_t, nothing, nothing) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets the file mode creation mask.
pub fn umask(mask: u32) {
    set_umask(Mode::from_bits_truncate(mask));
}

/// The machine's own name.
pub fn hostname() -> Vec<u8> {
    nix::unistd::gethostname()
        .map(std::ffi::OsString::into_encoded_bytes)
        .unwrap_or_default()
}

/// Makes this process the leader of a new session. Trouble is ignored: a leader already is one.
pub fn new_session() {
    let _ = nix::unistd::setsid();
}

/// Makes this process the leader of a new process group.
pub fn new_group() -> io::Result<()> {
    nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0))
        .map_err(crate::error)
}

/// Makes a copy of this process.
///
/// The body of `child` runs in a forked copy of this process, and its result is the exit code.
///
/// # Errors
/// No process could be made.
pub fn fork(child: impl FnOnce() -> u8) -> io::Result<u32> {
    // SAFETY: no program of this suite runs threads, so the copy may go on with everything that it inherited.
    match unsafe { nix::unistd::fork() }.map_err(crate::error)? {
        nix::unistd::ForkResult::Parent { child } => Ok(child.as_raw().unsigned_abs()),
        nix::unistd::ForkResult::Child => {
            let code = child();
            // SAFETY: _exit does not return and runs no code of ours.
            unsafe { libc::_exit(i32::from(code)) }
        }
    }
}

/// Makes a copy of this process that is a child of our parent, as we are: it hears of its end, we never do. `None`: this
/// is the copy, which goes on with everything that we have. `Some`: its process id.
///
/// # Errors
/// No process could be made. Where the kernel has no such call, `Unsupported`.
pub fn fork_sibling() -> io::Result<Option<u32>> {
    #[cfg(target_os = "linux")]
    {
        let flags = libc::CLONE_PARENT | libc::SIGCHLD;
        // SAFETY: without a stack of its own and without shared memory this is fork, save for who is the parent. No
        // program of this suite that copies itself runs threads, so the copy finds no lock held.
        let made = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        match made {
            0 => {
                IS_COPY.store(true, Ordering::Relaxed);
                Ok(None)
            }
            -1 => Err(io::Error::last_os_error()),
            pid => u32::try_from(pid)
                .map(Some)
                .map_err(|_| io::ErrorKind::InvalidData.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether this kernel has what `fork_sibling` needs.
pub fn can_fork_sibling() -> bool {
    cfg!(target_os = "linux")
}

/// Set in a copy that `fork_sibling` has made.
static IS_COPY: AtomicBool = AtomicBool::new(false);

/// Ends this process with `code` at once if it is a copy that `fork_sibling` has made. What a C library does at the end
/// is for programs that it has started; a copy has nothing that waits for it.
pub fn end_copy(code: u8) {
    if IS_COPY.load(Ordering::Relaxed) {
        // SAFETY: _exit does not return and runs no code of ours.
        unsafe { libc::_exit(i32::from(code)) }
    }
}

/// The environment of this process is from now on exactly the words in `text`: `NAME=VALUE`, with a NUL after each.
///
/// # Errors
/// The last word has no NUL after it; nothing has changed.
pub fn set_environment(text: Vec<u8>) -> io::Result<()> {
    if text.last().is_some_and(|&b| b != 0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let text: &'static mut [u8] = text.leak();
    let mut list: Vec<*mut libc::c_char> = text
        .split_inclusive_mut(|&b| b == 0)
        .map(|word| word.as_mut_ptr().cast())
        .collect();
    list.push(std::ptr::null_mut());
    let list: &'static mut [*mut libc::c_char] = list.leak();
    // SAFETY: the C library asks for no more than a list of C strings that ends with a null pointer; each word ends with
    // a NUL, and neither list nor words are ever freed. No program of this suite that calls this runs threads, so nobody
    // reads the old list.
    unsafe {
        environ = list.as_mut_ptr();
    }
    Ok(())
}

unsafe extern "C" {
    /// of the C library: what getenv searches
    static mut environ: *mut *mut libc::c_char;
}
