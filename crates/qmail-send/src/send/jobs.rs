//! Jobs: messages whose recipients of one channel are being served right now.

use std::collections::HashSet;

use base::Bytes;
use queue::names::MessageId;

use super::SYSTEM_FAILURE;
use super::channel::Channel;
use super::desk::Desk;
use super::fresh;
use super::settle;

/// How long to leave recipients alone for which there was no room, when others of the message were served, seconds.
const NO_ROOM: i64 = 5;

/// Which destinations a job has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    None,
    One(Bytes),
    Many,
}

impl Seen {
    fn add(&mut self, name: &[u8]) {
        match self {
            Seen::None => *self = Seen::One(name.to_vec()),
            Seen::One(old) if old.as_slice() == name => {}
            _ => *self = Seen::Many,
        }
    }
}

/// What is to become of the recipients that are left.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    pub(crate) channel: Channel,
    pub(crate) when: i64,
    pub(crate) birth: i64,
    /// the destination to wait at
    pub(crate) at: Option<Bytes>,
}

/// One message on one channel.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// whoever reads its recipients, each batch and each delivery hold it
    holders: u32,
    pub(crate) id: MessageId,
    pub(crate) channel: Channel,
    /// when the message came
    pub(crate) birth: i64,
    /// when to try again what is left
    pub(crate) retry: i64,
    pub(crate) sender: Bytes,
    /// recipients that are not done with
    pub(crate) left: u64,
    /// whether all recipients have been looked at
    pub(crate) is_read: bool,
    /// whether its file of recipients has been removed: none was left
    pub(crate) is_removed: bool,
    /// whether a delivery has started
    pub(crate) is_tried: bool,
    /// there was no room for some recipients: when there may be some
    pub(crate) no_room_until: Option<i64>,
    /// the first destination that had none
    crowded: Option<Bytes>,
    seen: Seen,
}

impl Job {
    /// One more recipient that is not done with, at this destination.
    pub(crate) fn add(&mut self, destination: &[u8], count: usize) {
        self.seen.add(destination);
        self.left += count as u64;
    }

    /// Some recipients must wait, until `when` or till there is room at their destination.
    pub(crate) fn lacks_room(&mut self, destination: &[u8], when: i64) {
        if self.crowded.is_none() {
            self.crowded = Some(destination.to_vec());
        }
        let when = self.no_room_until.map_or(when, |w| w.min(when));
        self.no_room_until = Some(when);
    }

    /// What is left of it; `None`: nothing.
    fn rest(&self, now: i64) -> Option<Rest> {
        if self.is_read && self.left == 0 {
            return None;
        }
        let when = match self.no_room_until {
            None => self.retry,
            Some(_) if !self.is_tried => now,
            Some(when) => self.retry.min(when.max(now.saturating_add(NO_ROOM))),
        };
        let at = match &self.seen {
            Seen::One(name) => Some(name.clone()),
            // Several destinations without room: it can begin as soon as one has some.
            _ if !self.is_tried => self.crowded.clone(),
            _ => None,
        };
        Some(Rest {
            channel: self.channel,
            when,
            birth: self.birth,
            at,
        })
    }
}

/// A job's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobNumber(usize);

/// The most jobs at a time.
const LIMIT: usize = 8_000;

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    places: Vec<Option<Job>>,
    /// numbers of places that are free
    free: Vec<usize>,
    /// what they serve
    open: HashSet<(Channel, MessageId)>,
}

impl Jobs {
    /// Whether a place is free, and one for the other channel.
    pub(crate) fn is_available(&self) -> bool {
        self.places.len() - self.free.len() + 1 < LIMIT
    }

    /// Whether a message is being served on a channel.
    pub(crate) fn is_open(&self, channel: Channel, id: MessageId) -> bool {
        self.open.contains(&(channel, id))
    }

    /// Opens a job with one holder. The caller has asked `is_available`.
    pub(crate) fn open(
        &mut self,
        id: MessageId,
        channel: Channel,
        sender: Bytes,
        birth: i64,
        now: i64,
    ) -> JobNumber {
        self.open.insert((channel, id));
        let job = Some(Job {
            holders: 1,
            id,
            channel,
            birth,
            retry: channel.next_try(birth, now),
            sender,
            left: 0,
            is_read: false,
            is_removed: false,
            is_tried: false,
            no_room_until: None,
            crowded: None,
            seen: Seen::None,
        });
        if let Some(number) = self.free.pop()
            && let Some(place) = self.places.get_mut(number)
        {
            *place = job;
            return JobNumber(number);
        }
        self.places.push(job);
        JobNumber(self.places.len() - 1)
    }

    pub(crate) fn get(&self, number: JobNumber) -> Option<&Job> {
        self.places.get(number.0)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: JobNumber) -> Option<&mut Job> {
        self.places.get_mut(number.0)?.as_mut()
    }

    /// One more holder.
    pub(crate) fn hold(&mut self, number: JobNumber) {
        if let Some(job) = self.get_mut(number) {
            job.holders += 1;
        }
    }

    /// One holder less. Gives the job back when it was the last one.
    fn release(&mut self, number: JobNumber) -> Option<Job> {
        let place = self.places.get_mut(number.0)?;
        let job = place.as_mut()?;
        job.holders = job.holders.saturating_sub(1);
        if job.holders > 0 {
            return None;
        }
        self.free.push(number.0);
        let job = place.take()?;
        self.open.remove(&(job.channel, job.id));
        Some(job)
    }

    #[cfg(test)]
    pub(crate) fn number_for_tests(&self) -> JobNumber {
        JobNumber(self.places.len())
    }
}

/// One holder lets go of a job. The last one decides what becomes of the message: to be tried again, or done on this
/// channel, or done on both.
pub(crate) fn close(desk: &mut Desk, number: JobNumber) {
    let Some(job) = desk.jobs.release(number) else {
        return;
    };
    let rest = job.rest(desk.recent);
    if desk.fresh.has(job.id) {
        return fresh::channel_closed(desk, job.id, job.channel, job.is_tried, rest);
    }
    match rest {
        Some(rest) => put_back(desk, job.id, &rest),
        None if job.is_removed => gone(desk, job.id, job.channel),
        None => channel_done(desk, job.id, job.channel),
    }
}

/// Schedules recipients that are left: at their destination if they have one and something is known of it, else by time
/// alone.
pub(crate) fn put_back(desk: &mut Desk, id: MessageId, rest: &Rest) {
    let now = desk.recent;
    let lanes = desk.lanes.of_mut(rest.channel);
    if let Some(name) = &rest.at
        && let Some(dest) = lanes.busy(name, now)
        && !lanes.is_hopeless(dest, rest.birth, now, desk.settings.lifetime)
    {
        return lanes.park(dest, id, rest.when, rest.birth, now);
    }
    let queue = desk.schedule.channels.of_mut(rest.channel);
    queue.insert(id, rest.when);
}

/// All recipients of one channel are done with: their file goes.
pub(crate) fn channel_done(desk: &mut Desk, id: MessageId, channel: Channel) {
    let part = channel.part();
    if settle::unlink(desk, part, id).is_err() {
        let text = desk.about("unable to unlink ", part, id, "; will try again later");
        desk.log.warning(text);
        let later = desk.recent.saturating_add(SYSTEM_FAILURE);
        desk.schedule.channels.of_mut(channel).insert(id, later);
        return;
    }
    gone(desk, id, channel);
}

/// The file of the recipients of one channel is gone. Whether that was all is looked at where the message ends.
fn gone(desk: &mut Desk, id: MessageId, channel: Channel) {
    settle::forget(desk, channel, id);
    desk.schedule.done.insert(id, desk.recent);
}
