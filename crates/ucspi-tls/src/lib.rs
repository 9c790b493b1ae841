//! ucspi-tls: run a program for each TCP connection, with TLS between it and the client.
//!
//! Programs   sslserver(1) sslclient(1) tlscert(1); as a script https@(1)
//! Runs as    sslserver: the listener as -u and -g once the port is bound, the keeper of the keys as root, the processes
//!            that speak TLS as qmailtls; sslclient, tlscert: their caller
//! Reads      certificates, keys, rules.cdb, /etc/passwd; what tcpserver reads
//! Writes     the log on descriptor 2; tlscert: privkey.pem, fullchain.pem
//! May use    base net sys tls ucspi-tcp
//! Source     sslserver(1) sslclient(1); docs/decisions/0021-tls-processes.md
//!
//! Exit codes: 0; 100 misuse, or a client that was denied; 111 trouble that may pass.

mod sslclient;
mod sslserver;
mod tlscert;

pub use sslclient::sslclient;
pub use sslserver::{keeper_promises, sslserver, worker_promises};
pub use tlscert::tlscert;
