//! Which file qmail-remote is, and whether it may work for us job by job.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use base::Bytes;
use sys::dir::{Stamp, Stat};

/// What qmail-remote reads once as a worker and each time otherwise.
const FILES: [&[u8]; 11] = [
    b"control/authsenders",
    b"control/clientcert.pem",
    b"control/helohost",
    b"control/me",
    b"control/remotesecrets",
    b"control/smtproutes",
    b"control/timeoutconnect",
    b"control/timeoutremote",
    b"control/tlspolicy",
    b"control/tlsroots.pem",
    b"/etc/resolv.conf",
];
/// How a script begins.
const SCRIPT: &[u8] = b"#!";

/// The file that would be run, and the state of all that a worker has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: Bytes,
    stamp: Stamp,
}

/// The state of the files that a worker has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World([Option<Stamp>; FILES.len()]);

impl World {
    pub(super) fn look() -> World {
        World(FILES.map(|path| sys::dir::stamp_path(path).ok()))
    }
}

impl Program {
    /// The first file in PATH of this name that can be run; `None`: there is none, or no PATH.
    pub(super) fn find(name: &[u8]) -> Option<Program> {
        let path = std::env::var_os("PATH")?;
        let places = path.as_bytes().split(|&b| b == b':');
        places.map(|dir| place(dir, name)).find_map(Program::at)
    }

    fn at(path: Bytes) -> Option<Program> {
        let stat = sys::dir::stat_path(&path).ok()?;
        let runs = stat.is_file() && stat.mode & 0o111 != 0;
        let stamp = sys::dir::stamp_path(&path).ok().filter(|_| runs)?;
        Some(Program { path, stamp })
    }

    /// What the worker will say it is.
    pub(super) fn identity(&self) -> Option<Stat> {
        sys::dir::stat_path(&self.path).ok()
    }

    /// Whether it is a script. One that we run can be read by us.
    pub(super) fn is_script(&self) -> bool {
        let Ok(file) = sys::dir::open_read(&self.path) else {
            return false;
        };
        starts_with(file, SCRIPT)
    }
}

fn place(dir: &[u8], name: &[u8]) -> Bytes {
    let dir = if dir.is_empty() { b"." } else { dir };
    [dir, b"/", name].concat()
}

fn starts_with(file: File, first: &[u8]) -> bool {
    let mut begin = Bytes::new();
    let read = file.take(first.len() as u64).read_to_end(&mut begin);
    read.is_ok() && begin == first
}
