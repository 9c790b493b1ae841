//! User and group ids: who we are, and becoming somebody for good.

use std::io;

use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getuid};

/// A user to become: uid, gid and the whole list of supplementary groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// user id
    pub uid: u32,
    /// group id
    pub gid: u32,
    /// supplementary groups; empty means just `gid`
    pub groups: Vec<u32>,
}

impl Ids {
    /// A user with one group and no others.
    pub fn new(uid: u32, gid: u32) -> Ids {
        Ids {
            uid,
            gid,
            groups: vec![gid],
        }
    }
}

/// Real user id.
pub fn uid() -> u32 {
    getuid().as_raw()
}

/// Effective user id.
pub fn euid() -> u32 {
    geteuid().as_raw()
}

/// Real group id.
pub fn gid() -> u32 {
    getgid().as_raw()
}

/// Whether this process may do more than its caller: its environment is then not to be trusted.
pub fn privileged_over_caller() -> bool {
    // SAFETY: getauxval only reads the vector that the kernel gave this process.
    #[cfg(target_os = "linux")]
    if unsafe { libc::getauxval(libc::AT_SECURE) } != 0 {
        return true;
    }
    getuid() != geteuid() || getgid() != getegid()
}

/// Becomes `ids` for good: groups, then gid, then uid; verified.
///
/// # Errors
/// Any step that fails, and a way back to root that is still open. The caller must end then.
pub fn become_for_good(ids: &Ids) -> io::Result<()> {
    let groups: Vec<Gid> = if ids.groups.is_empty() {
        vec![Gid::from_raw(ids.gid)]
    } else {
        ids.groups.iter().map(|&g| Gid::from_raw(g)).collect()
    };
    if geteuid().is_root() {
        nix::unistd::setgroups(&groups).map_err(crate::error)?;
    }
    nix::unistd::setgid(Gid::from_raw(ids.gid)).map_err(crate::error)?;
    nix::unistd::setuid(Uid::from_raw(ids.uid)).map_err(crate::error)?;
    let there = getuid().as_raw() == ids.uid
        && geteuid().as_raw() == ids.uid
        && getgid().as_raw() == ids.gid
        && getegid().as_raw() == ids.gid;
    if !there || (ids.uid != 0 && nix::unistd::setuid(Uid::from_raw(0)).is_ok()) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(())
}

/// Sets the whole list of supplementary groups, and nothing else.
///
/// # Errors
/// `EPERM` for a caller without the right to do so, even if nothing would change.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().map(|&g| Gid::from_raw(g)).collect();
    nix::unistd::setgroups(&groups).map_err(crate::error)
}

/// Sets group, then supplementary groups, without touching the uid: for programs that only change groups.
pub fn set_group(gid: u32) -> io::Result<()> {
    if geteuid().is_root() {
        nix::unistd::setgroups(&[Gid::from_raw(gid)]).map_err(crate::error)?;
    }
    nix::unistd::setgid(Gid::from_raw(gid)).map_err(crate::error)
}

/// Sets the uid only.
pub fn set_user(uid: u32) -> io::Result<()> {
    nix::unistd::setuid(Uid::from_raw(uid)).map_err(crate::error)
}
