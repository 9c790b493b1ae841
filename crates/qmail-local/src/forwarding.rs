//! Handing a message back to the queue, for other recipients.

use std::io::{self, ErrorKind, Read};

use base::Bytes;
use queue::submit::{Outcome, Submission, verdict};

/// Bytes copied at a time.
const PIECE: usize = 64 * 1024;
/// The exit code of qmail-queue when it finds no home.
const NO_HOME: u8 = 61;
/// The exit code that stands for a queue program that cannot be run.
const NO_PROGRAM: u8 = 120;

/// Why a message was not queued.
#[derive(Debug)]
pub(crate) enum Failure {
    /// no process could be made
    Fork(io::Error),
    /// the message could not be read
    Read(io::Error),
    /// the queue refused: `Permanent` or `Temporary`
    Queue(Outcome),
}

/// Sends `delivered_to` and the rest of `message` on as one new message. Returns its `qp`.
///
/// Changes the working directory to the home of qmail, where the queue program is found: the last thing that a
/// delivery does.
pub(crate) fn send(
    delivered_to: &[u8],
    message: &mut impl Read,
    sender: &[u8],
    recipients: &[Bytes],
) -> Result<u32, Failure> {
    if control::home::enter().is_err() {
        return Err(Failure::Queue(verdict(NO_HOME)));
    }
    let mut submission = Submission::open().map_err(|e| {
        if sys::is_temporary(&e) {
            Failure::Fork(e)
        } else {
            Failure::Queue(verdict(NO_PROGRAM))
        }
    })?;
    submission.write(delivered_to);
    copy(message, &mut submission)?;
    submission.sender(sender);
    for recipient in recipients {
        submission.recipient(recipient);
    }
    let outcome = submission.close();
    let qp = submission.pid();
    // As this is the last thing, what is open is closed by the end, after the report.
    std::mem::forget(submission);
    match outcome {
        Outcome::Queued => Ok(qp),
        refused => Err(Failure::Queue(refused)),
    }
}

fn copy(message: &mut impl Read, submission: &mut Submission) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    loop {
        match message.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => submission.write(piece.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::Read(e)),
        }
    }
}
