//! A program between a client and another program: bytes go both ways through filters.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use base::{Bytes, Die};
use sys::poll::{self, Wait};
use sys::signal::{self, Signal};
use sys::spawn::Spawn;

use crate::filter::Filter;

/// The most bytes read at once.
const BLOCK: usize = 16 * 1024;
/// The most bytes written at once to a descriptor that blocks: a pipe that has room has room for so many.
const PIECE: usize = 4096;
/// The longest single wait. Silence is no error here: those at both ends have limits of their own.
const WAIT: Duration = Duration::from_hours(1);

/// One direction: what comes from `from` goes through `filter` to `to`.
pub(crate) struct Way<F> {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    filter: F,
    out: Bytes,
    sent: usize,
    piece: usize,
}

impl<F: Filter> Way<F> {
    /// A descriptor that is not there ends the way as a closed one would.
    pub(crate) fn new(from: io::Result<OwnedFd>, to: io::Result<OwnedFd>, filter: F) -> Way<F> {
        Way {
            from: from.ok(),
            to: to.ok(),
            filter,
            out: Bytes::new(),
            sent: 0,
            piece: PIECE,
        }
    }

    /// `to` is our own end of a pipe: it is made not to block.
    fn into_pipe(mut self) -> Way<F> {
        if let Some(to) = &self.to
            && sys::fd::nonblocking(to, true).is_ok()
        {
            self.piece = usize::MAX;
        }
        self
    }

    fn rest(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// What this way waits for: room for what it has, or more to read.
    fn wait(&self) -> Option<Wait> {
        if self.rest().is_empty() {
            self.from.as_ref().map(Wait::readable)
        } else {
            self.to.as_ref().map(Wait::writable)
        }
    }

    fn act(&mut self, block: &mut [u8]) -> Flow {
        if self.rest().is_empty() {
            self.read(block)
        } else {
            self.write()
        }
    }

    fn read(&mut self, block: &mut [u8]) -> Flow {
        let count = match self.from.as_ref().map(|from| sys::fd::read(from, block)) {
            Some(Err(e)) if may_go_on(&e) => return Flow::GoesOn,
            Some(Ok(count)) => count,
            // What cannot be read has ended, as in the original.
            Some(Err(_)) | None => 0,
        };
        self.out.clear();
        self.sent = 0;
        let read = block.get(..count).unwrap_or_default();
        if read.is_empty() {
            self.from = None;
            self.filter.end(&mut self.out);
            return self.ended_if_done();
        }
        self.filter.pass(read, &mut self.out);
        Flow::GoesOn
    }

    fn write(&mut self) -> Flow {
        let rest = self.rest();
        let piece = rest.get(..self.piece).unwrap_or(rest);
        let Some(to) = &self.to else {
            return Flow::Ended;
        };
        match sys::fd::write(to, piece) {
            Ok(count) => {
                self.sent += count;
                self.ended_if_done()
            }
            Err(e) if may_go_on(&e) => Flow::GoesOn,
            Err(_) => Flow::Ended,
        }
    }

    fn ended_if_done(&self) -> Flow {
        if self.from.is_none() && self.rest().is_empty() {
            Flow::Ended
        } else {
            Flow::GoesOn
        }
    }

    /// Nobody reads or writes any more; the others see an end.
    fn close(&mut self) {
        self.from = None;
        self.to = None;
        self.out.clear();
        self.sent = 0;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoesOn,
    Ended,
}

fn may_go_on(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// Copies both ways until `back` has ended. When `there` ends, its far end is closed, and `back` goes on.
pub(crate) fn copy<F: Filter, G: Filter>(mut there: Way<F>, mut back: Way<G>) {
    let mut block = vec![0; BLOCK];
    if there.from.is_none() && there.read(&mut block) == Flow::Ended {
        there.close();
    }
    loop {
        let (first, second) = (there.wait(), back.wait());
        if second.is_none() {
            return;
        }
        let mut list: Vec<Wait> = first.into_iter().chain(second).collect();
        if poll::wait(&mut list, Some(WAIT)).is_err_and(|e| !may_go_on(&e)) {
            return;
        }
        let mut ready = list.iter().map(Wait::is_ready);
        if first.is_some() && ready.next() == Some(true) && there.act(&mut block) == Flow::Ended {
            there.close();
        }
        if ready.next() == Some(true) && back.act(&mut block) == Flow::Ended {
            return;
        }
    }
}

/// Becomes the program `words`, with a child of this process between it and descriptors 0 and 1.
///
/// # Errors
/// Misuse (100); no pipe or process, or the program could not be run (111).
pub(crate) fn run<F: Filter, G: Filter>(
    name: &str,
    words: &[Bytes],
    there: F,
    back: G,
) -> Result<(), Die> {
    let Some((program, args)) = words.split_first() else {
        return Err(Die::usage(format!("{name} program [ arg ... ]")));
    };

    let no_pipe = |e| Die::unable("create pipe", &e);
    let (input, to_program) = sys::fd::pipe().map_err(no_pipe)?;
    let (from_program, output) = sys::fd::pipe().map_err(no_pipe)?;
    // The child must not hold the program's ends: it would never see the pipes close.
    let ends = Cell::new(Some((input, output)));
    sys::process::fork(|| {
        drop(ends.take());
        between(to_program, from_program, there, back)
    })
    .map_err(|e| Die::unable("fork", &e))?;

    let Some((input, output)) = ends.take() else {
        return Err(Die::silent(111));
    };
    let spawn = Spawn::new(program)
        .args(args)
        .fd(0, input.as_fd())
        .fd(1, output.as_fd());
    Err(run_error(program, &spawn.exec()))
}

/// The life of the child.
fn between(
    to_program: OwnedFd,
    from_program: OwnedFd,
    there: impl Filter,
    back: impl Filter,
) -> u8 {
    let _ = signal::ignore(Signal::SIGPIPE);
    let there = Way::new(sys::fd::take(0), Ok(to_program), there).into_pipe();
    let back = Way::new(Ok(from_program), sys::fd::take(1), back);
    copy(there, back);
    0
}

/// The program could not be run.
pub(crate) fn run_error(program: &[u8], error: &io::Error) -> Die {
    Die::unable([b"run ", program].concat(), error)
}
