//! dns: asks the resolvers of this machine for MX, A, AAAA, PTR and TXT.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      DNSCACHEIP, /etc/resolv.conf; answers from the resolvers named there
//! Writes     queries over UDP and TCP
//! May use    base sys
//! Source     RFC 1035, 5966, 6891, 7505, 8020; dns_transmit in djbdns
//!
//! A stub: it relies on a recursive resolver, and remembers answers for a short while only if it is told to. /etc/hosts and search lists are not consulted, as in
//! djb's programs. One question waits at most `QUESTION_TIME`.

mod answer;
mod batch;
mod memory;
mod name;
mod servers;
mod transport;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use base::Bytes;
use domain::base::Rtype;

use memory::Memory;

pub use answer::Answer;
pub use batch::Batch;
pub use domain::base::Rtype as Kind;
pub use transport::QUESTION_TIME;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// nobody could tell now; the reason in a few words
    Temporary(String),
    /// there is no such name (NXDOMAIN), or it cannot be one
    NoName,
    /// the name exists, but has nothing of this type
    NoData,
}

impl Trouble {
    /// Whether asking again later may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Trouble::Temporary(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Temporary(reason) => write!(f, "temporary DNS trouble: {reason}"),
            Trouble::NoName => f.write_str("no such name"),
            Trouble::NoData => f.write_str("no record of this type"),
        }
    }
}

impl std::error::Error for Trouble {}

/// One mail exchanger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// the lower the better
    pub preference: u16,
    /// its name without the last dot; empty for the root, which says "no mail here" (RFC 7505)
    pub host: Bytes,
}

/// The resolvers of this machine.
///
/// Shape   names are bytes in djb's form: labels joined by dots, without regard to case, a last dot is allowed, `\ooo`
///         stands for a byte in octal. Names in answers are lower case, with every other byte than letters, digits,
///         `-` and `_` as `\ooo`: safe to print.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    trusted: bool,
    memory: Option<Memory>,
}

impl Resolver {
    /// The resolvers that the environment or the system names.
    ///
    /// DNSCACHEIP holds addresses between blanks or commas, each `IP`, `IP:port` or `[IPv6]:port` (djb's own form,
    /// several IPv4 addresses joined by dots, works too); a process that is privileged over its caller ignores it.
    /// Without it, the `nameserver` lines of /etc/resolv.conf; without those, 127.0.0.1.
    ///
    /// # Errors
    /// /etc/resolv.conf is there but cannot be read.
    pub fn from_system() -> io::Result<Resolver> {
        let found = servers::of_system()?;
        Ok(Resolver {
            servers: found.list,
            trusted: found.trusted,
            memory: None,
        })
    }

    /// These resolvers and no others. `trusted`: their AD bit is worth something.
    pub fn new(servers: Vec<SocketAddr>, trusted: bool) -> Resolver {
        Resolver {
            servers,
            trusted,
            memory: None,
        }
    }

    /// From now on `ask`, and what is built on it, remembers answers as long as their records live, but not longer than
    /// a minute; that there is no such name or record, for ten seconds. Clones share what they know.
    #[must_use]
    pub fn with_memory(self) -> Resolver {
        Resolver {
            memory: Some(Memory::default()),
            ..self
        }
    }

    /// Who is asked, in this order.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// Asks for records of one type, for callers that want to know whether the answer is authentic.
    ///
    /// # Errors
    /// `NoName`, `Temporary`; an answer without records is no error here.
    pub fn ask(&self, host: &[u8], kind: Rtype) -> Result<Answer, Trouble> {
        let name = name::parse(host)
            .filter(|_| !host.is_empty())
            .ok_or(Trouble::NoName)?;
        let ask = || transport::ask(&self.servers, self.trusted, &name, kind);
        match &self.memory {
            Some(memory) => memory.recall(&name::text(&name), kind, ask),
            None => ask(),
        }
    }

    /// Asks many questions at once; what has no answer at `end` is temporary trouble.
    pub fn ask_all(
        &self,
        questions: impl IntoIterator<Item = (Bytes, Kind)>,
        end: Instant,
    ) -> Batch<'_> {
        Batch::new(self, questions, end)
    }

    /// The mail exchangers of `host`, best first, each once. Equal ones stand in the order of the answer.
    ///
    /// # Errors
    /// See `Trouble`; `NoData` for a name without MX records.
    pub fn mx(&self, host: &[u8]) -> Result<Vec<Mx>, Trouble> {
        let mut list = self.ask(host, Rtype::MX)?.mx()?;
        list.sort_by_key(|m| m.preference);
        Ok(list)
    }

    /// The addresses of `host`, IPv6 and IPv4, each once; IPv6 first. An address in text is its own answer.
    ///
    /// # Errors
    /// See `Trouble`. Trouble with one family is no trouble when the other gave an address.
    pub fn addresses(&self, host: &[u8]) -> Result<Vec<IpAddr>, Trouble> {
        if let Some(literal) = servers::address(host) {
            return Ok(vec![literal]);
        }
        let v4 = self.ask(host, Rtype::A).and_then(|a| a.addresses());
        // A name that does not exist has no records of any type (RFC 8020).
        if matches!(v4, Err(Trouble::NoName)) {
            return v4;
        }
        let v6 = self.ask(host, Rtype::AAAA).and_then(|a| a.addresses());
        match (v6, v4) {
            (Ok(mut v6), Ok(v4)) => {
                v6.extend(v4);
                Ok(v6)
            }
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            (Err(v6), Err(v4)) => Err(if v4.is_temporary() { v4 } else { v6 }),
        }
    }

    /// The names of an address, as its PTR records say; nothing has been checked. djb's programs use the first.
    ///
    /// # Errors
    /// See `Trouble`.
    pub fn ptr(&self, address: IpAddr) -> Result<Vec<Bytes>, Trouble> {
        self.ask(&name::reverse(address), Rtype::PTR)?.ptr()
    }

    /// The texts of `host`: one for each TXT record, its strings joined. Any bytes may be inside.
    ///
    /// # Errors
    /// See `Trouble`.
    pub fn txt(&self, host: &[u8]) -> Result<Vec<Bytes>, Trouble> {
        self.ask(host, Rtype::TXT)?.txt()
    }
}
