//! The listener's side: connections go to the workers, and come back as something that a program can talk to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use base::die::system_text;
use base::{Bytes, Die};
use net::ucspi::{self, Change};
use sys::handover::{self, Patience};
use sys::poll::Wait;
use sys::signal::{self, Signal};
use sys::socket::mapped;
use ucspi_tcp::server::{Ends, Front, News, Settings, Taking, Visitor, say, set_options, warn};

use super::wire::{self, Message, Way};

/// Where a program finds the control socket of UCSPI-TLS, and the plain text.
const CONTROL: RawFd = 10;
const READ: RawFd = 11;
const WRITE: RawFd = 12;
/// How long certificates are believed to be the newest, once looked at.
const LOOK_TIME: Duration = Duration::from_secs(1);
/// How long the keeper may take to read the keys.
const START_TIME: Duration = Duration::from_mins(1);
/// The largest number of a connection; the server has a use for the bit above.
const KEY_LIMIT: u32 = (1 << 31) - 1;

/// Connections in the hands of workers.
pub(super) struct Tls {
    /// `None` only in a process that will become a program
    keeper: Option<OwnedFd>,
    workers: Vec<Worker>,
    generation: u32,
    delayed: bool,
    /// those whose handshake is not over, and those that a program may still want TLS for
    connections: HashMap<u32, Connection>,
    next: u32,
    looked: Option<Instant>,
    buffer: Vec<u8>,
}

struct Worker {
    channel: OwnedFd,
    generation: u32,
    sessions: HashSet<u32>,
    /// what the channel had no room for
    unsent: VecDeque<(Message, Option<OwnedFd>)>,
    is_draining: bool,
}

/// What the listener remembers of a connection.
struct Connection {
    address: SocketAddr,
    local: SocketAddr,
    /// the program's side of the plain text, as long as there is no program
    plain: Option<OwnedFd>,
    pid: Option<u32>,
}

impl Tls {
    /// Waits until the keeper has read the keys and made the first worker.
    ///
    /// # Errors
    /// The keys cannot be used.
    pub(super) fn new(settings: &Settings, keeper: OwnedFd, delayed: bool) -> Result<Tls, Die> {
        signal::catch(Signal::SIGHUP).map_err(|e| Die::unable("catch signals", &e))?;
        let mut tls = Tls {
            keeper: Some(keeper),
            workers: Vec::new(),
            generation: 0,
            delayed,
            connections: HashMap::new(),
            next: 0,
            looked: None,
            buffer: vec![0; wire::LIMIT],
        };
        let end = Instant::now().checked_add(START_TIME);
        while tls.workers.is_empty() {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let mut list: Vec<Wait> = tls.keeper.iter().map(Wait::readable).collect();
            match sys::poll::wait(&mut list, left) {
                Ok(0) => return Err(Die::fatal(111, "unable to read keys: timed out")),
                Ok(_) => tls.hear_keeper(settings)?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Die::unable("wait for keys", &e)),
            }
        }
        Ok(tls)
    }

    /// One message. `None`: there is none now; then `Err` means that the other side has gone.
    fn receive(
        channel: &OwnedFd,
        buffer: &mut [u8],
    ) -> Result<Option<(Message, Option<OwnedFd>)>, ()> {
        loop {
            return match handover::receive(channel, buffer, Patience::Now) {
                Ok((0, _)) => Err(()),
                Ok((count, fd)) => match Message::read(buffer.get(..count).unwrap_or_default()) {
                    Some(message) => Ok(Some((message, fd))),
                    None => continue,
                },
                Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::InvalidData) => {
                    continue;
                }
                Err(_) => Err(()),
            };
        }
    }

    fn hear_keeper(&mut self, settings: &Settings) -> Result<(), Die> {
        let gone = || Die::fatal(111, "the keeper of the keys has gone");
        while let Some(keeper) = &self.keeper {
            match Tls::receive(keeper, &mut self.buffer).map_err(|()| gone())? {
                None => return Ok(()),
                Some((message, fd)) => match (message.kind, fd) {
                    (wire::WORKER, Some(channel)) => self.welcome(message.id, channel),
                    (wire::UNUSABLE, _) => return Err(Die::fatal(111, message.rest)),
                    (wire::NOTE, _) => warn(settings, message.rest),
                    _ => {}
                },
            }
        }
        Ok(())
    }

    /// A new worker; those of an older generation get nothing new.
    fn welcome(&mut self, generation: u32, channel: OwnedFd) {
        self.generation = generation;
        self.workers.push(Worker {
            channel,
            generation,
            sessions: HashSet::new(),
            unsent: VecDeque::new(),
            is_draining: false,
        });
        for worker in &mut self.workers {
            if worker.generation != generation && !worker.is_draining {
                worker.is_draining = true;
                worker.send(Message::new(wire::DRAIN, 0, Bytes::new()), None);
            }
        }
    }

    /// Asks the keeper whether there are new certificates, if that was not just now.
    fn look(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_TIME) {
            return;
        }
        self.looked = Some(Instant::now());
        self.ask_keeper(wire::LOOK);
    }

    fn ask_keeper(&self, what: u8) {
        if let Some(keeper) = &self.keeper {
            // A keeper that has not read the last question needs no other.
            let _ = handover::send(keeper, &Message::new(what, 0, Bytes::new()).bytes(), None);
        }
    }

    /// A number that no connection has.
    fn key(&mut self) -> u32 {
        loop {
            self.next = if self.next >= KEY_LIMIT {
                1
            } else {
                self.next + 1
            };
            if !self.connections.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    /// The worker with the fewest sessions.
    fn idlest(&mut self) -> Option<&mut Worker> {
        let able = self.workers.iter_mut().filter(|w| !w.is_draining);
        able.min_by_key(|worker| worker.sessions.len())
    }

    fn begin(&mut self, settings: &Settings, visitor: Visitor) -> io::Result<Taking> {
        let local = sys::socket::local(&visitor.socket)?;
        set_options(settings, &visitor.socket);
        let way = if self.delayed {
            Way::Delayed
        } else if settings.extras.is_front_end(mapped(visitor.address.ip())) {
            Way::Passed
        } else {
            Way::Implicit
        };
        let (programs, workers) = sys::local::pair()?;
        let control = match way {
            Way::Delayed => Some(sys::local::pair()?),
            Way::Implicit | Way::Passed => None,
        };
        let socket = visitor.socket.try_clone()?;
        let key = self.key();
        let Some(worker) = self.idlest() else {
            return Ok(Taking::Never("no process for TLS".into()));
        };
        worker.sessions.insert(key);
        worker.send(
            Message::new(wire::CLIENT, key, [way.letter()]),
            Some(socket),
        );
        worker.send(Message::new(wire::PLAIN, key, Bytes::new()), Some(workers));
        let mut connection = Connection {
            address: visitor.address,
            local,
            plain: None,
            pid: None,
        };
        let Some((programs_control, workers_control)) = control else {
            connection.plain = Some(programs);
            self.connections.insert(key, connection);
            return Ok(Taking::Later(key, None));
        };
        worker.send(
            Message::new(wire::CONTROL, key, Bytes::new()),
            Some(workers_control),
        );
        self.connections.insert(key, connection);
        let write = programs.try_clone()?;
        let visitor = Visitor {
            more: vec![
                (CONTROL, programs_control),
                (READ, programs),
                (WRITE, write),
            ],
            told: offer(),
            ..visitor
        };
        Ok(Taking::Later(key, Some(visitor)))
    }

    /// Hears worker number `n`. `false`: it has gone.
    fn hear_worker(&mut self, n: usize, settings: &Settings, news: &mut Vec<News>) -> bool {
        loop {
            let Some(worker) = self.workers.get_mut(n) else {
                return false;
            };
            worker.flush();
            let (message, _) = match Tls::receive(&worker.channel, &mut self.buffer) {
                Ok(None) => return true,
                Ok(Some(heard)) => heard,
                Err(()) => return false,
            };
            // A worker speaks of its own connections only.
            if !worker.sessions.contains(&message.id) {
                continue;
            }
            if message.kind != wire::READY {
                worker.sessions.remove(&message.id);
            }
            self.act(&message, settings, news);
        }
    }

    fn act(&mut self, message: &Message, settings: &Settings, news: &mut Vec<News>) {
        let key = message.id;
        if message.kind == wire::READY {
            if let Some(connection) = self.connections.get_mut(&key) {
                let told = wire::told(&message.rest);
                let shown = ucspi::text(mapped(connection.address.ip()), settings.form);
                say(settings, accepted(&shown, connection.pid, &told));
                if let Some(plain) = connection.plain.take() {
                    news.push(News::Ready(key, connection.visitor(plain, told)));
                }
            }
            return;
        }
        let Some(connection) = self.connections.remove(&key) else {
            return;
        };
        if connection.plain.is_some() {
            news.push(News::Gone(key));
        }
        let shown = ucspi::text(mapped(connection.address.ip()), settings.form);
        let reason = message.rest.as_slice();
        if message.kind == wire::FAILED {
            let text = format!("dropping connection, unable to accept SSL from {shown}: ");
            warn(settings, [text.as_bytes(), reason].concat());
        } else if !reason.is_empty() {
            let pid = connection.pid.map_or(shown, |pid| pid.to_string());
            say(
                settings,
                [format!("ssl {pid} end: ").as_bytes(), reason].concat(),
            );
        }
    }

    /// Worker number `n` has gone, and its connections with it.
    fn bury(&mut self, n: usize, settings: &Settings, news: &mut Vec<News>) {
        let worker = self.workers.remove(n);
        if !worker.sessions.is_empty() {
            let count = worker.sessions.len();
            warn(
                settings,
                format!("a process for TLS has died with {count} sessions"),
            );
        }
        for key in worker.sessions {
            if let Some(connection) = self.connections.remove(&key)
                && connection.plain.is_some()
            {
                news.push(News::Gone(key));
            }
        }
    }
}

/// What a program is told that may ask for TLS.
fn offer() -> Vec<Change> {
    let number = |n: RawFd| Some(n.to_string().into_bytes());
    let mut told = vec![
        (b"SSLCTLFD".to_vec(), number(CONTROL)),
        (b"SSLREADFD".to_vec(), number(READ)),
        (b"SSLWRITEFD".to_vec(), number(WRITE)),
        (b"SSL_PROTOCOL".to_vec(), None),
    ];
    // The run script or a rule may say otherwise: `!` or `-`.
    if base::env("UCSPITLS").is_none() {
        told.push((b"UCSPITLS".to_vec(), Some(Bytes::new())));
    }
    told
}

/// `ssl ok IP PROTOCOL CIPHER HOST`, or with the process id of a program that asked for TLS.
fn accepted(ip: &str, pid: Option<u32>, told: &[(Bytes, Bytes)]) -> Bytes {
    let value = |name: &[u8]| {
        let found = told.iter().find(|(n, _)| n == name);
        let value = found.map_or(&b""[..], |(_, value)| value);
        base::bytes::printable(value.get(..100).unwrap_or(value))
    };
    let who = pid.map_or_else(|| format!("ok {ip}"), |pid| format!("{pid} accept"));
    [
        format!("ssl {who} ").into_bytes(),
        value(b"SSL_PROTOCOL"),
        b" ".to_vec(),
        value(b"SSL_CIPHER"),
        b" ".to_vec(),
        value(b"SSL_TLS_SNI"),
    ]
    .concat()
}

impl Connection {
    /// What a program can talk to, and what it is told.
    fn visitor(&self, plain: OwnedFd, told: Vec<(Bytes, Bytes)>) -> Visitor {
        let passed = |name: &[u8]| {
            let (_, text) = told.iter().find(|(n, _)| n == name)?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let passed: Option<(SocketAddr, SocketAddr)> =
            passed(wire::SOURCE).zip(passed(wire::DESTINATION));
        let (remote, local) = passed.unwrap_or((self.address, self.local));
        let ends = Ends {
            local,
            remote,
            passed: passed.is_some(),
        };
        // There is no second TLS inside of this one.
        let none = net::starttls::VARIABLES.map(|name| (name.to_vec(), None));
        let told = told
            .into_iter()
            .filter(|(name, _)| name.starts_with(b"SSL_"))
            .map(|(name, value)| (name, Some(value)));
        Visitor {
            ends: Some(ends),
            told: none.into_iter().chain(told).collect(),
            ..Visitor::new(plain, self.address)
        }
    }
}

impl Worker {
    fn send(&mut self, message: Message, fd: Option<OwnedFd>) {
        self.unsent.push_back((message, fd));
        self.flush();
    }

    /// Sends what there is room for. A worker that has gone is noticed when it is heard.
    fn flush(&mut self) {
        while let Some((message, fd)) = self.unsent.front() {
            let fd = fd.as_ref().map(AsFd::as_fd);
            match handover::send(&self.channel, &message.bytes(), fd) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(()) | Err(_) => {
                    self.unsent.pop_front();
                }
            }
        }
    }
}

impl Front for Tls {
    fn waits(&self) -> Vec<Wait> {
        let workers = self.workers.iter();
        let full = workers.clone().filter(|w| !w.unsent.is_empty());
        let mut list: Vec<Wait> = self.keeper.iter().map(Wait::readable).collect();
        list.extend(workers.map(|w| Wait::readable(&w.channel)));
        list.extend(full.map(|w| Wait::writable(&w.channel)));
        list
    }

    fn is_full(&self) -> bool {
        let none = self.workers.iter().all(|w| w.is_draining);
        none || self.workers.iter().any(|w| !w.unsent.is_empty())
    }

    fn is_slow(&self) -> bool {
        !self.delayed
    }

    fn take(&mut self, settings: &Settings, visitor: Visitor) -> Taking {
        self.look();
        self.begin(settings, visitor)
            .unwrap_or_else(|e| Taking::Never(format!("unable to set up TLS: {}", system_text(&e))))
    }

    fn news(&mut self, settings: &Settings) -> Result<Vec<News>, Die> {
        let mut news = Vec::new();
        if signal::pending(Signal::SIGHUP) {
            self.ask_keeper(wire::READ);
        }
        self.hear_keeper(settings)?;
        for n in (0..self.workers.len()).rev() {
            if !self.hear_worker(n, settings, &mut news) {
                self.bury(n, settings, &mut news);
            }
        }
        Ok(news)
    }

    fn started(&mut self, key: u32, pid: u32) {
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.pid = Some(pid);
        }
    }

    fn forget(&mut self) {
        self.keeper = None;
        self.workers.clear();
    }
}
