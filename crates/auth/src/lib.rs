//! auth: who is it?
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      control/{checkerknows,scramsecret}; descriptor 3, what a checker answers
//! Writes     descriptor 3 of a checker; the table of failures
//! May use    base control sys
//! Source     RFC 4422 4616 2195 5802 7677 1939; docs/decisions/0015-scram-over-checkpassword.md
//!
//! `sasl` knows the words of the mechanisms and does no I/O; `checker` asks a program of the checkpassword family;
//! `dialogue` puts the two together for a server;
//! `claim` and `accept` are the checker's end; `client` logs in
//! elsewhere. Secrets never go into a log or an argument.

pub mod accept;
pub mod checker;
pub mod claim;
pub mod client;
pub mod dialogue;
pub mod digest;
pub mod encoding;
pub mod sasl;
pub mod scheme;
pub mod scram;
pub mod throttle;

pub use checker::{Checker, Verdict};
pub use dialogue::Dialogue;
pub use sasl::Mechanism;
pub use throttle::Throttle;
