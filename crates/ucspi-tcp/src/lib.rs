//! ucspi-tcp: run a program for each TCP connection.
//!
//! Programs   tcpserver(1) tcpclient(1) tcprules(1) tcprulescheck(1) argv0(1) addcr(1) delcr(1) fixcrio(1)
//!            recordio(1) rblsmtpd(1) mconnect-io(1); as scripts mconnect(1) tcpcat(1) who@(1) date@(1) finger@(1)
//!            http@(1)
//! Runs as    root until the port is bound, then -u and -g; the others as their caller
//! Reads      rules.cdb, /etc/services, DNS, the ident server of the other host
//! Writes     rules.cdb; the log on descriptor 2
//! May use    base control dns net sys
//! Source     tcpserver(1) tcpclient(1) tcprules(1) tcprulescheck(1)
//!
//! Exit codes: 0; 100 misuse, a bad rule, or a client that was denied; 111 trouble that may pass.

mod adapter;
mod argv0;
mod crs;
mod filter;
mod fixcrio;
mod host;
mod ident;
mod mconnect_io;
mod names;
mod network;
mod options;
mod port;
mod rblsmtpd;
mod recordio;
mod rulefile;
mod rules;
mod ruletext;
mod tcpclient;
mod tcprules;
mod tcprulescheck;
mod tcpserver;

/// What a client of another room does as tcpclient does it.
pub mod client {
    pub use crate::options::{Verbosity, last_word, leading, misuse};
    pub use crate::port::argument as port;
    pub use crate::tcpclient::dial::{addresses, dial, say};
    pub use crate::tcpclient::find_out;
    pub use crate::tcpclient::settings::{Families, LETTERS, Settings};
    pub use crate::tcpserver::settings::{Dialect, More, Unknown};
}

/// What a server of another room does as tcpserver does it.
pub mod server {
    pub use crate::names::Belief;
    pub use crate::network::Network;
    pub use crate::options::{Verbosity, last_word, leading, misuse};
    pub use crate::port::argument as port;
    pub use crate::rules::Order;
    pub use crate::tcpserver::acquire::{Place, bound_port, drop_privileges, listen, place};
    pub use crate::tcpserver::child::{Ends, Visitor, set_options};
    pub use crate::tcpserver::limits::Rate;
    pub use crate::tcpserver::log::{say, warn};
    pub use crate::tcpserver::serve::{Front, News, Server, Taking};
    pub use crate::tcpserver::settings::{
        Dialect, Extras, LETTERS, More, Protocol, Settings, Sockets, Unknown,
    };
    pub use crate::tcpserver::{close_standard, print};
}

pub use argv0::argv0;
pub use crs::{addcr, delcr};
pub use fixcrio::fixcrio;
pub use mconnect_io::mconnect_io;
pub use rblsmtpd::rblsmtpd;
pub use recordio::recordio;
pub use tcpclient::tcpclient;
pub use tcprules::{promises as tcprules_promises, tcprules};
pub use tcprulescheck::{promises as tcprulescheck_promises, tcprulescheck};
pub use tcpserver::tcpserver;
