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
//! A connection may come with the three descriptors of UCSPI-TLS behind it; the copy tells itself their numbers.
//!
//! The answer has four bytes, low end first: a process id, or an error of the kernel as a negative number.
//!
//! Source  docs/decisions/0011-fork-server.md

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use base::{Bytes, Call};
use sys::handover::{self, Patience};

use crate::starttls;

/// Names the program that is to be a fork server: the zeroth argument that it gets.
pub const VARIABLE: &str = "TCPFORKSERVER";
/// What a fork server says first.
pub const HELLO: &[u8] = b"fork server 2";
/// Descriptors of a connection at most: itself, and those of UCSPI-TLS.
const DESCRIPTORS: usize = 4;
/// Bytes of a message at most: a kernel lets that much through in one piece with its usual settings.
pub const MESSAGE_LIMIT: usize = 64 * 1024;
/// Bytes of room for a message: so large that it has pages of its own, and a copy's own memory stays close together.
const BUFFER: usize = 256 * 1024;
/// Words of an announcement.
const ANNOUNCEMENT: usize = 3;

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
/// Called first of all, with no thread made. `prepare` is for what every copy would have to do and what no client, no
/// variable and no control file has a part in.
///
/// Who asked must be our parent, and must have meant this program: a program between the two would be passed over by
/// all connections but the first.
///
/// Waits   as long as the server lives.
pub fn role(call: &Call, prepare: impl FnOnce()) -> Role {
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
    prepare();
    if handover::send_waiting(&server, HELLO, None).is_err() {
        return Role::Leave;
    }
    copies(server)
}

/// Copies this process for each connection.
fn copies(server: OwnedFd) -> Role {
    let mut buffer = vec![0; BUFFER];
    loop {
        let received =
            handover::receive_several::<DESCRIPTORS>(&server, &mut buffer, Patience::Wait);
        let (count, descriptors) = match received {
            Ok((0, _)) => return Role::Leave,
            Ok((count, descriptors)) if matches!(descriptors.len(), 1 | DESCRIPTORS) => {
                (count, descriptors)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(_) | Err(_) => return Role::Leave,
        };
        let answer = match sys::process::fork_sibling() {
            Ok(None) => {
                drop(server);
                buffer.truncate(count);
                return match become_fresh(buffer, descriptors) {
                    Ok(()) => Role::Serve,
                    Err(_) => Role::Leave,
                };
            }
            Ok(Some(pid)) => i32::try_from(pid).unwrap_or(-1),
            Err(e) => -e.raw_os_error().unwrap_or(1),
        };
        drop(descriptors);
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
fn become_fresh(mut message: Bytes, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let length = announcement_length(&message).ok_or(io::ErrorKind::InvalidData)?;
    let mut environment = message.split_off(length);
    let mut descriptors = descriptors.into_iter();
    let connection = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
    handover::put_as_standard(&connection)?;
    drop(connection);
    for (name, descriptor) in starttls::DESCRIPTORS.iter().zip(descriptors) {
        let number = sys::fd::adopt(descriptor)?;
        environment.extend_from_slice(name);
        environment.extend_from_slice(format!("={number}\0").as_bytes());
    }
    sys::process::set_environment(environment)?;
    if length > ANNOUNCEMENT {
        let text = announced(&message, std::process::id());
        // Trouble with the log is nobody's business, as when the program is run.
        let _ = sys::fd::inherited(2).and_then(|log| sys::fd::write_all(&log, &text));
    }
    Ok(())
}

/// Bytes of the announcement in a message.
fn announcement_length(message: &[u8]) -> Option<usize> {
    let ends = message.iter().enumerate().filter(|(_, b)| **b == 0);
    ends.map(|(at, _)| at + 1).nth(ANNOUNCEMENT - 1)
}

/// The announcement with the process id between each two of its words.
fn announced(words: &[u8], pid: u32) -> Bytes {
    let words: Vec<&[u8]> = words.split(|&b| b == 0).take(ANNOUNCEMENT).collect();
    words.join(pid.to_string().as_bytes())
}

/// The message of a connection; `None` if it is too long.
pub fn message<'a>(
    announcement: [&[u8]; ANNOUNCEMENT],
    environment: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Option<Bytes> {
    let mut message = Bytes::with_capacity(2048);
    for word in announcement {
        message.extend_from_slice(word);
        message.push(0);
    }
    // The copy has numbers of its own for descriptors.
    let told = environment
        .into_iter()
        .filter(|(name, _)| !starttls::DESCRIPTORS.contains(name));
    for (name, value) in told {
        message.extend_from_slice(name);
        message.push(b'=');
        message.extend_from_slice(value);
        message.push(0);
    }
    (message.len() <= MESSAGE_LIMIT).then_some(message)
}

/// Gives a fork server one connection: its descriptor, and those of UCSPI-TLS, if there are any. Returns the process id of the copy that serves it.
///
/// Waits   at most `wait`.
///
/// # Errors
/// `Refused::Copy`: it is well, but no process could be made. Otherwise it is of no use any more.
pub fn hand(
    to: &OwnedFd,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
    wait: std::time::Duration,
) -> Result<u32, Refused> {
    handover::send_several(to, message, descriptors).map_err(Refused::Untouched)?;
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
        let environment = [(&b"RELAYCLIENT"[..], &b""[..]), (b"A", b"b=c")];
        let bytes = message([b"pid ", b" ok ", b".\n"], environment).unwrap();
        let (announcement, rest) = bytes.split_at(announcement_length(&bytes).unwrap());
        assert_eq!(announced(announcement, 77), b"pid 77 ok 77.\n");
        assert_eq!(rest, b"RELAYCLIENT=\0A=b=c\0");
        let bare = message([b"", b"", b""], []).unwrap();
        assert_eq!(announcement_length(&bare), Some(bare.len()));
        for wrong in [&b""[..], b"\0", b"\0\0", b"a\0b"] {
            assert_eq!(announcement_length(wrong), None, "{wrong:?}");
        }
        let long = vec![b'x'; MESSAGE_LIMIT];
        assert_eq!(message([b"", b"", b""], [(&b"A"[..], &long[..])]), None);
    }
}
