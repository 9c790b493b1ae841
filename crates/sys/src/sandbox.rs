//! Promises: what a program will still do, held by the kernel from then on.
//!
//! A program states its promises once, between getting ready and its work. Three walls hold them: limits (no core file,
//! no new process), Landlock (which files, which TCP ports, no signals to others) and a seccomp filter (which system
//! calls). A wall that the kernel does not have is left out, and the others stand. Nothing here can be taken back, and
//! children would inherit all of it, so a program that starts others makes no promises.
//!
//! Source  landlock(7), seccomp(2), prctl(2); docs/decisions/0005-sandbox.md

use std::fmt;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod calls;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod filter;
#[cfg(target_os = "linux")]
mod landlock;

/// What may be done at a path, and below it if it is a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// open for reading, list
    Read,
    /// list, and remove names of files; nothing can be read
    Remove,
    /// open what is there for reading and writing
    Write,
    /// all of these, and make, link and rename files
    Make,
}

/// Which sockets may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// none; those that are open already may be used
    None,
    /// UDP, and TCP to these ports. Landlock holds the ports from Linux 6.7 on; without it, every port can be reached.
    /// Nobody can listen in any case.
    Clients(Vec<u16>),
    /// sockets of this machine, to connect with
    Local,
    /// as before: for whoever asks the account service of the system, which may stand anywhere
    Any,
}

/// What a program will still do.
///
/// What is always allowed: reading, writing and closing what is open, memory that holds no code, time, the program's
/// own end. What never is: programs, processes, memory and signals of others, becoming somebody else, mounts, new
/// machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    paths: Vec<(Vec<u8>, Access)>,
    network: Network,
    threads: bool,
    descriptors: u64,
}

/// The most descriptors, unless more are promised: a program with promises needs a dozen beside those it was given.
const DESCRIPTORS: u64 = 256;

/// Which walls to raise, besides the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    /// both
    All,
    /// a fifth of the cost of both; without it, system calls are not looked at
    Landlock,
    /// as on a kernel without Landlock
    Seccomp,
}

/// The walls that stand, or that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// version of Landlock's interface; 0: none
    pub landlock: u32,
    /// whether system calls are filtered
    pub seccomp: bool,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.landlock, self.seccomp) {
            (0, false) => f.write_str("none"),
            (0, true) => f.write_str("seccomp, no Landlock"),
            (abi, true) => write!(f, "Landlock {abi} and seccomp"),
            (abi, false) => write!(f, "Landlock {abi}, no seccomp"),
        }
    }
}

impl Default for Promises {
    fn default() -> Promises {
        Promises::new()
    }
}

impl Promises {
    /// No files, no network.
    pub const fn new() -> Promises {
        Promises {
            paths: Vec::new(),
            network: Network::None,
            threads: false,
            descriptors: DESCRIPTORS,
        }
    }

    /// One more path, relative to the working directory at the time of `enforce`. A path that does not exist then is
    /// out of reach later too: promise the directory instead.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<[u8]>, access: Access) -> Promises {
        self.paths.push((path.as_ref().to_vec(), access));
        self
    }

    /// Several paths.
    #[must_use]
    pub fn paths(self, paths: &[&str], access: Access) -> Promises {
        paths.iter().fold(self, |all, path| all.path(path, access))
    }

    /// Sockets.
    #[must_use]
    pub fn network(mut self, network: Network) -> Promises {
        self.network = network;
        self
    }

    /// A service that makes threads later on and holds many descriptors: their limits stay as they are.
    #[must_use]
    pub fn with_threads(mut self) -> Promises {
        self.threads = true;
        self
    }

    /// As many descriptors, if the limit that stands allows them: for a program that serves many at once.
    #[must_use]
    pub fn descriptors(mut self, most: u64) -> Promises {
        self.descriptors = most;
        self
    }

    /// What is promised of files.
    pub fn files(&self) -> &[(Vec<u8>, Access)] {
        &self.paths
    }

    /// What is promised of sockets.
    pub fn sockets(&self) -> &Network {
        &self.network
    }

    /// The kernel holds this process to its promises from now on. Returns the walls that stand; without any, the
    /// program goes on: its user id is a wall too.
    ///
    /// A system call that breaks a promise fails (`EACCES`, or `ENOSYS` if no promise could ever cover it); the calls
    /// that only an intruder would make, `execve` and `ptrace` among them, end the process.
    pub fn enforce(&self) -> Level {
        self.enforce_with(Walls::All)
    }

    /// As `enforce`, with some of the walls only: for a program whose every start counts, and for tests of kernels that
    /// have less.
    pub fn enforce_with(&self, walls: Walls) -> Level {
        raise(self, walls, None)
    }

    /// Tells the kernel of the paths now, relative to the working directory of now, and nothing is held yet: for a program
    /// that makes copies of itself, each of which will enforce the same.
    pub fn ready(self) -> Ready {
        Ready {
            #[cfg(target_os = "linux")]
            rules: landlock::rules(&self),
            promises: self,
        }
    }

    fn reaches(&self, access: Access) -> bool {
        self.paths.iter().any(|(_, a)| *a == access)
    }
}

/// Promises that the kernel knows, and does not hold anybody to yet. A copy of this process has them too.
#[derive(Debug)]
pub struct Ready {
    promises: Promises,
    #[cfg(target_os = "linux")]
    rules: Option<landlock::Rules>,
}

impl Ready {
    /// As `Promises::enforce_with`.
    pub fn enforce_with(self, walls: Walls) -> Level {
        raise(&self.promises, walls, Some(&self))
    }
}

/// Whether a directory of `path` is to be promised for a file that is made and renamed in it: the part before the last
/// slash.
pub fn directory_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&b| b == b'/') {
        Some(0) => b"/",
        Some(at) => path.get(..at).unwrap_or_default(),
        None => b".",
    }
}

/// Memory of this process is nobody's business: no core file, no look by processes of the same user; no new process
/// where only the limit stands, and no more descriptors than were promised.
#[cfg(target_os = "linux")]
fn limits(promises: &Promises) {
    use crate::limit::{Resource, set_hard, set_soft};
    // Lowering a limit cannot fail, and without it the other walls stand.
    let _ = set_hard(Resource::RLIMIT_CORE, 0);
    if !promises.threads {
        let _ = set_hard(Resource::RLIMIT_NPROC, 0);
        let _ = set_soft(Resource::RLIMIT_NOFILE, promises.descriptors);
    }
    control(libc::PR_SET_DUMPABLE, 0);
}

/// One prctl with a number. `true`: done.
#[cfg(target_os = "linux")]
fn control(option: libc::c_int, value: libc::c_ulong) -> bool {
    // SAFETY: the options used take numbers only; unused arguments must be 0.
    unsafe {
        libc::prctl(
            option,
            value,
            0 as libc::c_ulong,
            0 as libc::c_ulong,
            0 as libc::c_ulong,
        ) == 0
    }
}

#[cfg(target_os = "linux")]
fn raise(promises: &Promises, walls: Walls, ready: Option<&Ready>) -> Level {
    limits(promises);
    let mut level = Level {
        landlock: 0,
        seccomp: false,
    };
    // Both walls ask for it: from here on no program gains rights by being run.
    if !control(libc::PR_SET_NO_NEW_PRIVS, 1) {
        return level;
    }
    if walls != Walls::Seccomp {
        let restricted = match ready {
            Some(ready) => ready.rules.as_ref().and_then(landlock::Rules::restrict),
            None => landlock::rules(promises).and_then(|rules| rules.restrict()),
        };
        level.landlock = restricted.unwrap_or(0);
    }
    if walls != Walls::Landlock {
        level.seccomp = seccomp::restrict(promises);
    }
    level
}

#[cfg(not(target_os = "linux"))]
fn raise(_: &Promises, _: Walls, _: Option<&Ready>) -> Level {
    level()
}

/// What this kernel has.
pub fn level() -> Level {
    #[cfg(target_os = "linux")]
    return Level {
        landlock: landlock::version(),
        seccomp: seccomp::is_there(),
    };
    #[cfg(not(target_os = "linux"))]
    Level {
        landlock: 0,
        seccomp: false,
    }
}

/// Limits for a program that must start others, and so can promise nothing else: no core file.
pub fn no_core() {
    // Lowering a limit cannot fail.
    let _ = crate::limit::set_soft(crate::limit::Resource::RLIMIT_CORE, 0);
}

/// Nobody of the same user looks into this process or gets hold of it, and there is no core file. A copy of it is the
/// same; a program that is run is not.
pub fn no_look() {
    no_core();
    #[cfg(target_os = "linux")]
    control(libc::PR_SET_DUMPABLE, 0);
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod seccomp {
    use super::{Promises, filter};

    /// Filters the system calls of this process for good. `false`: it cannot be done.
    pub(super) fn restrict(promises: &Promises) -> bool {
        filter::Program::new(promises).is_some_and(|program| program.install())
    }

    /// Whether the kernel can end a process over a system call (4.14 and later).
    pub(super) fn is_there() -> bool {
        let action = libc::SECCOMP_RET_KILL_PROCESS;
        // SAFETY: reads the four bytes of `action`.
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_GET_ACTION_AVAIL,
                0,
                &raw const action,
            ) == 0
        }
    }
}

#[cfg(all(
    target_os = "linux",
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
mod seccomp {
    /// The numbers of system calls are known for two kinds of processor only.
    pub(super) fn restrict(_: &super::Promises) -> bool {
        false
    }

    pub(super) fn is_there() -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
