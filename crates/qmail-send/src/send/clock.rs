//! What time it is, for schedules: a time that nobody can set.
//!
//! Times in memory are *steady*: Unix seconds as the system's clock showed them at the start, moved on by the clock that
//! nobody can set. Times on disk are *wall* times, what the system's clock showed; they become steady when they are
//! read, and wall times when they are written. So a clock that is set changes no wait, and no message ages by it as long
//! as the program lives that saw it happen.
//!
//! Source  docs/decisions/0013-steady-time.md

use std::collections::VecDeque;
use std::time::Instant;

/// A difference that is no setting of the clock, seconds: it is being slowed or sped up. Nor is it one when the clock stands
/// still.
const DRIFT: u64 = 5;
/// Settings that are remembered.
const LIMIT: usize = 32;

/// A time during which nobody set the clock.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// steady time when it began
    since: i64,
    /// how much the wall time is more than the steady one
    ahead: i64,
}

/// Both times.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    start: i64,
    /// what was seen last
    now: i64,
    shown: i64,
    /// at least one; the last one goes on
    stretches: VecDeque<Stretch>,
    /// whether there were more
    has_forgotten: bool,
}

impl Clock {
    /// The program starts: the system's clock shows `wall`.
    pub(crate) fn new(wall: i64, moment: Instant) -> Clock {
        let first = Stretch {
            since: wall,
            ahead: 0,
        };
        Clock {
            origin: moment,
            start: wall,
            now: wall,
            shown: wall,
            stretches: VecDeque::from([first]),
            has_forgotten: false,
        }
    }

    /// The clocks show this. Returns the steady time.
    pub(crate) fn look(&mut self, wall: i64, moment: Instant) -> i64 {
        let passed = moment.saturating_duration_since(self.origin).as_secs();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        self.now = self.start.saturating_add(passed);
        let ahead = wall.saturating_sub(self.now);
        let stands = wall == self.shown;
        self.shown = wall;
        match self.stretches.back_mut() {
            Some(last) if stands || last.ahead.abs_diff(ahead) <= DRIFT => last.ahead = ahead,
            _ => self.stretches.push_back(Stretch {
                since: self.now,
                ahead,
            }),
        }
        if self.stretches.len() > LIMIT {
            self.stretches.pop_front();
            self.has_forgotten = true;
        }
        self.now
    }

    /// When the program started.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    fn ahead(&self) -> i64 {
        self.stretches.back().map_or(0, |s| s.ahead)
    }

    /// What the clock will show at a steady time, or showed if that was before it was set.
    pub(crate) fn wall(&self, steady: i64) -> i64 {
        let at = self.stretches.iter().rev().find(|s| s.since <= steady);
        let ahead = at.or(self.stretches.front()).map_or(0, |s| s.ahead);
        steady.saturating_add(ahead)
    }

    /// The steady time for a wall time that is to come.
    pub(crate) fn coming(&self, wall: i64) -> i64 {
        wall.saturating_sub(self.ahead())
    }

    /// The steady time for a wall time of the past: the last moment when the clock showed it, or was set past it. So
    /// nothing seems older than it is. `None`: that time is still to come.
    pub(crate) fn past(&self, wall: i64) -> Option<i64> {
        let mut end = self.now;
        let mut skipped = None;
        for (place, stretch) in self.stretches.iter().enumerate().rev() {
            let steady = wall.saturating_sub(stretch.ahead);
            // What was before the start was on the clock of the start, for all that is known.
            let is_first = place == 0 && !self.has_forgotten;
            if steady <= end && (steady >= stretch.since || is_first) {
                return Some(steady);
            }
            if steady < stretch.since {
                skipped = Some(stretch.since);
            }
            end = stretch.since;
        }
        skipped
    }
}

#[cfg(test)]
mod tests;
