//! Black-box tests of qmail-popup and qmail-pop3d.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test ends by a panic"
)]

mod changes;
mod dovecot;
mod mailbox;
mod maildir;
mod popup;
mod quit;
mod resolve;
mod unique;
