//! pop3: the owner of a maildir takes his mail away over the network.
//!
//! Programs   qmail-popup(8) qmail-pop3d(8)
//! Runs as    root, whose part that hears strangers may do nothing else; then the user
//! Reads      fd 0 the client, the environment, the maildir, the user's .qmail files
//! Writes     fd 1 replies; removes and renames files of the maildir, maildirsize and
//!            the lists of unique names
//! May use    auth base control net recipient sys
//! Source     qmail-popup(8), qmail-pop3d(8), RFC 1939, RFC 2449, RFC 2595, RFC 5034, RFC 6856, maildir(5)

pub mod client;
pub mod folder;
pub mod front;
mod letter;
pub mod log;
mod pop3d;
mod popup;
pub mod quota;
pub mod resolve;
pub mod rules;
pub mod session;
pub mod text;
pub mod uidl;
pub mod update;

pub use pop3d::{pop3d_promises, qmail_pop3d};
pub use popup::{popup_promises, qmail_popup};
