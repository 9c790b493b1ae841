//! qmail-start: start the daemons, each as its own user; qmail-lspawn: start local deliveries, each as the recipient.
//!
//! Programs   qmail-start(8) qmail-lspawn(8)
//! Runs as    root (or one ordinary user for everything: single-uid mode)
//! Reads      queue/mess, control/localexec, users/cdb, the answers of bin/qmail-getpw; /etc/passwd and /etc/group for the suite's users
//! Writes     the recipients' maildirs and mboxes, as they
//! May use    base control qmail-local queue recipient sys
//! Source     qmail-start(8), qmail-lspawn(8), qmail-users(5); exit codes of a report (qmail-lspawn)

mod job;
mod letter;
mod lookup;
mod lspawn;
mod pool;
mod program;
mod qlx;
mod start;
mod version;
mod worker;
pub use worker::promises as worker_promises;

pub use lspawn::lspawn;
pub use start::start;
