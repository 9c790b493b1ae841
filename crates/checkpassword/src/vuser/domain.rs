//! A virtual domain: its line in users/assign, its names in control/virtualdomains and control/rcpthosts.

use std::os::unix::fs::DirBuilderExt;

use base::{Bytes, Die};
use sys::Dir;

use crate::files;

/// The door must be able to ask for a name, nobody to list them.
const MODE: u32 = 0o711;
/// The largest control file that is changed, bytes.
const LIMIT: u64 = 64 << 20;

/// Makes `dir`, owned by `account`, the place of `domain`.
pub(super) fn add(domain: &[u8], account: &[u8], dir: &[u8]) -> Result<(), Die> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let domain = domain.to_ascii_lowercase();
    let parts = domain.split(|&b| b == b'.');
    let is_domain = domain.len() <= 253
        && domain.iter().all(fits)
        && parts
            .into_iter()
            .all(|p| !p.is_empty() && !p.starts_with(b"-"));
    if !is_domain {
        return Err(Die::fatal(100, "that is not the name of a domain"));
    }
    if !dir.starts_with(b"/") || dir.iter().any(|&b| b == b':' || b.is_ascii_control()) {
        return Err(Die::fatal(
            100,
            "the directory must be named from the root, without colons",
        ));
    }
    let found = sys::users::any(account).map_err(|e| Die::unable("look up the account", &e))?;
    let unknown = || Die::fatal(100, [b"there is no account ", account].concat());
    let found = found.ok_or_else(unknown)?;
    if found.uid == 0 {
        return Err(Die::fatal(100, "root gets no mail"));
    }
    control::home::enter().map_err(|e| Die::unable("enter home", &e))?;

    let (uid, gid) = (found.uid, found.gid);
    make(dir, uid, gid)?;
    let ids = format!(":{uid}:{gid}:");
    let assigned = [
        b"+",
        domain.as_slice(),
        b"-:",
        account,
        ids.as_bytes(),
        dir,
        b":-::",
    ]
    .concat();
    let prefix = [b"+", domain.as_slice(), b"-:"].concat();
    change("users/assign", |lines| {
        if lines.iter().any(|l| l.starts_with(&prefix)) {
            return;
        }
        let end = lines.iter().position(|l| l == b".").unwrap_or(lines.len());
        lines.truncate(end);
        lines.push(assigned);
        lines.push(b".".to_vec());
    })?;
    compile()?;
    let route = [domain.as_slice(), b":", &domain].concat();
    change("control/virtualdomains", |lines| {
        if !lines.contains(&route) {
            lines.push(route);
        }
    })?;
    // Last: from now on mail for it is taken from everybody. Without the file it is taken anyway.
    if sys::dir::stat_path(b"control/rcpthosts").is_ok() {
        change("control/rcpthosts", |lines| {
            if !lines.contains(&domain) {
                lines.push(domain);
            }
        })?;
    }
    base::warn(
        "vuser",
        "qmail-send reads virtualdomains again after a HUP signal: svc -h",
    );
    Ok(())
}

fn make(dir: &[u8], uid: u32, gid: u32) -> Result<(), Die> {
    let unable = |e| Die::unable([b"make ", dir].concat(), &e);
    sys::process::umask(0o022);
    match std::fs::DirBuilder::new()
        .mode(MODE)
        .create(sys::dir::path(dir))
    {
        Ok(()) => sys::dir::set_owner(dir, uid, gid).map_err(unable),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            let stat = sys::dir::stat_path(dir).map_err(unable)?;
            if stat.is_dir() && stat.uid == uid {
                Ok(())
            } else {
                Err(Die::fatal(
                    100,
                    [dir, b" is there and belongs to somebody else"].concat(),
                ))
            }
        }
        Err(e) => Err(unable(e)),
    }
}

/// Changes the lines of a file, if that changes anything.
fn change(path: &str, with: impl FnOnce(&mut Vec<Bytes>)) -> Result<(), Die> {
    let unable = |e| Die::unable(format!("change {path}"), &e);
    let text = match files::whole(path.as_bytes(), LIMIT) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Bytes::new(),
        other => other.map_err(unable)?,
    };
    let whole = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut lines: Vec<Bytes> = if whole.is_empty() {
        Vec::new()
    } else {
        whole.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
    };
    with(&mut lines);
    let new: Bytes = lines
        .iter()
        .flat_map(|l| [l.as_slice(), b"\n"].concat())
        .collect();
    if new == text {
        return Ok(());
    }
    let (dir, name) = path.split_once('/').unwrap_or((".", path));
    let dir = Dir::open(dir).map_err(unable)?;
    files::replace(&dir, name.as_bytes(), &new, 0o644).map_err(unable)
}

/// Runs qmail-newu.
fn compile() -> Result<(), Die> {
    let unable = |e| Die::unable("run qmail-newu", &e);
    let pid = sys::spawn::Spawn::new("bin/qmail-newu")
        .spawn()
        .map_err(unable)?;
    let end = sys::process::wait_for(pid).map_err(unable)?;
    if end.is_success() {
        Ok(())
    } else {
        Err(Die::fatal(111, "qmail-newu failed"))
    }
}
