//! Asking who the client is, by a process that stands apart: a session makes promises to the kernel, and running a
//! checker is none of them.
//!
//! Source  docs/decisions/0005-sandbox.md; docs/decisions/0015-scram-over-checkpassword.md

mod frames;
mod keeper;
mod launcher;

use auth::checker::{Salted, Verdict};
use auth::sasl::Request;
use base::Bytes;

pub use keeper::{Keeper, is_sound};
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
    /// the salt; a proof follows
    Salted(Salted),
    /// the proof is right, and this convinces the client
    Signed(Bytes),
}

/// Whoever knows.
pub trait Gate {
    /// Asks. Waits as long as a checker may take; trouble is `Verdict::Temporary`.
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
