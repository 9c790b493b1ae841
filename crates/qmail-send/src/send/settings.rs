//! The control files of qmail-send, read at its start.

use std::collections::HashMap;
use std::io;

use base::Bytes;
use base::bytes::lower;
use queue::frames::RECIPIENT_LIMIT;

use super::channel::Pair;

/// What the administrator wrote. The rules of rewriting stand apart (crate `recipient`).
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// queuelifetime, seconds: after that a deferral becomes a failure
    pub(crate) lifetime: i64,
    /// bouncefrom: local part of the From line of bounces
    pub(crate) bounce_from: Bytes,
    /// bouncehost: its domain, and the name in the first line
    pub(crate) bounce_host: Bytes,
    /// where double bounces go; `None`: nowhere, because doublebounceto is empty
    pub(crate) double_bounce_to: Option<Bytes>,
}

/// The defaults of the original.
const LIFETIME: u64 = 604_800;
const CONCURRENCY_LOCAL: u64 = 10;
const CONCURRENCY_REMOTE: u64 = 20;
/// Deliveries at a time to one domain.
const CONCURRENCY_DEST: usize = 20;

impl Settings {
    /// Reads all of them.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(crate) fn load() -> io::Result<Settings> {
        let host = control::line_or_me("doublebouncehost")?;
        let to = control::file::line_or("doublebounceto", "postmaster")?;
        Ok(Settings {
            lifetime: i64::try_from(control::int("queuelifetime", LIFETIME)?).unwrap_or(i64::MAX),
            bounce_from: control::file::line_or("bouncefrom", "MAILER-DAEMON")?,
            bounce_host: control::line_or_me("bouncehost")?,
            double_bounce_to: (!to.is_empty()).then(|| [&to, b"@".as_slice(), &host].concat()),
        })
    }
}

/// Reads concurrencylocal and concurrencyremote: how many deliveries may run at a time.
///
/// # Errors
/// A file is there and cannot be read.
pub(crate) fn concurrency() -> io::Result<Pair<u64>> {
    Ok(Pair::new(
        control::int("concurrencylocal", CONCURRENCY_LOCAL)?,
        control::int("concurrencyremote", CONCURRENCY_REMOTE)?,
    ))
}

/// Rules for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// deliveries at a time
    pub(crate) concurrency: usize,
    /// deliveries a minute
    pub(crate) rate: Option<u64>,
    /// in place of queuelifetime, seconds
    pub(crate) lifetime: Option<i64>,
}

/// concurrencydest, recipientsdest and destinations.
#[derive(Clone, Debug)]
pub(crate) struct Destinations {
    concurrency: usize,
    /// recipients in one delivery
    pub(crate) recipients: usize,
    named: HashMap<Bytes, Rule>,
}

impl Default for Destinations {
    fn default() -> Destinations {
        Destinations {
            concurrency: CONCURRENCY_DEST,
            recipients: RECIPIENT_LIMIT,
            named: HashMap::new(),
        }
    }
}

impl Destinations {
    /// Reads them.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(crate) fn load() -> io::Result<Destinations> {
        let number = |name, default: usize| -> io::Result<usize> {
            let found = control::int(name, default as u64)?;
            Ok(usize::try_from(found).unwrap_or(usize::MAX).max(1))
        };
        let mut all = Destinations {
            concurrency: number("concurrencydest", CONCURRENCY_DEST)?,
            recipients: number("recipientsdest", RECIPIENT_LIMIT)?.min(RECIPIENT_LIMIT),
            named: HashMap::new(),
        };
        for line in control::file::list("destinations")?.unwrap_or_default() {
            all.add(&line);
        }
        Ok(all)
    }

    /// One line: `domain:concurrency:rate:lifetime`. A field that is missing, empty or no number is as usual.
    pub(crate) fn add(&mut self, line: &[u8]) {
        let mut fields = line.split(|&b| b == b':');
        let name = lower(fields.next().unwrap_or_default());
        let mut number = || base::bytes::number(fields.next().unwrap_or_default());
        let concurrency = number().and_then(|n| usize::try_from(n).ok());
        let rule = Rule {
            concurrency: concurrency.unwrap_or(self.concurrency).max(1),
            rate: number().filter(|&n| n > 0),
            lifetime: number().and_then(|n| i64::try_from(n).ok()),
        };
        self.named.insert(name, rule);
    }

    /// The rule for a domain in small letters: its own line, else that of `.parent` for the nearest parent, else the
    /// usual one.
    pub(crate) fn of(&self, domain: &[u8]) -> Rule {
        let mut key = domain;
        loop {
            if let Some(rule) = self.named.get(key) {
                return rule.clone();
            }
            let dot = key.iter().skip(1).position(|&b| b == b'.');
            let Some(rest) = dot.and_then(|at| key.get(at + 1..)) else {
                break;
            };
            key = rest;
        }
        Rule {
            concurrency: self.concurrency,
            rate: None,
            lifetime: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_found_by_name_and_by_parent() {
        let mut all = Destinations::default();
        for line in [
            &b"A.test:3"[..],
            b".b.test:4:60:100",
            b"c.test::x:",
            b"d.test:0:0:0",
        ] {
            all.add(line);
        }
        let rule = |concurrency, rate, lifetime| Rule {
            concurrency,
            rate,
            lifetime,
        };
        for (domain, expected) in [
            (&b"a.test"[..], rule(3, None, None)),
            (b"x.a.test", rule(20, None, None)),
            (b"b.test", rule(20, None, None)),
            (b"y.x.b.test", rule(4, Some(60), Some(100))),
            (b"c.test", rule(20, None, None)),
            (b"d.test", rule(1, None, Some(0))),
            (b"", rule(20, None, None)),
            (b"...", rule(20, None, None)),
        ] {
            assert_eq!(all.of(domain), expected, "{domain:?}");
        }
    }
}
