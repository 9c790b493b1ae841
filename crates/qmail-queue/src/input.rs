//! Reading a descriptor until the alarm rings.

use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::time::Duration;

use sys::poll::Wait;
use sys::signal::Signal;

/// Ends a wait that the alarm has missed.
const WAIT: Duration = Duration::from_hours(1);

/// A descriptor of the caller's.
#[derive(Debug)]
pub(crate) struct Input {
    fd: OwnedFd,
}

impl Input {
    /// Takes descriptor `number`.
    pub(crate) fn take(number: i32) -> io::Result<Input> {
        Ok(Input {
            fd: sys::fd::take(number)?,
        })
    }
}

impl Read for Input {
    /// Fails with `TimedOut` once SIGALRM has come, so that what is half written can be removed.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wake = sys::signal::wake()?;
        loop {
            if sys::signal::pending(Signal::SIGALRM) {
                return Err(ErrorKind::TimedOut.into());
            }
            let mut waits = [Wait::readable(&self.fd), Wait::readable(&wake)];
            match sys::poll::wait(&mut waits, Some(WAIT)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(_) => {
                    let [input, _] = waits;
                    if input.is_ready() {
                        match sys::fd::read(&self.fd, buffer) {
                            Err(e)
                                if matches!(
                                    e.kind(),
                                    ErrorKind::Interrupted | ErrorKind::WouldBlock
                                ) => {}
                            done => return done,
                        }
                    }
                }
            }
        }
    }
}
