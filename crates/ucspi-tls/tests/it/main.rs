//! The programs of ucspi-tls as black boxes, with OpenSSL and Python as clients.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod certificates;
mod hostile;
mod processes;
mod server;
mod sslclient;
mod sslserver;
mod starttls;
mod tlscert;
