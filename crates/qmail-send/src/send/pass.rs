//! Passes: going through the recipients of a message, starting deliveries, and seeing messages to their end.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{BufReader, ErrorKind};
use std::time::{Duration, Instant};

use base::Bytes;
use base::bytes::{lower, rsplit_once};
use queue::names::{MessageId, Part};
use queue::record::Records;

use super::bounce::{self, Fate};
use super::channel::{BOTH, Channel, Pair};
use super::comm::{self, Comm};
use super::del::{Deliveries, Recipient};
use super::desk::Desk;
use super::files::Open;
use super::fresh;
use super::jobs::{self, JobNumber};
use super::lane::Batch;
use super::plan::Plan;
use super::settle;
use super::{SYSTEM_FAILURE, scan};

/// Messages opened, and messages ended, in one turn.
const STEPS: u32 = 256;
/// Recipients of one message that are looked at in one go.
const PIECE: usize = 1_000;
/// How long ends wait for the reports of deliveries that run.
const HELD: Duration = Duration::from_millis(20);
/// Messages of one channel that are being read.
const PASSES: usize = 8;

/// A message whose recipients are being read.
#[derive(Debug)]
struct Pass {
    id: MessageId,
    job: JobNumber,
    records: Records<BufReader<Box<dyn Open>>>,
}

/// What is being read, and what is being bounced.
#[derive(Debug, Default)]
pub(crate) struct Passes {
    open: Pair<VecDeque<Pass>>,
    /// whether those that wait for their destination are asked first, this time
    turn: Pair<bool>,
    /// since when ends wait for reports
    held: Option<Instant>,
}

impl Passes {
    pub(crate) fn prepare(&self, desk: &Desk, del: &Deliveries, comm: &Comm, plan: &mut Plan) {
        if desk.is_stopping {
            return;
        }
        for channel in BOTH {
            let lanes = desk.lanes.of(channel);
            let can_open = lanes.is_hungry(desk.recent) && desk.jobs.is_available();
            if can_open && !self.open.of(channel).is_empty() {
                plan.at_once();
            }
            if can_open
                && self.open.of(channel).len() < PASSES
                && let Some(when) = desk.schedule.channels.of(channel).first_due()
            {
                plan.wake_at(when);
            }
            if can_open && let Some(when) = lanes.first_due() {
                plan.wake_at(when);
            }
            if lanes.is_ready() && del.is_available(channel, comm) {
                plan.at_once();
            }
        }
        if let Some(when) = desk.schedule.failed.first_due() {
            plan.wake_at(when);
        }
        match self.held {
            Some(since) => plan.soon_at(since + HELD),
            None => {
                if let Some(when) = desk.schedule.done.first_due() {
                    plan.wake_at(when);
                }
            }
        }
    }

    pub(crate) fn act(&mut self, desk: &mut Desk, del: &mut Deliveries, comm: &mut Comm) {
        for _ in 0..STEPS {
            let mut is_busy = false;
            for channel in BOTH {
                if !desk.is_stopping {
                    is_busy |= self.step(desk, del, channel);
                }
            }
            Passes::start(desk, del, comm);
            if !is_busy {
                break;
            }
        }
        for _ in 0..STEPS {
            let Some(id) = desk.schedule.failed.take_due(desk.recent) else {
                break;
            };
            scan::add(desk, id);
        }
        self.end(desk, del);
    }

    /// Sees messages to their end. While deliveries run, that waits a moment: a crash in the midst of it would repeat those
    /// whose reports have come meanwhile.
    fn end(&mut self, desk: &mut Desk, del: &Deliveries) {
        let is_due = desk.schedule.done.first_due();
        if is_due.is_none_or(|when| when > desk.recent) {
            self.held = None;
            return;
        }
        let since = *self.held.get_or_insert(desk.moment);
        let may_wait = (del.has_heard() || del.is_busy()) && !desk.is_stopping;
        if may_wait && desk.moment < since + HELD {
            return;
        }
        self.held = None;
        Passes::end_due(desk);
    }

    /// Sees messages to their end without more ado.
    pub(crate) fn end_due(desk: &mut Desk) {
        for _ in 0..STEPS {
            let Some(id) = desk.schedule.done.take_due(desk.recent) else {
                break;
            };
            end(desk, id);
        }
    }

    /// Starts what can be started.
    pub(crate) fn start(desk: &mut Desk, del: &mut Deliveries, comm: &mut Comm) {
        for channel in BOTH {
            while !desk.is_stopping && del.is_available(channel, comm) {
                let now = desk.recent;
                let Some((destination, batch)) = desk.lanes.of_mut(channel).next(now) else {
                    break;
                };
                del.start(desk, comm, destination, batch);
            }
        }
    }

    /// One step on one channel: opens a message, or looks at some records. `false`: nothing can be done now.
    fn step(&mut self, desk: &mut Desk, del: &mut Deliveries, channel: Channel) -> bool {
        let now = desk.recent;
        if !desk.lanes.of(channel).is_hungry(now) || !desk.jobs.is_available() {
            return false;
        }
        let open = self.open.of_mut(channel);
        if let Some(pass) = open.pop_front()
            && let Some(pass) = read(desk, del, channel, pass)
        {
            open.push_back(pass);
        }
        if open.len() >= PASSES {
            return true;
        }
        let turn = self.turn.of_mut(channel);
        *turn = !*turn;
        let waiting = |desk: &mut Desk| desk.lanes.of_mut(channel).take_waiting(now);
        let due = |desk: &mut Desk| desk.schedule.channels.of_mut(channel).take_due(now);
        let id = if *turn {
            waiting(desk).or_else(|| due(desk))
        } else {
            due(desk).or_else(|| waiting(desk))
        };
        let Some(id) = id else {
            return !open.is_empty();
        };
        if !fresh::reopen(desk, del, channel, id) {
            open.extend(begin(desk, channel, id));
        }
        true
    }
}

/// Opens a message's recipients.
fn begin(desk: &mut Desk, channel: Channel, id: MessageId) -> Option<Pass> {
    // Whatever the schedule says, nobody is tried while he is being tried. What is left then will be put back.
    if desk.jobs.is_open(channel, id) {
        return None;
    }
    let file = desk.open(channel.part(), id);
    if file
        .as_ref()
        .is_err_and(|e| e.kind() == ErrorKind::NotFound)
    {
        // It has none on this channel, and never will; if it has none at all, this is its end.
        desk.schedule.done.insert(id, desk.recent);
        return None;
    }
    let opened = file.and_then(|file| {
        // It is never made without a recipient: an empty one has lost them.
        if file.stat()?.size == 0 {
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
    let job = desk
        .jobs
        .open(id, channel, info.sender, info.birth, desk.recent);
    Some(Pass {
        id,
        job,
        records: Records::new(BufReader::new(file), 0),
    })
}

/// Goes on reading. `None`: that was all of it.
fn read(desk: &mut Desk, del: &mut Deliveries, channel: Channel, mut pass: Pass) -> Option<Pass> {
    let (id, job) = (pass.id, pass.job);
    let mut recipients = Vec::new();
    let mut trouble = None;
    let mut is_end = false;
    for _ in 0..PIECE {
        match pass.records.next_record() {
            Ok(Some(record)) if record.letter == b'T' => recipients.push(Recipient {
                at: record.at,
                address: record.text,
            }),
            Ok(Some(record)) if record.letter == b'D' => {}
            Ok(Some(_)) => {
                trouble = Some(desk.about("unknown record type in ", channel.part(), id, "!"));
            }
            Ok(None) => is_end = true,
            Err(_) => {
                let text = "; will try again later";
                trouble = Some(desk.about("trouble reading ", channel.part(), id, text));
            }
        }
        if is_end || trouble.is_some() {
            break;
        }
    }
    spread(desk, del, job, recipients, Room::Needed);
    if !is_end && trouble.is_none() {
        return Some(pass);
    }
    match trouble {
        Some(text) => desk.log.warning(text),
        None => {
            if let Some(job) = desk.jobs.get_mut(job) {
                job.is_read = true;
            }
        }
    }
    jobs::close(desk, job);
    None
}

/// The destination of an address.
fn destination(channel: Channel, address: &[u8]) -> Bytes {
    match (channel, rsplit_once(address, b'@')) {
        (Channel::Remote, Some((_, domain))) => lower(domain),
        _ => Bytes::new(),
    }
}

/// Whether one of the destinations would take a new message.
pub(crate) fn is_welcome(desk: &Desk, lists: &[(Channel, Vec<Recipient>)]) -> bool {
    lists.iter().any(|(channel, list)| {
        let lanes = desk.lanes.of(*channel);
        list.iter()
            .any(|r| lanes.would_take(&destination(*channel, &r.address), desk.recent))
    })
}

/// What to do when there is little room at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// recipients wait
    Needed,
    /// they are put in line if it is not much too long: other recipients of the message are served now
    Stretched,
}

/// Puts recipients of a job in line at their destinations, as many in one delivery as may be.
pub(crate) fn spread(
    desk: &mut Desk,
    del: &mut Deliveries,
    job: JobNumber,
    recipients: Vec<Recipient>,
    room: Room,
) {
    let Some((channel, is_verp)) = desk
        .jobs
        .get(job)
        .map(|j| (j.channel, comm::is_verp(&j.sender)))
    else {
        return;
    };
    let size = if channel == Channel::Remote && !is_verp && del.is_extended(channel) {
        desk.destinations.recipients
    } else {
        1
    };
    let mut names: Vec<Bytes> = Vec::new();
    let mut groups: HashMap<Bytes, Vec<Recipient>> = HashMap::new();
    for recipient in recipients {
        let name = destination(channel, &recipient.address);
        let group = groups.entry(name.clone()).or_default();
        if group.is_empty() {
            names.push(name);
        }
        group.push(recipient);
    }
    for name in names {
        if let Some(group) = groups.remove(&name) {
            enqueue(desk, del, (job, channel, room), &name, size, group);
        }
    }
}

/// Puts recipients of one destination in line.
fn enqueue(
    desk: &mut Desk,
    del: &mut Deliveries,
    (job, channel, room): (JobNumber, Channel, Room),
    name: &[u8],
    size: usize,
    mut group: Vec<Recipient>,
) {
    let now = desk.recent;
    let lanes = desk.lanes.of_mut(channel);
    let dest = lanes.find(name, &desk.destinations);
    let life = lanes.lifetime(dest).unwrap_or(desk.settings.lifetime);
    let Some(state) = desk.jobs.get_mut(job) else {
        return;
    };
    state.add(name, group.len());
    let is_dying = now > state.birth.saturating_add(life);
    if let Some((until, text)) = lanes.held(dest, now) {
        if is_dying {
            let (text, batch) = (
                text.to_vec(),
                Batch {
                    job,
                    recipients: group,
                    is_dying,
                },
            );
            state.is_tried = true;
            return del.give_up(desk, &batch, &text);
        }
        return state.lacks_room(name, until);
    }
    let is_welcome = lanes.has_room(dest, Some(job), now)
        || (room == Room::Stretched && lanes.has_some_room(dest, now));
    if !is_welcome {
        state.lacks_room(name, now);
        return lanes.release(dest, now);
    }
    while !group.is_empty() {
        let rest = group.split_off(size.min(group.len()));
        let batch = Batch {
            job,
            recipients: std::mem::replace(&mut group, rest),
            is_dying,
        };
        desk.jobs.hold(job);
        desk.lanes.of_mut(channel).push(dest, batch, now);
    }
}

/// All recipients of a message are done with: tells the sender of those that failed, and removes it.
fn end(desk: &mut Desk, id: MessageId) {
    if !try_end(desk, id) {
        let later = desk.recent.saturating_add(SYSTEM_FAILURE);
        desk.schedule.done.insert(id, later);
    }
}

/// `false`: try again later; the log says why.
fn try_end(desk: &mut Desk, id: MessageId) -> bool {
    // Both channels may have said that they are done before it came to this. One in memory has its end there.
    if desk.bouncing.contains(&id) || desk.fresh.knows(id) {
        return true;
    }
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
    match bounce::is_due(desk, id) {
        Ok(true) => send_bounce(desk, id),
        Ok(false) => remove(desk, id),
        Err(_) => {
            let text = desk.about("unable to read ", Part::Bounce, id, "");
            desk.log.warning(text);
            false
        }
    }
}

/// Gives the bounce of a message to a thread.
fn send_bounce(desk: &mut Desk, id: MessageId) -> bool {
    if !desk.workers.has_postman() {
        let soon = desk.recent.saturating_add(1);
        desk.schedule.done.insert(id, soon);
        return true;
    }
    let Ok(info) = desk.info(id) else {
        let text = desk.about("trouble reading ", Part::Info, id, "; will try again later");
        desk.log.warning(text);
        return false;
    };
    match bounce::letter(desk, id, &info.sender, None) {
        Some(letter) => {
            desk.bouncing.insert(id);
            desk.workers.letter(letter);
            true
        }
        None => drop_bounce(desk, id) && remove(desk, id),
    }
}

/// The bounce of a message has been sent, or not.
pub(crate) fn bounced(desk: &mut Desk, id: MessageId, fate: Fate) {
    desk.bouncing.remove(&id);
    if !(bounce::tell(desk, id, fate) && drop_bounce(desk, id) && remove(desk, id)) {
        let later = desk.recent.saturating_add(SYSTEM_FAILURE);
        desk.schedule.done.insert(id, later);
    }
}

fn drop_bounce(desk: &mut Desk, id: MessageId) -> bool {
    let is_done = settle::unlink(desk, Part::Bounce, id).is_ok();
    if !is_done {
        let text = desk.about("unable to unlink ", Part::Bounce, id, "");
        desk.log.warning(text);
    }
    is_done
}

/// Removes what names the message, and then the message.
fn remove(desk: &mut Desk, id: MessageId) -> bool {
    desk.log.line(format!("end msg {id}"));
    if settle::unlink(desk, Part::Info, id).is_err() {
        let text = desk.about(
            "unable to unlink ",
            Part::Info,
            id,
            "; will try again later",
        );
        desk.log.warning(text);
        return false;
    }
    desk.unborn.remove(&id);
    desk.doubtful.remove(&id);
    desk.settle.end(id, desk.moment);
    true
}

/// Writes down when each message is to be tried again: the time of change of its recipients.
pub(crate) fn finish(desk: &mut Desk) {
    for channel in BOTH {
        let mut all = desk.lanes.of_mut(channel).drain_waiting();
        let queue = desk.schedule.channels.of_mut(channel);
        all.extend(std::iter::from_fn(|| queue.take()));
        let mut seen = HashSet::new();
        for (id, when) in all {
            // One that stands in todo has no such file, nor one that is void.
            let is_void = desk.schedule.void.contains(&(channel, id));
            if is_void || desk.fresh.knows(id) || !seen.insert(id) {
                continue;
            }
            let path = desk.layout.path(channel.part(), id);
            let wall = desk.clock.wall(when);
            if desk.queue.set_times(&path, wall).is_err() {
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
