//! What the service and its log have in common: a process, or none, and what is wanted of it.

use base::tai::Tai64N;
use sys::signal::Signal;

use crate::status::{LONG, Stage, Status, Want};

/// One kept program.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) status: Status,
    pub(super) stage: Stage,
}

impl Part {
    pub(super) fn new(want: Want) -> Part {
        Part {
            status: Status {
                since: Tai64N::now(),
                pid: 0,
                paused: false,
                want,
            },
            stage: Stage::Stopped,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.status.pid != 0
    }

    /// It has begun as process `pid`, or ended (0).
    pub(super) fn changed(&mut self, pid: u32) {
        self.status.since = Tai64N::now();
        self.status.pid = pid;
    }

    pub(super) fn send(&self, signal: Signal) {
        if self.status.pid != 0 {
            // The process is our child and not yet reaped, so the number is still its own.
            let _ = sys::signal::send(self.status.pid, signal);
        }
    }

    /// Tells it to end, even if it is paused.
    pub(super) fn end(&mut self) {
        self.send(Signal::SIGTERM);
        self.send(Signal::SIGCONT);
        self.status.paused = false;
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.status.paused = paused;
    }

    /// The record with the stage.
    pub(super) fn pack(&self) -> impl Iterator<Item = u8> {
        let long = [self.stage.pack(), 0];
        const { assert!(LONG == crate::status::STATUS + 2) };
        self.status.pack().into_iter().chain(long)
    }
}

/// The signal that a letter of svc stands for.
pub(super) fn signal(letter: u8) -> Option<Signal> {
    Some(match letter {
        b'h' => Signal::SIGHUP,
        b'a' => Signal::SIGALRM,
        b'i' => Signal::SIGINT,
        b't' => Signal::SIGTERM,
        b'k' => Signal::SIGKILL,
        b'q' => Signal::SIGQUIT,
        b'1' => Signal::SIGUSR1,
        b'2' => Signal::SIGUSR2,
        b'w' => Signal::SIGWINCH,
        _ => return None,
    })
}
