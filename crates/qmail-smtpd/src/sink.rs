//! Where messages go. Tests put their own in place of qmail-queue.

use std::io;

use base::Bytes;
use queue::submit::{Change, Outcome, Submission};

/// Takes messages, one after the other.
pub trait Sink {
    /// A message on its way.
    type Message: Message;

    /// Begins a message. `changes` are for the environment of a program that takes it.
    ///
    /// # Errors
    /// It cannot be taken now.
    fn open(&mut self, changes: &[Change]) -> io::Result<Self::Message>;
}

/// A message on its way. One that is dropped is gone without a trace.
pub trait Message {
    /// What replies and logs call `qp`; known after `finish`.
    fn id(&self) -> u32;
    /// More text.
    fn write(&mut self, bytes: &[u8]);
    /// Ends text and envelope, and waits for the verdict.
    fn finish(&mut self, sender: &[u8], recipients: &[Bytes]) -> Outcome;
    /// Gives the message up, and waits until nothing of it is left.
    fn abandon(self);
}

/// The queue service, qmail-queue, or what QMAILQUEUE names.
#[derive(Clone, Copy, Debug)]
pub struct Queue;

impl Sink for Queue {
    type Message = Submission;

    fn open(&mut self, changes: &[Change]) -> io::Result<Submission> {
        Submission::open_with(changes)
    }
}

impl Message for Submission {
    fn id(&self) -> u32 {
        self.pid()
    }

    fn write(&mut self, bytes: &[u8]) {
        Submission::write(self, bytes);
    }

    fn finish(&mut self, sender: &[u8], recipients: &[Bytes]) -> Outcome {
        self.sender(sender);
        for recipient in recipients {
            self.recipient(recipient);
        }
        self.close()
    }

    fn abandon(mut self) {
        self.fail();
        // There is no envelope: whatever the queue program says, it has taken nothing.
        let _ = self.close();
    }
}
