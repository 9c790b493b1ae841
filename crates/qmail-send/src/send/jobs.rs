//! Jobs: messages whose recipients of one channel are being served right now.

use base::Bytes;
use queue::names::{MessageId, Part};

use super::SYSTEM_FAILURE;
use super::channel::Channel;
use super::desk::Desk;

/// One message on one channel.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// the pass that reads its recipients, and each delivery, hold it
    holders: u32,
    pub(crate) id: MessageId,
    pub(crate) channel: Channel,
    /// when to try again what is left
    pub(crate) retry: i64,
    pub(crate) sender: Bytes,
    /// recipients that are not done with
    pub(crate) left: u64,
    /// whether all recipients have been looked at
    pub(crate) is_read: bool,
    /// whether the message is too old to be tried again
    pub(crate) is_dying: bool,
}

/// A job's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobNumber(usize);

/// The most jobs at a time.
const LIMIT: usize = 2_000;

/// All jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    places: Vec<Option<Job>>,
    /// numbers of places that are free
    free: Vec<usize>,
}

impl Jobs {
    /// Whether a place is free.
    pub(crate) fn is_available(&self) -> bool {
        self.places.len() - self.free.len() < LIMIT
    }

    /// Opens a job with one holder. `None`: no place.
    pub(crate) fn open(
        &mut self,
        id: MessageId,
        channel: Channel,
        sender: Bytes,
        retry: i64,
        is_dying: bool,
    ) -> Option<JobNumber> {
        if !self.is_available() {
            return None;
        }
        let job = Some(Job {
            holders: 1,
            id,
            channel,
            retry,
            sender,
            left: 0,
            is_read: false,
            is_dying,
        });
        if let Some(number) = self.free.pop()
            && let Some(place) = self.places.get_mut(number)
        {
            *place = job;
            return Some(JobNumber(number));
        }
        self.places.push(job);
        Some(JobNumber(self.places.len() - 1))
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
        place.take()
    }
}

/// One holder lets go of a job. The last one decides what becomes of the message: to be tried again, or done on this
/// channel, or done on both.
pub(crate) fn close(desk: &mut Desk, number: JobNumber) {
    let Some(job) = desk.jobs.release(number) else {
        return;
    };
    let part = job.channel.part();
    if !job.is_read || job.left > 0 {
        desk.schedule
            .channels
            .of_mut(job.channel)
            .insert(job.id, job.retry);
        return;
    }
    if desk.unlink(part, job.id).is_err() {
        desk.log.warning(
            [
                b"unable to unlink ",
                desk.layout.path(part, job.id).as_slice(),
                b"; will try again later",
            ]
            .concat(),
        );
        let later = desk.recent.saturating_add(SYSTEM_FAILURE);
        desk.schedule
            .channels
            .of_mut(job.channel)
            .insert(job.id, later);
        return;
    }
    desk.settle.forget(job.channel, job.id);
    desk.settle.dir(desk.layout.dir(part, job.id), desk.recent);
    let other: Part = job.channel.other().part();
    match desk.exists(other, job.id) {
        Ok(true) => {}
        Ok(false) => desk.schedule.done.insert(job.id, desk.recent),
        Err(_) => {
            // `done` looks again.
            desk.log.warning(
                [
                    b"unable to stat ",
                    desk.layout.path(other, job.id).as_slice(),
                ]
                .concat(),
            );
            desk.schedule.done.insert(job.id, desk.recent);
        }
    }
}
