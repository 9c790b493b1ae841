//! The classic way: a program with the message on its descriptor 0 and the envelope on its descriptor 1.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use base::Bytes;
use sys::process::End;
use sys::spawn::Spawn;

use super::{CUSTOM, Change, Outcome, READ, verdict};

/// The program of the suite, relative to home.
pub(super) const CLASSIC: &[u8] = b"bin/qmail-queue";
/// Bytes gathered before a write to the pipe.
const BUFFER: usize = 16 * 1024;
/// The longest explanation that is passed on, bytes.
const REASON_LIMIT: usize = 255;
/// How long the last answer of a queue program may take, beyond its own alarm of a day.
const REASON_WAIT: Duration = Duration::from_secs(1);

/// A queue program that runs.
#[derive(Debug)]
pub(super) struct Program {
    pid: u32,
    message: Option<OwnedFd>,
    envelope: OwnedFd,
    reason: OwnedFd,
    buffer: Bytes,
}

/// Starts `program` with descriptors for the message, the envelope and the explanation.
fn spawn(
    program: &[u8],
    [message, envelope, reason]: [BorrowedFd<'_>; 3],
    changes: &[Change],
) -> io::Result<u32> {
    // A name without a slash is relative to home too, never looked up in PATH.
    let path = if program.contains(&b'/') {
        program.to_vec()
    } else {
        [b"./", program].concat()
    };
    let spawn = Spawn::new(path)
        .arg0(program)
        .fd(0, message)
        .fd(1, envelope)
        .fd(4, reason)
        .fd(6, reason);
    let spawn = changes.iter().fold(spawn, |s, (name, value)| match value {
        Some(value) => s.set(name, value),
        None => s.unset(name),
    });
    spawn.spawn()
}

impl Program {
    pub(super) fn start(program: &[u8], changes: &[Change]) -> io::Result<Program> {
        let (message_reader, message) = sys::fd::pipe()?;
        let (envelope_reader, envelope) = sys::fd::pipe()?;
        let (reason, reason_writer) = sys::fd::pipe()?;
        let ends = [&message_reader, &envelope_reader, &reason_writer].map(AsFd::as_fd);
        let pid = spawn(program, ends, changes)?;
        Ok(Program {
            pid,
            message: Some(message),
            envelope,
            reason,
            buffer: Bytes::with_capacity(BUFFER),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// More of what comes now. `false`: it does not listen any more.
    #[must_use]
    pub(super) fn put(&mut self, bytes: &[u8]) -> bool {
        if self.buffer.len() + bytes.len() > BUFFER && !self.flush() {
            return false;
        }
        if bytes.len() > BUFFER {
            let fd = self.message.as_ref().unwrap_or(&self.envelope);
            return sys::fd::write_all(fd, bytes).is_ok();
        }
        self.buffer.extend_from_slice(bytes);
        true
    }

    fn flush(&mut self) -> bool {
        let fd = self.message.as_ref().unwrap_or(&self.envelope);
        let done = sys::fd::write_all(fd, &self.buffer).is_ok();
        self.buffer.clear();
        done
    }

    /// Ends the message; the envelope comes next.
    #[must_use]
    pub(super) fn end_text(&mut self) -> bool {
        let done = self.flush();
        self.message = None;
        done
    }

    /// Ends the envelope, which is incomplete if `failed`, and waits for the verdict. With it comes what is still open.
    pub(super) fn close(mut self, failed: bool) -> (Outcome, OwnedFd) {
        let failed = failed || !self.flush();
        let Program {
            pid,
            message,
            envelope,
            reason,
            ..
        } = self;
        drop(message);
        drop(envelope);
        let Ok(end) = sys::process::wait_for(pid) else {
            let text = b"qq waitpid surprise (#4.3.0)".to_vec();
            return (Outcome::Temporary(text), reason);
        };
        let outcome = match end {
            End::Signal(_) => Outcome::Temporary(b"qq crashed (#4.3.0)".to_vec()),
            End::Exit(CUSTOM) => {
                let mut text = Bytes::new();
                let timed = base::io::Timed::new(reason.as_fd(), REASON_WAIT);
                let _ = timed.take(REASON_LIMIT as u64).read_to_end(&mut text);
                explained(&text)
            }
            // The queue program cannot have seen a whole envelope.
            End::Exit(0) if failed => verdict(READ),
            End::Exit(code) => verdict(code),
        };
        (outcome, reason)
    }
}

/// What a replacement wrote about its refusal: a letter D or Z, then the text.
pub(super) fn explained(text: &[u8]) -> Outcome {
    let end = |b: &u8| matches!(b, b'\n' | b'\r' | 0);
    let text = text.split(end).next().unwrap_or_default();
    let printable = base::bytes::printable(text.get(1..).unwrap_or_default());
    match text.first() {
        Some(b'D') if text.len() > 2 => Outcome::Permanent(printable),
        Some(b'Z') if text.len() > 2 => Outcome::Temporary(printable),
        _ => Outcome::Temporary(b"qq temporary problem (#4.3.0)".to_vec()),
    }
}
