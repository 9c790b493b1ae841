//! Resource limits.

use std::io;

pub use nix::sys::resource::Resource;
use nix::sys::resource::{getrlimit, setrlimit};

/// No limit.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// Soft and hard limit of `resource`.
pub fn read(resource: Resource) -> io::Result<(u64, u64)> {
    getrlimit(resource).map_err(crate::error)
}

/// Sets the soft limit of `resource` to `soft`, at most the hard limit, which stays as it is.
pub fn set_soft(resource: Resource, soft: u64) -> io::Result<()> {
    let (_, hard) = read(resource)?;
    setrlimit(resource, soft.min(hard), hard).map_err(crate::error)
}

/// Sets both limits of `resource`: for good, unless privileged.
pub fn set_hard(resource: Resource, value: u64) -> io::Result<()> {
    setrlimit(resource, value, value).map_err(crate::error)
}
