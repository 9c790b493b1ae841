//! Handing one message to the queue: every program that makes mail goes through here (djb's `qmail.c`).
//!
//! Runs `QMAILQUEUE`, or bin/qmail-queue, relative to the working directory (home), with the message on its
//! descriptor 0 and the envelope on its descriptor 1. A replacement may explain a refusal in words: the pipe stands
//! on descriptors 4 and 6, so that both conventions in the field are served.
//!
//! Source  qmail-queue(8)

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use base::Bytes;
use sys::process::End;
use sys::spawn::Spawn;

/// Bytes gathered before a write to the pipe.
const BUFFER: usize = 16 * 1024;
/// The longest explanation that is passed on, bytes.
const REASON_LIMIT: usize = 255;
/// Exit code that says: the explanation is on descriptor 4 or 6.
const CUSTOM: u8 = 82;
/// How long the last answer of a queue program may take, beyond its own alarm of a day.
const REASON_WAIT: Duration = Duration::from_secs(1);

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// on disk, whole; `pid` is what logs call `qp`
    Queued,
    /// refused for good; the text has no letter and no line end
    Permanent(Bytes),
    /// not now
    Temporary(Bytes),
}

impl Outcome {
    /// The classic form: empty if queued, else `D` or `Z` and the text.
    pub fn letter_text(&self) -> Bytes {
        match self {
            Outcome::Queued => Bytes::new(),
            Outcome::Permanent(text) => [b"D", text.as_slice()].concat(),
            Outcome::Temporary(text) => [b"Z", text.as_slice()].concat(),
        }
    }
}

/// A message on its way into the queue.
#[derive(Debug)]
pub struct Submission {
    pid: u32,
    message: Option<OwnedFd>,
    envelope: OwnedFd,
    reason: OwnedFd,
    buffer: Bytes,
    failed: bool,
}

impl Submission {
    /// Starts the queue program. SIGPIPE should be ignored by the caller: the program may end early.
    ///
    /// # Errors
    /// No pipe, no process, no program: temporary.
    pub fn open() -> io::Result<Submission> {
        let program = base::env("QMAILQUEUE").unwrap_or_else(|| b"bin/qmail-queue".to_vec());
        Submission::open_program(&program)
    }

    /// Starts `program` in place of qmail-queue.
    pub fn open_program(program: &[u8]) -> io::Result<Submission> {
        // A name without a slash is relative to home too, never looked up in PATH.
        let path = if program.contains(&b'/') {
            program.to_vec()
        } else {
            [b"./", program].concat()
        };
        let (message_reader, message) = sys::fd::pipe()?;
        let (envelope_reader, envelope) = sys::fd::pipe()?;
        let (reason, reason_writer) = sys::fd::pipe()?;
        let pid = Spawn::new(path)
            .arg0(program)
            .fd(0, message_reader.as_fd())
            .fd(1, envelope_reader.as_fd())
            .fd(4, reason_writer.as_fd())
            .fd(6, reason_writer.as_fd())
            .spawn()?;
        Ok(Submission {
            pid,
            message: Some(message),
            envelope,
            reason,
            buffer: Bytes::with_capacity(BUFFER),
            failed: false,
        })
    }

    /// Process id of the queue program: `qp` in logs and replies.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Gives the message up: the queue program will see an incomplete envelope and drop it.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether something has failed already, so that the rest need not be written.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    fn flush(&mut self) {
        let fd = self.message.as_ref().unwrap_or(&self.envelope);
        if !self.failed && sys::fd::write_all(fd, &self.buffer).is_err() {
            self.failed = true;
        }
        self.buffer.clear();
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush();
        }
        if bytes.len() > BUFFER {
            let fd = self.message.as_ref().unwrap_or(&self.envelope);
            if !self.failed && sys::fd::write_all(fd, bytes).is_err() {
                self.failed = true;
            }
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// More of the message. Must come before `sender`. Failures are remembered for `close`.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.message.is_none() {
            self.failed = true;
        }
        self.put(bytes);
    }

    /// Ends the message and begins the envelope.
    pub fn sender(&mut self, address: &[u8]) {
        self.flush();
        self.message = None;
        self.put(b"F");
        self.address(address);
    }

    /// One more recipient. Must come after `sender`.
    pub fn recipient(&mut self, address: &[u8]) {
        self.put(b"T");
        self.address(address);
    }

    fn address(&mut self, address: &[u8]) {
        if address.contains(&0) {
            self.failed = true;
        }
        self.put(address);
        self.put(b"\0");
    }

    /// Ends the envelope and waits for the verdict.
    pub fn close(mut self) -> Outcome {
        if self.message.is_some() {
            self.failed = true;
        }
        if !self.failed {
            self.put(b"\0");
        }
        self.flush();
        let Submission {
            pid,
            message,
            envelope,
            reason,
            failed,
            ..
        } = self;
        drop(message);
        drop(envelope);
        let Ok(end) = sys::process::wait_for(pid) else {
            return Outcome::Temporary(b"qq waitpid surprise (#4.3.0)".to_vec());
        };
        match end {
            End::Signal(_) => Outcome::Temporary(b"qq crashed (#4.3.0)".to_vec()),
            End::Exit(CUSTOM) => explained(reason),
            // The queue program cannot have seen a whole envelope.
            End::Exit(0) if failed => Outcome::Temporary(b"qq read error (#4.3.0)".to_vec()),
            End::Exit(code) => verdict(code),
        }
    }
}

impl Write for Submission {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Submission::write(self, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what a replacement wrote about its refusal: a letter D or Z, then the text.
fn explained(reason: OwnedFd) -> Outcome {
    let mut text = Bytes::new();
    let timed = base::io::Timed::new(reason, REASON_WAIT);
    let _ = timed.take(REASON_LIMIT as u64).read_to_end(&mut text);
    let text: Bytes = text
        .into_iter()
        .take_while(|&b| b != b'\n' && b != b'\r' && b != 0)
        .collect();
    let printable = base::bytes::printable(text.get(1..).unwrap_or_default());
    match text.first() {
        Some(b'D') if text.len() > 2 => Outcome::Permanent(printable),
        Some(b'Z') if text.len() > 2 => Outcome::Temporary(printable),
        _ => Outcome::Temporary(b"qq temporary problem (#4.3.0)".to_vec()),
    }
}

/// What the exit code of a queue program means, with the classic texts.
pub fn verdict(code: u8) -> Outcome {
    let permanent = |text: &str| Outcome::Permanent(text.as_bytes().to_vec());
    let temporary = |text: &str| Outcome::Temporary(text.as_bytes().to_vec());
    match code {
        0 => Outcome::Queued,
        11 | 115 => permanent("envelope address too long for qq (#5.1.3)"),
        31 => permanent("mail server permanently rejected message (#5.3.0)"),
        51 => temporary("qq out of memory (#4.3.0)"),
        52 => temporary("qq timeout (#4.3.0)"),
        53 => temporary("qq write error or disk full (#4.3.0)"),
        54 => temporary("qq read error (#4.3.0)"),
        55 => temporary("qq unable to read configuration (#4.3.0)"),
        56 => temporary("qq trouble making network connection (#4.3.0)"),
        61 => temporary("qq trouble in home directory (#4.3.0)"),
        62..=66 => temporary("qq trouble creating files in queue (#4.3.0)"),
        71 => temporary("mail server temporarily rejected message (#4.3.0)"),
        72 => temporary("connection to mail server timed out (#4.4.1)"),
        73 => temporary("connection to mail server rejected (#4.4.1)"),
        74 => temporary("communication with mail server failed (#4.4.2)"),
        81 | 91 => temporary("qq internal bug (#4.3.0)"),
        120 => temporary("unable to exec qq (#4.3.0)"),
        12..=30 | 32..=40 => permanent("qq permanent problem (#5.3.0)"),
        _ => temporary("qq temporary problem (#4.3.0)"),
    }
}
