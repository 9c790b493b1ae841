//! The server's side of TLS.

pub mod tickets;
