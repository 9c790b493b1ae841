//! The listener's loop: accept, admit, start, reap. Nothing in it waits for a client, the DNS or the disk.

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use base::die::system_text;
use base::{Bytes, Die};
use net::ucspi;
use sys::poll::Wait;
use sys::signal::{self, Signal};
use sys::socket::mapped;

use super::child::{self, Plan, Visitor};
use super::counters::Counters;
use super::handed;
use super::limits::{Excess, Limits, Source};
use super::log::{say, warn};
use super::settings::Settings;

/// How long to leave the listener alone when the machine has run out of something.
const PAUSE: Duration = Duration::from_millis(200);

/// The most connections that are taken before signals are looked at.
const BURST: usize = 32;

/// A server that runs.
pub(super) struct Server<'a> {
    settings: &'a Settings,
    /// `None` only in a child, which must not hold the port
    listener: Option<OwnedFd>,
    /// of the programs, before anything is known of a client
    environment: Vec<(Bytes, Bytes)>,
    children: u64,
    limits: Limits,
    counters: Counters,
    wake: BorrowedFd<'static>,
    health: Health,
}

/// Whether connections can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// the last accept failed for want of something: pause, then try again
    Short,
}

/// Whether there was a connection to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    One,
    None,
}

impl<'a> Server<'a> {
    pub(super) fn new(settings: &'a Settings, listener: OwnedFd) -> io::Result<Server<'a>> {
        let wake = signal::wake()?;
        signal::catch(Signal::SIGCHLD)?;
        signal::catch(Signal::SIGTERM)?;
        // Caught, not ignored: a program must not inherit that.
        signal::catch(Signal::SIGPIPE)?;
        signal::unblock(Signal::SIGCHLD)?;
        signal::unblock(Signal::SIGTERM)?;
        let extras = &settings.extras;
        Ok(Server {
            settings,
            listener: Some(listener),
            environment: handed::environment(),
            children: 0,
            counters: Counters::new(extras.counters.clone())?,
            limits: Limits::new(extras.per_address, extras.rate),
            wake,
            health: Health::Good,
        })
    }

    /// Serves until SIGTERM; the children go on.
    pub(super) fn run(mut self) -> Result<(), Die> {
        self.status();
        loop {
            signal::woken();
            if signal::pending(Signal::SIGTERM) {
                self.counters.close(self.children);
                return Ok(());
            }
            if signal::pending(Signal::SIGCHLD) {
                self.reap();
            }
            self.wait()?;
        }
    }

    /// Waits for a signal, or for a connection if another child may be started, and takes it.
    fn wait(&mut self) -> Result<(), Die> {
        let full = self.children >= self.settings.limit;
        let mut list = vec![Wait::readable(&self.wake)];
        if self.health == Health::Good && !full {
            list.extend(self.listener.as_ref().map(Wait::readable));
        }
        let pause = (self.health == Health::Short).then_some(PAUSE);
        let pause = pause.into_iter().chain(self.show_counters()).min();
        match sys::poll::wait(&mut list, pause) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(Die::unable("wait for connections", &e)),
        }
        // After a pause, or when a child has ended meanwhile, accept itself tells whether things are better.
        let worth_trying = match self.health {
            Health::Good => list.get(1).is_some_and(Wait::is_ready),
            Health::Short => !full,
        };
        if worth_trying {
            self.accept_some();
        }
        Ok(())
    }

    fn show_counters(&mut self) -> Option<Duration> {
        let (wait, trouble) = self.counters.show(self.children);
        if let Some(why) = trouble {
            warn(self.settings, format!("unable to write counters: {why}"));
        }
        wait
    }

    /// Takes the connections that are there, but not so many that signals have to wait.
    fn accept_some(&mut self) {
        for _ in 0..BURST {
            let full = self.children >= self.settings.limit;
            if full || self.accept() == Taken::None {
                return;
            }
        }
    }

    fn accept(&mut self) -> Taken {
        let Some(listener) = &self.listener else {
            return Taken::None;
        };
        match sys::socket::accept(listener) {
            Ok((socket, address)) => {
                self.health = Health::Good;
                self.counters.connections += 1;
                self.admit(&Visitor { socket, address });
                return Taken::One;
            }
            // The client has gone, or there was none.
            Err(e) if is_passing(&e) => self.health = Health::Good,
            Err(e) => {
                if self.health == Health::Good {
                    let text = format!("unable to accept connection: {}", system_text(&e));
                    warn(self.settings, text);
                }
                self.health = Health::Short;
            }
        }
        Taken::None
    }

    /// Starts a child, or refuses the connection: then it costs no process.
    fn admit(&mut self, visitor: &Visitor) {
        match self
            .limited(visitor)
            .map(|s| self.limits.admit(s, Instant::now()))
        {
            Some(Err(excess)) => self.refuse(visitor, excess),
            None | Some(Ok(())) => match child::plan(self.settings, visitor) {
                Plan::Deny(line) => self.deny(visitor, line),
                plan => self.start(visitor, plan),
            },
        }
    }

    /// Whose share it is. A front end brings many clients: it has no limits.
    fn limited(&self, visitor: &Visitor) -> Option<Source> {
        let ip = mapped(visitor.address.ip());
        (!self.settings.extras.is_front_end(ip)).then(|| Source::of(ip))
    }

    /// A new connection has room for a greeting, so this does not wait.
    fn refuse(&mut self, visitor: &Visitor, excess: Excess) {
        self.counters.refused += 1;
        if let Some(text) = &self.settings.extras.refusal {
            let _ = sys::local::send(&visitor.socket, text);
        }
        let shown = ucspi::text(mapped(visitor.address.ip()), self.settings.form);
        say(self.settings, format!("refuse {shown}: {}", excess.text()));
    }

    fn deny(&mut self, visitor: &Visitor, line: Bytes) {
        self.counters.denied += 1;
        if let Some(text) = &self.settings.extras.denial {
            let _ = sys::local::send(&visitor.socket, text);
        }
        say(self.settings, line);
    }

    /// Starts the child of one connection.
    fn start(&mut self, visitor: &Visitor, plan: Plan) {
        self.children += 1;
        self.status();
        let made = match plan {
            Plan::Start(connection, variables) => {
                let (settings, environment) = (self.settings, &self.environment);
                child::start(settings, environment, visitor, &connection, variables)
            }
            Plan::Deny(_) | Plan::FindOut => self.fork(visitor),
        };
        match made {
            Ok(pid) => {
                if let Some(source) = self.limited(visitor) {
                    self.limits.started(pid, source);
                }
            }
            Err(e) => {
                let text = format!("dropping connection, unable to fork: {}", system_text(&e));
                warn(self.settings, text);
                self.children -= 1;
                self.status();
            }
        }
    }

    /// Makes a process that finds out who it is. SIGTERM waits meanwhile, so that a child never takes one for the
    /// server.
    fn fork(&mut self, visitor: &Visitor) -> io::Result<u32> {
        let held = signal::block(Signal::SIGTERM);
        let (settings, environment) = (self.settings, &self.environment);
        let (listener, counters) = (&mut self.listener, &self.counters);
        let made = sys::process::fork(|| {
            drop(listener.take());
            let code = child::run(settings, environment, visitor);
            if code == child::DENIED {
                counters.tell_denied();
            }
            code
        });
        if held.is_ok() {
            let _ = signal::unblock(Signal::SIGTERM);
        }
        made
    }

    /// Takes the ends of children, even of one that was not ours but of the program that became us.
    fn reap(&mut self) {
        while let Some((pid, status)) = sys::process::ended_status() {
            say(self.settings, format!("end {pid} status {status}"));
            self.children = self.children.saturating_sub(1);
            self.limits.ended(pid);
            self.counters.collect();
            self.status();
        }
    }

    fn status(&self) {
        say(
            self.settings,
            format!("status: {}/{}", self.children, self.settings.limit),
        );
    }
}

/// Errors of accept that belong to one connection.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
    )
}
