//! Descriptor 0 and the two signals.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;

use base::{Bytes, Die};
use sys::poll::Wait;
use sys::signal::Signal;

use crate::filter::BLOCK;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// bytes came
    Block(&'a [u8]),
    /// SIGALRM came: begin new files
    Rotate,
    /// nothing will come
    End,
}

#[derive(Debug)]
pub(crate) struct Input {
    stdin: Option<BorrowedFd<'static>>,
    wake: BorrowedFd<'static>,
    block: Bytes,
    /// SIGTERM came: stop at the end of a line
    ending: bool,
    /// the last byte read was a newline, or there was none
    between_lines: bool,
}

impl Input {
    /// Catches SIGTERM and SIGALRM from here on.
    pub(crate) fn open() -> Result<Input, Die> {
        let trouble = |e| Die::unable("catch signals", &e);
        let wake = sys::signal::wake().map_err(trouble)?;
        for signal in [Signal::SIGTERM, Signal::SIGALRM] {
            sys::signal::catch(signal).map_err(trouble)?;
            sys::signal::unblock(signal).map_err(trouble)?;
        }
        Ok(Input {
            // A closed descriptor is an input that has ended.
            stdin: sys::fd::inherited(0).ok(),
            wake,
            block: vec![0; BLOCK],
            ending: false,
            between_lines: true,
        })
    }

    /// Waits for bytes or a signal. The caller has written out everything before.
    pub(crate) fn next(&mut self) -> Next<'_> {
        loop {
            if sys::signal::pending(Signal::SIGALRM) {
                return Next::Rotate;
            }
            self.ending |= sys::signal::pending(Signal::SIGTERM);
            if self.ending && self.between_lines {
                return Next::End;
            }
            let Some(stdin) = self.stdin else {
                return Next::End;
            };

            let mut list = [Wait::readable(&stdin), Wait::readable(&self.wake)];
            let waited = sys::poll::wait(&mut list, None);
            let [input, signal] = list;
            if signal.is_ready() {
                sys::signal::woken();
                continue;
            }
            match waited {
                Ok(_) if !input.is_ready() => continue,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                // Anything else is for `read` to find out.
                _ => {}
            }
            // The signal may have come with the bytes, after poll had looked at the pipe.
            if sys::signal::pending(Signal::SIGTERM) {
                self.ending = true;
                continue;
            }
            // To the end of the line and not one byte further: the rest of the pipe is for the next multilog.
            let room = if self.ending { 1 } else { BLOCK };
            match sys::fd::read(&stdin, self.block.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Next::End,
                Ok(count) => return Next::Block(self.taken(count)),
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(_) => return Next::End,
            }
        }
    }

    fn taken(&mut self, count: usize) -> &[u8] {
        let bytes = self.block.get(..count).unwrap_or_default();
        self.between_lines = bytes.last() == Some(&b'\n');
        bytes
    }
}
