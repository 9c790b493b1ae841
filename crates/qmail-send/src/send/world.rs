//! What qmail-send has around it beside its files and pipes: two clocks, the wait, signals, and who tells of new mail.
//! The other seam for the simulation; the pipes need none, because somebody else may hold their other ends.
//!
//! Source  docs/decisions/0012-simulation.md

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use base::Bytes;
use sys::Dir;
use sys::poll::Wait;
use sys::signal::Signal;
use sys::watch::{News, Watch};

/// The surroundings.
pub(crate) trait World: Debug {
    /// What the system's clock shows, Unix seconds. Anybody may set it.
    fn now(&self) -> i64;
    /// The clock that nobody can set.
    fn instant(&self) -> Instant;
    /// Waits until one of `list` is ready, at most `limit`.
    ///
    /// # Errors
    /// `Interrupted` when a signal came.
    fn wait(&self, list: &mut Vec<Wait>, limit: Duration) -> io::Result<()>;
    /// Whether a signal came since the last call.
    fn pending(&self, signal: Signal) -> bool;
    /// Opens the trigger; `None`: there is none.
    fn trigger(&self) -> Option<File>;
    /// Begins to hear of new names in these directories; `None`: the kernel cannot tell.
    fn ear(&self, dirs: &[Bytes]) -> Option<Box<dyn Ear>>;
}

/// Hears of new names.
pub(crate) trait Ear: Debug {
    /// What has happened since the last time. Never waits.
    fn hear(&self) -> Vec<News>;
}

/// The real ones.
#[derive(Debug)]
pub(crate) struct System {
    queue: Dir,
    /// held until the end: nobody else may work on this queue
    _mutex: File,
}

impl System {
    /// `mutex` is locked.
    pub(crate) fn new(queue: Dir, mutex: File) -> System {
        System {
            queue,
            _mutex: mutex,
        }
    }
}

impl World for System {
    fn now(&self) -> i64 {
        base::tai::unix_now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, list: &mut Vec<Wait>, limit: Duration) -> io::Result<()> {
        if let Ok(wake) = sys::signal::wake() {
            list.push(Wait::readable(&wake));
        }
        sys::poll::wait(list, Some(limit))?;
        if list.last().is_some_and(Wait::is_ready) {
            sys::signal::woken();
        }
        Ok(())
    }

    fn pending(&self, signal: Signal) -> bool {
        sys::signal::pending(signal)
    }

    fn trigger(&self) -> Option<File> {
        let file = self.queue.open_read(b"lock/trigger").ok()?;
        sys::dir::stat_fd(&file)
            .is_ok_and(|s| s.is_fifo())
            .then_some(file)
    }

    fn ear(&self, dirs: &[Bytes]) -> Option<Box<dyn Ear>> {
        let watch = Watch::new().ok()?;
        for dir in dirs {
            watch.add(&[b"queue/", dir.as_slice()].concat()).ok()?;
        }
        Some(Box::new(watch))
    }
}

impl Ear for Watch {
    fn hear(&self) -> Vec<News> {
        self.read().unwrap_or_default()
    }
}
