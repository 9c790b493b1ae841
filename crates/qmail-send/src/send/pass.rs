//! Passes: going through the recipients of a message, and seeing messages to their end.

use std::fs::File;
use std::io::{BufReader, ErrorKind};

use queue::names::{MessageId, Part};
use queue::record::Records;

use super::bounce;
use super::channel::{BOTH, Channel, Pair};
use super::comm::Comm;
use super::del::{Deliveries, Recipient};
use super::desk::Desk;
use super::jobs::{self, JobNumber};
use super::plan::Plan;
use super::{SYSTEM_FAILURE, scan};

/// Records looked at, and messages ended, in one turn.
const STEPS: u32 = 256;

/// A message whose recipients are being read.
#[derive(Debug)]
struct Pass {
    id: MessageId,
    job: JobNumber,
    records: Records<BufReader<File>>,
}

/// One pass for each channel.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    open: Pair<Option<Pass>>,
}

impl Passes {
    pub(crate) fn prepare(&self, desk: &Desk, del: &Deliveries, comm: &Comm, plan: &mut Plan) {
        if desk.is_stopping {
            return;
        }
        for channel in BOTH {
            if self.open.of(channel).is_some() {
                if del.is_available(channel, comm) {
                    plan.at_once();
                }
            } else if desk.jobs.is_available()
                && let Some(when) = desk.schedule.channels.of(channel).first_due()
            {
                plan.wake_at(when);
            }
        }
        for queue in [&desk.schedule.failed, &desk.schedule.done] {
            if let Some(when) = queue.first_due() {
                plan.wake_at(when);
            }
        }
    }

    pub(crate) fn act(&mut self, desk: &mut Desk, del: &mut Deliveries, comm: &mut Comm) {
        for channel in BOTH {
            for _ in 0..STEPS {
                if desk.is_stopping || !self.step(desk, del, comm, channel) {
                    break;
                }
            }
        }
        for _ in 0..STEPS {
            let Some(id) = desk.schedule.failed.take_due(desk.recent) else {
                break;
            };
            scan::add(desk, id);
        }
        for _ in 0..STEPS {
            let Some(id) = desk.schedule.done.take_due(desk.recent) else {
                break;
            };
            end(desk, id);
        }
    }

    /// One step on one channel: opens a message, or looks at one record. `false`: nothing can be done now.
    fn step(
        &mut self,
        desk: &mut Desk,
        del: &mut Deliveries,
        comm: &mut Comm,
        channel: Channel,
    ) -> bool {
        let place = self.open.of_mut(channel);
        let Some(pass) = place else {
            if !desk.jobs.is_available() {
                return false;
            }
            let due = desk.schedule.channels.of_mut(channel).take_due(desk.recent);
            let Some(id) = due else { return false };
            *place = begin(desk, channel, id);
            return true;
        };
        if !del.is_available(channel, comm) {
            return false;
        }
        let (id, job) = (pass.id, pass.job);
        let trouble = match pass.records.next_record() {
            Ok(Some(record)) if record.letter == b'T' => {
                if let Some(job) = desk.jobs.get_mut(job) {
                    job.left += 1;
                }
                let recipient = Recipient {
                    at: record.at,
                    address: record.text,
                };
                del.start(desk, comm, job, vec![recipient]);
                return true;
            }
            Ok(Some(record)) if record.letter == b'D' => return true,
            Ok(Some(_)) => Some(desk.about("unknown record type in ", channel.part(), id, "!")),
            Ok(None) => None,
            Err(_) => Some(desk.about(
                "trouble reading ",
                channel.part(),
                id,
                "; will try again later",
            )),
        };
        *place = None;
        match trouble {
            Some(text) => desk.log.warning(text),
            None => {
                if let Some(job) = desk.jobs.get_mut(job) {
                    job.is_read = true;
                }
            }
        }
        jobs::close(desk, job);
        true
    }
}

/// Opens a message's recipients.
fn begin(desk: &mut Desk, channel: Channel, id: MessageId) -> Option<Pass> {
    let opened = desk.open(channel.part(), id).and_then(|file| {
        // It is never made without a recipient: an empty one has lost them.
        if sys::dir::stat_fd(&file)?.size == 0 {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok((file, desk.info(id)?))
    });
    let Ok((file, info)) = opened else {
        let text = desk.about(
            "trouble opening ",
            channel.part(),
            id,
            "; will try again later",
        );
        desk.log.warning(text);
        let later = desk.recent.saturating_add(SYSTEM_FAILURE);
        desk.schedule.channels.of_mut(channel).insert(id, later);
        return None;
    };
    let retry = channel.next_try(info.birth, desk.recent);
    let is_dying = desk.recent > info.birth.saturating_add(desk.settings.lifetime);
    let Some(job) = desk.jobs.open(id, channel, info.sender, retry, is_dying) else {
        let queue = desk.schedule.channels.of_mut(channel);
        queue.insert(id, desk.recent);
        return None;
    };
    Some(Pass {
        id,
        job,
        records: Records::new(BufReader::new(file), 0),
    })
}

/// All recipients of a message are done with: tells the sender of those that failed, and removes it.
fn end(desk: &mut Desk, id: MessageId) {
    if !try_end(desk, id) {
        let later = desk.clock.now().saturating_add(SYSTEM_FAILURE);
        desk.schedule.done.insert(id, later);
    }
}

/// `false`: try again later; the log says why.
fn try_end(desk: &mut Desk, id: MessageId) -> bool {
    // A message that still has recipients or an envelope is not at its end, and one without info never was here.
    for (part, ends_if) in [
        (Part::Local, false),
        (Part::Remote, false),
        (Part::Todo, false),
        (Part::Info, true),
    ] {
        match desk.exists(part, id) {
            Ok(is_there) if is_there == ends_if => {}
            Ok(_) => return true,
            Err(_) => {
                let text = desk.about("unable to stat ", part, id, "; will try again later");
                desk.log.warning(text);
                return false;
            }
        }
    }
    if !bounce::inject(desk, id) {
        return false;
    }
    desk.log.line(format!("end msg {id}"));
    if desk.unlink(Part::Info, id).is_err() {
        let text = desk.about(
            "unable to unlink ",
            Part::Info,
            id,
            "; will try again later",
        );
        desk.log.warning(text);
        return false;
    }
    let dir = desk.layout.dir(Part::Info, id);
    desk.settle.dir(dir, desk.recent);
    desk.settle.end(id, desk.recent);
    true
}

/// Writes down when each message is to be tried again: the time of change of its recipients.
pub(crate) fn finish(desk: &mut Desk) {
    for channel in BOTH {
        while let Some((id, when)) = desk.schedule.channels.of_mut(channel).take() {
            let path = desk.layout.path(channel.part(), id);
            if desk.queue.set_times(&path, when, when).is_err() {
                let text = desk.about(
                    "unable to utime ",
                    channel.part(),
                    id,
                    "; message will be retried too soon",
                );
                desk.log.warning(text);
            }
        }
    }
}
