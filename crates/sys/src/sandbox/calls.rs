//! Which system calls belong to which promise.
//!
//! Both the C libraries of Linux are served: one makes a plain `open` where the other makes an `openat`.

use libc::c_long;

use super::{Access, Network, Promises};

/// What happens to a call. One without a verdict fails as if the kernel did not have it (`ENOSYS`), so that a library
/// falls back to what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    /// ends the process: nothing but an intruder makes this call
    Kill,
    /// allowed if none of these bits is set in this argument, else `EACCES`
    Without(u32, u32),
    /// allowed if all of these bits are set in this argument, else `EACCES`
    With(u32, u32),
    /// allowed if this argument is one of these numbers, else `EACCES`
    OneOf(u32, &'static [u32]),
    /// `socket`, allowed for these families, streams and packets, and the usual protocol of each: Landlock holds the
    /// ports of TCP only, and MPTCP or SCTP would go past it
    Socket(&'static [u32]),
    /// allowed if this argument is our process id, else `EACCES`
    OwnProcess(u32),
}

/// What every program may do: use what it has, wait, look at itself, end.
const ALWAYS: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fadvise64,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_setitimer,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_umask,
    libc::SYS_sched_yield,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // On sockets that a program was given.
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_accept4,
    // Waiting for many of them, and for each other.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
];

/// Those of them that only one kind of processor has.
#[cfg(target_arch = "x86_64")]
const ALWAYS_OLD: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_alarm,
    libc::SYS_time,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const ALWAYS_OLD: &[c_long] = &[];

/// With paths: looking around in directories. `open` has a rule of its own.
const LOOK: &[c_long] = &[
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_fstatfs,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    // Where a path really leads to, as fs::canonicalize finds it.
    libc::SYS_getcwd,
    // Being told of new names.
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
];
#[cfg(target_arch = "x86_64")]
const LOOK_OLD: &[c_long] = &[libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const LOOK_OLD: &[c_long] = &[];

/// Removing names.
const REMOVE: &[c_long] = &[libc::SYS_unlinkat];
#[cfg(target_arch = "x86_64")]
const REMOVE_OLD: &[c_long] = &[libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const REMOVE_OLD: &[c_long] = &[];

/// Making, linking and moving files; their modes, which Landlock does not look at.
const MAKE: &[c_long] = &[
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_syncfs,
];
#[cfg(target_arch = "x86_64")]
const MAKE_OLD: &[c_long] = &[libc::SYS_link, libc::SYS_rename];
#[cfg(not(target_arch = "x86_64"))]
const MAKE_OLD: &[c_long] = &[];

/// A thread, beside `clone`, which has a rule of its own. `clone3` hides what it makes from the filter; a C library that is
/// told that there is none makes its threads by `clone`.
const THREADS: &[c_long] = &[
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
];

/// Everything about sockets.
const SOCKETS: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
];

/// Nothing but an intruder does these. What else is not allowed fails, and that is enough.
const KILL: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace];

/// FIONBIO, FIONREAD and TCGETS, and where the content of a file lies: questions about a descriptor; nothing that acts on
/// a terminal.
const IOCTLS: &[u32] = &[0x5421, 0x541b, 0x5401, crate::volume::GET_ATTRIBUTES];
const INTERNET: &[u32] = &[libc::AF_INET as u32, libc::AF_INET6 as u32];
const LOCAL: &[u32] = &[libc::AF_UNIX as u32];

/// Bits of `open` that change something.
const WRITING: u32 =
    (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY))
        as u32;
/// Bits that make something new.
const MAKING: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;
/// A way to connect that Landlock does not see.
const CONNECTING: u32 = libc::MSG_FASTOPEN as u32;
/// What `clone` is told for a thread, and only for a thread.
const THREAD: u32 = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u32;
/// Memory that could hold machine code.
const CODE: u32 = libc::PROT_EXEC as u32;

/// The verdicts; each number once.
pub(super) fn table(promises: &Promises) -> Vec<(u32, Verdict)> {
    let mut table = Table(Vec::with_capacity(128));
    table.all(ALWAYS, Verdict::Allow);
    table.all(ALWAYS_OLD, Verdict::Allow);
    table.all(KILL, Verdict::Kill);
    table.one(libc::SYS_ioctl, Verdict::OneOf(1, IOCTLS));
    table.one(libc::SYS_sendto, Verdict::Without(3, CONNECTING));
    table.one(libc::SYS_sendmsg, Verdict::Without(2, CONNECTING));
    table.one(libc::SYS_mmap, Verdict::Without(2, CODE));
    table.one(libc::SYS_mprotect, Verdict::Without(2, CODE));
    // Limits are to be read, so the pointer to new ones is null.
    table.one(libc::SYS_prlimit64, Verdict::OneOf(2, &[0]));
    // abort() ends us by a signal to ourselves.
    table.one(libc::SYS_tgkill, Verdict::OwnProcess(0));

    if promises.threads {
        table.all(THREADS, Verdict::Allow);
        table.one(libc::SYS_clone, Verdict::With(0, THREAD));
    }
    files(promises, &mut table);
    match promises.network {
        Network::None => {}
        Network::Any => table.all(SOCKETS, Verdict::Allow),
        Network::Clients(_) => {
            table.one(libc::SYS_socket, Verdict::Socket(INTERNET));
            table.one(libc::SYS_connect, Verdict::Allow);
            // For a port that nobody can guess, under a question over UDP.
            table.one(libc::SYS_bind, Verdict::Allow);
        }
        Network::Local => {
            table.one(libc::SYS_socket, Verdict::Socket(LOCAL));
            table.one(libc::SYS_connect, Verdict::Allow);
            table.one(libc::SYS_socketpair, Verdict::OneOf(0, LOCAL));
        }
    }

    table.0
}

fn files(promises: &Promises, table: &mut Table) {
    if promises.paths.is_empty() {
        return;
    }
    table.all(LOOK, Verdict::Allow);
    table.all(LOOK_OLD, Verdict::Allow);
    let open = |flags: u32| {
        if promises.reaches(Access::Make) {
            Verdict::Allow
        } else if promises.reaches(Access::Write) {
            Verdict::Without(flags, MAKING)
        } else {
            Verdict::Without(flags, WRITING)
        }
    };
    table.one(libc::SYS_openat, open(2));
    #[cfg(target_arch = "x86_64")]
    table.one(libc::SYS_open, open(1));
    if promises.reaches(Access::Remove) || promises.reaches(Access::Make) {
        table.all(REMOVE, Verdict::Allow);
        table.all(REMOVE_OLD, Verdict::Allow);
    }
    if promises.reaches(Access::Make) {
        table.all(MAKE, Verdict::Allow);
        table.all(MAKE_OLD, Verdict::Allow);
    }
}

struct Table(Vec<(u32, Verdict)>);

impl Table {
    fn one(&mut self, call: c_long, verdict: Verdict) {
        // The numbers of both processors fit.
        self.0
            .extend(u32::try_from(call).ok().map(|n| (n, verdict)));
    }

    fn all(&mut self, calls: &[c_long], verdict: Verdict) {
        for &call in calls {
            self.one(call, verdict);
        }
    }
}
