//! What went wrong, in the words of the qmail family.

use std::io::{self, ErrorKind};

/// The text of `error` as every program of this family prints it: short, lower case, without the number.
///
/// An error that the table does not know is "unknown error".
///
/// Source  the messages of qmail, ucspi-tcp and daemontools, which do not depend on the system
pub fn text(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(number) => number_text(number),
        None => kind_text(error.kind()),
    }
}

fn number_text(number: i32) -> &'static str {
    match number {
        0 => "no error",
        libc::EINTR => "interrupted system call",
        libc::ENOMEM => "out of memory",
        libc::ENOENT => "file does not exist",
        libc::ETXTBSY => "text busy",
        libc::EIO => "input/output error",
        libc::EEXIST => "file already exists",
        libc::ETIMEDOUT => "timed out",
        libc::EINPROGRESS => "operation in progress",
        libc::EAGAIN => "temporary failure",
        libc::EPIPE => "broken pipe",
        libc::EPERM => "permission denied",
        libc::EACCES => "access denied",
        libc::ENXIO => "device not configured",
        libc::EPROTO => "protocol error",
        libc::EISDIR => "is a directory",
        libc::ECONNREFUSED => "connection refused",
        libc::ENOTDIR => "not a directory",
        libc::ESRCH => "no such process",
        libc::E2BIG => "argument list too long",
        libc::ENOEXEC => "exec format error",
        libc::EBADF => "file descriptor not open",
        libc::ECHILD => "no child processes",
        libc::EDEADLK => "operation would cause deadlock",
        libc::EFAULT => "bad address",
        libc::ENOTBLK => "not a block device",
        libc::EBUSY => "device busy",
        libc::EXDEV => "cross-device link",
        libc::ENODEV => "device does not support operation",
        libc::EINVAL => "invalid argument",
        libc::ENFILE => "system cannot open more files",
        libc::EMFILE => "process cannot open more files",
        libc::ENOTTY => "not a tty",
        libc::EFBIG => "file too big",
        libc::ENOSPC => "out of disk space",
        libc::ESPIPE => "unseekable descriptor",
        libc::EROFS => "read-only file system",
        libc::EMLINK => "too many links",
        libc::EDOM => "input out of range",
        libc::ERANGE => "output out of range",
        libc::ENAMETOOLONG => "file name too long",
        libc::ENOTEMPTY => "directory not empty",
        libc::ELOOP => "symbolic link loop",
        libc::ENOLCK => "no locks available",
        libc::ENOSYS => "system call not available",
        libc::EDQUOT => "disk quota exceeded",
        libc::ESTALE => "stale NFS file handle",
        libc::EUSERS => "too many users",
        other => network_text(other),
    }
}

fn network_text(number: i32) -> &'static str {
    match number {
        libc::EALREADY => "operation already in progress",
        libc::ENOTSOCK => "not a socket",
        libc::EDESTADDRREQ => "destination address required",
        libc::EMSGSIZE => "message too long",
        libc::EPROTOTYPE => "incorrect protocol type",
        libc::ENOPROTOOPT => "protocol not available",
        libc::EPROTONOSUPPORT => "protocol not supported",
        libc::ESOCKTNOSUPPORT => "socket type not supported",
        libc::EOPNOTSUPP => "operation not supported",
        libc::EPFNOSUPPORT => "protocol family not supported",
        libc::EAFNOSUPPORT => "address family not supported",
        libc::EADDRINUSE => "address already used",
        libc::EADDRNOTAVAIL => "address not available",
        libc::ENETDOWN => "network down",
        libc::ENETUNREACH => "network unreachable",
        libc::ENETRESET => "network reset",
        libc::ECONNABORTED => "connection aborted",
        libc::ECONNRESET => "connection reset",
        libc::ENOBUFS => "out of buffer space",
        libc::EISCONN => "already connected",
        libc::ENOTCONN => "not connected",
        libc::ESHUTDOWN => "socket shut down",
        libc::ETOOMANYREFS => "too many references",
        libc::EHOSTDOWN => "host down",
        libc::EHOSTUNREACH => "host unreachable",
        _ => "unknown error",
    }
}

/// Errors that this program itself made have no number.
fn kind_text(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::TimedOut => "timed out",
        ErrorKind::WriteZero | ErrorKind::UnexpectedEof => "input/output error",
        ErrorKind::InvalidInput => "invalid argument",
        ErrorKind::InvalidData => "protocol error",
        ErrorKind::OutOfMemory => "out of memory",
        ErrorKind::FileTooLarge => "file too big",
        ErrorKind::NotFound => "file does not exist",
        ErrorKind::PermissionDenied => "access denied",
        ErrorKind::WouldBlock => "temporary failure",
        ErrorKind::BrokenPipe => "broken pipe",
        _ => "unknown error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_family() {
        for (number, expected) in [
            (libc::ENOENT, "file does not exist"),
            (libc::EAGAIN, "temporary failure"),
            (libc::EACCES, "access denied"),
            (libc::EPERM, "permission denied"),
            (libc::ENOSPC, "out of disk space"),
            (libc::ECONNREFUSED, "connection refused"),
            (i32::MAX, "unknown error"),
        ] {
            assert_eq!(text(&io::Error::from_raw_os_error(number)), expected);
        }
        assert_eq!(text(&ErrorKind::TimedOut.into()), "timed out");
    }
}
