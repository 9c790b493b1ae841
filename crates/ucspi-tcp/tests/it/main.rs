//! The programs of ucspi-tcp as black boxes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod exhaustion;
mod fake_dns;
mod filters;
mod frontend;
mod interchange;
mod limits;
mod names;
mod rblsmtpd;
mod rules;
mod scripts;
mod server;
mod tcpclient;
mod tcpserver;
