//! Handing one message to the queue: every program that makes mail goes through here (djb's `qmail.c`).
//!
//! Where the queue service listens (qmail-queued(8)), the message goes to it: no process is made. Otherwise, and always
//! with `QMAILQUEUE`, a program is run: `QMAILQUEUE`, or bin/qmail-queue, relative to the working directory (home), with
//! the message on its descriptor 0 and the envelope on its descriptor 1. A replacement may explain a refusal in words:
//! the pipe stands on descriptors 4 and 6, so that both conventions in the field are served.
//!
//! The service is called late: when `HOLD` bytes have come, or at the end. So a slow sender holds no connection, and as
//! long as the service has taken nothing the program can still be run instead.
//!
//! Source  qmail-queue(8), qmail-queued(8)

mod program;
mod talk;

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use base::Bytes;

use crate::service::BUSY;
use program::Program;
use talk::{Ended, Talk};

/// Bytes gathered before the service is called.
const HOLD: usize = 64 * 1024;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// on disk, whole
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

/// A variable, and its value; `None` takes it away.
pub type Change = (Bytes, Option<Bytes>);

/// A message on its way into the queue.
#[derive(Debug)]
pub struct Submission {
    way: Way,
    /// what comes now: the text, or the envelope
    phase: Phase,
    qp: u32,
    failed: bool,
}

#[derive(Debug)]
enum Way {
    /// not decided: the service seems to be there
    Held {
        text: Bytes,
        envelope: Bytes,
    },
    Service(Talk),
    Program(Program),
    /// decided, and failed
    Nowhere,
    /// done; this is closed with the submission, so that the verdict can be told first
    Over(#[expect(dead_code, reason = "held open")] OwnedFd),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Text,
    Envelope,
}

/// Whether messages go to the queue service: QMAILQUEUE is not set, and the service takes a connection. A caller that
/// hears yes may give up its right to run programs; should the service go away, its messages are deferred.
pub fn is_served() -> bool {
    base::env("QMAILQUEUE").is_none() && talk::answers()
}

impl Submission {
    /// Finds the way into the queue. SIGPIPE should be ignored by the caller: the program may end early.
    ///
    /// # Errors
    /// No pipe, no process, no program: temporary. Where the service seems to be there, `close` tells of them.
    pub fn open() -> io::Result<Submission> {
        Submission::open_with(&[])
    }

    /// As `open`, with changes for the environment that a program in QMAILQUEUE gets: a filter may ask who the client
    /// is. qmail-queue itself and the service take nothing from there.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with(changes: &[Change]) -> io::Result<Submission> {
        if let Some(program) = base::env("QMAILQUEUE") {
            let program = Program::start(&program, changes)?;
            return Ok(Submission::new(Way::Program(program)));
        }
        if talk::is_there() {
            return Ok(Submission::new(Way::Held {
                text: Bytes::new(),
                envelope: Bytes::new(),
            }));
        }
        Submission::open_program(program::CLASSIC)
    }

    /// Starts `program` in place of qmail-queue.
    pub fn open_program(program: &[u8]) -> io::Result<Submission> {
        Ok(Submission::new(Way::Program(Program::start(program, &[])?)))
    }

    fn new(way: Way) -> Submission {
        let qp = match &way {
            Way::Program(program) => program.pid(),
            _ => 0,
        };
        Submission {
            way,
            phase: Phase::Text,
            qp,
            failed: false,
        }
    }

    /// `qp` in logs and replies: the process id of the queue program, or the number that the service gave, which is
    /// known after `close` only (0 before).
    pub fn pid(&self) -> u32 {
        self.qp
    }

    /// Gives the message up: the queue program will see an incomplete envelope and drop it.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether something has failed already, so that the rest need not be written.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.failed {
            return;
        }
        match &mut self.way {
            Way::Held { text, envelope } => {
                match self.phase {
                    Phase::Text => text.extend_from_slice(bytes),
                    Phase::Envelope => envelope.extend_from_slice(bytes),
                }
                if text.len() + envelope.len() > HOLD {
                    self.decide();
                }
            }
            Way::Service(talk) => self.failed = !talk.put(bytes),
            Way::Program(program) => self.failed = !program.put(bytes),
            Way::Nowhere | Way::Over(_) => self.failed = true,
        }
    }

    /// Gives what is held to the service, or to the program if the service takes nothing.
    fn decide(&mut self) {
        let way = std::mem::replace(&mut self.way, Way::Nowhere);
        let Way::Held { text, envelope } = way else {
            self.way = way;
            return;
        };
        if let Some(talk) = Talk::begin(&text, &envelope, self.phase) {
            self.way = Way::Service(talk);
        } else {
            self.run(&text, &envelope);
        }
    }

    /// Runs the program with what was held.
    fn run(&mut self, text: &[u8], envelope: &[u8]) {
        let Ok(mut program) = Program::start(program::CLASSIC, &[]) else {
            self.failed = true;
            return;
        };
        self.qp = program.pid();
        let mut done = program.put(text);
        if self.phase == Phase::Envelope {
            done &= program.end_text() && program.put(envelope);
        }
        self.failed |= !done;
        self.way = Way::Program(program);
    }

    /// More of the message. Must come before `sender`. Failures are remembered for `close`.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.phase != Phase::Text {
            self.failed = true;
        }
        self.put(bytes);
    }

    /// Ends the message and begins the envelope.
    pub fn sender(&mut self, address: &[u8]) {
        self.phase = Phase::Envelope;
        let done = match &mut self.way {
            Way::Service(talk) => {
                talk.end();
                true
            }
            Way::Program(program) => self.failed || program.end_text(),
            _ => true,
        };
        self.failed |= !done;
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

    /// Ends the envelope and waits for the verdict. The submission is over then; all that is left is `pid`.
    ///
    /// Whoever passes the verdict on, and repeats the message if that fails, does so before he drops the submission.
    pub fn close(&mut self) -> Outcome {
        if self.phase == Phase::Text {
            self.failed = true;
        }
        self.put(b"\0");
        match std::mem::replace(&mut self.way, Way::Nowhere) {
            // Nobody has heard of the message yet.
            Way::Held { .. } if self.failed => verdict(READ),
            Way::Held { text, envelope } => self.close_held(&text, &envelope),
            Way::Service(talk) => {
                let (ended, socket) = talk.close(self.failed);
                self.way = Way::Over(socket);
                self.answered(ended)
            }
            Way::Program(program) => self.close_program(program),
            Way::Nowhere | Way::Over(_) => verdict(NO_PROGRAM),
        }
    }

    /// The usual end of a small message: one write and one read, or else the program.
    fn close_held(&mut self, text: &[u8], envelope: &[u8]) -> Outcome {
        if let Some(talk) = Talk::begin(text, envelope, Phase::Envelope) {
            let (ended, socket) = talk.close(false);
            match &ended {
                Ended::Answer(answer) if answer.code == BUSY => {}
                Ended::Untouched => {}
                _ => {
                    self.way = Way::Over(socket);
                    return self.answered(ended);
                }
            }
        }
        self.run(text, envelope);
        match std::mem::replace(&mut self.way, Way::Nowhere) {
            Way::Program(program) => self.close_program(program),
            _ => verdict(NO_PROGRAM),
        }
    }

    fn close_program(&mut self, program: Program) -> Outcome {
        let (outcome, reason) = program.close(self.failed);
        self.way = Way::Over(reason);
        outcome
    }

    fn answered(&mut self, ended: Ended) -> Outcome {
        match ended {
            Ended::Answer(answer) => {
                self.qp = answer.qp;
                match answer.code {
                    // The service cannot have seen a whole envelope.
                    0 if self.failed => verdict(READ),
                    CUSTOM => program::explained(&answer.text),
                    code => verdict(code),
                }
            }
            Ended::TimedOut => verdict(TIMED_OUT),
            Ended::Gone | Ended::Untouched if self.failed => verdict(READ),
            Ended::Gone | Ended::Untouched => Outcome::Temporary(b"qq crashed (#4.3.0)".to_vec()),
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

/// Exit code that says: the explanation is on descriptor 4 or 6, or in the text of the answer.
pub(crate) const CUSTOM: u8 = 82;
/// Exit code for a read error, which an incomplete envelope is.
const READ: u8 = 54;
/// Exit code for a timeout.
const TIMED_OUT: u8 = 52;
/// The exit code that stands for a queue program that cannot be run.
const NO_PROGRAM: u8 = 120;

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
        BUSY => temporary("qq too busy (#4.3.2)"),
        12..=30 | 32..=40 => permanent("qq permanent problem (#5.3.0)"),
        _ => temporary("qq temporary problem (#4.3.0)"),
    }
}
