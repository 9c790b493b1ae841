//! qmail-inject: what a sender runs: complete a message and hand it to the queue.
//!
//! Programs   qmail-inject(8) sendmail(8) mailq(1) maildirmake(1)
//! Runs as    the sender; called by anyone
//! Reads      fd 0 message, argv, QMAIL* and MAIL* of the environment, control/*
//! Writes     the queue, through qmail-queue; fd 1 with -n; a new maildir
//! May use    base control mail queue sys
//! Source     qmail-inject(8), qmail-header(5)

mod inject;
mod maildirmake;
mod sendmail;

pub use inject::inject;
pub use maildirmake::maildirmake;
pub use sendmail::{mailq, sendmail};
