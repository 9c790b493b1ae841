//! Putting a log directory in order: after a clean end there is nothing to do; after a crash, files that may lack
//! their end are put aside as `.u`.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;

use base::{Bytes, Die};
use sys::Dir;

use crate::multilog::directory::LIVE;
use crate::multilog::pause::insist;
use crate::multilog::rotate::put_aside;

/// The bit of the mode that says: whole and safe.
const SAFE_BIT: u32 = 0o100;

/// Leaves a directory with an open `current`, and tells how many bytes it holds.
pub(crate) fn tidy(dir: &Dir, name: &[u8], number: usize) -> Result<(File, u64), Die> {
    let unable =
        |verb: &[u8], file: &[u8], e: &io::Error| Die::unable([verb, name, file].concat(), e);
    let size_if_safe = |file: &[u8]| match dir.stat(file) {
        Ok(stat) => Ok((stat.mode & SAFE_BIT != 0).then_some(stat.size)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unable(b"stat ", &[b"/", file].concat(), &e)),
    };
    let current = |verb: &[u8]| {
        let file = dir
            .open_append_now(b"current", LIVE)
            .map_err(|e| unable(verb, b"/current", &e))?;
        file.set_permissions(Permissions::from_mode(LIVE))
            .map_err(|e| unable(b"set mode of ", b"/current", &e))?;
        Ok(file)
    };

    if let Some(size) = size_if_safe(b"current")? {
        return Ok((current(b"append to ")?, size));
    }

    // These belong to a processor that did not finish, or to none.
    let _ = dir.unlink(b"state");
    let _ = dir.unlink(b"newstate");
    if size_if_safe(b"processed")?.is_some() {
        remove(dir, name, b"previous");
        put_aside(dir, name, number, b"processed", b's');
    } else {
        remove(dir, name, b"processed");
        put_aside(dir, name, number, b"previous", b'u');
    }
    put_aside(dir, name, number, b"current", b'u');

    dir.create(b"state", 0o644)
        .map_err(|e| unable(b"write to ", b"/state", &e))?;
    Ok((current(b"write to ")?, 0))
}

fn remove(dir: &Dir, name: &[u8], file: &[u8]) {
    let what = || -> Bytes { [b"remove ", name, b"/", file].concat() };
    insist(what, || match dir.unlink(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    });
}
