//! Black-box tests of qmail-smtpd: the built program on a real socket.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by a panic"
)]

mod auth;
mod controls;
mod program;
mod relay;
mod server;
mod tls;
