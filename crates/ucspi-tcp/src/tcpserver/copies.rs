//! The program as a fork server: started once, it copies itself for each connection (`--fork-server`).
//!
//! Nothing depends on it: as long as it is not ready, or when it has gone, the program is run for each connection. A
//! program that turns out to be none is left alone from then on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use base::Bytes;
use net::forkserver::{self, HELLO, Refused, VARIABLE};
use sys::handover::{self, Patience};
use sys::signal::Signal;
use sys::spawn::Spawn;

use super::child::Visitor;
use super::log::warn;
use super::settings::Settings;

/// How long a program may take to say that it is a fork server.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// How long it may take to copy itself.
const COPY_TIME: Duration = Duration::from_secs(2);
/// How long one is used: a new one has another layout of memory, and is today's program.
const LIFE: Duration = Duration::from_mins(1);
/// The most connections that one gets.
const CONNECTIONS: u32 = 20_000;
/// The least time between two starts.
const PAUSE: Duration = Duration::from_secs(1);

/// A program that was started as a fork server.
#[derive(Debug)]
struct Program {
    socket: OwnedFd,
    pid: u32,
    since: Instant,
    connections: u32,
}

/// The fork servers of one tcpserver: one that serves, and one that is getting ready.
#[derive(Debug)]
pub(super) struct Copies {
    wanted: bool,
    /// there was one that said so: the program can
    proven: bool,
    serving: Option<Program>,
    coming: Option<Program>,
    /// those that may still live
    pids: Vec<u32>,
    started: Option<Instant>,
}

impl Copies {
    /// With `wanted` off there never is one.
    pub(super) fn new(wanted: bool) -> Copies {
        Copies {
            wanted,
            proven: false,
            serving: None,
            coming: None,
            pids: Vec::new(),
            started: None,
        }
    }

    /// Whether a connection can be handed to a fork server; sees to it that there is a good one.
    pub(super) fn is_ready(
        &mut self,
        settings: &Settings,
        environment: &[(Bytes, Bytes)],
        now: Instant,
    ) -> bool {
        if !self.wanted {
            return false;
        }
        self.greet(settings, now);
        let worn = self.serving.as_ref().is_none_or(|p| {
            p.connections >= CONNECTIONS || now.saturating_duration_since(p.since) >= LIFE
        });
        let rested = self
            .started
            .is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        if self.wanted && worn && rested && self.coming.is_none() {
            self.start(settings, environment, now);
        }
        self.serving.is_some()
    }

    fn start(&mut self, settings: &Settings, environment: &[(Bytes, Bytes)], now: Instant) {
        self.started = Some(now);
        match begin(settings, environment, now) {
            Ok(program) => {
                self.pids.push(program.pid);
                self.coming = Some(program);
            }
            Err(e) => self.give_up(settings, &base::die::system_text(&e)),
        }
    }

    /// Listens to the one that is getting ready.
    fn greet(&mut self, settings: &Settings, now: Instant) {
        let Some(program) = &self.coming else {
            return;
        };
        let mut said = [0; HELLO.len() + 1];
        match handover::receive(&program.socket, &mut said, Patience::Now) {
            Ok((count, None)) if said.get(..count) == Some(HELLO) => {
                // The one before learns from the end of its socket that it may go.
                self.serving = self.coming.take();
                self.proven = true;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if now.saturating_duration_since(program.since) >= HELLO_TIME {
                    self.give_up(settings, "it does not answer");
                }
            }
            _ => self.give_up(settings, "it does not answer as one"),
        }
    }

    /// From now on the program is run for each connection.
    fn give_up(&mut self, settings: &Settings, why: &str) {
        self.wanted = false;
        self.serving = None;
        if let Some(program) = self.coming.take() {
            let _ = sys::signal::send(program.pid, Signal::SIGTERM);
        }
        let text = format!("no fork server, running the program for each connection: {why}");
        warn(settings, text);
    }

    /// Hands a connection over. Returns the process that serves it; `None`: the program must be run after all.
    ///
    /// # Errors
    /// No process could be made, or nobody knows.
    pub(super) fn hand(
        &mut self,
        settings: &Settings,
        message: &[u8],
        visitor: &Visitor,
    ) -> Option<io::Result<u32>> {
        let program = self.serving.as_mut()?;
        program.connections = program.connections.saturating_add(1);
        let more = visitor.more.iter().map(|(_, fd)| fd.as_fd());
        let descriptors: Vec<_> = [visitor.socket.as_fd()].into_iter().chain(more).collect();
        match forkserver::hand(&program.socket, message, &descriptors, COPY_TIME) {
            Ok(pid) => Some(Ok(pid)),
            Err(Refused::Copy(e)) => Some(Err(e)),
            Err(Refused::Untouched(e)) => {
                self.lose(settings, &e);
                None
            }
            // A second process beside a copy would be worse than none.
            Err(Refused::Lost(e)) => {
                self.lose(settings, &e);
                Some(Err(e))
            }
        }
    }

    /// It is not to copy itself any more.
    fn lose(&mut self, settings: &Settings, why: &io::Error) {
        if let Some(program) = self.serving.take() {
            let _ = sys::signal::send(program.pid, Signal::SIGKILL);
        }
        let why = base::die::system_text(why);
        warn(settings, format!("lost the fork server: {why}"));
    }

    /// A copy died that was waiting for a connection. Its fork server does not know: another has to take over.
    pub(super) fn lost_spare(&mut self, settings: &Settings) {
        if self.serving.take().is_some() {
            warn(
                settings,
                "lost a copy of the program, renewing the fork server",
            );
        }
    }

    /// Whether `pid`, which has ended, was a fork server and not somebody's connection.
    pub(super) fn ended(&mut self, settings: &Settings, pid: u32) -> bool {
        let before = self.pids.len();
        self.pids.retain(|&p| p != pid);
        // Another process may get the number, so it is forgotten.
        if self.coming.as_ref().is_some_and(|p| p.pid == pid) {
            self.greet(settings, Instant::now());
            self.coming = None;
            if self.wanted && !self.proven {
                self.give_up(settings, "it has ended");
            }
        }
        if self.serving.as_ref().is_some_and(|p| p.pid == pid) {
            self.serving = None;
        }
        self.pids.len() != before
    }
}

fn begin(settings: &Settings, environment: &[(Bytes, Bytes)], now: Instant) -> io::Result<Program> {
    let (program, args) = settings
        .program
        .split_first()
        .ok_or(io::ErrorKind::InvalidInput)?;
    let (ours, theirs) = handover::pair()?;
    let pid = Spawn::new(program)
        .args(args)
        .env(environment.to_vec())
        .set(VARIABLE, program)
        .search_here()
        .fd(0, theirs.as_fd())
        .fd(1, theirs.as_fd())
        .spawn()?;
    Ok(Program {
        socket: ours,
        pid,
        since: now,
        connections: 0,
    })
}
