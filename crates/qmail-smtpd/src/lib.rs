//! qmail-smtpd: take mail from strangers, or say clearly why not.
//!
//! Programs   qmail-smtpd(8)
//! Runs as    qmaild; hostile input
//! Reads      fd 0 the client, the UCSPI environment, control/*, what the crate recipient reads
//! Writes     fd 1 replies, fd 2 one log line per outcome; hands messages to qmail-queue, names and
//!            passwords to a checker (fd 3)
//! May use    auth base control mail net queue recipient sys wire
//! Source     qmail-smtpd(8), RFC 5321, RFC 1870, RFC 2034, RFC 2920, RFC 3207, RFC 4954, RFC 6152

pub mod address;
pub mod channel;
pub mod data;
pub mod gate;
pub mod header;
pub mod hosts;
pub mod judge;
pub mod log;
pub mod login;
pub mod own;
pub mod parameters;
pub mod reply;
pub mod senders;
pub mod session;
pub mod settings;
pub mod sink;
mod smtpd;
pub mod tls;
pub mod transaction;
pub mod words;

pub use smtpd::{promises, qmail_smtpd};
