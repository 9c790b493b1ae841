//! Asking who the client is, by a process that stands apart: a session makes promises to the kernel, and running a
//! checker is none of them.
//!
//! Source  docs/decisions/0005-sandbox.md; docs/decisions/0015-scram-over-checkpassword.md

mod frames;
mod keeper;
mod launcher;

use std::time::Duration;

use auth::checker::{Salted, Verdict};
use auth::sasl::Request;
use base::Bytes;

pub use keeper::{Guard, Keeper};
pub use launcher::Launcher;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// a name with its password, response or token; or the salt of a name
    Ask(Request),
    /// after the salt: whether this proof is right
    Prove {
        /// what was said so far
        message: Bytes,
        /// the client's proof
        proof: Bytes,
    },
    /// after the signature: the client has seen it
    Go,
    /// the client gave up between two questions
    GiveUp,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// that is all
    Verdict(Verdict),
    /// refused, and what is known of whoever guesses
    Failed(Failure),
    /// the salt; a proof follows
    Salted(Salted),
    /// the proof is right, and this convinces the client
    Signed(Bytes),
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// before the answer to the client
    pub delay: Duration,
    /// failures of the client's network lately
    pub network: u32,
    /// failures of the account lately
    pub account: u32,
    /// whether nobody was asked: there were too many
    pub unasked: bool,
}

/// Whoever knows.
pub trait Gate {
    /// Asks. Waits as long as a checker may take; trouble is `Verdict::Temporary`, and a refusal is `Failed`, whatever
    /// the checker would have said.
    fn ask(&mut self, question: &Question) -> Answer;
}

/// Where nobody checks.
#[derive(Clone, Copy, Debug)]
pub struct Shut;

impl Gate for Shut {
    fn ask(&mut self, _: &Question) -> Answer {
        Answer::Verdict(Verdict::Temporary)
    }
}
