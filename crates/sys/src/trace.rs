//! The system calls of other processes, one by one: to be listed, refused, shortened, or ended with their process. For
//! tests; no program of the suite uses it.
//!
//! Source  ptrace(2)

use std::io;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a traced process or thread stopped at. The number is its own; that of the process may be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// a call is about to be made
    Entry(u32, Request),
    /// a call came back
    Return(u32),
    /// it has become another program
    Exec(u32),
    /// it got a signal, which `go` hands on
    Signal(u32, Signal),
    /// something else: it was just made, or made another
    Other(u32),
    /// it is gone and need not be let go on
    Gone(u32),
}

/// A call: its number and its first three arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// as `libc::SYS_` says
    pub number: u64,
    /// the arguments
    pub words: [u64; 3],
}

/// How far a stopped process goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// to the next entry or return of a call
    Call,
    /// to the next signal, exec or child
    Event,
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number as i32)
}

/// Gets hold of a running process and, from now on, of all that it makes. They run on without us when we end.
pub fn seize(process: u32) -> io::Result<()> {
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(pid(process), options).map_err(crate::error)
}

/// Stops a process that was seized and runs.
pub fn interrupt(process: u32) -> io::Result<()> {
    ptrace::interrupt(pid(process)).map_err(crate::error)
}

/// Waits for the next stop of any of them. `None`: none is left.
///
/// Waits   without end for processes that do nothing.
pub fn next() -> io::Result<Option<Stop>> {
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(status) => status,
            Err(Errno::ECHILD) => return Ok(None),
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(crate::error(e)),
        };
        let number = |pid: Pid| pid.as_raw().unsigned_abs();
        return Ok(Some(match status {
            WaitStatus::PtraceSyscall(who) => at_call(number(who)),
            WaitStatus::PtraceEvent(who, _, event)
                if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 =>
            {
                Stop::Exec(number(who))
            }
            WaitStatus::PtraceEvent(who, ..) => Stop::Other(number(who)),
            WaitStatus::Stopped(who, signal) => Stop::Signal(number(who), signal),
            WaitStatus::Exited(who, _) | WaitStatus::Signaled(who, ..) => Stop::Gone(number(who)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => continue,
        }));
    }
}

fn at_call(who: u32) -> Stop {
    // One that was killed meanwhile: its end comes next.
    let Ok(info) = ptrace::syscall_info(pid(who)) else {
        return Stop::Other(who);
    };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Stop::Return(who);
    }
    // SAFETY: `op` says that the kernel filled this member.
    let entry = unsafe { info.u.entry };
    let [first, second, third, ..] = entry.args;
    let request = Request {
        number: entry.nr,
        words: [first, second, third],
    };
    Stop::Entry(who, request)
}

/// Lets one go on, with its signal if that is why it stopped. One that is gone is no trouble.
pub fn go(process: u32, until: Until, signal: Option<Signal>) -> io::Result<()> {
    let done = match until {
        Until::Call => ptrace::syscall(pid(process), signal),
        Until::Event => ptrace::cont(pid(process), signal),
    };
    match done {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(crate::error(e)),
    }
}

/// At an entry: the call will not be made.
#[cfg(target_arch = "x86_64")]
pub fn refuse(process: u32) -> io::Result<()> {
    let mut registers = ptrace::getregs(pid(process)).map_err(crate::error)?;
    registers.orig_rax = u64::MAX;
    ptrace::setregs(pid(process), registers).map_err(crate::error)
}

/// At a return: the caller gets this error.
#[cfg(target_arch = "x86_64")]
pub fn answer(process: u32, errno: i32) -> io::Result<()> {
    let mut registers = ptrace::getregs(pid(process)).map_err(crate::error)?;
    registers.rax = i64::from(-errno) as u64;
    ptrace::setregs(pid(process), registers).map_err(crate::error)
}

/// At an entry: the third argument (the length, of a call that writes) becomes another.
#[cfg(target_arch = "x86_64")]
pub fn shorten(process: u32, length: u64) -> io::Result<()> {
    let mut registers = ptrace::getregs(pid(process)).map_err(crate::error)?;
    registers.rdx = length;
    ptrace::setregs(pid(process), registers).map_err(crate::error)
}

/// At an entry, on machines whose registers are not known here: nothing of a call can be changed.
#[cfg(not(target_arch = "x86_64"))]
pub fn refuse(_: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As `refuse`.
#[cfg(not(target_arch = "x86_64"))]
pub fn answer(_: u32, _: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// As `refuse`.
#[cfg(not(target_arch = "x86_64"))]
pub fn shorten(_: u32, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

macro_rules! calls {
    ($($name:ident)*) => {
        &[$((stringify!($name), libc::$name as u64)),*]
    };
}

/// The calls that a test may want to hear of, each with its constant's name.
#[cfg(target_arch = "x86_64")]
pub const CALLS: &[(&str, u64)] = calls!(
    SYS_write SYS_writev SYS_pwrite64 SYS_sendto SYS_sendmsg SYS_sendfile SYS_copy_file_range SYS_splice
    SYS_read SYS_readv SYS_pread64 SYS_recvfrom SYS_recvmsg
    SYS_open SYS_openat SYS_creat SYS_close SYS_dup SYS_dup2 SYS_dup3 SYS_fcntl SYS_flock SYS_lseek
    SYS_fsync SYS_fdatasync SYS_syncfs SYS_sync_file_range SYS_ftruncate SYS_fallocate
    SYS_link SYS_linkat SYS_unlink SYS_unlinkat SYS_rename SYS_renameat SYS_renameat2 SYS_symlinkat
    SYS_mkdir SYS_mkdirat SYS_rmdir SYS_mknodat SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_chmod
    SYS_chown SYS_utimensat SYS_getdents64 SYS_newfstatat SYS_stat SYS_lstat SYS_fstat SYS_statfs SYS_fstatfs
    SYS_chdir SYS_fchdir SYS_clone SYS_clone3 SYS_fork SYS_vfork SYS_execve SYS_wait4 SYS_waitid
    SYS_exit_group SYS_kill SYS_pipe SYS_pipe2 SYS_socketpair SYS_socket SYS_connect SYS_bind SYS_listen
    SYS_accept SYS_accept4 SYS_shutdown SYS_getsockopt SYS_setsockopt SYS_getpeername SYS_getsockname
    SYS_poll SYS_ppoll SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_wait SYS_eventfd2 SYS_inotify_init1
    SYS_inotify_add_watch SYS_alarm SYS_setitimer SYS_getrandom SYS_setrlimit SYS_prlimit64 SYS_mmap
);

/// Unknown registers: nothing can be listed either.
#[cfg(not(target_arch = "x86_64"))]
pub const CALLS: &[(&str, u64)] = &[];
