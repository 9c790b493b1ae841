//! Where the message goes: to the queue, or to descriptor 1.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use base::Die;
use queue::submit::{Outcome, Submission};

use super::envelope::Envelope;
use super::read_error;

#[derive(Debug)]
pub(super) enum Sink {
    Queue(Submission),
    Print(BufWriter<File>),
}

impl Sink {
    pub(super) fn open(queue: bool) -> Result<Sink, Die> {
        if queue {
            return Ok(Sink::Queue(
                Submission::open().map_err(|e| no_queue_program(&e))?,
            ));
        }
        let output = sys::fd::take(1).map_err(|_| read_error())?;
        Ok(Sink::Print(BufWriter::new(File::from(output))))
    }

    /// Whether the message is only printed.
    pub(super) fn is_print(&self) -> bool {
        matches!(self, Sink::Print(_))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Die> {
        match self {
            Sink::Queue(submission) => {
                submission.write(bytes);
                Ok(())
            }
            Sink::Print(output) => output.write_all(bytes).map_err(|_| read_error()),
        }
    }

    /// Hands the envelope over and waits for the verdict.
    pub(super) fn close(self, envelope: &Envelope, header: bool) -> Result<(), Die> {
        let mut submission = match self {
            Sink::Print(mut output) => return output.flush().map_err(|_| read_error()),
            Sink::Queue(submission) => submission,
        };
        submission.sender(envelope.sender.as_deref().unwrap_or_default());
        for recipient in envelope.recipients(header) {
            submission.recipient(recipient);
        }
        match submission.close() {
            Outcome::Queued => Ok(()),
            Outcome::Permanent(text) => Err(Die::fatal(100, text)),
            Outcome::Temporary(text) => Err(Die::fatal(111, text)),
        }
    }
}

/// The original sees a program that cannot be run only by its exit code, so it has two sentences.
fn no_queue_program(error: &io::Error) -> Die {
    if sys::is_temporary(error) {
        Die::fatal(111, "unable to run qmail-queue")
    } else {
        Die::fatal(111, "unable to exec qq (#4.3.0)")
    }
}
