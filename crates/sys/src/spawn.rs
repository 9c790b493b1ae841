//! Starting programs.
//!
//! The child is made without copying the parent's memory (Linux: the kernel's vfork class), so the cost does not grow
//! with the parent. Everything the child needs is prepared before; between birth and exec it makes system calls only.

use std::env;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use crate::dir::c_string;
use crate::ids::Ids;

/// Where programs are looked for when PATH is not set.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// A program to start, or to become.
#[derive(Debug)]
pub struct Spawn<'a> {
    program: Vec<u8>,
    args: Vec<Vec<u8>>,
    env: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    search: Option<Vec<u8>>,
    fds: Vec<(RawFd, BorrowedFd<'a>)>,
    closed: Vec<RawFd>,
    ids: Option<Ids>,
    dir: Option<Vec<u8>>,
    new_session: bool,
    new_group: bool,
    own_pid: Option<Vec<u8>>,
    announced: Option<(BorrowedFd<'a>, Vec<Vec<u8>>)>,
    failure_code: u8,
}

/// The whole environment of this process, as bytes.
pub fn environment() -> Vec<(Vec<u8>, Vec<u8>)> {
    env::vars_os()
        .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
        .collect()
}

impl<'a> Spawn<'a> {
    /// Starts `program`: a path if it has a slash, else looked up in PATH. The zeroth argument is `program`.
    pub fn new(program: impl AsRef<[u8]>) -> Spawn<'a> {
        let program = program.as_ref().to_vec();
        Spawn {
            args: vec![program.clone()],
            program,
            env: None,
            search: None,
            fds: Vec::new(),
            closed: Vec::new(),
            ids: None,
            dir: None,
            new_session: false,
            new_group: false,
            own_pid: None,
            announced: None,
            failure_code: 127,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(arg.as_ref().to_vec());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<T: AsRef<[u8]>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_vec()));
        self
    }

    /// Another zeroth argument.
    #[must_use]
    pub fn arg0(mut self, arg0: impl AsRef<[u8]>) -> Self {
        if let Some(first) = self.args.first_mut() {
            *first = arg0.as_ref().to_vec();
        }
        self
    }

    /// The exact environment of the child. Without this call it gets ours.
    #[must_use]
    pub fn env(mut self, env: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        self.env = Some(env);
        self
    }

    /// Sets one variable on top of the child's environment so far.
    #[must_use]
    pub fn set(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let env = self.env.get_or_insert_with(environment);
        env.retain(|(n, _)| n != name.as_ref());
        env.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Takes one variable away.
    #[must_use]
    pub fn unset(mut self, name: impl AsRef<[u8]>) -> Self {
        self.env
            .get_or_insert_with(environment)
            .retain(|(n, _)| n != name.as_ref());
        self
    }

    /// Looks the program up in `path` instead of the PATH that the child gets.
    #[must_use]
    pub fn search(mut self, path: impl AsRef<[u8]>) -> Self {
        self.search = Some(path.as_ref().to_vec());
        self
    }

    /// Looks the program up in the PATH of this process, whatever PATH the child gets.
    #[must_use]
    pub fn search_here(self) -> Self {
        let path =
            env::var_os("PATH").map_or(DEFAULT_PATH.to_vec(), |path| path.as_bytes().to_vec());
        self.search(path)
    }

    /// Gives the child `fd` as descriptor `number`. Descriptors that are not listed and not close-on-exec (those that
    /// our own caller gave us, and that nobody `take`d) pass through unchanged.
    #[must_use]
    pub fn fd(mut self, number: RawFd, fd: BorrowedFd<'a>) -> Self {
        self.fds.push((number, fd));
        self
    }

    /// Gives the child no descriptor `number`.
    #[must_use]
    pub fn without_fd(mut self, number: RawFd) -> Self {
        self.closed.push(number);
        self
    }

    /// The child becomes this user before it runs the program. Only root can.
    #[must_use]
    pub fn ids(mut self, ids: Ids) -> Self {
        self.ids = Some(ids);
        self
    }

    /// The child's working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<[u8]>) -> Self {
        self.dir = Some(dir.as_ref().to_vec());
        self
    }

    /// The child leads a new session.
    #[must_use]
    pub fn new_session(mut self) -> Self {
        self.new_session = true;
        self
    }

    /// The child leads a new process group.
    #[must_use]
    pub fn new_group(mut self) -> Self {
        self.new_group = true;
        self
    }

    /// Sets one variable of the child to the child's own process id, in decimal: the `LISTEN_PID` of handed sockets.
    #[must_use]
    pub fn own_pid(mut self, name: impl AsRef<[u8]>) -> Self {
        self = self.unset(name.as_ref());
        self.own_pid = Some(name.as_ref().to_vec());
        self
    }

    /// The child writes `pieces` to `fd`, with its own process id in decimal between each two of them, when everything
    /// else is ready and before it runs the program. Trouble with that is ignored.
    #[must_use]
    pub fn announce(mut self, fd: BorrowedFd<'a>, pieces: Vec<Vec<u8>>) -> Self {
        self.announced = Some((fd, pieces));
        self
    }

    fn prepare(&self) -> io::Result<Prepared> {
        let args = self
            .args
            .iter()
            .map(|a| c_string(a))
            .collect::<io::Result<Vec<_>>>()?;
        let variables = match &self.env {
            Some(list) => list.clone(),
            None => environment(),
        };
        let env = variables
            .iter()
            .map(|(name, value)| c_string(&[name.as_slice(), b"=", value].concat()))
            .collect::<io::Result<Vec<_>>>()?;
        let files = if self.program.contains(&b'/') {
            vec![c_string(&self.program)?]
        } else {
            if self.program.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::ENOENT));
            }
            let path = self.search.clone().unwrap_or_else(|| {
                let found = variables.iter().find(|(n, _)| n == b"PATH");
                found.map_or(DEFAULT_PATH.to_vec(), |(_, v)| v.clone())
            });
            path.split(|&b| b == b':')
                .map(|place| {
                    let place = if place.is_empty() {
                        b".".as_slice()
                    } else {
                        place
                    };
                    c_string(&[place, b"/", &self.program].concat())
                })
                .collect::<io::Result<Vec<_>>>()?
        };
        let fds: Vec<(RawFd, RawFd)> = self
            .fds
            .iter()
            .map(|(n, fd)| (*n, fd.as_raw_fd()))
            .collect();
        let above = fds
            .iter()
            .map(|(n, _)| *n)
            .max()
            .unwrap_or(2)
            .saturating_add(1);
        Ok(Prepared {
            dir: self.dir.as_ref().map(|d| c_string(d)).transpose()?,
            arg_pointers: pointers(&args),
            env_pointers: pointers(&env)
                .into_iter()
                .chain([std::ptr::null()])
                .collect(),
            own_pid: self
                .own_pid
                .as_ref()
                .map(|name| OwnPid::new(name))
                .transpose()?,
            announced: self
                .announced
                .as_ref()
                .map(|(fd, pieces)| Announced::new(fd.as_raw_fd(), pieces)),
            failure_code: self.failure_code,
            raised: vec![-1; fds.len()],
            _args: args,
            _env: env,
            files,
            fds,
            above,
            closed: self.closed.clone(),
            ids: self.ids.clone(),
            new_session: self.new_session,
            new_group: self.new_group,
            error: 0,
        })
    }

    /// Starts the program. Returns the child's process id.
    ///
    /// # Errors
    /// No process could be made, or the child could not be set up, or the program could not be run: the error is the
    /// kernel's own, and there is no child.
    pub fn spawn(&self) -> io::Result<u32> {
        let mut prepared = self.prepare()?;
        start(&mut prepared)
    }

    /// As `spawn`, but there is a child even if the program could not be run: it ends with `code`, like any other
    /// child to be waited for. Returns its process id, and why the program could not be run.
    ///
    /// # Errors
    /// No process could be made.
    pub fn spawn_or_end(mut self, code: u8) -> io::Result<(u32, Option<io::Error>)> {
        self.failure_code = code;
        let mut prepared = self.prepare()?;
        born(&mut prepared)
    }

    /// Becomes the program after `last`, which runs when everything else is ready: for limits that would leave no
    /// memory to get ready with.
    ///
    /// # Errors
    /// What `last` answered, then nothing was run. `Ok` holds the reason why the program could not be run.
    pub fn exec_after<E>(&self, last: impl FnOnce() -> Result<(), E>) -> Result<io::Error, E> {
        let mut prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(e) => return Ok(e),
        };
        last()?;
        prepared.run();
        Ok(io::Error::from_raw_os_error(prepared.error))
    }

    /// Becomes the program. Returns only if that failed.
    pub fn exec(&self) -> io::Error {
        match self.prepare() {
            Ok(mut prepared) => {
                prepared.run();
                io::Error::from_raw_os_error(prepared.error)
            }
            Err(e) => e,
        }
    }
}

/// A variable of the environment that the child fills in: `NAME=`, digits and a NUL.
struct OwnPid {
    text: Vec<u8>,
    digits_at: usize,
}

impl OwnPid {
    /// Digits of the largest process id.
    const DIGITS: usize = 10;

    fn new(name: &[u8]) -> io::Result<OwnPid> {
        let mut text = c_string(name)?.into_bytes();
        text.push(b'=');
        let digits_at = text.len();
        text.resize(digits_at + Self::DIGITS + 1, 0);
        Ok(OwnPid { text, digits_at })
    }

    /// Writes the digits, without allocating.
    fn fill(&mut self, pid: u32) -> *const libc::c_char {
        let mut digits = [0u8; Self::DIGITS];
        let from = decimal(&mut digits, pid);
        for (place, digit) in self.text.iter_mut().skip(self.digits_at).zip(from) {
            *place = *digit;
        }
        self.text.as_ptr().cast()
    }
}

/// What the child says before it runs the program.
struct Announced {
    fd: RawFd,
    pieces: Vec<Vec<u8>>,
    /// room for all of it
    out: Vec<u8>,
}

impl Announced {
    fn new(fd: RawFd, pieces: &[Vec<u8>]) -> Announced {
        let size = pieces.iter().map(|p| p.len() + OwnPid::DIGITS).sum();
        Announced {
            fd,
            pieces: pieces.to_vec(),
            out: Vec::with_capacity(size),
        }
    }

    /// Writes it, without allocating: `out` has the room.
    fn write(&mut self, pid: u32) {
        let mut digits = [0u8; OwnPid::DIGITS];
        let digits = decimal(&mut digits, pid);
        for (n, piece) in self.pieces.iter().enumerate() {
            if n > 0 {
                self.out.extend_from_slice(digits);
            }
            self.out.extend_from_slice(piece);
        }
        // SAFETY: writes bytes that `self` owns.
        unsafe {
            libc::write(self.fd, self.out.as_ptr().cast(), self.out.len());
        }
    }
}

/// The digits of `number`, at the end of `place`.
fn decimal(place: &mut [u8; OwnPid::DIGITS], number: u32) -> &[u8] {
    let mut rest = number;
    let mut count = 0;
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    place.get(OwnPid::DIGITS - count..).unwrap_or_default()
}

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter()
        .map(|s| s.as_ptr())
        .chain(std::iter::once(std::ptr::null()))
        .collect()
}

/// Everything the child needs, in memory that it only reads, save `raised` and `error`.
struct Prepared {
    files: Vec<CString>,
    arg_pointers: Vec<*const libc::c_char>,
    /// One place more than needed, for `own_pid`.
    env_pointers: Vec<*const libc::c_char>,
    own_pid: Option<OwnPid>,
    _args: Vec<CString>,
    _env: Vec<CString>,
    fds: Vec<(RawFd, RawFd)>,
    raised: Vec<RawFd>,
    above: RawFd,
    closed: Vec<RawFd>,
    dir: Option<CString>,
    ids: Option<Ids>,
    new_session: bool,
    new_group: bool,
    announced: Option<Announced>,
    failure_code: u8,
    error: libc::c_int,
}

/// In a fresh copy of a process: handlers of the parent must not run here, so the signals that are caught become
/// default (exec would do the same, but a signal may come before); ignored ones stay ignored; none is held back.
pub(crate) fn default_signals() {
    // SAFETY: system calls on plain structs, no allocation.
    unsafe {
        for number in crate::signal::handled() {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(number, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction != libc::SIG_DFL
                && action.sa_sigaction != libc::SIG_IGN
            {
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(number, &raw const action, std::ptr::null_mut());
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

fn errno() -> libc::c_int {
    // SAFETY: the thread's own errno.
    unsafe { *libc::__errno_location() }
}

impl Prepared {
    /// Sets everything up and runs the program; on failure `error` tells. Only system calls: no allocation, no locks.
    fn run(&mut self) {
        let place = self.env_pointers.len().saturating_sub(2);
        if let (Some(own_pid), Some(place)) = (&mut self.own_pid, self.env_pointers.get_mut(place))
        {
            // SAFETY: asks for a number; unlike std, without a look at what the parent remembers.
            *place = own_pid.fill(unsafe { libc::getpid() }.unsigned_abs());
        }
        self.error = match self.set_up() {
            Ok(()) => {
                if let Some(announced) = &mut self.announced {
                    // SAFETY: asks for a number.
                    announced.write(unsafe { libc::getpid() }.unsigned_abs());
                }
                self.execute()
            }
            Err(e) => e,
        };
    }

    fn set_up(&mut self) -> Result<(), libc::c_int> {
        let check = |result: libc::c_long| if result < 0 { Err(errno()) } else { Ok(()) };
        // SAFETY: plain system calls with numbers and with strings that `self` owns. The
        // ids are set by the system calls themselves, which act on the calling task only: the C library's wrappers
        // would try to reach the threads of the parent.
        unsafe {
            if self.new_session {
                libc::setsid();
            }
            if self.new_group {
                check(libc::setpgid(0, 0).into())?;
            }
            for ((_, from), raised) in self.fds.iter().zip(self.raised.iter_mut()) {
                *raised = libc::fcntl(*from, libc::F_DUPFD_CLOEXEC, self.above);
                check((*raised).into())?;
            }
            for ((to, _), raised) in self.fds.iter().zip(self.raised.iter()) {
                check(libc::dup2(*raised, *to).into())?;
            }
            for number in &self.closed {
                libc::close(*number);
            }
            if let Some(dir) = &self.dir {
                check(libc::chdir(dir.as_ptr()).into())?;
            }
            if let Some(ids) = &self.ids {
                check(libc::syscall(
                    libc::SYS_setgroups,
                    ids.groups.len(),
                    ids.groups.as_ptr(),
                ))?;
                check(libc::syscall(libc::SYS_setgid, ids.gid))?;
                check(libc::syscall(libc::SYS_setuid, ids.uid))?;
                if libc::getuid() != ids.uid
                    || libc::geteuid() != ids.uid
                    || libc::getgid() != ids.gid
                {
                    return Err(libc::EPERM);
                }
            }
        }
        Ok(())
    }

    /// Tries each file in order; remembers a refusal over a plain "not there".
    fn execute(&self) -> libc::c_int {
        let mut saved = libc::ENOENT;
        for file in &self.files {
            // SAFETY: `file` is a C string, both arrays end with a null pointer and point at strings that `self` owns.
            unsafe {
                libc::execve(
                    file.as_ptr(),
                    self.arg_pointers.as_ptr(),
                    self.env_pointers.as_ptr(),
                );
            }
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                e @ (libc::EACCES | libc::EPERM | libc::EISDIR) => saved = e,
                other => return other,
            }
        }
        saved
    }

    /// The part of a child that a spawn adds: signals as a fresh program expects them.
    fn child(&mut self) -> ! {
        default_signals();
        self.run();
        // SAFETY: ends the child; runs no code of ours.
        unsafe { libc::_exit(self.failure_code.into()) }
    }
}

/// Starts the program; a child that could not run it is taken away.
fn start(prepared: &mut Prepared) -> io::Result<u32> {
    let (pid, failed) = born(prepared)?;
    match failed {
        None => Ok(pid),
        Some(error) => {
            let _ = crate::process::wait_for(pid);
            Err(error)
        }
    }
}

/// Makes the child: its process id, and why it could not run the program.
#[cfg(target_os = "linux")]
fn born(prepared: &mut Prepared) -> io::Result<(u32, Option<io::Error>)> {
    /// Enough for system calls and the path walk; the child allocates nothing.
    const STACK: usize = 64 * 1024;

    extern "C" fn entry(argument: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `argument` is the `Prepared` that the parent passed; the parent sleeps until we exec or exit.
        unsafe { (*argument.cast::<Prepared>()).child() }
    }

    let mut stack = vec![0u128; STACK / size_of::<u128>()];
    // SAFETY: CLONE_VM|CLONE_VFORK: the child shares our memory while we are suspended, runs on its own stack (the
    // pointer is one past the end, aligned to 16), and ends by exec or _exit. All signals are held back meanwhile, so
    // none of our handlers runs in the child. Its descriptor table and signal table are copies.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
        let top = stack.as_mut_ptr().add(stack.len()).cast();
        let pid = libc::clone(
            entry,
            top,
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            std::ptr::from_mut(prepared).cast(),
        );
        let error = errno();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, std::ptr::null_mut());
        if pid < 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // Written by the child, behind the compiler's back.
        let failed = std::ptr::read_volatile(&raw const prepared.error);
        let error = (failed != 0).then(|| io::Error::from_raw_os_error(failed));
        Ok((pid.unsigned_abs(), error))
    }
}

#[cfg(not(target_os = "linux"))]
fn born(prepared: &mut Prepared) -> io::Result<(u32, Option<io::Error>)> {
    let (reader, writer) = crate::fd::pipe()?;
    let pid = crate::process::fork(|| {
        let _ = &writer;
        prepared.run();
        let _ = crate::fd::write_all(&writer, &prepared.error.to_ne_bytes());
        prepared.failure_code
    })?;
    drop(writer);
    let mut failed = [0u8; 4];
    let told = crate::fd::read(&reader, &mut failed)? == failed.len();
    let error = told.then(|| io::Error::from_raw_os_error(libc::c_int::from_ne_bytes(failed)));
    Ok((pid, error))
}
