//! What a turn of the loop waits for: descriptors, and a time. Every part says its own wishes in its `prepare`.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use sys::poll::Wait;

use super::world::World;

/// The longest wait, seconds.
const FOREVER: i64 = 86_400;
/// Added to each wait for a time, seconds, so that rounding never makes the loop spin.
const FUZZ: i64 = 1;

/// A descriptor of this turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(usize);

/// The wishes of one turn.
#[derive(Debug)]
pub(crate) struct Plan {
    now: i64,
    moment: Instant,
    wake_at: i64,
    /// something is not to wait longer than this
    soon: Option<Duration>,
    waits: Vec<Wait>,
}

impl Plan {
    /// Of a turn that begins now, on both clocks.
    pub(crate) fn new(now: i64, moment: Instant) -> Plan {
        Plan {
            now,
            moment,
            wake_at: now.saturating_add(FOREVER),
            soon: None,
            waits: Vec::new(),
        }
    }

    /// There is something to do at `when`.
    pub(crate) fn wake_at(&mut self, when: i64) {
        self.wake_at = self.wake_at.min(when);
    }

    /// There is something to do now.
    pub(crate) fn at_once(&mut self) {
        self.wake_at(self.now);
    }

    /// There is something to do after `wait`, exactly.
    pub(crate) fn soon(&mut self, wait: Duration) {
        self.soon = Some(self.soon.map_or(wait, |s| s.min(wait)));
    }

    /// There is something to do at that moment, exactly.
    pub(crate) fn soon_at(&mut self, when: Instant) {
        self.soon(when.saturating_duration_since(self.moment));
    }

    /// Whether a moment is past at the beginning of this turn.
    pub(crate) fn is_past(&self, moment: Instant) -> bool {
        moment <= self.moment
    }

    /// Whether the turn will not wait at all.
    pub(crate) fn is_at_once(&self) -> bool {
        self.wake_at <= self.now
    }

    pub(crate) fn readable(&mut self, fd: &impl AsRawFd) -> Ticket {
        self.waits.push(Wait::readable(fd));
        Ticket(self.waits.len() - 1)
    }

    pub(crate) fn writable(&mut self, fd: &impl AsRawFd) -> Ticket {
        self.waits.push(Wait::writable(fd));
        Ticket(self.waits.len() - 1)
    }

    fn timeout(&self) -> Duration {
        let by_time = if self.is_at_once() {
            Duration::ZERO
        } else {
            let seconds = self.wake_at.saturating_sub(self.now).saturating_add(FUZZ);
            Duration::from_secs(seconds.unsigned_abs())
        };
        self.soon.map_or(by_time, |s| s.min(by_time))
    }

    /// Waits.
    pub(crate) fn wait(&mut self, world: &dyn World) -> io::Result<()> {
        let timeout = self.timeout();
        world.wait(&mut self.waits, timeout)
    }

    /// Whether the descriptor of `ticket` is ready. Without a ticket: no.
    pub(crate) fn is_ready(&self, ticket: Option<Ticket>) -> bool {
        ticket.is_some_and(|t| self.waits.get(t.0).is_some_and(Wait::is_ready))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wish_counts() {
        let mut plan = Plan::new(1000, Instant::now());
        assert_eq!(plan.timeout(), Duration::from_secs(86_401));
        plan.wake_at(1010);
        plan.wake_at(1020);
        assert_eq!(plan.timeout(), Duration::from_secs(11));
        plan.soon(Duration::from_millis(300));
        assert_eq!(plan.timeout(), Duration::from_millis(300));
        plan.at_once();
        assert_eq!(plan.timeout(), Duration::ZERO);
        plan.wake_at(i64::MIN);
        assert_eq!(plan.timeout(), Duration::ZERO);
    }
}
