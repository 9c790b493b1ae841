//! Fork servers: a program that is started once and copies itself for each connection.
//!
//! A server runs the program with one end of a `sys::handover::pair` as descriptors 0 and 1, and names it in
//! `TCPFORKSERVER`. The program says `HELLO`. Then each message of the server is one connection: its descriptor, and
//! the words that the program's environment is made of. A copy of the program takes it, one that was made before it came:
//! it answers with its process id, while the program makes the next copy. The program never sees a byte of any client.
//! The copy is a child of the server, which hears of its end as of any child's, and of those that never had a connection.
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
use std::time::Duration;

use base::{Bytes, Call};
use sys::bell::Bell;
use sys::handover::{self, Patience};
use sys::poll::Wait;

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

/// Copies this process for each connection, one copy ahead: it takes the next message itself, and then rings for the one
/// after it to be made.
fn copies(server: OwnedFd) -> Role {
    let Ok(taken) = Bell::new() else {
        return Role::Leave;
    };
    let mut buffer = vec![0; BUFFER];
    loop {
        let made = sys::process::fork_sibling().or_else(|_| {
            // Perhaps there is room when somebody comes.
            waits(&mut [Wait::readable(&server)])?;
            sys::process::fork_sibling()
        });
        let going_on = match made {
            Ok(None) => return spare(server, taken, buffer),
            Ok(Some(_)) => needed(&server, &taken),
            Err(error) => refuse(&server, &mut buffer, &error),
        };
        if going_on.is_err() {
            return Role::Leave;
        }
    }
}

/// Waits until the copy has taken a message, so that another is needed. If it dies before, the server hears of that.
///
/// # Errors
/// The server has gone.
fn needed(server: &OwnedFd, taken: &Bell) -> io::Result<()> {
    let mut list = [Wait::readable(taken), Wait::hung_up(server)];
    waits(&mut list)?;
    if list.last().is_some_and(Wait::is_ready) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    taken.heard(Duration::ZERO).map(drop)
}

/// Waits, signals or not.
fn waits(list: &mut [Wait]) -> io::Result<()> {
    loop {
        match sys::poll::wait(list, None) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map(drop),
        }
    }
}

/// Takes a connection that no copy can be made for.
fn refuse(server: &OwnedFd, buffer: &mut [u8], error: &io::Error) -> io::Result<()> {
    let (count, descriptors) = receive(server, buffer)?;
    drop(descriptors);
    // The next copy must not find this client's words.
    if let Some(used) = buffer.get_mut(..count) {
        used.fill(0);
    }
    answer(server, -error.raw_os_error().unwrap_or(1))
}

/// A copy before its connection has come.
fn spare(server: OwnedFd, taken: Bell, mut buffer: Bytes) -> Role {
    let Ok((count, descriptors)) = receive(&server, &mut buffer) else {
        return Role::Leave;
    };
    let pid = i32::try_from(std::process::id()).unwrap_or(-1);
    let told = answer(&server, pid).and_then(|()| taken.ring());
    drop((server, taken));
    buffer.truncate(count);
    match told.and_then(|()| become_fresh(buffer, descriptors)) {
        Ok(()) => Role::Serve,
        Err(_) => Role::Leave,
    }
}

/// Takes one message.
///
/// # Errors
/// The server has gone, or does not keep to the form.
fn receive(server: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    loop {
        match handover::receive_several::<DESCRIPTORS>(server, buffer, Patience::Wait) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, descriptors)) if matches!(descriptors.len(), 1 | DESCRIPTORS) => {
                return Ok((count, descriptors));
            }
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn answer(server: &OwnedFd, number: i32) -> io::Result<()> {
    handover::send_waiting(server, &number.to_le_bytes(), None)
}

/// Makes a copy what a process would be that was started for this connection.
fn become_fresh(mut message: Bytes, descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let length = announcement_length(&message).ok_or(io::ErrorKind::InvalidData)?;
    let announcement = announced(
        message.get(..length).unwrap_or_default(),
        std::process::id(),
    );
    // The environment stays where it came: to give such a large piece of memory back costs more than it is worth.
    message.drain(..length);
    let mut descriptors = descriptors.into_iter();
    let connection = descriptors.next().ok_or(io::ErrorKind::InvalidData)?;
    handover::put_as_standard(&connection)?;
    drop(connection);
    for (name, descriptor) in starttls::DESCRIPTORS.iter().zip(descriptors) {
        let number = sys::fd::adopt(descriptor)?;
        message.extend_from_slice(name);
        message.extend_from_slice(format!("={number}\0").as_bytes());
    }
    sys::process::set_environment(message)?;
    if length > ANNOUNCEMENT {
        // Trouble with the log is nobody's business, as when the program is run.
        let _ = sys::fd::inherited(2).and_then(|log| sys::fd::write_all(&log, &announcement));
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
    wait: Duration,
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
