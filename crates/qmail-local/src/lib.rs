//! qmail-local: deliver one message to one recipient, as his .qmail file says; and what .qmail files call.
//!
//! Programs   qmail-local(8) forward(1) bouncesaying(1) condredirect(1) except(1) preline(1) qmail-lmtp(1)
//! Runs as    the recipient
//! Reads      fd 0 message, the recipient's .qmail files; the environment of a delivery (the helpers)
//! Writes     his maildirs and mboxes; new mail through bin/qmail-queue; an LMTP server; fd 1 and 2 the report
//! May use    base control mail mailbox queue recipient sys wire
//! Source     qmail-local(8), dot-qmail(5), qmail-command(8); exit codes of a mail command
//!
//! `within` makes the same deliveries inside another process, which is the recipient already: a worker of
//! qmail-lspawn(8).

mod args;
mod ask;
mod deliver;
mod die;
mod dotfile;
mod environment;
mod forwarding;
mod helpers;
pub mod identity;
mod instruction;
mod local;
mod message;
pub mod once;
mod program;
pub mod within;

pub use helpers::{bouncesaying, condredirect, except, forward, lmtp, preline};
pub use local::local;
