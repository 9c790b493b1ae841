//! The keeper: the only process that can read the keys. It makes the workers, again if one dies, and new ones with new
//! certificates when the files change; the old ones go on with the sessions that they have.
//!
//! It hears nobody but the listener, and from that only a letter.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use base::Die;
use base::die::system_text;
use sys::handover::{self, Patience};
use sys::ids::Ids;
use sys::poll::Wait;
use sys::sandbox::{Access, Network, Promises, Walls};
use sys::signal::{self, Signal};
use tls::server::Config;
use ucspi_tcp::server::Settings;

use super::files::Files;
use super::settings::Options;
use super::wire::{self, Message};
use super::worker;

/// The user of the workers, if there is such an account and nobody named another.
const USER: &[u8] = b"qmailtls";
/// Nobody, who is never root.
const NOBODY: u32 = 65_534;
/// How long after the death of a worker another is made.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts the keeper, before any privilege is dropped and before any key is read. Returns the listener's end of its
/// channel.
///
/// # Errors
/// There are no processes, or no such user.
pub(super) fn start(settings: &Settings, options: Options, port: u16) -> Result<OwnedFd, Die> {
    let ids = worker_ids(settings, &options)?;
    let (ours, theirs) = handover::pair().map_err(|e| Die::unable("make channel", &e))?;
    let null = File::open("/dev/null").map_err(|e| Die::unable("open /dev/null", &e))?;
    let made = handover::fork_with_only(&theirs, &null, |channel| {
        let mut keeper = Keeper {
            channel,
            files: Files::new(&options),
            options,
            port,
            ids,
            generation: 0,
            workers: Vec::new(),
            missing_since: None,
        };
        keeper.run()
    });
    made.map_err(|e| Die::unable("fork", &e))?;
    Ok(ours)
}

/// Who speaks TLS: the user of `--tls-user`, of SSL_UID and SSL_GID, of the account for it, of -u, or nobody. `None`
/// without root: everything is done as the caller.
fn worker_ids(settings: &Settings, options: &Options) -> Result<Option<Ids>, Die> {
    if sys::ids::euid() != 0 {
        return Ok(None);
    }
    let number = |name| base::env(name).and_then(|value| base::bytes::number(&value));
    let number = |name| number(name).and_then(|n| u32::try_from(n).ok());
    let account = |name: &[u8]| {
        let found = sys::users::local(name).map_err(|e| Die::unable("read /etc/passwd", &e))?;
        Ok(found.map(|account| Ids::new(account.uid, account.gid)))
    };
    let found = match &options.user {
        Some(name) => Some(account(name)?.ok_or_else(|| {
            let text = [b"no such user: ", name.as_slice()].concat();
            Die::fatal(111, text)
        })?),
        None => match number("SSL_UID") {
            Some(uid) => Some(Ids::new(uid, number("SSL_GID").unwrap_or(NOBODY))),
            None => account(USER)?,
        },
    };
    let or_nobody = |id: u32| if id == 0 { NOBODY } else { id };
    let ids = found.unwrap_or_else(|| Ids::new(settings.uid, settings.gid));
    Ok(Some(Ids::new(or_nobody(ids.uid), or_nobody(ids.gid))))
}

/// What a keeper will still do: read, wherever a link may lead, and make processes, which are not threads but need what
/// these need.
pub fn promises() -> Promises {
    Promises::new()
        .path("/", Access::Read)
        .network(Network::None)
        .with_threads()
}

struct Keeper {
    channel: OwnedFd,
    files: Files,
    options: Options,
    port: u16,
    ids: Option<Ids>,
    generation: u32,
    /// those of this generation
    workers: Vec<u32>,
    /// a worker has died, and it is not yet time for another
    missing_since: Option<Instant>,
}

impl Keeper {
    /// The result is the exit code.
    fn run(&mut self) -> u8 {
        let _ = promises().enforce_with(Walls::Landlock);
        match self.serve() {
            Ok(()) => 0,
            Err(why) => {
                self.say(&Message::new(wire::UNUSABLE, 0, why));
                111
            }
        }
    }

    fn say(&self, message: &Message) {
        // The listener has gone, or the channel ends next.
        let _ = handover::send_waiting(&self.channel, &message.bytes(), None);
    }

    fn serve(&mut self) -> Result<(), String> {
        let failed = |what: &str, e: &io::Error| format!("unable to {what}: {}", system_text(e));
        let tickets = self.files.tickets(self.port)?;
        let mut marks = self.files.marks();
        let (mut config, notes) = self.files.read(&self.options, self.port, tickets.clone())?;
        let wake = signal::wake().map_err(|e| failed("catch signals", &e))?;
        signal::catch(Signal::SIGCHLD).map_err(|e| failed("catch signals", &e))?;
        // What ends the listener ends us by the end of the channel.
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
            signal::ignore(signal).map_err(|e| failed("catch signals", &e))?;
        }
        self.note(&notes);
        self.make_workers(&config)
            .map_err(|e| failed("start TLS process", &e))?;
        loop {
            let mut list = [Wait::readable(&self.channel), Wait::readable(&wake)];
            let pause = self
                .missing_since
                .map(|at| PAUSE.saturating_sub(at.elapsed()));
            let _ = sys::poll::wait(&mut list, pause);
            signal::woken();
            if signal::pending(Signal::SIGCHLD) {
                self.reap();
            }
            match self.hear() {
                Heard::Nothing => {}
                Heard::End => return Ok(()),
                heard => {
                    let now = self.files.marks();
                    if now != marks || heard == Heard::Read {
                        self.renew(&mut config, tickets.clone());
                        marks = now;
                    }
                }
            }
            if self.missing_since.is_some_and(|at| at.elapsed() >= PAUSE) {
                self.missing_since = None;
                if self.make_workers(&config).is_err() {
                    self.missing_since = Some(Instant::now());
                }
            }
        }
    }

    fn note(&self, notes: &[String]) {
        for note in notes {
            self.say(&Message::new(wire::NOTE, 0, note.as_bytes()));
        }
    }

    /// Reads the files again; the old certificates stay in use if the new ones are of no use.
    fn renew(
        &mut self,
        config: &mut Config,
        tickets: std::sync::Arc<tls::server::tickets::Tickets>,
    ) {
        match self.files.read(&self.options, self.port, tickets) {
            Ok((new, notes)) => {
                *config = new;
                self.note(&notes);
                self.generation = self.generation.wrapping_add(1);
                self.workers.clear();
                if self.make_workers(config).is_err() {
                    self.missing_since = Some(Instant::now());
                }
            }
            Err(why) => self.note(&[format!("certificates stay as they were: {why}")]),
        }
    }

    fn hear(&self) -> Heard {
        let mut heard = Heard::Nothing;
        let mut buffer = [0; 64];
        loop {
            match handover::receive(&self.channel, &mut buffer, Patience::Now) {
                Ok((0, _)) => return Heard::End,
                Ok((count, _)) => {
                    let message = Message::read(buffer.get(..count).unwrap_or_default());
                    match message.map(|m| m.kind) {
                        Some(wire::READ) => heard = Heard::Read,
                        Some(wire::LOOK) if heard == Heard::Nothing => heard = Heard::Look,
                        _ => {}
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return heard,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::End,
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, _)) = sys::process::ended() {
            let before = self.workers.len();
            self.workers.retain(|worker| *worker != pid);
            if self.workers.len() < before {
                self.missing_since = Some(Instant::now());
            }
        }
    }

    /// As many workers as there should be.
    fn make_workers(&mut self, config: &Config) -> io::Result<()> {
        while self.workers.len() < self.options.processes {
            let (listeners, workers) = handover::pair()?;
            let null = File::open("/dev/null")?;
            let (ids, options) = (&self.ids, &self.options);
            let pid = handover::fork_with_only(&workers, &null, |channel| {
                worker::run(channel, config, ids.as_ref(), options)
            })?;
            self.workers.push(pid);
            let message = Message::new(wire::WORKER, self.generation, b"".as_slice());
            handover::send_waiting(&self.channel, &message.bytes(), Some(listeners.as_fd()))?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// has anything changed?
    Look,
    /// read it in any case
    Read,
    /// the listener has gone
    End,
}
