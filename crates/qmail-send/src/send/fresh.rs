//! Messages that are served straight from todo.
//!
//! `todo/ID` is a durable record of the whole envelope. As long as it stands, nothing else of a message counts, and
//! nothing else is written: its recipients are held in memory, in the form that `local` and `remote` would have. If all
//! of them are done with at the first try, the envelope goes, and the message with it. Otherwise, or if that takes
//! longer than a second, the message is converted: its classic files are made durable by the thread for the disk, with
//! the marks of who is done with, and then the envelope is removed. A crash before that means that the message is
//! served again from the start; a crash after it finds a queue like any other.
//!
//! A message for whose recipients there is no room, nor was there a try, is parked: only its number is kept, and its
//! envelope is read again when there is room. After a minute it is converted too, slowly, so that the queue tools and
//! other qmail-sends see it as what it is.
//!
//! Source  docs/architecture.md; docs/decisions/0007-first-attempt.md

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use base::Bytes;
use queue::names::{MessageId, Part};

use super::SYSTEM_FAILURE;
use super::bounce::{self, Fate};
use super::channel::{BOTH, Channel, Pair};
use super::cleaner::{self, Request};
use super::convert::{self, Conversion};
use super::del::{Deliveries, Recipient};
use super::desk::Desk;
use super::jobs::{self, Rest};
use super::pass::{self, Room};
use super::plan::Plan;
use super::post::FAILURES_LIMIT;
use super::settle;
use super::todo::take::{self, Envelope};
use super::workers::Chore;

/// After this, a message that is not finished is converted.
const SLOW: Duration = Duration::from_secs(1);
/// After this, seconds, a parked message is converted.
const LAZY: i64 = 60;
/// Parked messages are converted so many at a time, and so often.
const LAZY_BATCH: usize = 20;
const LAZY_PAUSE: Duration = Duration::from_millis(100);
/// Messages that the thread for the disk may have in hand before lazy ones wait.
const LAZY_CHORES: usize = 64;
/// Longer lists of recipients are converted at once, bytes.
const LONG: usize = 256 * 1024;
/// When to try again what the system failed.
const AGAIN: Duration = Duration::from_secs(SYSTEM_FAILURE.unsigned_abs());

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// in memory and todo only
    Memory,
    /// finished; its bounce is being sent
    Bouncing,
    /// its classic files are being made
    Converting,
    /// they are there; its envelope is being removed
    Converted,
    /// finished; its envelope is being removed
    Ending,
}

/// A message in memory.
#[derive(Debug)]
struct Message {
    sender: Bytes,
    birth: i64,
    /// what local and remote would hold
    recipients: Pair<Bytes>,
    /// what the bounce would hold
    bounce: Bytes,
    /// how long to wait before it is sent again, seconds
    bounce_pause: i64,
    phase: Phase,
    /// channels with an open job
    open: Pair<bool>,
    /// what jobs left over
    rests: Pair<Option<Rest>>,
    is_tried: bool,
    /// classic files of it have been removed
    is_second: bool,
    /// some may be left, because that failed
    has_remains: bool,
    /// where it is parked as well, and stays
    parked: Option<Channel>,
    /// what came while the classic files were being made
    late_marks: Vec<(Channel, u64)>,
    late_bounce: Bytes,
    due: Instant,
}

impl Message {
    fn has_jobs(&self) -> bool {
        BOTH.iter().any(|&c| *self.open.of(c))
    }

    fn has_left(&self, channel: Channel) -> bool {
        let list = self.recipients.of(channel);
        list.split_inclusive(|&b| b == 0)
            .any(|r| r.first() == Some(&b'T'))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    open: HashMap<MessageId, Message>,
    /// messages in todo that wait, and the channel whose schedule holds them
    parked: HashMap<MessageId, Channel>,
    /// when to look at which open message
    due: BTreeSet<(Instant, MessageId)>,
    /// parked messages by time
    lazy: VecDeque<(i64, MessageId)>,
    lazy_pause: Option<Instant>,
    /// open messages whose last job is over
    closed: Vec<MessageId>,
    /// to be given to the thread for the disk at the end of this turn
    conversions: Vec<Conversion>,
}

impl Fresh {
    /// Whether a message is in memory.
    pub(crate) fn has(&self, id: MessageId) -> bool {
        self.open.contains_key(&id)
    }

    /// Whether a message is in memory or parked.
    pub(crate) fn knows(&self, id: MessageId) -> bool {
        self.has(id) || self.is_parked(id)
    }

    /// Whether a message is parked.
    pub(crate) fn is_parked(&self, id: MessageId) -> bool {
        self.parked.contains_key(&id)
    }

    /// What is left of messages that are being converted is due at once.
    pub(crate) fn make_due(&mut self, now: i64) {
        for message in self.open.values_mut() {
            for channel in BOTH {
                if let Some(rest) = message.rests.of_mut(channel) {
                    rest.when = now;
                }
            }
        }
    }

    fn set_due(&mut self, id: MessageId, when: Instant) {
        let Some(message) = self.open.get_mut(&id) else {
            return;
        };
        self.due.remove(&(message.due, id));
        message.due = when;
        self.due.insert((message.due, id));
    }

    fn remove(&mut self, id: MessageId) -> Option<Message> {
        let message = self.open.remove(&id)?;
        self.due.remove(&(message.due, id));
        Some(message)
    }

    pub(super) fn park(&mut self, id: MessageId, channel: Channel, now: i64) {
        self.parked.insert(id, channel);
        self.lazy.push_back((now, id));
    }

    /// Marks a recipient as done with, in memory. Where its record stands is where it will stand on disk.
    pub(crate) fn mark(&mut self, id: MessageId, channel: Channel, at: u64) {
        let Some(message) = self.open.get_mut(&id) else {
            return;
        };
        let place = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(letter) = message.recipients.of_mut(channel).get_mut(place) {
            *letter = b'D';
        }
        if message.phase != Phase::Memory {
            message.late_marks.push((channel, at));
        }
    }

    /// Adds to the bounce, in memory.
    pub(crate) fn add_bounce(&mut self, id: MessageId, text: &[u8]) {
        if let Some(message) = self.open.get_mut(&id) {
            if message.phase == Phase::Memory {
                message.bounce.extend_from_slice(text);
            } else {
                message.late_bounce.extend_from_slice(text);
            }
        }
    }
}

/// Asks for a turn when a message takes long, or parked ones have waited for long.
pub(crate) fn prepare(desk: &Desk, plan: &mut Plan) {
    let fresh = &desk.fresh;
    if let Some((when, _)) = fresh.due.first() {
        plan.soon_at(*when);
    }
    if let Some((when, _)) = fresh.lazy.front()
        && may_convert_lazily(desk)
    {
        match fresh.lazy_pause {
            Some(pause) if !plan.is_past(pause) => plan.soon_at(pause),
            _ => plan.wake_at(when.saturating_add(LAZY)),
        }
    }
}

/// The recipients in a list that are not done with.
fn left(list: &[u8]) -> Vec<Recipient> {
    let mut at = 0;
    let mut found = Vec::new();
    for record in list.split_inclusive(|&b| b == 0) {
        if let [b'T', address @ .., 0] = record {
            found.push(Recipient {
                at,
                address: address.to_vec(),
            });
        }
        at += record.len() as u64;
    }
    found
}

/// Begins to serve a message whose envelope has been read.
pub(crate) fn open(desk: &mut Desk, del: &mut Deliveries, id: MessageId, envelope: Envelope) {
    let is_long = BOTH.iter().any(|&c| envelope.recipients.of(c).len() > LONG);
    let lists = keep(desk, id, envelope);
    let now = desk.recent;
    if is_long || !desk.jobs.is_available() {
        return convert(desk, id);
    }
    let room = if pass::is_welcome(desk, &lists) {
        Room::Stretched
    } else {
        Room::Needed
    };
    // Both jobs are open before the first recipient starts: the message is not finished until both are closed.
    let mut jobs = Vec::new();
    for (channel, recipients) in lists {
        let sender = desk.fresh.open.get(&id).map(|m| m.sender.clone());
        let job = desk
            .jobs
            .open(id, channel, sender.unwrap_or_default(), now, now);
        if let Some(message) = desk.fresh.open.get_mut(&id) {
            *message.open.of_mut(channel) = true;
        }
        jobs.push((job, recipients));
    }
    if jobs.is_empty() {
        desk.fresh.closed.push(id);
    }
    for (job, recipients) in jobs {
        pass::spread(desk, del, job, recipients, room);
        if let Some(job) = desk.jobs.get_mut(job) {
            job.is_read = true;
        }
        jobs::close(desk, job);
    }
}

/// Puts a message into memory; returns who is to get it.
fn keep(desk: &mut Desk, id: MessageId, envelope: Envelope) -> Vec<(Channel, Vec<Recipient>)> {
    let lists = BOTH
        .into_iter()
        .map(|c| (c, left(envelope.recipients.of(c))))
        .filter(|(_, list)| !list.is_empty())
        .collect();
    let message = Message {
        sender: envelope.sender,
        birth: desk.recent,
        recipients: envelope.recipients,
        bounce: Bytes::new(),
        bounce_pause: 0,
        phase: Phase::Memory,
        open: Pair::default(),
        rests: Pair::default(),
        is_tried: false,
        is_second: envelope.is_second,
        has_remains: false,
        parked: None,
        late_marks: Vec::new(),
        late_bounce: Bytes::new(),
        due: desk.moment,
    };
    desk.fresh.open.insert(id, message);
    desk.fresh.set_due(id, desk.moment + SLOW);
    // That was another message of this number.
    desk.unborn.remove(&id);
    lists
}

/// A message has its turn on a channel. `false`: it is not parked there; its files are the classic ones.
pub(crate) fn reopen(
    desk: &mut Desk,
    del: &mut Deliveries,
    channel: Channel,
    id: MessageId,
) -> bool {
    if desk.schedule.void.remove(&(channel, id)) {
        return true;
    }
    if let Some(message) = desk.fresh.open.get_mut(&id) {
        // It is being converted, and will be put back when that is done.
        message.parked = None;
        return true;
    }
    if desk.fresh.parked.remove(&id).is_none() {
        return false;
    }
    match take::read(desk, id) {
        Ok(Some(envelope)) => open(desk, del, id, envelope),
        Ok(None) => {}
        Err(text) => {
            desk.log.warning(text);
            let later = desk.recent.saturating_add(SYSTEM_FAILURE);
            desk.schedule.channels.of_mut(channel).insert(id, later);
            desk.fresh.parked.insert(id, channel);
        }
    }
    true
}

/// A job of a message in memory is over.
pub(crate) fn channel_closed(
    desk: &mut Desk,
    id: MessageId,
    channel: Channel,
    is_tried: bool,
    rest: Option<Rest>,
) {
    let Some(message) = desk.fresh.open.get_mut(&id) else {
        return;
    };
    *message.open.of_mut(channel) = false;
    *message.rests.of_mut(channel) = rest;
    message.is_tried |= is_tried;
    if !message.has_jobs() && message.phase == Phase::Memory {
        desk.fresh.closed.push(id);
    }
}

/// Decides about the messages whose last job is over. That is done after their deliveries have been logged.
pub(crate) fn decide_closed(desk: &mut Desk) {
    for id in std::mem::take(&mut desk.fresh.closed) {
        decide(desk, id);
    }
}

/// No job is open: what becomes of the message?
fn decide(desk: &mut Desk, id: MessageId) {
    let Some(message) = desk.fresh.open.get(&id) else {
        return;
    };
    if message.has_jobs() || message.phase != Phase::Memory {
        return;
    }
    let rests: Vec<Rest> = BOTH
        .iter()
        .filter_map(|&c| message.rests.of(c).clone())
        .collect();
    let is_left = BOTH.iter().any(|&c| message.has_left(c));
    match rests.first() {
        // It was never opened, because it is long or had been parked, and its files could not be made.
        None if is_left => convert(desk, id),
        None if message.bounce.is_empty() => end(desk, id),
        None => send_bounce(desk, id),
        Some(rest) if !message.is_tried && message.bounce.is_empty() && !desk.is_stopping => {
            desk.fresh.remove(id);
            desk.fresh.park(id, rest.channel, desk.recent);
            jobs::put_back(desk, id, rest);
        }
        Some(_) => convert(desk, id),
    }
}

/// Sends the bounce from memory, or leaves that to later if there is too much to send.
fn send_bounce(desk: &mut Desk, id: MessageId) {
    let Some(message) = desk.fresh.open.get_mut(&id) else {
        return;
    };
    let (sender, text) = (message.sender.clone(), message.bounce.clone());
    let is_long = text.len() > FAILURES_LIMIT;
    let Some(letter) = bounce::letter(desk, id, &sender, Some(text)) else {
        return end(desk, id);
    };
    if !desk.workers.has_postman() || is_long {
        return convert(desk, id);
    }
    set_phase(desk, id, Phase::Bouncing);
    desk.workers.letter(letter);
}

/// The bounce of a message has been sent, or not. `false`: the message is not in memory.
pub(crate) fn bounced(desk: &mut Desk, id: MessageId, fate: Fate) -> bool {
    if !desk.fresh.has(id) {
        return false;
    }
    if bounce::tell(desk, id, fate) {
        if let Some(message) = desk.fresh.open.get_mut(&id) {
            message.bounce.clear();
        }
        end(desk, id);
    } else {
        if let Some(message) = desk.fresh.open.get_mut(&id) {
            message.bounce_pause = SYSTEM_FAILURE;
        }
        convert(desk, id);
    }
    true
}

fn set_phase(desk: &mut Desk, id: MessageId, phase: Phase) {
    if let Some(message) = desk.fresh.open.get_mut(&id) {
        message.phase = phase;
    }
}

/// A message is finished: its envelope goes.
fn end(desk: &mut Desk, id: MessageId) {
    if desk.fresh.open.get(&id).is_some_and(|m| m.has_remains) && !clear(desk, id) {
        set_phase(desk, id, Phase::Memory);
        return desk.fresh.set_due(id, desk.moment + AGAIN);
    }
    desk.log.line(format!("end msg {id}"));
    set_phase(desk, id, Phase::Ending);
    cleaner::remove(desk, Request::Todo, id);
}

/// Removes what is left of classic files that could not be made: without the envelope it would count. `false`: it stays.
fn clear(desk: &mut Desk, id: MessageId) -> bool {
    match convert::discard(desk.queue.as_ref(), desk.layout, id) {
        Ok(_) => {
            // Names that are gone may be gone for now only.
            for part in convert::MADE {
                let dir = desk.layout.dir(part, id);
                desk.settle.dir(dir, desk.moment);
            }
            true
        }
        Err(part) => {
            let text = desk.about("unable to unlink ", part, id, "");
            desk.log.warning(text);
            false
        }
    }
}

/// Has the classic files of a message made.
fn convert(desk: &mut Desk, id: MessageId) {
    let recent = desk.recent;
    let Some(message) = desk.fresh.open.get_mut(&id) else {
        return;
    };
    message.phase = Phase::Converting;
    let recipients = BOTH
        .into_iter()
        .filter(|&c| message.has_left(c))
        .map(|c| {
            let when = message.rests.of(c).as_ref().map_or(recent, |r| r.when);
            let when = desk.clock.wall(when);
            (c.part(), message.recipients.of(c).clone(), when)
        })
        .collect();
    let conversion = Conversion {
        id,
        sender: message.sender.clone(),
        birth: desk.clock.wall(message.birth),
        recipients,
        bounce: message.bounce.clone(),
        is_second: message.is_second,
    };
    desk.schedule.note_fresh(id);
    desk.fresh.conversions.push(conversion);
}

/// The classic files of a message are there, or not.
pub(crate) fn converted(desk: &mut Desk, id: MessageId, done: Result<(), &'static str>) {
    match done {
        Ok(()) => {
            set_phase(desk, id, Phase::Converted);
            cleaner::remove(desk, Request::Todo, id);
        }
        Err(text) => {
            desk.log.warning(format!("{text}{id}"));
            if let Some(message) = desk.fresh.open.get_mut(&id) {
                message.phase = Phase::Memory;
                message.is_second = true;
                message.has_remains = true;
                message.late_marks.clear();
                let late = std::mem::take(&mut message.late_bounce);
                message.bounce.extend(late);
            }
            desk.fresh.set_due(id, desk.moment + AGAIN);
        }
    }
}

/// The envelope of a message has been removed, or not.
pub(crate) fn cleaned(desk: &mut Desk, id: MessageId, is_done: bool) {
    if !is_done {
        return desk.fresh.set_due(id, desk.moment + AGAIN);
    }
    let Some(message) = desk.fresh.remove(id) else {
        return;
    };
    let dir = desk.layout.dir(Part::Todo, id);
    desk.settle.dir(dir, desk.moment);
    match message.phase {
        Phase::Ending => {
            desk.doubtful.remove(&id);
            desk.settle.end(id, desk.moment);
        }
        _ => hand_over(desk, id, message),
    }
}

/// From now on the classic files count: what came while they were made is added, and what is left is scheduled.
fn hand_over(desk: &mut Desk, id: MessageId, message: Message) {
    if !message.late_bounce.is_empty() && !bounce::append_text(desk, id, &message.late_bounce) {
        // Nobody may be marked whose failure is not noted. On disk all of them are still to be served.
        desk.fresh.open.insert(id, message);
        return desk.fresh.set_due(id, desk.moment + AGAIN);
    }
    for (channel, at) in &message.late_marks {
        if settle::mark(desk, *channel, id, *at).is_err() {
            desk.doubtful.insert(id);
            let text = desk.about(
                "trouble marking ",
                channel.part(),
                id,
                "; message will be delivered twice!",
            );
            desk.log.warning(text);
        }
    }
    let mut is_left = false;
    for channel in BOTH {
        if *message.open.of(channel) {
            // Its job goes on as a classic one.
            is_left = true;
        } else if message.has_left(channel) {
            is_left = true;
            if message.parked != Some(channel) {
                let rest = message.rests.of(channel).clone();
                let rest = rest.unwrap_or(Rest {
                    channel,
                    when: desk.recent,
                    birth: message.birth,
                    at: None,
                });
                jobs::put_back(desk, id, &rest);
            }
        } else if message.late_marks.iter().any(|(c, _)| *c == channel) {
            is_left = true;
            jobs::channel_done(desk, id, channel);
        }
        if message.parked == Some(channel) && !message.has_left(channel) {
            desk.schedule.void.insert((channel, id));
        }
    }
    if !is_left {
        // Only its bounce could not be sent.
        let later = desk.recent.saturating_add(message.bounce_pause);
        desk.schedule.done.insert(id, later);
    }
}

/// Looks after messages that take long.
pub(crate) fn act(desk: &mut Desk) {
    let now = desk.moment;
    while let Some(&(when, id)) = desk.fresh.due.first() {
        if when > now {
            break;
        }
        desk.fresh.due.remove(&(when, id));
        let Some(message) = desk.fresh.open.get(&id) else {
            continue;
        };
        match message.phase {
            Phase::Memory if message.has_jobs() => convert(desk, id),
            Phase::Memory => decide(desk, id),
            Phase::Converted | Phase::Ending => {
                let is_asked = desk.cleaner.is_asked(id);
                if !is_asked {
                    cleaner::remove(desk, Request::Todo, id);
                }
            }
            Phase::Bouncing | Phase::Converting => {}
        }
    }
    convert_lazily(desk, now);
}

/// Whether there is time for that: the thread for the disk is not busy, and it is not the end.
fn may_convert_lazily(desk: &Desk) -> bool {
    !desk.is_stopping && desk.workers.chores() <= LAZY_CHORES
}

/// Converts messages that have been parked for long, a few at a time.
fn convert_lazily(desk: &mut Desk, now: Instant) {
    if desk.fresh.lazy_pause.is_some_and(|pause| pause > now) || !may_convert_lazily(desk) {
        return;
    }
    let mut count = 0;
    while let Some(&(since, id)) = desk.fresh.lazy.front() {
        if desk.recent < since.saturating_add(LAZY) && desk.recent >= since {
            break;
        }
        if count == LAZY_BATCH {
            desk.fresh.lazy_pause = Some(now + LAZY_PAUSE);
            break;
        }
        desk.fresh.lazy.pop_front();
        let Some(channel) = desk.fresh.parked.remove(&id) else {
            continue;
        };
        match take::read(desk, id) {
            Ok(Some(envelope)) => {
                count += 1;
                keep(desk, id, envelope);
                if let Some(message) = desk.fresh.open.get_mut(&id) {
                    message.parked = Some(channel);
                }
                convert(desk, id);
            }
            Ok(None) => drop(desk.schedule.void.insert((channel, id))),
            Err(text) => {
                desk.log.warning(text);
                desk.fresh.park(id, channel, desk.recent);
            }
        }
    }
}

/// Gives the conversions of this turn to the thread for the disk.
pub(crate) fn flush(desk: &mut Desk) {
    let all = std::mem::take(&mut desk.fresh.conversions);
    if !all.is_empty() {
        desk.workers.chore(Chore::Convert(all));
    }
}

/// At the end of the program: everything in memory goes to disk, unless its envelope is on the way out.
pub(crate) fn convert_all(desk: &mut Desk) {
    let all: Vec<MessageId> = desk
        .fresh
        .open
        .iter()
        .filter(|(_, m)| m.phase == Phase::Memory)
        .map(|(id, _)| *id)
        .collect();
    for id in all {
        convert(desk, id);
    }
}
