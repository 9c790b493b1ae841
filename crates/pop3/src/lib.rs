//! pop3: the owner of a maildir takes his mail away over the network.
//!
//! Programs   qmail-pop3d(8)
//! Runs as    the user
//! Reads      fd 0 the client, the environment, the maildir, the user's .qmail files
//! Writes     fd 1 replies; removes and renames files of the maildir, maildirsize and
//!            the lists of unique names
//! May use    base recipient sys
//! Source     qmail-pop3d(8), RFC 1939, RFC 2449, RFC 6856, maildir(5)

pub mod client;
pub mod folder;
mod pop3d;
pub mod quota;
pub mod resolve;
pub mod session;
pub mod text;
pub mod uidl;
pub mod update;

pub use pop3d::{pop3d_promises, qmail_pop3d};
