//! How much of the server one client may have: programs at once, and connections in a time. Pure.
//!
//! A client is an IPv4 address, or the 64 bits of an IPv6 network: who has one address of it has them all.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// The most clients whose rate is remembered. When more than these are busy at once, all are forgotten: memory stays
/// as it is, and a flood from so many places is not one client's.
const REMEMBERED: usize = 16_384;

/// Connections in a time: `--rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// how many
    pub count: u32,
    /// in which time
    pub time: Duration,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(u128);

impl Source {
    pub(super) fn of(ip: Ipv6Addr) -> Source {
        let bits = u128::from(ip);
        if ip.to_ipv4_mapped().is_some() {
            Source(bits)
        } else {
            Source(bits >> 64 << 64)
        }
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// so many programs run for this client already
    AtOnce,
    /// it came too often
    Rate,
}

impl Excess {
    /// For the log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Excess::AtOnce => "too many connections at once",
            Excess::Rate => "too many connections",
        }
    }
}

/// What is remembered of the clients.
#[derive(Debug, Default)]
pub(super) struct Limits {
    at_once: Option<u32>,
    rate: Option<Rate>,
    /// the programs that run for each client
    running: HashMap<Source, u32>,
    owners: HashMap<u32, Source>,
    /// when the connections of a client so far would have come at an even pace
    paid_until: HashMap<Source, Instant>,
}

impl Limits {
    pub(super) fn new(at_once: Option<u32>, rate: Option<Rate>) -> Limits {
        Limits {
            at_once,
            rate,
            ..Limits::default()
        }
    }

    /// Counts one connection of `source`, unless it is one too many. Refused connections do not count.
    pub(super) fn admit(&mut self, source: Source, now: Instant) -> Result<(), Excess> {
        let running = self.running.get(&source).copied().unwrap_or(0);
        if self.at_once.is_some_and(|limit| running >= limit) {
            return Err(Excess::AtOnce);
        }
        match self.rate {
            Some(rate) => self.pace(rate, source, now),
            None => Ok(()),
        }
    }

    /// A client pays `time / count` for each connection and may be `time` in debt: `count` connections at once, then
    /// one whenever a share of the time is over.
    fn pace(&mut self, rate: Rate, source: Source, now: Instant) -> Result<(), Excess> {
        if rate.count == 0 {
            return Err(Excess::Rate);
        }
        let price = rate.time / rate.count;
        let paid = self.paid_until.get(&source).map_or(now, |&at| at.max(now));
        let next = paid.checked_add(price).unwrap_or(paid);
        if next.saturating_duration_since(now) > rate.time {
            return Err(Excess::Rate);
        }
        if self.paid_until.len() >= REMEMBERED && !self.paid_until.contains_key(&source) {
            self.paid_until.retain(|_, at| *at > now);
            if self.paid_until.len() >= REMEMBERED {
                self.paid_until.clear();
            }
        }
        self.paid_until.insert(source, next);
        Ok(())
    }

    /// Child `pid` serves `source`.
    pub(super) fn started(&mut self, pid: u32, source: Source) {
        if self.at_once.is_some() {
            self.owners.insert(pid, source);
            *self.running.entry(source).or_insert(0) += 1;
        }
    }

    /// Child `pid` has ended.
    pub(super) fn ended(&mut self, pid: u32) {
        let Some(source) = self.owners.remove(&pid) else {
            return;
        };
        if let Some(count) = self.running.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.running.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(ip: &str) -> Source {
        Source::of(ip.parse().unwrap())
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_64_bits() {
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:f::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_ne!(source("::ffff:1.2.3.4"), source("::ffff:1.2.3.5"));
    }

    #[test]
    fn programs_at_once() {
        let now = Instant::now();
        let mut limits = Limits::new(Some(2), None);
        let (one, other) = (source("::ffff:1.2.3.4"), source("::ffff:1.2.3.5"));
        for pid in [10, 11] {
            assert_eq!(limits.admit(one, now), Ok(()));
            limits.started(pid, one);
        }
        assert_eq!(limits.admit(one, now), Err(Excess::AtOnce));
        assert_eq!(limits.admit(other, now), Ok(()));
        limits.ended(10);
        limits.ended(99);
        assert_eq!(limits.admit(one, now), Ok(()));
        limits.ended(11);
        assert!(limits.running.is_empty() && limits.owners.is_empty());
    }

    #[test]
    fn connections_in_a_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let rate = Rate {
            count: 3,
            time: Duration::from_mins(1),
        };
        let mut limits = Limits::new(None, Some(rate));
        let one = source("::1");
        for _ in 0..3 {
            assert_eq!(limits.admit(one, start), Ok(()));
        }
        for _ in 0..9 {
            assert_eq!(limits.admit(one, after(19)), Err(Excess::Rate));
        }
        assert_eq!(limits.admit(one, after(20)), Ok(()));
        assert_eq!(limits.admit(one, after(20)), Err(Excess::Rate));
        for _ in 0..3 {
            assert_eq!(limits.admit(one, after(600)), Ok(()));
        }
        assert_eq!(limits.admit(one, after(600)), Err(Excess::Rate));
    }

    #[test]
    fn memory_has_an_end() {
        let now = Instant::now();
        let rate = Rate {
            count: 1,
            time: Duration::from_mins(1),
        };
        let mut limits = Limits::new(None, Some(rate));
        for n in 0..40_000u32 {
            let ip = std::net::Ipv4Addr::from(n).to_ipv6_mapped();
            assert_eq!(limits.admit(Source::of(ip), now), Ok(()));
            assert!(limits.paid_until.len() <= REMEMBERED);
        }
    }
}
