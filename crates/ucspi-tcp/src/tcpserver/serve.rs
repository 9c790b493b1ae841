//! The listener's loop: accept, admit, start, reap. Nothing in it waits for a client, the DNS or the disk.

use std::collections::{HashMap, HashSet};
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
use super::copies::Copies;
use super::counters::Counters;
use super::handed;
use super::limits::{Excess, Limits, Source};
use super::log::{say, warn};
use super::settings::Settings;

/// How long to leave the listener alone when the machine has run out of something.
const PAUSE: Duration = Duration::from_millis(200);

/// Set in the numbers of connections without a program, which so differ from all process ids.
const PENDING: u32 = 1 << 31;

/// The most connections that are taken before signals are looked at.
const BURST: usize = 32;

/// What stands between a connection that was let in and its program.
pub trait Front {
    /// What to wait for, besides connections and signals.
    fn waits(&self) -> Vec<Wait> {
        Vec::new()
    }

    /// How long to wait at most, before `news` is asked again.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Whether no connection can be taken now.
    fn is_full(&self) -> bool {
        false
    }

    /// Whether connections spend time here before their programs start: then the rules are asked before, too.
    fn is_slow(&self) -> bool {
        false
    }

    /// Takes a connection that was let in.
    fn take(&mut self, settings: &Settings, visitor: Visitor) -> Taking;

    /// What has become of connections since. Does not wait.
    ///
    /// # Errors
    /// The server cannot go on.
    fn news(&mut self, _: &Settings) -> Result<Vec<News>, Die> {
        Ok(Vec::new())
    }

    /// The program of connection `key` runs as process `pid`.
    fn started(&mut self, _key: u32, _pid: u32) {}

    /// In a process that will become a program: lets go of what only the server may hold.
    fn forget(&mut self) {}
}

/// What a front does with a connection.
#[derive(Debug)]
pub enum Taking {
    /// its program can start at once
    Now(Visitor),
    /// it will be in the news, under this number; the program can start now, or there is none yet
    Later(u32, Option<Visitor>),
    /// it is dropped: why
    Never(String),
}

/// What has become of a connection.
#[derive(Debug)]
pub enum News {
    /// its program can start
    Ready(u32, Visitor),
    /// it came to nothing
    Gone(u32),
}

/// Nothing stands between.
impl Front for () {
    fn take(&mut self, _: &Settings, visitor: Visitor) -> Taking {
        Taking::Now(visitor)
    }
}

/// A server that runs.
pub struct Server<'a, F: Front> {
    settings: &'a Settings,
    front: F,
    /// connections that were let in and have no program yet, and whose they are
    pending: HashMap<u32, Option<Source>>,
    /// `None` only in a child, which must not hold the port
    listener: Option<OwnedFd>,
    /// of the programs, before anything is known of a client
    environment: Vec<(Bytes, Bytes)>,
    children: u64,
    /// process ids of the children, where a fork server may have others
    sessions: HashSet<u32>,
    limits: Limits,
    counters: Counters,
    copies: Copies,
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

impl<'a, F: Front> Server<'a, F> {
    /// A server that has its port.
    ///
    /// # Errors
    /// Signals cannot be caught.
    pub fn new(settings: &'a Settings, listener: OwnedFd, front: F) -> io::Result<Self> {
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
            front,
            pending: HashMap::new(),
            listener: Some(listener),
            environment: handed::environment(),
            children: 0,
            sessions: HashSet::new(),
            counters: Counters::new(extras.counters.clone())?,
            copies: Copies::new(extras.fork_server),
            limits: Limits::new(extras.per_address, extras.rate),
            wake,
            health: Health::Good,
        })
    }

    /// Serves until SIGTERM; the children go on.
    ///
    /// # Errors
    /// It cannot go on.
    pub fn run(mut self) -> Result<(), Die> {
        self.status();
        self.begin_copies();
        loop {
            signal::woken();
            if signal::pending(Signal::SIGTERM) {
                self.counters.close(self.children);
                return Ok(());
            }
            if signal::pending(Signal::SIGCHLD) {
                self.reap();
            }
            self.hear()?;
            self.wait()?;
        }
    }

    /// Whether another connection would be one too many.
    fn is_full(&self) -> bool {
        self.busy() >= self.settings.limit || self.front.is_full()
    }

    /// Connections that have a program or will have one.
    fn busy(&self) -> u64 {
        let pending = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        self.children.saturating_add(pending)
    }

    /// Starts the programs of connections that have come through the front.
    fn hear(&mut self) -> Result<(), Die> {
        for news in self.front.news(self.settings)? {
            match news {
                News::Ready(key, visitor) => {
                    let source = self.pending.remove(&key).flatten();
                    self.limits.ended(key | PENDING);
                    if let Some(pid) = self.decide(visitor, source) {
                        self.front.started(key, pid);
                    }
                }
                News::Gone(key) => {
                    if self.pending.remove(&key).is_some() {
                        self.limits.ended(key | PENDING);
                        self.status();
                    }
                }
            }
        }
        Ok(())
    }

    /// Starts the fork server if there is to be one.
    fn begin_copies(&mut self) {
        let extras = &self.settings.extras;
        if extras.fork_server && !self.settings.is_quick() {
            let text =
                "no fork server, names are looked up or a banner is sent for each connection";
            warn(self.settings, text);
            self.copies = Copies::new(false);
        }
        self.copies
            .is_ready(self.settings, &self.environment, Instant::now());
    }

    /// Waits for a signal, or for a connection if another child may be started, and takes it.
    fn wait(&mut self) -> Result<(), Die> {
        let full = self.is_full();
        let mut list = vec![Wait::readable(&self.wake)];
        if self.health == Health::Good && !full {
            list.extend(self.listener.as_ref().map(Wait::readable));
        }
        let listening = list.len() > 1;
        list.extend(self.front.waits());
        let pause = (self.health == Health::Short).then_some(PAUSE);
        let pause = pause
            .into_iter()
            .chain(self.show_counters())
            .chain(self.front.patience())
            .min();
        match sys::poll::wait(&mut list, pause) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(Die::unable("wait for connections", &e)),
        }
        // After a pause, or when a child has ended meanwhile, accept itself tells whether things are better.
        let worth_trying = match self.health {
            Health::Good => listening && list.get(1).is_some_and(Wait::is_ready),
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
            if self.is_full() || self.accept() == Taken::None {
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
                self.admit(Visitor::new(socket, address));
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

    /// Lets a connection in, or refuses it: then it costs no process.
    fn admit(&mut self, visitor: Visitor) {
        let source = self.limited(&visitor);
        if let Some(Err(excess)) = source.map(|s| self.limits.admit(s, Instant::now())) {
            return self.refuse(&visitor, excess);
        }
        if self.front.is_slow()
            && let Plan::Deny(line) = child::plan(self.settings, &visitor)
        {
            return self.deny(&visitor, line);
        }
        match self.front.take(self.settings, visitor) {
            Taking::Now(visitor) => {
                self.decide(visitor, source);
            }
            Taking::Later(key, visitor) => self.wait_for(key, visitor, source),
            Taking::Never(why) => warn(self.settings, format!("dropping connection, {why}")),
        }
    }

    /// The front has connection `key`; `visitor` if its program can start meanwhile.
    fn wait_for(&mut self, key: u32, visitor: Option<Visitor>, source: Option<Source>) {
        match visitor {
            Some(visitor) => {
                if let Some(pid) = self.decide(visitor, source) {
                    self.front.started(key, pid);
                }
            }
            None => {
                self.pending.insert(key, source);
                if let Some(source) = source {
                    self.limits.started(key | PENDING, source);
                }
                self.status();
            }
        }
    }

    /// Starts a child, or denies the connection. Returns the child.
    fn decide(&mut self, visitor: Visitor, source: Option<Source>) -> Option<u32> {
        match child::plan(self.settings, &visitor) {
            Plan::Deny(line) => {
                self.deny(&visitor, line);
                None
            }
            plan => self.start(&visitor, plan, source),
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
    fn start(&mut self, visitor: &Visitor, plan: Plan, source: Option<Source>) -> Option<u32> {
        self.children += 1;
        self.status();
        let made = match plan {
            Plan::Start(connection, variables) => {
                let start = child::Start::new(self.settings, visitor, &connection, variables);
                self.copy(visitor, &start)
                    .unwrap_or_else(|| start.run(self.settings, &self.environment))
            }
            Plan::Deny(_) | Plan::FindOut => self.fork(visitor),
        };
        match made {
            Ok(pid) => {
                if self.settings.extras.fork_server {
                    self.sessions.insert(pid);
                }
                if let Some(source) = source {
                    self.limits.started(pid, source);
                }
                Some(pid)
            }
            Err(e) => {
                let text = format!("dropping connection, unable to fork: {}", system_text(&e));
                warn(self.settings, text);
                self.children -= 1;
                self.status();
                None
            }
        }
    }

    /// Lets the fork server make the child. `None`: it does not.
    fn copy(&mut self, visitor: &Visitor, start: &child::Start) -> Option<io::Result<u32>> {
        let (settings, environment) = (self.settings, &self.environment);
        if !self.copies.is_ready(settings, environment, Instant::now()) {
            return None;
        }
        let message = start.message(environment)?;
        self.copies.hand(settings, &message, visitor)
    }

    /// Makes a process that finds out who it is. SIGTERM waits meanwhile, so that a child never takes one for the
    /// server.
    fn fork(&mut self, visitor: &Visitor) -> io::Result<u32> {
        let held = signal::block(Signal::SIGTERM);
        let (settings, environment) = (self.settings, &self.environment);
        let (listener, counters) = (&mut self.listener, &self.counters);
        let front = &mut self.front;
        let made = sys::process::fork(|| {
            drop(listener.take());
            front.forget();
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
            if self.copies.ended(self.settings, pid) {
                continue;
            }
            // A copy that never had a connection is nobody's end.
            if self.settings.extras.fork_server && !self.sessions.remove(&pid) {
                if status != 0 {
                    self.copies.lost_spare(self.settings);
                }
                continue;
            }
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
            format!("status: {}/{}", self.busy(), self.settings.limit),
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
