//! The socket, and the lock that makes sure that there is one service.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use base::Die;
use queue::service::SOCKET;
use sys::Dir;

/// The directory of the socket: the owner of the queue may write there, everybody may look.
const ROOM: &str = "run/queue";
/// The name of a socket that does not listen yet.
const NEW: &[u8] = b"new";
/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// Anybody may connect.
const SOCKET_MASK: u32 = 0o111;
const FILE_MASK: u32 = 0o033;

/// Makes this the only service of the queue, for as long as the lock is held.
pub(super) fn lock() -> Result<File, Die> {
    let dir = Dir::open("queue/lock").map_err(|e| Die::unable("enter queue/lock", &e))?;
    let file = dir
        .open_append(b"queued", 0o600)
        .map_err(|e| Die::unable("open queue/lock/queued", &e))?;
    match sys::lock::try_exclusive(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(Die::fatal(
            base::die::TEMPORARY,
            "cannot start: another qmail-queued serves this queue",
        )),
        Err(e) => Err(Die::unable("lock queue/lock/queued", &e)),
    }
}

/// The socket and its directory, held so that the name can be taken away.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) listener: OwnedFd,
    room: Dir,
}

impl Door {
    /// Listens. A socket that an earlier service left is replaced in one step.
    pub(super) fn open() -> io::Result<Door> {
        let room = Dir::open(ROOM)?;
        gone(room.unlink(NEW))?;
        sys::process::umask(SOCKET_MASK);
        let path = [ROOM.as_bytes(), b"/", NEW].concat();
        let listener = sys::local::listen(&path, BACKLOG);
        sys::process::umask(FILE_MASK);
        let listener = listener?;
        room.rename(NEW, &room, name())?;
        Ok(Door { listener, room })
    }

    /// Takes the name away: who comes now takes the classic way.
    pub(super) fn close(&self) {
        // Without the name there is nothing to do.
        let _ = self.room.unlink(name());
    }
}

/// The name of the socket in its directory.
fn name() -> &'static [u8] {
    SOCKET.rsplit('/').next().unwrap_or(SOCKET).as_bytes()
}

fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
