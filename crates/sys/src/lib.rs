//! sys: the kernel, and nothing that knows of mail.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      descriptors, the passwd and group files
//! Writes     what its caller asks for
//! May use    nothing of ours
//! Source     the system's manual, sections 2 and 3
//!
//! The only crate with `unsafe`. Every block says why it is sound.

pub mod bell;
pub mod dir;
pub mod errno;
pub mod fd;
pub mod handover;
pub mod ids;
pub mod limit;
pub mod local;
pub mod lock;
pub mod poll;
pub mod process;
pub mod random;
pub mod ready;
pub mod sandbox;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod time;
#[cfg(target_os = "linux")]
pub mod trace;
pub mod users;
pub mod volume;
pub mod watch;

pub use dir::{Dir, Stat};

use std::io;

/// Turns an errno of `nix` into an `io::Error`.
pub(crate) fn error(errno: nix::errno::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}

/// Whether `error` means that the machine has run out of something for now.
///
/// Covers memory, processes, descriptors, disk blocks, quota and I/O trouble: what a mail program answers
/// with "try again later".
pub fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOMEM
                | libc::EAGAIN
                | libc::EINTR
                | libc::EMFILE
                | libc::ENFILE
                | libc::ENOSPC
                | libc::EDQUOT
                | libc::EIO
                | libc::ETXTBSY
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ECONNREFUSED
                | libc::ETIMEDOUT
                | libc::ESTALE
                | libc::EROFS
        )
    ) || matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::OutOfMemory
    )
}
