//! What every part of qmail-send works with: the queue, the schedule, the log, the time.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, ErrorKind};
use std::time::Instant;

use base::Bytes;
use queue::names::{Layout, MessageId, Part};
use queue::record::Records;
use recipient::Rewrite;

use super::channel::{Channel, Pair};
use super::cleaner::Cleaner;
use super::clock::Clock;
use super::files::{Files, Open, Purpose};
use super::fresh::Fresh;
use super::jobs::Jobs;
use super::lane::Lanes;
use super::log::Log;
use super::prioq::Prioq;
use super::settings::{Destinations, Settings};
use super::settle::Settle;
use super::workers::Workers;
use super::world::World;

/// When which message is due for what.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// deliveries: info there, todo gone, local or remote there; or todo there, and the message parked
    pub(crate) channels: Pair<Prioq>,
    /// ends: info there, todo, local and remote gone
    pub(crate) done: Prioq,
    /// trouble looking at it: to be scheduled again
    pub(crate) failed: Prioq,
    /// messages scheduled from todo while the start-up scan goes on or something has failed: what a scan finds of
    /// them must not be scheduled a second time
    pub(crate) fresh: HashSet<MessageId>,
    /// what still stands in `channels`, or waits at a destination, of messages that need it no more: it must not be taken for
    /// what a later message of the same number needs
    pub(crate) void: HashSet<(Channel, MessageId)>,
    /// whether `fresh` is kept
    pub(crate) is_scanning: bool,
}

impl Schedule {
    /// Remembers that `id` has been scheduled from todo.
    pub(crate) fn note_fresh(&mut self, id: MessageId) {
        if self.is_scanning || !self.failed.is_empty() {
            self.fresh.insert(id);
        } else {
            self.fresh.clear();
        }
    }
}

/// The shared state of qmail-send's parts.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) world: Box<dyn World>,
    pub(crate) queue: Box<dyn Files>,
    pub(crate) layout: Layout,
    pub(crate) clock: Clock,
    /// the time at the start of this turn, steady (see `clock`), as all times here that are not on disk
    pub(crate) recent: i64,
    /// the same moment on the clock that nobody can set
    pub(crate) moment: Instant,
    pub(crate) log: Log,
    pub(crate) settings: Settings,
    pub(crate) rewrite: Rewrite,
    pub(crate) destinations: Destinations,
    pub(crate) jobs: Jobs,
    pub(crate) schedule: Schedule,
    pub(crate) lanes: Pair<Lanes>,
    pub(crate) fresh: Fresh,
    pub(crate) workers: Workers,
    pub(crate) cleaner: Cleaner,
    pub(crate) settle: Settle,
    /// messages that deliveries on this machine may have been made of that we do not know: an earlier qmail-send may have
    /// tried, or one that we tried was not reported to be done
    pub(crate) doubtful: HashSet<MessageId>,
    /// messages with classic files whose bounces are being sent
    pub(crate) bouncing: HashSet<MessageId>,
    /// SIGALRM came while the start-up scan goes on: what it finds is due
    pub(crate) all_due: bool,
    /// messages that came at a time that is still to come, as the clock shows it now: when they were seen first
    pub(crate) unborn: HashMap<MessageId, i64>,
    /// finish what runs, begin nothing
    pub(crate) is_stopping: bool,
}

/// What `info` says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    /// the envelope sender
    pub(crate) sender: Bytes,
    /// when the message came
    pub(crate) birth: i64,
}

impl Desk {
    /// Looks at the clocks.
    pub(crate) fn look_at_clocks(&mut self) {
        self.moment = self.world.instant();
        self.recent = self.clock.look(self.world.now(), self.moment);
    }

    /// Whether a part of a message is there.
    pub(crate) fn exists(&self, part: Part, id: MessageId) -> io::Result<bool> {
        match self.queue.stat(&self.layout.path(part, id)) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Opens a part for reading.
    ///
    /// # Errors
    /// Also when it is not a regular file.
    pub(crate) fn open(&self, part: Part, id: MessageId) -> io::Result<Box<dyn Open>> {
        self.queue.open(&self.layout.path(part, id), Purpose::Read)
    }

    /// Opens a part for changing it in place.
    ///
    /// # Errors
    /// Also when it is not a regular file.
    pub(crate) fn open_update(&self, part: Part, id: MessageId) -> io::Result<Box<dyn Open>> {
        self.queue
            .open(&self.layout.path(part, id), Purpose::Update)
    }

    /// Removes a part; one that is not there is fine.
    pub(crate) fn unlink(&self, part: Part, id: MessageId) -> io::Result<()> {
        match self.queue.unlink(&self.layout.path(part, id)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Reads `info`.
    ///
    /// # Errors
    /// It cannot be read, or does not begin with a sender.
    pub(crate) fn info(&mut self, id: MessageId) -> io::Result<Info> {
        let file = self.open(Part::Info, id)?;
        let birth = self.birth(id, file.stat()?.mtime);
        let first = Records::new(BufReader::new(file), 0).next_record()?;
        match first {
            Some(record) if record.letter == b'F' => Ok(Info {
                sender: record.text,
                birth,
            }),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// When a message came, from the time of change of its `info`.
    pub(crate) fn birth(&mut self, id: MessageId, changed: i64) -> i64 {
        match self.clock.past(changed) {
            Some(birth) => birth,
            None => *self.unborn.entry(id).or_insert(self.recent),
        }
    }

    /// `prefix`, the name of a part, `suffix`: for the log.
    pub(crate) fn about(&self, prefix: &str, part: Part, id: MessageId, suffix: &str) -> Bytes {
        [
            prefix.as_bytes(),
            &self.layout.path(part, id),
            suffix.as_bytes(),
        ]
        .concat()
    }
}
