//! What a session knows of the message to come.
//!
//! All of it is one value, so that no path through the program can forget a half of it: `Envelope::reset` is the only
//! way back.

use std::time::Duration;

use base::Bytes;

use crate::reply::Reply;

/// One mail transaction: begun by MAIL, ended by `Envelope::reset`.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// envelope sender
    pub sender: Bytes,
    /// whether badmailfrom lists the sender: every recipient will be refused
    pub barred: bool,
    /// accepted recipients
    pub recipients: Vec<Bytes>,
    /// how many recipients were refused
    pub refused: u64,
    /// the last refusal
    pub refusal: Option<Reply>,
    /// the recipient for the log: the first accepted one, else the last refused one
    pub example: Bytes,
    /// when it began, since the beginning of the session
    pub begun: Duration,
}

impl Transaction {
    /// A transaction without recipients.
    pub fn new(sender: Bytes, barred: bool, begun: Duration) -> Transaction {
        Transaction {
            sender,
            barred,
            recipients: Vec::new(),
            refused: 0,
            refusal: None,
            example: Bytes::new(),
            begun,
        }
    }

    /// Bytes of all recipients.
    pub fn size(&self) -> usize {
        self.recipients.iter().map(Vec::len).sum()
    }

    /// Remembers an accepted recipient.
    pub fn accept(&mut self, address: Bytes) {
        if self.recipients.is_empty() {
            self.example.clone_from(&address);
        }
        self.recipients.push(address);
    }

    /// Remembers a refused one.
    pub fn refuse(&mut self, address: &[u8], reply: &Reply) {
        if self.recipients.is_empty() {
            self.example = address.to_vec();
        }
        self.refused = self.refused.saturating_add(1);
        self.refusal = Some(reply.clone());
    }
}

/// The place of the transaction in a session.
#[derive(Clone, Debug, Default)]
pub struct Envelope(Option<Transaction>);

impl Envelope {
    /// Ends the transaction and hands it out, for the message or for the log.
    pub fn reset(&mut self) -> Option<Transaction> {
        self.0.take()
    }

    /// Begins a transaction. The old one must have been reset: it is lost here.
    pub fn begin(&mut self, transaction: Transaction) {
        self.0 = Some(transaction);
    }

    /// The transaction, if MAIL has begun one.
    pub fn open(&mut self) -> Option<&mut Transaction> {
        self.0.as_mut()
    }
}
