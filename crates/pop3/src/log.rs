//! The log: one line of `key=value` words for each client that said who it is, if POP3LOG is set.
//!
//! The original writes nothing, and where a server has the client on descriptor 2 a line would be read as a reply: so it must
//! be asked for. Whatever a stranger chose, a line stays one line.

use std::io::Write;
use std::time::Duration;

use auth::checker::Verdict;
use base::Bytes;
use base::io::Timed;
use net::peer::Peer;

use crate::front::Method;

/// Bytes of one value at most.
const VALUE_LIMIT: usize = 200;
/// How long the reader of the log may keep us waiting before a line is dropped.
const WAIT: Duration = Duration::from_secs(10);

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// who the client says it is
    pub name: &'a [u8],
    /// how
    pub method: Method,
    /// whether under TLS
    pub tls: bool,
    /// what the checker said
    pub verdict: Verdict,
    /// whether it was refused without asking
    pub unasked: bool,
    /// of this network and this account, this one too, where they are counted
    pub failures: Option<(u32, u32)>,
    /// since the connection began
    pub time: Duration,
}

impl Attempt<'_> {
    /// The line, with its end.
    pub fn line(&self, pid: u32, peer: &Peer) -> Bytes {
        let result = match self.verdict {
            Verdict::Accepted => "accepted",
            Verdict::Refused if self.unasked => "barred",
            Verdict::Refused => "refused",
            Verdict::Temporary => "deferred",
        };
        let mut line = format!("qmail-popup: pid={pid}").into_bytes();
        let mut put = |key: &str, value: &[u8]| {
            let value = if value.is_empty() { b"-" } else { value };
            line.extend(format!(" {key}=").bytes());
            let clean = |&b: &u8| if (33..127).contains(&b) { b } else { b'?' };
            line.extend(value.iter().take(VALUE_LIMIT).map(clean));
        };
        put("ip", peer.ip());
        put("host", peer.remote_host.as_deref().unwrap_or_default());
        put("user", self.name);
        put("method", self.method.name().as_bytes());
        put("tls", if self.tls { b"1" } else { b"0" });
        put("result", result.as_bytes());
        if let Some((network, account)) = self.failures {
            put("failures", format!("{network}/{account}").as_bytes());
        }
        let time = format!("{}.{:03}", self.time.as_secs(), self.time.subsec_millis());
        put("time", time.as_bytes());
        line.push(b'\n');
        line
    }

    /// Writes the line on descriptor 2, if lines are wanted.
    pub fn write(&self) {
        if base::env("POP3LOG").is_none() {
            return;
        }
        if let Ok(log) = sys::fd::inherited(2) {
            let line = self.line(std::process::id(), &Peer::from_env());
            // The client does not wait for a log that nobody reads.
            let _ = Timed::new(log, WAIT).write_all(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let attempt = Attempt {
            name: b"joe x=y\r\nqmail-popup: pid=1\x1b\xff",
            method: Method::Apop,
            tls: true,
            verdict: Verdict::Refused,
            unasked: false,
            failures: Some((3, 1)),
            time: Duration::from_millis(2_005),
        };
        let peer = Peer {
            remote_ip: Some(b"192.0.2.1".to_vec()),
            ..Peer::default()
        };
        assert_eq!(
            String::from_utf8(attempt.line(7, &peer)).unwrap(),
            "qmail-popup: pid=7 ip=192.0.2.1 host=- user=joe?x=y??qmail-popup:?pid=1?? method=APOP tls=1 \
             result=refused failures=3/1 time=2.005\n"
        );
        let long = Attempt {
            name: &[b'a'; 9999],
            ..attempt
        };
        assert!(long.line(7, &peer).len() < 500);
    }
}
