//! A worker: it has the keys and speaks TLS for many connections at once, and can do nothing else. It opens nothing,
//! connects nowhere, runs nothing; what it holds it was given.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use sys::handover::{self, Patience};
use sys::ids::Ids;
use sys::ready::{Ready, Watch};
use sys::sandbox::{Network, Promises};
use sys::signal::{self, Signal};
use tls::server::Config;

use super::pump::{End, Session, Step};
use super::settings::Options;
use super::wire::{self, Message, Way};

/// The key of the listener's channel among the things that are waited for.
const LISTENER: u64 = u64::MAX;
/// The most descriptors: three for each session that has not begun, two for the others.
const DESCRIPTORS: u64 = 1 << 20;
/// The most messages of the listener that are taken before sessions get their turn.
const MESSAGES: usize = 64;
/// The shortest time between two looks at all deadlines.
const TICK: Duration = Duration::from_secs(1);

/// What a worker will still do.
pub fn promises() -> Promises {
    Promises::new()
        .network(Network::None)
        .descriptors(DESCRIPTORS)
}

/// Serves until the listener has gone, or has no more work, and no session is left. The result is the exit code.
pub(super) fn run(channel: OwnedFd, config: &Config, ids: Option<&Ids>, options: &Options) -> u8 {
    if let Some(ids) = ids
        && sys::ids::become_for_good(ids).is_err()
    {
        return 111;
    }
    for signal in [Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGINT] {
        if signal::ignore(signal).is_err() {
            return 111;
        }
    }
    let _ = promises().enforce();
    let Ok(mut worker) = Worker::new(channel, config, options) else {
        return 111;
    };
    worker.serve()
}

struct Worker<'a> {
    /// `None`: the listener has gone
    channel: Option<OwnedFd>,
    ready: Ready,
    config: &'a Config,
    options: &'a Options,
    sessions: HashMap<u32, Box<Session>>,
    arriving: HashMap<u32, Arriving>,
    /// sessions that have more to do, though nothing new will be reported
    again: Vec<u32>,
    next_look: Option<Instant>,
    is_draining: bool,
    scratch: Vec<u8>,
}

/// A connection whose descriptors have not all come.
#[derive(Default)]
struct Arriving {
    way: Option<Way>,
    client: Option<OwnedFd>,
    plain: Option<OwnedFd>,
    control: Option<OwnedFd>,
}

impl Arriving {
    fn is_whole(&self) -> bool {
        let control = self.way != Some(Way::Delayed) || self.control.is_some();
        self.client.is_some() && self.plain.is_some() && control
    }
}

impl<'a> Worker<'a> {
    fn new(
        channel: OwnedFd,
        config: &'a Config,
        options: &'a Options,
    ) -> std::io::Result<Worker<'a>> {
        let ready = Ready::new()?;
        ready.add(&channel, LISTENER, Watch::Always)?;
        Ok(Worker {
            channel: Some(channel),
            ready,
            config,
            options,
            sessions: HashMap::new(),
            arriving: HashMap::new(),
            again: Vec::new(),
            next_look: None,
            is_draining: false,
            scratch: vec![0; super::pump::PIECE],
        })
    }

    fn serve(&mut self) -> u8 {
        let mut found = Vec::new();
        while !(self.is_draining && self.sessions.is_empty() && self.arriving.is_empty()) {
            let left = |at: Instant| at.saturating_duration_since(Instant::now());
            let pause = if self.again.is_empty() {
                self.next_look.map(left)
            } else {
                Some(Duration::ZERO)
            };
            found.clear();
            if self.ready.wait_some(&mut found, pause).is_err() {
                return 111;
            }
            let mut due = std::mem::take(&mut self.again);
            for key in &found {
                match u32::try_from(*key) {
                    Ok(id) => due.push(id),
                    Err(_) => self.hear(),
                }
            }
            due.sort_unstable();
            due.dedup();
            for id in due {
                self.step(id);
            }
            self.look();
        }
        0
    }

    fn step(&mut self, id: u32) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let mut step = session.step(self.config, &mut self.scratch);
        for fd in session.unwatched() {
            // What is ready already is reported at once.
            if let Err(e) = self.ready.add(fd, id.into(), Watch::Both) {
                let why = base::die::system_text(&e);
                step = Step::Over(End::Closed(Some(why)));
            }
        }
        match step {
            Step::Waits => {}
            Step::Again => self.again.push(id),
            Step::Ready(told) => {
                let message = Message::new(wire::READY, id, wire::pairs(&told));
                self.say(&message);
                self.again.push(id);
            }
            Step::Over(end) => {
                let (kind, why) = end.word();
                self.say(&Message::with_reason(kind, id, &why));
                self.sessions.remove(&id);
            }
            // What is left is between the client and us.
            Step::Lingers(end) => {
                let (kind, why) = end.word();
                self.say(&Message::with_reason(kind, id, &why));
                self.again.push(id);
            }
        }
        if let Some(deadline) = self.sessions.get(&id).map(|s| s.deadline(self.options)) {
            self.look_at(deadline);
        }
    }

    fn say(&self, message: &Message) {
        // The listener never waits for us, so this ends; when it has gone, nobody asks.
        if let Some(channel) = &self.channel {
            let _ = sys::local::send(channel, &message.bytes());
        }
    }

    fn look_at(&mut self, deadline: Instant) {
        if self.next_look.is_none_or(|at| deadline < at) {
            self.next_look = Some(deadline);
        }
    }

    /// Ends the sessions whose time is over.
    fn look(&mut self) {
        let now = Instant::now();
        if self.next_look.is_none_or(|at| at > now) {
            return;
        }
        let mut late = Vec::new();
        let mut next = None;
        for (id, session) in &self.sessions {
            let deadline = session.deadline(self.options);
            if deadline <= now {
                late.push(*id);
            } else {
                next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
            }
        }
        let soonest = now.checked_add(TICK);
        self.next_look = next.zip(soonest).map(|(next, soonest)| next.max(soonest));
        for id in late {
            if let Some(session) = self.sessions.remove(&id)
                && let Some(end) = session.too_late()
            {
                let (kind, why) = end.word();
                self.say(&Message::with_reason(kind, id, &why));
            }
        }
    }

    fn hear(&mut self) {
        let mut buffer = [0; 64];
        for _ in 0..MESSAGES {
            let Some(channel) = &self.channel else {
                return;
            };
            match handover::receive(channel, &mut buffer, Patience::Now) {
                Ok((0, _)) => return self.alone(),
                Ok((count, fd)) => {
                    if let Some(message) = Message::read(buffer.get(..count).unwrap_or_default()) {
                        self.take(&message, fd);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A descriptor for which there was no room: it belonged to one of these, or to one whose other parts
                // will come.
                Err(e) if e.kind() == ErrorKind::InvalidData => {
                    let ids: Vec<u32> = self.arriving.keys().copied().collect();
                    for id in ids {
                        self.lose(id);
                    }
                }
                Err(_) => return self.alone(),
            }
        }
    }

    /// The listener has gone: sessions that have a program go on.
    fn alone(&mut self) {
        self.is_draining = true;
        self.arriving.clear();
        self.sessions.retain(|_, session| session.has_program());
        self.channel = None;
    }

    /// A connection without all of its descriptors.
    fn lose(&mut self, id: u32) {
        self.arriving.remove(&id);
        self.say(&Message::with_reason(
            wire::FAILED,
            id,
            "too many open files",
        ));
    }

    fn take(&mut self, message: &Message, fd: Option<OwnedFd>) {
        if message.kind == wire::DRAIN {
            self.is_draining = true;
            return;
        }
        let id = message.id;
        if message.kind == wire::CLIENT {
            self.arriving.insert(id, Arriving::default());
        }
        let (Some(fd), Some(arriving)) = (fd, self.arriving.get_mut(&id)) else {
            return self.lose(id);
        };
        match message.kind {
            wire::CLIENT => {
                arriving.way = Way::of(&message.rest);
                arriving.client = Some(fd);
            }
            wire::PLAIN => arriving.plain = Some(fd),
            wire::CONTROL => arriving.control = Some(fd),
            _ => {}
        }
        if arriving.is_whole() {
            self.begin(id);
        }
    }

    fn begin(&mut self, id: u32) {
        let Some(Arriving {
            way: Some(way),
            client: Some(client),
            plain: Some(plain),
            control,
        }) = self.arriving.remove(&id)
        else {
            return;
        };
        match Session::new(way, client, plain, control, self.options.handshake_time) {
            Ok(session) => {
                self.sessions.insert(id, Box::new(session));
                self.again.push(id);
            }
            Err(e) => {
                let why = base::die::system_text(&e);
                self.say(&Message::with_reason(wire::FAILED, id, &why));
            }
        }
    }
}
