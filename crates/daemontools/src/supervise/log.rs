//! A log in the directory of its service: the program `log`, joined to `run` by a pipe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use base::Die;
use sys::Dir;
use sys::process::End;
use sys::signal::Signal;
use sys::spawn::Spawn;

use crate::announce;
use crate::status::{Stage, Want};
use crate::supervise::part::Part;
use crate::supervise::scripts::{self, Event};
use crate::supervise::{NAME, NO_PROCESS, START};

/// How long the log may take for the last lines when everything is to end.
const LAST_LINES: Duration = Duration::from_secs(5);

/// The log and the pipe to it. The pipe stays here, so that no line is lost while the log is started again.
pub(super) struct Log {
    pub(super) part: Part,
    reader: OwnedFd,
    /// closed when the last line has been written
    writer: Option<OwnedFd>,
    /// when it may be started
    due: Instant,
    /// when it is ended by force
    end: Option<Instant>,
    /// it has seen the end of its input
    finished: bool,
}

impl Log {
    /// The log of the service in `here`, if it has one.
    pub(super) fn find(service: &[u8], here: &Dir) -> Result<Option<Log>, Die> {
        if !scripts::is_program(here, b"log") {
            return Ok(None);
        }
        let (reader, writer) = sys::fd::pipe()
            .map_err(|e| Die::unable([b"create pipe for ", service].concat(), &e))?;
        Ok(Some(Log {
            part: Part::new(Want::Up),
            reader,
            writer: Some(writer),
            due: Instant::now(),
            end: None,
            finished: false,
        }))
    }

    /// Where `run` writes.
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        self.writer.as_ref().map(OwnedFd::as_fd)
    }

    /// How long nothing is to be done here; `None`: as long as nothing happens.
    pub(super) fn rest(&self) -> Option<Duration> {
        let start = (self.is_wanted() && !self.part.is_running()).then_some(self.due);
        let next = start.into_iter().chain(self.end).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn is_wanted(&self) -> bool {
        self.part.status.want != Want::Down && !self.finished
    }

    /// Starts it if it is time. Whether something changed.
    pub(super) fn start_if_due(&mut self, service: &[u8], here: &Dir) -> bool {
        if self.part.is_running() || !self.is_wanted() || Instant::now() < self.due {
            return false;
        }
        self.due = Instant::now() + START;
        match Spawn::new("./log").fd(0, self.reader.as_fd()).spawn() {
            Ok(pid) => {
                self.part.status.paused = false;
                self.part.stage = Stage::Running;
                self.part.changed(pid);
                scripts::notify(service, here, "log", Event::Start, pid);
            }
            Err(e) => {
                if is_no_process(&e) {
                    self.due = Instant::now() + NO_PROCESS;
                }
                let what = [b"start ", service, b"/log"].concat();
                announce::stillborn(NAME, &Die::unable(what, &e));
            }
        }
        true
    }

    /// It has ended.
    pub(super) fn ended(&mut self, service: &[u8], here: &Dir, end: End) {
        let pid = self.part.status.pid;
        self.part.changed(0);
        self.part.stage = Stage::Stopped;
        // Once, or with nothing left to read, was the last time. After trouble there may be lines left.
        if self.part.status.want == Want::Once {
            self.part.status.want = Want::Down;
        }
        self.finished |= self.writer.is_none() && end.is_success();
        scripts::notify(service, here, "log", Event::End(end), pid);
    }

    /// Nobody will write any more. Whether the log has ended, too.
    pub(super) fn is_finished(&mut self) -> bool {
        self.writer = None;
        if !self.part.is_running() && !self.is_wanted() {
            return true;
        }
        let now = Instant::now();
        match self.end {
            None => self.end = Some(now + LAST_LINES),
            // Something else holds the pipe, or the log does not mind its end.
            Some(end) if now >= end && !self.finished => {
                self.finished = true;
                self.end = Some(now + LAST_LINES);
                self.part.stage = Stage::Stopping;
                self.part.end();
            }
            Some(end) if now >= end => {
                self.end = Some(now + START);
                self.part.send(Signal::SIGKILL);
            }
            Some(_) => {}
        }
        !self.part.is_running() && !self.is_wanted()
    }

    /// What a letter of svc changes about what is wanted of the log.
    pub(super) fn obey(&mut self, letter: u8) {
        match letter {
            b'd' => {
                self.part.status.want = Want::Down;
                self.part.stage = Stage::Stopping;
                self.part.end();
                if !self.part.is_running() {
                    self.part.stage = Stage::Stopped;
                }
            }
            b'u' => self.part.status.want = Want::Up,
            b'o' => self.part.status.want = Want::Once,
            _ => {}
        }
    }
}

/// Whether the system had no process to spare.
pub(super) fn is_no_process(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory
    )
}
