//! The two ways out: to this machine and to others.

use queue::names::Part;

/// The longest time between two tries, seconds. In a week none is longer than nine hours; a message that seems to be
/// decades old, because the clock is wrong, would wait for weeks.
const LONGEST: i64 = 86_400;

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// by qmail-lspawn
    Local,
    /// by qmail-rspawn
    Remote,
}

/// Both, in the order in which they are always served.
pub(crate) const BOTH: [Channel; 2] = [Channel::Local, Channel::Remote];

impl Channel {
    /// Where its recipients stand.
    pub(crate) fn part(self) -> Part {
        match self {
            Channel::Local => Part::Local,
            Channel::Remote => Part::Remote,
        }
    }

    /// Its name in the log.
    pub(crate) fn name(self) -> &'static str {
        self.part().dir()
    }

    /// How far apart tries are: the next one is this much later than the last, counted in square roots of seconds.
    fn skip(self) -> i64 {
        match self {
            Channel::Local => 10,
            Channel::Remote => 20,
        }
    }

    /// When to try again a message that came at `birth` and is tried at `now`.
    ///
    /// The square root of its age grows by a fixed step, so that tries get rarer: 400, 1600, 3600 seconds after birth
    /// for a remote recipient that is always late.
    pub(crate) fn next_try(self, birth: i64, now: i64) -> i64 {
        // One from the future has just come: the clock has been set back.
        let birth = birth.min(now);
        let root = now.saturating_sub(birth).isqrt() + self.skip();
        let next = birth.saturating_add(root.saturating_mul(root));
        next.clamp(now.saturating_add(1), now.saturating_add(LONGEST))
    }
}

/// One thing for each channel.
#[derive(Debug, Default)]
pub(crate) struct Pair<T> {
    local: T,
    remote: T,
}

impl<T> Pair<T> {
    pub(crate) fn new(local: T, remote: T) -> Pair<T> {
        Pair { local, remote }
    }

    /// The same for both.
    pub(crate) fn map<U>(self, mut f: impl FnMut(T) -> U) -> Pair<U> {
        Pair {
            local: f(self.local),
            remote: f(self.remote),
        }
    }

    pub(crate) fn of(&self, channel: Channel) -> &T {
        match channel {
            Channel::Local => &self.local,
            Channel::Remote => &self.remote,
        }
    }

    pub(crate) fn of_mut(&mut self, channel: Channel) -> &mut T {
        match channel {
            Channel::Local => &mut self.local,
            Channel::Remote => &mut self.remote,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_follow_the_original_schedule() {
        let series = |channel: Channel| {
            let mut now = 0;
            let mut all = Vec::new();
            for _ in 0..6 {
                now = channel.next_try(0, now);
                all.push(now);
            }
            all
        };
        assert_eq!(series(Channel::Local), [100, 400, 900, 1600, 2500, 3600]);
        assert_eq!(
            series(Channel::Remote),
            [400, 1600, 3600, 6400, 10000, 14400]
        );
        // Between two squares the root is rounded down.
        assert_eq!(Channel::Remote.next_try(1000, 1000 + 440), 1000 + 40 * 40);
        assert_eq!(Channel::Remote.next_try(1000, 1000 + 441), 1000 + 41 * 41);
        // A clock that went back, and the ends of time.
        assert_eq!(Channel::Local.next_try(1000, 5), 105);
        assert_eq!(Channel::Local.next_try(i64::MAX, 5), 105);
        assert_eq!(Channel::Local.next_try(i64::MAX, i64::MAX), i64::MAX);
        assert_eq!(Channel::Local.next_try(i64::MIN, 1_000), 1_001);
        assert_eq!(Channel::Remote.next_try(0, 1 << 31), (1 << 31) + LONGEST);
        // How often a week of trying tries.
        let mut now = 0;
        let tries = std::iter::from_fn(|| {
            now = Channel::Remote.next_try(0, now);
            (now <= 604_800).then_some(())
        });
        assert_eq!(tries.count(), 38);
    }
}
