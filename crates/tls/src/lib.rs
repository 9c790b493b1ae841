//! tls: TLS sessions, for servers and clients; the only crate that sees rustls.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      certificates and keys, bytes of a session
//! Writes     bytes of a session
//! May use    nothing of ours
//! Source     RFC 8446, RFC 5246, RFC 9325; docs/dependencies.md
//!
//! The cryptography is that of ring. It costs a new process nothing: no state is built before the first session.

pub mod agreed;
pub mod certificate;
pub mod client;
pub mod server;
