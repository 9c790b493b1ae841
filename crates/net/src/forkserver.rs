//! Fork servers: a program that is started once and copies itself for each connection.
//!
//! A server runs the program with one end of a `sys::handover::pair` as descriptors 0 and 1, and names it in
//! `TCPFORKSERVER`. The program says `HELLO`. Then each message of the server is one connection: its descriptor, and
//! the words that the program's environment is made of. The program copies itself, answers with the process id of the
//! copy, and waits for the next one; it never sees a byte of any client. The copy is a child of the server, which hears
//! of its end as of any child's.
//!
//! A message has words with a NUL after each: first those of an announcement, then the environment. The copy writes the
//! announcement on descriptor 2 when it is ready, with its process id between each two of its words.
//!
//! The answer has four bytes, low end first: a process id, or an error of the kernel as a negative number.
//!
//! Source  docs/decisions/0011-fork-server.md

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use base::{Bytes, Call};
use sys::handover::{self, Patience};

/// Names the program that is to be a fork server: the zeroth argument that it gets.
pub const VARIABLE: &str = "TCPFORKSERVER";
/// What a fork server says first.
pub const HELLO: &[u8] = b"fork server 1";
/// Bytes of a message at most: a kernel lets that much through in one piece with its usual settings.
pub const MESSAGE_LIMIT: usize = 64 * 1024;
/// Words of an announcement.
const ANNOUNCEMENT: usize = 3;

type Announcement<'a> = [&'a [u8]; ANNOUNCEMENT];

/// What a program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// serve the connection on descriptors 0 and 1
    Serve,
    /// leave: the server has no more connections
    Leave,
}

/// Makes this program a fork server if its caller wants that. Returns in each copy with its connection in place; or at
/// once, if nobody asked.
///
/// Called first of all, with nothing read and no thread made: a copy must find what a fresh process finds.
///
/// Who asked must be our parent, and must have meant this program: a program between the two would be passed over by
/// all connections but the first.
///
/// Waits   as long as the server lives.
pub fn role(call: &Call) -> Role {
    if base::env(VARIABLE).is_none_or(|name| name != call.program) {
        return Role::Serve;
    }
    let Ok(server) = sys::fd::inherited(0) else {
        return Role::Serve;
    };
    if !sys::process::can_fork_sibling() || !handover::is_from_parent(&server) {
        return Role::Serve;
    }
    let Ok(server) = server.try_clone_to_owned() else {
        return Role::Leave;
    };
    sys::sandbox::no_look();
    if handover::send_waiting(&server, HELLO, None).is_err() {
        return Role::Leave;
    }
    copies(server)
}

/// Copies this process for each connection.
fn copies(server: OwnedFd) -> Role {
    let mut buffer = vec![0; MESSAGE_LIMIT];
    loop {
        let (count, connection) = match handover::receive(&server, &mut buffer, Patience::Wait) {
            Ok((0, _)) => return Role::Leave,
            Ok((count, Some(connection))) => (count, connection),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok((_, None)) | Err(_) => return Role::Leave,
        };
        let answer = match sys::process::fork_sibling() {
            Ok(None) => {
                drop(server);
                let message = buffer.get(..count).unwrap_or_default();
                return match become_fresh(message, &connection) {
                    Ok(()) => Role::Serve,
                    Err(_) => Role::Leave,
                };
            }
            Ok(Some(pid)) => i32::try_from(pid).unwrap_or(-1),
            Err(e) => -e.raw_os_error().unwrap_or(1),
        };
        drop(connection);
        // The next copy must not find this client's words.
        if let Some(used) = buffer.get_mut(..count) {
            used.fill(0);
        }
        if handover::send_waiting(&server, &answer.to_le_bytes(), None).is_err() {
            return Role::Leave;
        }
    }
}

/// Makes a copy what a process would be that was started for this connection.
fn become_fresh(message: &[u8], connection: &OwnedFd) -> io::Result<()> {
    let (announcement, environment) = words(message).ok_or(io::ErrorKind::InvalidData)?;
    handover::put_as_standard(connection)?;
    sys::process::set_environment(&environment)?;
    if announcement.iter().any(|word| !word.is_empty()) {
        let text = announcement.join(std::process::id().to_string().as_bytes());
        // Trouble with the log is nobody's business, as when the program is run.
        let _ = sys::fd::inherited(2).and_then(|log| sys::fd::write_all(&log, &text));
    }
    Ok(())
}

/// The message of a connection; `None` if it is too long.
pub fn message(announcement: Announcement<'_>, environment: &[(Bytes, Bytes)]) -> Option<Bytes> {
    let mut message = Bytes::new();
    for word in announcement {
        message.extend_from_slice(word);
        message.push(0);
    }
    for (name, value) in environment {
        message.extend_from_slice(name);
        message.push(b'=');
        message.extend_from_slice(value);
        message.push(0);
    }
    (message.len() <= MESSAGE_LIMIT).then_some(message)
}

/// The words of a message: the announcement, and the environment.
fn words(message: &[u8]) -> Option<(Announcement<'_>, Vec<&[u8]>)> {
    let mut words = message.strip_suffix(&[0])?.split(|&b| b == 0);
    let announcement = [words.next()?, words.next()?, words.next()?];
    Some((announcement, words.collect()))
}

/// Gives a fork server one connection. Returns the process id of the copy that serves it.
///
/// Waits   at most `wait`.
///
/// # Errors
/// `Refused::Copy`: it is well, but no process could be made. Otherwise it is of no use any more.
pub fn hand(
    to: &OwnedFd,
    message: &[u8],
    connection: BorrowedFd<'_>,
    wait: std::time::Duration,
) -> Result<u32, Refused> {
    handover::send(to, message, Some(connection.as_fd())).map_err(Refused::Untouched)?;
    if !sys::poll::readable(to, wait).map_err(Refused::Lost)? {
        return Err(Refused::Lost(io::ErrorKind::TimedOut.into()));
    }
    let mut answer = [0; 4];
    let (count, _) = handover::receive(to, &mut answer, Patience::Now).map_err(|e| {
        // It ended without having taken the message: the kernel says so in this way only.
        if e.kind() == io::ErrorKind::ConnectionReset {
            Refused::Untouched(e)
        } else {
            Refused::Lost(e)
        }
    })?;
    if count != answer.len() {
        return Err(Refused::Lost(io::ErrorKind::UnexpectedEof.into()));
    }
    match i32::from_le_bytes(answer) {
        0 => Err(Refused::Lost(io::ErrorKind::InvalidData.into())),
        error @ ..0 => Err(Refused::Copy(io::Error::from_raw_os_error(
            error.saturating_neg(),
        ))),
        pid => Ok(pid.unsigned_abs()),
    }
}

/// Why nobody serves a connection.
#[derive(Debug)]
pub enum Refused {
    /// the machine has no room for a process
    Copy(io::Error),
    /// the fork server has not taken the connection
    Untouched(io::Error),
    /// it has, and does not answer: perhaps a copy serves the connection
    Lost(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let environment = vec![
            (b"RELAYCLIENT".to_vec(), b"".to_vec()),
            (b"A".to_vec(), b"b=c".to_vec()),
        ];
        let bytes = message([b"pid ", b" ok ", b".\n"], &environment).unwrap();
        let (announcement, environment) = words(&bytes).unwrap();
        assert_eq!(announcement, [&b"pid "[..], b" ok ", b".\n"]);
        assert_eq!(environment, [&b"RELAYCLIENT="[..], b"A=b=c"]);
        let bare = message([b"", b"", b""], &[]).unwrap();
        assert_eq!(words(&bare).unwrap(), ([&b""[..]; 3], vec![]));
        for wrong in [&b""[..], b"\0", b"\0\0", b"a\0b\0c\0d"] {
            assert_eq!(words(wrong), None, "{wrong:?}");
        }
        let long = vec![(b"A".to_vec(), vec![b'x'; MESSAGE_LIMIT])];
        assert_eq!(message([b"", b"", b""], &long), None);
    }
}
