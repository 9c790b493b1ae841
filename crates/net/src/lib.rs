//! net: who is at the other end, and talking to him.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      the environment, sockets
//! Writes     sockets
//! May use    base sys
//! Source     tcp-environ(5), UCSPI-1996, UCSPI-TLS

pub mod forkserver;
pub mod peer;
pub mod proxy;
pub mod starttls;
pub mod ucspi;
