//! Accounts of the system.
//!
//! Two ways to look: `local` reads /etc/passwd and /etc/group itself, runs no code of others and is the only one for
//! privileged programs; `any` asks the system's name service, which may load modules and talk to a network.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod quick;

use std::fs;
use std::io;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// login name
    pub name: Vec<u8>,
    /// user id
    pub uid: u32,
    /// primary group id
    pub gid: u32,
    /// home directory
    pub home: Vec<u8>,
    /// login shell
    pub shell: Vec<u8>,
}

/// The largest passwd or group file that is read, bytes.
const FILE_LIMIT: u64 = 64 << 20;

fn number(field: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(field?).ok()?.parse().ok()
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > FILE_LIMIT {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    fs::read(path)
}

fn account(line: &[u8]) -> Option<Account> {
    let mut fields = line.split(|&b| b == b':');
    let name = fields.next().filter(|n| !n.is_empty())?.to_vec();
    fields.next()?;
    let uid = number(fields.next())?;
    let gid = number(fields.next())?;
    fields.next()?;
    let home = fields.next()?.to_vec();
    let shell = fields.next().unwrap_or_default().to_vec();
    Some(Account {
        name,
        uid,
        gid,
        home,
        shell,
    })
}

/// Looks `name` up in /etc/passwd.
///
/// # Errors
/// The file could not be read. An unknown name is `Ok(None)`.
pub fn local(name: &[u8]) -> io::Result<Option<Account>> {
    let text = read("/etc/passwd")?;
    Ok(text
        .split(|&b| b == b'\n')
        .filter_map(account)
        .find(|a| a.name == name))
}

/// The uids of several `names`, in their order, from one look at /etc/passwd.
///
/// # Errors
/// The file could not be read. An unknown name is `None`.
pub fn local_uids<const N: usize>(names: [&[u8]; N]) -> io::Result<[Option<u32>; N]> {
    let text = read("/etc/passwd")?;
    let mut found = [None; N];
    for account in text.split(|&b| b == b'\n').filter_map(account) {
        for (uid, name) in found.iter_mut().zip(names) {
            if uid.is_none() && account.name == name {
                *uid = Some(account.uid);
            }
        }
    }
    Ok(found)
}

/// Looks a group `name` up in /etc/group: its gid.
pub fn local_group(name: &[u8]) -> io::Result<Option<u32>> {
    let text = read("/etc/group")?;
    Ok(text.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b':');
        (fields.next()? == name).then_some(())?;
        fields.next()?;
        number(fields.next())
    }))
}

/// Every gid of /etc/group that lists `name` as a member.
pub fn local_groups_of(name: &[u8]) -> io::Result<Vec<u32>> {
    let text = read("/etc/group")?;
    Ok(text
        .split(|&b| b == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&b| b == b':');
            fields.next()?;
            fields.next()?;
            let gid = number(fields.next())?;
            fields
                .next()?
                .split(|&b| b == b',')
                .any(|m| m == name)
                .then_some(gid)
        })
        .collect())
}

/// Looks `name` up as the system's name service does: in /etc/passwd where that comes first, and else through the
/// service.
///
/// # Errors
/// The service answered with trouble: temporary. An unknown name, or one with bytes that are not text, is `Ok(None)`.
pub fn any(name: &[u8]) -> io::Result<Option<Account>> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if let Some(found) = quick::find(name) {
        return Ok(Some(found));
    }
    service(name)
}

/// Has ready what `any` needs: for a program that makes copies of itself.
pub fn prepare() {
    let _ = any(b"root");
    // Settings are read and modules loaded at the first question.
    let _ = service(b"root");
}

/// Looks `name` up through the system's name service.
fn service(name: &[u8]) -> io::Result<Option<Account>> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Ok(None);
    };
    if text.is_empty() || text.contains('\0') {
        return Ok(None);
    }
    let user = nix::unistd::User::from_name(text).map_err(crate::error)?;
    Ok(user.map(|u| Account {
        name: u.name.into_bytes(),
        uid: u.uid.as_raw(),
        gid: u.gid.as_raw(),
        home: u.dir.into_os_string().into_encoded_bytes(),
        shell: u.shell.into_os_string().into_encoded_bytes(),
    }))
}

/// Every group of an account, through the system's name service: its own and those that list it.
///
/// # Errors
/// The service answered with trouble.
#[cfg(target_os = "linux")]
pub fn groups_of(account: &Account) -> io::Result<Vec<u32>> {
    let Ok(name) = std::ffi::CString::new(account.name.as_slice()) else {
        return Ok(vec![account.gid]);
    };
    let groups = nix::unistd::getgrouplist(&name, nix::unistd::Gid::from_raw(account.gid));
    let groups = groups.map_err(crate::error)?;
    Ok(groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
}

/// Every group of an account: its own and those of /etc/group that list it.
#[cfg(not(target_os = "linux"))]
pub fn groups_of(account: &Account) -> io::Result<Vec<u32>> {
    let mut groups = vec![account.gid];
    groups.extend(local_groups_of(&account.name)?);
    Ok(groups)
}

/// Looks an account up by uid through the system's name service.
pub fn any_by_uid(uid: u32) -> io::Result<Option<Account>> {
    let user =
        nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).map_err(crate::error)?;
    Ok(user.map(|u| Account {
        name: u.name.into_bytes(),
        uid: u.uid.as_raw(),
        gid: u.gid.as_raw(),
        home: u.dir.into_os_string().into_encoded_bytes(),
        shell: u.shell.into_os_string().into_encoded_bytes(),
    }))
}

/// Days since 1970.
#[cfg(target_os = "linux")]
fn today() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |t| i64::try_from(t.as_secs() / 86400).unwrap_or(0))
}

/// The stored password of an account, through the system's name service: from the shadow file where there is one. An
/// account that has expired has none that anything matches.
///
/// # Errors
/// The service answered with trouble, or this process may not read the shadow file: temporary. An unknown name is
/// `Ok(None)`.
#[cfg(target_os = "linux")]
pub fn password(name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    const SIZES: [usize; 3] = [4096, 65_536, 1 << 20];
    let Ok(name) = std::ffi::CString::new(name) else {
        return Ok(None);
    };
    for size in SIZES {
        let mut room = vec![0; size];
        // SAFETY: a plain C struct, valid when zeroed.
        let mut entry: libc::spwd = unsafe { std::mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers lead to memory of ours that outlives the call, `room` has the length that is told.
        let error = unsafe {
            libc::getspnam_r(
                name.as_ptr(),
                &raw mut entry,
                room.as_mut_ptr(),
                room.len(),
                &raw mut found,
            )
        };
        if error == libc::ERANGE {
            continue;
        }
        if found.is_null() {
            return match error {
                0 | libc::ENOENT => Ok(None),
                _ => Err(io::Error::from_raw_os_error(error)),
            };
        }
        #[allow(clippy::useless_conversion, reason = "a long has 32 bits elsewhere")]
        let expires = i64::from(entry.sp_expire);
        if expires > 0 && today() >= expires {
            return Ok(Some(b"!".to_vec()));
        }
        if entry.sp_pwdp.is_null() {
            return Ok(None);
        }
        // SAFETY: the service has put a string that ends with NUL into `room`, which still lives.
        let text = unsafe { std::ffi::CStr::from_ptr(entry.sp_pwdp) };
        return Ok(Some(text.to_bytes().to_vec()));
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// The stored password of an account: only root sees it.
///
/// # Errors
/// The service answered with trouble. An unknown name is `Ok(None)`.
#[cfg(not(target_os = "linux"))]
pub fn password(name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Ok(None);
    };
    let user = nix::unistd::User::from_name(text).map_err(crate::error)?;
    Ok(user.map(|u| u.passwd.into_bytes()))
}
