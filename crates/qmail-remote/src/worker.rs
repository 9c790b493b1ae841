//! A worker of qmail-rspawn: one job after the other, and a connection that may serve the next one.
//!
//! Source  qmail-rspawn(8); queue::remote

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use base::Bytes;
use base::bytes::rsplit_once;
use queue::frames::Command;
use queue::remote::{self, Kept};
use sys::handover::{self, Patience};
use sys::poll::Wait;

use crate::hosts::{self, Machine};
use crate::message::Message;
use crate::report::{self, Report, Verdict};
use crate::route::Route;
use crate::talk::{End, Envelope, Link};
use crate::{Settings, attempt};

/// How long a connection that nobody uses stays open.
const KEEP: Duration = Duration::from_secs(remote::KEEP);
/// The most transactions of one connection.
const TRANSACTIONS: u32 = 100;
/// How long a worker waits for a job before it looks around.
const LOOK: Duration = Duration::from_mins(1);
/// Room for all reports of a job, bytes.
const ANSWER_LIMIT: usize = remote::MESSAGE_LIMIT - 64;

/// Whether descriptor 0 is a socket: only qmail-rspawn starts a worker.
pub(crate) fn is_wanted() -> bool {
    let stdin = sys::fd::inherited(0);
    stdin.is_ok_and(|fd| sys::dir::stat_fd(&fd).is_ok_and(|stat| stat.is_socket()))
}

/// Works until qmail-rspawn closes its end. Trouble ends the worker, and qmail-rspawn tries again later.
pub(crate) fn run() {
    let Ok(spawner) = sys::fd::take(0) else {
        return;
    };
    let Ok(own) = sys::dir::stat_path(b"/proc/self/exe") else {
        return;
    };
    if sys::signal::ignore(sys::signal::Signal::SIGPIPE).is_err()
        || handover::send_waiting(&spawner, &remote::hello(&own), None).is_err()
    {
        return;
    }
    let desk = Desk::prepare();
    let broken = desk.is_err();
    let mut worker = Worker {
        spawner,
        desk,
        kept: None,
        buffer: vec![0; remote::MESSAGE_LIMIT],
    };
    // Without what it needs it tells so once; the next one may find it.
    while worker.turn() && !broken {}
    worker.close();
}

/// What a worker knows of the world, from its start.
struct Desk {
    settings: Settings,
    machine: Machine,
}

impl Desk {
    fn prepare() -> Result<Desk, Verdict> {
        control::home::enter().map_err(|_| report::chdir())?;
        let settings = crate::settings().map_err(|_| report::control())?;
        let machine = Machine::look_all();
        let ports = settings.routes.ports().iter().copied();
        crate::promises(machine.ports().chain(ports)).enforce();
        Ok(Desk { settings, machine })
    }
}

/// A connection that waits for the next message.
struct Waiting {
    link: Link,
    route: Route,
    until: Instant,
}

struct Worker {
    spawner: OwnedFd,
    desk: Result<Desk, Verdict>,
    kept: Option<Waiting>,
    /// for what comes from qmail-rspawn
    buffer: Bytes,
}

impl Worker {
    /// One job, or one look at the connection that is open. `false`: nothing more will come.
    fn turn(&mut self) -> bool {
        let now = Instant::now();
        let mut waits = vec![Wait::readable(&self.spawner)];
        waits.extend(self.kept.iter().map(|k| Wait::readable(&k.link)));
        let left = self
            .kept
            .as_ref()
            .map_or(LOOK, |k| k.until.saturating_duration_since(now));
        if sys::poll::wait(&mut waits, Some(left)).is_err() {
            return true;
        }
        let spoken = waits.get(1).is_some_and(Wait::is_ready);
        let over = |k: &mut Waiting| spoken || k.until <= Instant::now();
        if let Some(mut kept) = self.kept.take_if(over) {
            kept.link.leave();
        }
        if waits.first().is_some_and(Wait::is_ready) {
            return self.take_job();
        }
        true
    }

    fn close(&mut self) {
        if let Some(mut kept) = self.kept.take() {
            kept.link.leave();
        }
    }

    fn take_job(&mut self) -> bool {
        let received = handover::receive(&self.spawner, &mut self.buffer, Patience::Now);
        let Ok((count @ 1.., Some(message))) = received else {
            return false;
        };
        let Some(job) = remote::decode_job(self.buffer.get(..count).unwrap_or_default()) else {
            return false;
        };
        let mut report = Report::within(ANSWER_LIMIT, job.recipients.len());
        let verdict = self
            .deliver(&job, message, &mut report)
            .unwrap_or_else(|early| early);
        let kept = match &self.kept {
            None => Kept::None,
            Some(kept) if kept.route.shared => Kept::Relay,
            Some(_) => Kept::Host,
        };
        let answer = remote::answer(job.number, kept, &report.bytes(&verdict));
        // One write is one message; another way to send is not among our promises.
        sys::fd::write(&self.spawner, &answer).is_ok_and(|count| count == answer.len())
    }

    /// One job, as the arguments and descriptor 0 of a classic call would give it.
    fn deliver(
        &mut self,
        job: &Command,
        message: OwnedFd,
        report: &mut Report,
    ) -> Result<Verdict, Verdict> {
        let desk = self.desk.as_ref().map_err(Verdict::clone)?;
        let recipient = job.recipients.first().ok_or_else(report::usage)?;
        let (_, host) = rsplit_once(recipient, b'@').ok_or_else(report::usage)?;
        let envelope = Envelope::new(&job.sender, &job.recipients)?;
        let route = desk
            .settings
            .routes
            .find(host, &job.sender)
            .ok_or_else(report::control)?;
        let mut message = Message::new(File::from(message)).map_err(|_| report::unreadable())?;
        if message.survey().is_some_and(|s| s.is_partial()) {
            return Err(report::partial_line());
        }

        if let Some(kept) = self.kept.take() {
            let mut link = kept.link;
            if kept.route == route && link.is_idle() {
                let end = link.transact(&envelope, &mut message, report);
                if let End::Decided(verdict) = end {
                    self.keep(link, route);
                    return Ok(verdict);
                }
            }
            link.leave();
        }

        let candidates = hosts::find(&route, &desk.machine)?;
        let mut link = attempt::reach(&candidates, &route, &desk.settings)?;
        let end = link.transact(&envelope, &mut message, report);
        self.keep(link, route);
        match end {
            End::Decided(verdict) => Ok(verdict),
            // A fresh connection is never stale.
            End::Stale => Err(report::no_connection()),
        }
    }

    /// Keeps a connection for the next job, if it is good for one.
    fn keep(&mut self, mut link: Link, route: Route) {
        if link.served() >= TRANSACTIONS || !link.is_idle() {
            link.leave();
            return;
        }
        self.kept = Some(Waiting {
            link,
            route,
            until: Instant::now() + KEEP,
        });
    }
}
