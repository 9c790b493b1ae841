//! Landlock: files below given paths, TCP ports, and nothing of other processes.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::{Access, Network, Promises};

/// Before version 2 no file could be moved between directories at all, so we do without.
const LEAST: u32 = 2;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_REG: u64 = 1 << 8;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// Every right on files of version 2.
const FILES: u64 = (1 << 14) - 1;
/// Those that a rule on a file that is no directory may hold.
const OF_A_FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;

const ABSTRACT_SOCKETS: u64 = 1;
const SIGNALS: u64 = 1 << 1;

const RULE_PATH: libc::c_int = 1;
const RULE_PORT: libc::c_int = 2;
const ASK_VERSION: u32 = 1;

/// What is ruled. An older kernel takes the longer struct as long as the rest of it is 0.
#[repr(C)]
#[derive(Default)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathRule {
    allowed: u64,
    parent: i32,
}

#[repr(C)]
struct PortRule {
    allowed: u64,
    port: u64,
}

/// The version of the interface that the kernel has switched on; 0: none that we use.
pub(super) fn version() -> u32 {
    // SAFETY: without a struct this call only answers a number.
    let found = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0usize,
            ASK_VERSION,
        )
    };
    u32::try_from(found)
        .ok()
        .filter(|v| *v >= LEAST)
        .unwrap_or(0)
}

/// The paths and ports of a process to be, as the kernel keeps them.
#[derive(Debug)]
pub(super) struct Rules {
    fd: OwnedFd,
    version: u32,
}

/// Tells the kernel of the paths and ports. `None`: there is no such wall.
pub(super) fn rules(promises: &Promises) -> Option<Rules> {
    let version = Some(version()).filter(|v| *v > 0)?;
    let since = |at: u32, rights: u64| if version >= at { rights } else { 0 };
    let free = promises.network == Network::Any;
    let network = |rights: u64| if free { 0 } else { rights };
    let ruled = Ruleset {
        files: FILES | since(3, TRUNCATE) | since(5, IOCTL_DEV),
        network: network(since(4, BIND_TCP | CONNECT_TCP)),
        scoped: since(6, network(ABSTRACT_SOCKETS) | SIGNALS),
    };
    // SAFETY: the struct and its size belong together.
    let number = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruled,
            size_of::<Ruleset>(),
            0u32,
        )
    };
    let rules = own(number)?;

    for (path, access) in &promises.paths {
        allow_path(&rules, path, rights(*access) & ruled.files);
    }
    if let Network::Clients(ports) = &promises.network
        && ruled.network != 0
    {
        for port in ports {
            allow_port(&rules, *port);
        }
    }

    Some(Rules { fd: rules, version })
}

impl Rules {
    /// Holds this process to them. Returns the version of the interface; `None`: it cannot be done.
    pub(super) fn restrict(&self) -> Option<u32> {
        // SAFETY: takes numbers only.
        let done =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0u32) };
        (done == 0).then_some(self.version)
    }
}

fn own(number: libc::c_long) -> Option<OwnedFd> {
    let number = RawFd::try_from(number).ok().filter(|n| *n >= 0)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

fn rights(access: Access) -> u64 {
    let write = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE;
    match access {
        Access::Read => READ_FILE | READ_DIR,
        Access::Remove => READ_DIR | REMOVE_FILE,
        Access::Write => write,
        Access::Make => write | REMOVE_FILE | MAKE_REG | REFER,
    }
}

/// A path that cannot be opened gets no rule, so it stays out of reach.
fn allow_path(rules: &OwnedFd, path: &[u8], allowed: u64) {
    let Ok(path) = crate::dir::c_string(path) else {
        return;
    };
    // SAFETY: `path` is a C string.
    let number = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    let Some(fd) = own(number.into()) else { return };
    let add = |allowed: u64| {
        let rule = PathRule {
            allowed,
            parent: fd.as_raw_fd(),
        };
        add_rule(rules, RULE_PATH, (&raw const rule).cast())
    };
    // The kernel takes rights of directories for directories only.
    if !add(allowed) {
        add(allowed & OF_A_FILE);
    }
}

fn allow_port(rules: &OwnedFd, port: u16) {
    let rule = PortRule {
        allowed: CONNECT_TCP,
        port: port.into(),
    };
    add_rule(rules, RULE_PORT, (&raw const rule).cast());
}

/// `rule` must be of the struct that `kind` says.
fn add_rule(rules: &OwnedFd, kind: libc::c_int, rule: *const libc::c_void) -> bool {
    // SAFETY: both callers pass the struct of their kind, alive during the call.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            rules.as_raw_fd(),
            kind,
            rule,
            0u32,
        ) == 0
    }
}
