//! ucspi-tcp: run a program for each TCP connection.
//!
//! Programs   tcpserver(1) tcpclient(1) tcprules(1) tcprulescheck(1)
//! Runs as    root until the port is bound, then -u and -g; the others as their caller
//! Reads      rules.cdb, /etc/services, DNS, the ident server of the other host
//! Writes     rules.cdb; the log on descriptor 2
//! May use    base control dns net sys
//! Source     tcpserver(1) tcpclient(1) tcprules(1) tcprulescheck(1)
//!
//! Exit codes: 0; 100 misuse, a bad rule, or a client that was denied; 111 trouble that may pass.

mod host;
mod ident;
mod names;
mod options;
mod port;
mod rulefile;
mod rules;
mod ruletext;
mod tcpclient;
mod tcprules;
mod tcprulescheck;
mod tcpserver;

pub use tcpclient::tcpclient;
pub use tcprules::tcprules;
pub use tcprulescheck::tcprulescheck;
pub use tcpserver::tcpserver;
