//! qmail-start: start the daemons, each as its own user; qmail-lspawn: start local deliveries, each as the recipient.
//!
//! Programs   qmail-start(8) qmail-lspawn(8)
//! Runs as    root (or one ordinary user for everything: single-uid mode)
//! Reads      queue/mess, users/cdb, the answers of bin/qmail-getpw; /etc/passwd and /etc/group for the suite's users
//! Writes     nothing
//! May use    base control queue recipient sys
//! Source     qmail-start(8), qmail-lspawn(8), qmail-users(5); exit codes of a report (qmail-lspawn)

mod delivery;
mod lookup;
mod lspawn;
mod qlx;
mod start;

pub use lspawn::lspawn;
pub use start::start;
