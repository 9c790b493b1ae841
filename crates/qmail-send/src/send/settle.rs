//! Making what has happened durable, a second's worth at a time.
//!
//! A recipient that is done with is marked on disk at once, and files that are done with are removed at once; both are
//! made durable together, at most a second later: a power cut in between delivers again, but nothing is lost. The
//! message itself is the last to go, and only after the removal of everything that names it is durable: no power cut
//! can leave recipients without a message.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use base::Bytes;
use queue::names::MessageId;

use super::channel::Channel;
use super::cleaner::{self, Request};
use super::desk::Desk;
use super::plan::Plan;

/// How long something may stay unsettled, seconds.
const SECONDS: i64 = 1;
/// How much may gather.
const LIMIT: usize = 64;

/// What is not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Settle {
    /// recipient files with new marks, held open
    marked: Vec<(Channel, MessageId, File)>,
    /// directories that lost names
    dirs: BTreeSet<Bytes>,
    /// messages that have ended
    ended: Vec<MessageId>,
    since: Option<i64>,
}

impl Settle {
    fn begin(&mut self, now: i64) {
        self.since.get_or_insert(now);
    }

    /// A name in `dir` is gone.
    pub(crate) fn dir(&mut self, dir: Bytes, now: i64) {
        self.dirs.insert(dir);
        self.begin(now);
    }

    /// Nothing names the message any more.
    pub(crate) fn end(&mut self, id: MessageId, now: i64) {
        self.ended.push(id);
        self.begin(now);
    }

    /// The marks of a file do not matter any more: it has been removed.
    pub(crate) fn forget(&mut self, channel: Channel, id: MessageId) {
        self.marked.retain(|(c, i, _)| (*c, *i) != (channel, id));
    }

    fn is_due(&self, now: i64) -> bool {
        self.since.is_some_and(|since| {
            // Also when the clock was set back.
            now >= since.saturating_add(SECONDS) || now < since
        }) || self.marked.len() >= LIMIT
            || self.ended.len() >= LIMIT
    }

    /// Asks for a turn when there is something to settle.
    pub(crate) fn prepare(&self, now: i64, is_idle: bool, plan: &mut Plan) {
        if self.since.is_none() {
            return;
        }
        if self.is_due(now) || (is_idle && !plan.is_at_once()) {
            plan.at_once();
        } else {
            plan.soon(Duration::from_secs(SECONDS.unsigned_abs()));
        }
    }
}

/// Marks a recipient as done with.
///
/// # Errors
/// The mark could not be written: this recipient may get the message again.
pub(crate) fn mark(desk: &mut Desk, channel: Channel, id: MessageId, at: u64) -> io::Result<()> {
    let held = desk
        .settle
        .marked
        .iter()
        .position(|(c, i, _)| (*c, *i) == (channel, id));
    let place = match held {
        Some(place) => place,
        None => {
            let file = desk.open_update(channel.part(), id)?;
            desk.settle.marked.push((channel, id, file));
            desk.settle.marked.len() - 1
        }
    };
    desk.settle.begin(desk.recent);
    let Some((_, _, file)) = desk.settle.marked.get(place) else {
        return Ok(());
    };
    let mut letter = [0];
    file.read_exact_at(&mut letter, at)?;
    if letter != *b"T" {
        return Err(io::ErrorKind::InvalidData.into());
    }
    file.write_all_at(b"D", at)
}

/// Settles when it is time to, or when there is nothing else to do.
pub(crate) fn act(desk: &mut Desk, is_idle: bool) {
    if desk.settle.is_due(desk.recent) || (is_idle && desk.settle.since.is_some()) {
        now(desk);
    }
}

/// Settles everything.
pub(crate) fn now(desk: &mut Desk) {
    let Settle {
        marked,
        dirs,
        ended,
        ..
    } = std::mem::take(&mut desk.settle);
    for (_, _, file) in &marked {
        sys::dir::start_sync(file);
    }
    for (channel, id, file) in &marked {
        if sys::dir::sync(file).is_err() {
            let text = desk.about("trouble fsyncing ", channel.part(), *id, "");
            desk.log.warning(text);
        }
    }
    let mut are_durable = true;
    for dir in dirs {
        if desk.queue.open_dir(&dir).and_then(|d| d.sync()).is_err() {
            are_durable = false;
            desk.log
                .warning([b"trouble fsyncing ", dir.as_slice()].concat());
        }
    }
    for id in ended {
        // If in doubt the message stays: nothing names it, so the sweep will find it.
        if are_durable {
            cleaner::remove(desk, Request::Message, id);
        }
    }
}
