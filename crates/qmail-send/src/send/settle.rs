//! Making what has happened durable, a moment's worth at a time, by the thread for the disk.
//!
//! A recipient that is done with is marked on disk at once, and files that are done with are removed at once; both are
//! made durable together, shortly after: a power cut in between delivers again, but nothing is lost. The message
//! itself is the last to go, and only after the removal of everything that names it is durable: no power cut can
//! leave an envelope whose number another message has taken over.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::time::{Duration, Instant};

use base::Bytes;
use queue::names::{Layout, MessageId, Part};

use super::channel::Channel;
use super::cleaner::{self, Request};
use super::desk::Desk;
use super::files::{Files, Open};
use super::plan::Plan;
use super::workers::Chore;

/// How long something may stay unsettled.
const PAUSE: Duration = Duration::from_millis(400);
/// Files that are held open.
const LIMIT: usize = 64;

/// What is not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    /// recipient files with new marks, held open
    marked: Vec<(Channel, MessageId, Box<dyn Open>)>,
    /// directories that lost names
    dirs: BTreeSet<Bytes>,
    /// messages that have ended
    ended: Vec<MessageId>,
}

/// What has become durable, or not.
#[derive(Debug)]
pub(crate) struct Settled {
    /// messages that have ended, and may go if all is durable
    ended: Vec<MessageId>,
    /// recipient files whose marks may be lost
    lost: Vec<(Channel, MessageId)>,
    /// directories whose removals may be lost
    lost_dirs: Vec<Bytes>,
}

/// What gathers.
#[derive(Debug, Default)]
pub(crate) struct Settle {
    list: Unsettled,
    since: Option<Instant>,
    /// messages that have ended, until qmail-clean has answered: nobody else may ask for them
    leaving: HashSet<MessageId>,
}

impl Settle {
    /// A name in `dir` is gone.
    pub(crate) fn dir(&mut self, dir: Bytes, moment: Instant) {
        self.list.dirs.insert(dir);
        self.since.get_or_insert(moment);
    }

    /// What an earlier qmail-send removed and did not live to settle is settled first, before any message may go.
    pub(crate) fn start(&mut self, layout: Layout, moment: Instant) {
        for part in [
            Part::Todo,
            Part::Info,
            Part::Local,
            Part::Remote,
            Part::Bounce,
        ] {
            self.list.dirs.extend(layout.dirs(part));
        }
        self.since = Some(moment);
    }

    /// Nothing names the message any more.
    pub(crate) fn end(&mut self, id: MessageId, moment: Instant) {
        self.list.ended.push(id);
        self.leaving.insert(id);
        self.since.get_or_insert(moment);
    }

    /// Whether the removal of a message has begun.
    pub(crate) fn is_leaving(&self, id: MessageId) -> bool {
        self.leaving.contains(&id)
    }

    /// A message is gone, or stays for the sweep.
    pub(crate) fn left(&mut self, id: MessageId) {
        self.leaving.remove(&id);
    }

    /// When to settle.
    fn due(&self) -> Option<Instant> {
        let since = self.since?;
        if self.list.marked.len() >= LIMIT {
            return Some(since);
        }
        Some(since + PAUSE)
    }

    /// Asks for a turn when there is something to settle.
    pub(crate) fn prepare(&self, plan: &mut Plan) {
        if let Some(when) = self.due() {
            plan.soon_at(when);
        }
    }
}

/// Marks a recipient as done with.
///
/// # Errors
/// The mark could not be written: this recipient may get the message again.
pub(crate) fn mark(desk: &mut Desk, channel: Channel, id: MessageId, at: u64) -> io::Result<()> {
    let marked = &desk.settle.list.marked;
    let held = marked
        .iter()
        .position(|(c, i, _)| (*c, *i) == (channel, id));
    let place = match held {
        Some(place) => place,
        None => {
            let file = desk.open_update(channel.part(), id)?;
            desk.settle.list.marked.push((channel, id, file));
            desk.settle.list.marked.len() - 1
        }
    };
    desk.settle.since.get_or_insert(desk.moment);
    let Some((_, _, file)) = desk.settle.list.marked.get(place) else {
        return Ok(());
    };
    if file.byte_at(at)? != b'T' {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.set_byte_at(at, b'D')
}

/// The marks of a file do not matter any more: it has been removed.
pub(crate) fn forget(desk: &mut Desk, channel: Channel, id: MessageId) {
    let marked = &mut desk.settle.list.marked;
    marked.retain(|(c, i, _)| (*c, *i) != (channel, id));
}

/// Has things settled when it is time to.
pub(crate) fn act(desk: &mut Desk) {
    if desk.settle.due().is_some_and(|when| when <= desk.moment) {
        now(desk);
    }
}

/// Has everything settled. `false`: there is nothing.
pub(crate) fn now(desk: &mut Desk) -> bool {
    if desk.settle.since.take().is_none() {
        return false;
    }
    let list = std::mem::take(&mut desk.settle.list);
    desk.workers.chore(Chore::Settle(list));
    true
}

/// In the thread for the disk.
pub(crate) fn settle(queue: &dyn Files, list: Unsettled) -> Settled {
    for (_, _, file) in &list.marked {
        file.start_sync();
    }
    let lost = list
        .marked
        .iter()
        .filter(|(_, _, file)| file.sync().is_err())
        .map(|(channel, id, _)| (*channel, *id))
        .collect();
    let lost_dirs: Vec<Bytes> = list
        .dirs
        .into_iter()
        .filter(|dir| queue.sync(dir).is_err())
        .collect();
    Settled {
        ended: list.ended,
        lost,
        lost_dirs,
    }
}

/// Back in the loop: says what went wrong, and lets the messages go that have ended.
pub(crate) fn settled(desk: &mut Desk, settled: Settled) {
    for (channel, id) in settled.lost {
        let text = desk.about("trouble fsyncing ", channel.part(), id, "");
        desk.log.warning(text);
    }
    // If in doubt a message stays: nothing names it, so the sweep will find it.
    let may_go = settled.lost_dirs.is_empty();
    for dir in settled.lost_dirs {
        desk.log
            .warning([b"trouble fsyncing ", dir.as_slice()].concat());
    }
    for id in settled.ended {
        if may_go {
            cleaner::remove(desk, Request::Message, id);
        } else {
            desk.settle.left(id);
        }
    }
}

/// Removes a part of a message, with a note to make that durable.
///
/// # Errors
/// It is still there.
pub(crate) fn unlink(desk: &mut Desk, part: Part, id: MessageId) -> io::Result<()> {
    desk.unlink(part, id)?;
    let dir = desk.layout.dir(part, id);
    desk.settle.dir(dir, desk.moment);
    Ok(())
}
