//! An end for a delivery that hangs: the kernel's alarm, caught. One at a time in a process.

use std::cell::Cell;
use std::io;

use sys::signal::{self, Signal};

/// Runs from `start` until it is dropped. When the time is over, waiting system calls are interrupted.
#[derive(Debug)]
pub(crate) struct Limit {
    over: Cell<bool>,
}

impl Limit {
    pub(crate) fn start(seconds: u32) -> io::Result<Limit> {
        signal::catch(Signal::SIGALRM)?;
        signal::unblock(Signal::SIGALRM)?;
        signal::pending(Signal::SIGALRM);
        signal::alarm(seconds);
        Ok(Limit {
            over: Cell::new(false),
        })
    }

    /// Whether the time is over.
    pub(crate) fn is_over(&self) -> bool {
        if signal::pending(Signal::SIGALRM) {
            self.over.set(true);
        }
        self.over.get()
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        signal::alarm(0);
        let _ = signal::default(Signal::SIGALRM);
    }
}
