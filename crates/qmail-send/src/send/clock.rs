//! What time it is: the one source of time for schedules, so that tests can have another.

/// A clock.
pub(crate) trait Clock: std::fmt::Debug {
    /// Unix seconds.
    fn now(&self) -> i64;
}

/// The system's clock.
#[derive(Debug)]
pub(crate) struct System;

impl Clock for System {
    fn now(&self) -> i64 {
        base::tai::unix_now()
    }
}
