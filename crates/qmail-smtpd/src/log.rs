//! The log: one line of `key=value` words per outcome.
//!
//! Whatever a stranger chose, a line stays one line: values hold no blank and no control byte, and have a limit.

use std::time::Duration;

use base::Bytes;

use crate::reply::Reply;

/// Bytes of one value at most; the whole line stays below what a pipe takes in one piece.
const VALUE_LIMIT: usize = 200;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// a message is in the queue
    Accepted,
    /// refused for good
    Refused,
    /// refused for now
    Deferred,
    /// the client went away in the middle
    Lost,
    /// nothing was attempted
    Nothing,
}

impl Outcome {
    /// The outcome that a reply means.
    pub fn of(reply: &Reply) -> Outcome {
        match reply.code {
            200..=299 => Outcome::Accepted,
            400..=499 => Outcome::Deferred,
            _ => Outcome::Refused,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Refused => "refused",
            Outcome::Deferred => "deferred",
            Outcome::Lost => "lost",
            Outcome::Nothing => "nothing",
        }
    }
}

/// A line in the making.
#[derive(Clone, Debug)]
pub struct Line(Bytes);

/// A byte that may stand in a value.
fn clean(byte: u8) -> u8 {
    if (33..127).contains(&byte) {
        byte
    } else {
        b'?'
    }
}

impl Line {
    /// Begins a line.
    pub fn new(pid: u32) -> Line {
        Line(format!("qmail-smtpd: pid={pid}").into_bytes())
    }

    /// Adds a value; an absent or empty one is a dash.
    #[must_use]
    pub fn value(mut self, key: &str, value: Option<&[u8]>) -> Line {
        let value = value.filter(|v| !v.is_empty()).unwrap_or(b"-");
        self.key(key);
        self.0
            .extend(value.iter().take(VALUE_LIMIT).map(|&b| clean(b)));
        self
    }

    /// Adds an address in angle brackets.
    #[must_use]
    pub fn address(mut self, key: &str, address: Option<&[u8]>) -> Line {
        let Some(address) = address else {
            return self.value(key, None);
        };
        self.key(key);
        self.0.push(b'<');
        self.0
            .extend(address.iter().take(VALUE_LIMIT).map(|&b| clean(b)));
        self.0.push(b'>');
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, key: &str, number: u64) -> Line {
        self.value(key, Some(number.to_string().as_bytes()))
    }

    /// Adds result, code, status and reason; of no reply, only the reason.
    #[must_use]
    pub fn outcome(self, outcome: Outcome, reply: Option<&Reply>, reason: &str) -> Line {
        let code = reply.map(|r| r.code.to_string());
        self.value("result", Some(outcome.word().as_bytes()))
            .value("code", code.as_ref().map(String::as_bytes))
            .value("status", reply.map(|r| r.status.as_bytes()))
            .value("reason", Some(reason.as_bytes()))
    }

    /// Adds a time in seconds with three decimals.
    #[must_use]
    pub fn time(self, key: &str, time: Duration) -> Line {
        let text = format!("{}.{:03}", time.as_secs(), time.subsec_millis());
        self.value(key, Some(text.as_bytes()))
    }

    /// The whole line, with its end.
    pub fn end(mut self) -> Bytes {
        self.0.push(b'\n');
        self.0
    }

    fn key(&mut self, key: &str) {
        self.0.push(b' ');
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'=');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_place() {
        let line = Line::new(7)
            .value("helo", Some(b"a b\r\nqmail-smtpd: x=y\x1b[1m\0\xff"))
            .address("from", Some(b""))
            .address("to", None)
            .value("host", Some(b""))
            .outcome(
                Outcome::Refused,
                Some(&crate::reply::NO_GATEWAY),
                "rcpthosts",
            )
            .time("time", Duration::from_millis(61_005))
            .end();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "qmail-smtpd: pid=7 helo=a?b??qmail-smtpd:?x=y?[1m?? from=<> to=- host=- \
             result=refused code=553 status=5.7.1 reason=rcpthosts time=61.005\n"
        );
        assert!(Line::new(1).value("x", Some(&[b'a'; 9999])).end().len() < 300);
    }
}
