//! Destinations: what waits for each of them, and how much of it may run.
//!
//! On the way out of this machine a destination is the domain of an address. It begins with a small window of deliveries;
//! each success widens the window, each trouble halves it, and a row of troubles puts the destination on hold: nothing
//! is tried there until the hold is over, then a few deliveries find out whether it has come back. So a slow host
//! cannot hold all places, and a dead one costs a few deliveries however many messages wait for it. All that is
//! local is one destination without these rules.

use std::collections::{BTreeSet, HashMap, VecDeque};

use base::Bytes;
use queue::names::MessageId;

use super::del::Recipient;
use super::jobs::JobNumber;
use super::prioq::Prioq;
use super::settings::{Destinations, Rule};

/// Deliveries that run at a destination nothing is known of.
const FIRST_WINDOW: usize = 5;
/// Troubles in a row that put a destination on hold.
const STRIKES: u32 = 20;
/// Troubles in a row that put it on hold again.
const SECOND_STRIKES: u32 = 3;
/// The first hold, and the longest one: each is twice the one before. Seconds.
const HOLD: i64 = 60;
const HOLD_LIMIT: i64 = 900;
/// The longest text of a trouble that is kept, bytes.
const TEXT_LIMIT: usize = 512;
/// Batches that wait for a destination, unless its window is wide.
const ROOM: usize = 8;
/// The same, for a message that is served anyway.
const WIDE_ROOM: usize = 256;
/// Batches that wait in all.
const PENDING: usize = 4_000;
/// Destinations looked at for a message in one go.
const LOOK: usize = 64;

/// Recipients of one message that go in one delivery.
#[derive(Debug)]
pub(crate) struct Batch {
    /// the job; the batch is one of its holders
    pub(crate) job: JobNumber,
    pub(crate) recipients: Vec<Recipient>,
    /// whether they are not tried again
    pub(crate) is_dying: bool,
}

/// A destination's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DestNumber(usize);

/// What a delivery told of its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// it works
    Good,
    /// nothing
    Nothing,
    /// it does not take mail now, in these words
    Trouble(Bytes),
}

/// What a verdict changes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// what waited to be delivered and is not tried now
    pub(crate) evicted: Vec<Batch>,
    /// messages that waited and are too old to go on waiting
    pub(crate) expired: Vec<MessageId>,
}

#[derive(Debug)]
struct Dest {
    name: Bytes,
    rule: Rule,
    window: usize,
    active: usize,
    strikes: u32,
    /// how long the next hold is
    hold: i64,
    hold_until: i64,
    last_text: Bytes,
    last_job: Option<JobNumber>,
    batches: VecDeque<Batch>,
    /// messages whose recipients are all here, not opened
    waiting: Prioq,
    timer: Option<i64>,
    is_ready: bool,
    /// deliveries started since the beginning of this minute
    minute: i64,
    started: u64,
}

impl Dest {
    fn is_held(&self, now: i64) -> bool {
        now < self.hold_until
    }

    /// Whether the minute of its rate has begun and is not over.
    fn is_counting(&self, now: i64) -> bool {
        self.rule.rate.is_some()
            && self.started > 0
            && now >= self.minute
            && now < self.minute.saturating_add(60)
    }

    fn is_spent(&self, now: i64) -> bool {
        self.is_counting(now) && self.rule.rate.is_some_and(|rate| self.started >= rate)
    }

    fn can_start(&self, now: i64) -> bool {
        !self.batches.is_empty()
            && self.active < self.window
            && !self.is_held(now)
            && !self.is_spent(now)
    }

    fn is_idle(&self, now: i64) -> bool {
        self.batches.is_empty()
            && self.waiting.is_empty()
            && self.active == 0
            && !self.is_held(now)
            && !self.is_counting(now)
    }

    fn note_start(&mut self, now: i64) {
        if now < self.minute || now >= self.minute.saturating_add(60) {
            self.minute = now;
            self.started = 0;
        }
        self.started += 1;
        self.active += 1;
    }
}

/// The destinations of one channel.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// whether windows and holds change; else there is one destination
    is_adaptive: bool,
    /// the most deliveries of the channel
    limit: usize,
    dests: Vec<Option<Dest>>,
    free: Vec<usize>,
    names: HashMap<Bytes, usize>,
    /// destinations that can start something, in turn
    ring: VecDeque<usize>,
    timers: BTreeSet<(i64, usize)>,
    pending: usize,
}

impl Lanes {
    pub(crate) fn new(is_adaptive: bool) -> Lanes {
        Lanes {
            is_adaptive,
            limit: 0,
            dests: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            ring: VecDeque::new(),
            timers: BTreeSet::new(),
            pending: 0,
        }
    }

    /// How many deliveries of the channel may run.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        if !self.is_adaptive {
            for dest in self.dests.iter_mut().flatten() {
                dest.window = limit;
            }
            let all: Vec<usize> = (0..self.dests.len()).collect();
            for n in all {
                self.ready(n, i64::MAX);
            }
        }
    }

    /// The most that one destination may have: some places are for the others, where there are enough.
    fn widest(&self, rule: &Rule) -> usize {
        let share = self.limit - self.limit / 8;
        rule.concurrency.min(share).max(1)
    }

    fn get(&self, number: DestNumber) -> Option<&Dest> {
        self.dests.get(number.0)?.as_ref()
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Dest> {
        self.dests.get_mut(number)?.as_mut()
    }

    /// The destination of this name; a new one if need be.
    pub(crate) fn find(&mut self, name: &[u8], rules: &Destinations) -> DestNumber {
        if let Some(&number) = self.names.get(name) {
            return DestNumber(number);
        }
        let rule = rules.of(name);
        let window = if self.is_adaptive {
            self.widest(&rule).min(FIRST_WINDOW)
        } else {
            self.limit
        };
        let dest = Dest {
            name: name.to_vec(),
            rule,
            window,
            active: 0,
            strikes: 0,
            hold: HOLD,
            hold_until: i64::MIN,
            last_text: Bytes::new(),
            last_job: None,
            batches: VecDeque::new(),
            waiting: Prioq::default(),
            timer: None,
            is_ready: false,
            minute: 0,
            started: 0,
        };
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.dests.get_mut(number) {
                    *place = Some(dest);
                }
                number
            }
            None => {
                self.dests.push(Some(dest));
                self.dests.len() - 1
            }
        };
        self.names.insert(name.to_vec(), number);
        DestNumber(number)
    }

    /// The name of a destination.
    pub(crate) fn name(&self, number: DestNumber) -> &[u8] {
        self.get(number).map_or(&[], |d| &d.name)
    }

    /// The destination of this name if something waits or runs there, or it is on hold.
    pub(crate) fn busy(&self, name: &[u8], now: i64) -> Option<DestNumber> {
        let &number = self.names.get(name)?;
        let dest = self.get(DestNumber(number))?;
        (!dest.is_idle(now)).then_some(DestNumber(number))
    }

    /// Whether recipients of this job may be put in line.
    pub(crate) fn has_room(&self, number: DestNumber, job: Option<JobNumber>, now: i64) -> bool {
        self.get(number).is_some_and(|dest| {
            !dest.is_held(now)
                && (dest.batches.len() < ROOM.max(2 * dest.window) && self.pending < PENDING
                    || (job.is_some() && dest.last_job == job))
        })
    }

    /// Whether recipients may be put in line whose message is served anyway, so that they need not be written to disk.
    pub(crate) fn has_some_room(&self, number: DestNumber, now: i64) -> bool {
        self.get(number).is_some_and(|dest| {
            !dest.is_held(now) && dest.batches.len() < WIDE_ROOM && self.pending < PENDING
        })
    }

    /// Whether this destination would take a new message.
    pub(crate) fn would_take(&self, name: &[u8], now: i64) -> bool {
        match self.names.get(name) {
            Some(&number) => self.has_room(DestNumber(number), None, now),
            None => self.pending < PENDING,
        }
    }

    /// Until when a destination is on hold, and the words it was put there with.
    pub(crate) fn held(&self, number: DestNumber, now: i64) -> Option<(i64, &[u8])> {
        let dest = self.get(number).filter(|d| d.is_held(now))?;
        Some((dest.hold_until, &dest.last_text))
    }

    /// Whether a message that came at `birth` would be too old by the time a hold is over: it need not wait for that.
    pub(crate) fn is_hopeless(&self, number: DestNumber, birth: i64, now: i64, life: i64) -> bool {
        let life = self.lifetime(number).unwrap_or(life);
        self.held(number, now).is_some() && now > birth.saturating_add(life)
    }

    /// How long its messages live, if that is not as usual; seconds.
    pub(crate) fn lifetime(&self, number: DestNumber) -> Option<i64> {
        self.get(number)?.rule.lifetime
    }

    /// Puts a batch in line.
    pub(crate) fn push(&mut self, number: DestNumber, batch: Batch, now: i64) {
        if let Some(dest) = self.get_mut(number.0) {
            dest.last_job = Some(batch.job);
            dest.batches.push_back(batch);
            self.pending += 1;
        }
        self.ready(number.0, now);
    }

    /// Puts a destination into the ring if it can start something.
    fn ready(&mut self, number: usize, now: i64) {
        if let Some(dest) = self.get_mut(number)
            && !dest.is_ready
            && dest.can_start(now)
        {
            dest.is_ready = true;
            self.ring.push_back(number);
        }
    }

    /// Whether more messages should be opened: little is ready to start.
    pub(crate) fn is_hungry(&self, now: i64) -> bool {
        if self.pending >= PENDING {
            return false;
        }
        if self.is_adaptive {
            return self.ring.len() < ROOM;
        }
        // The one destination is made by the first message.
        self.dests.is_empty() || self.has_room(DestNumber(0), None, now)
    }

    /// Whether some destination can start something.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ring.is_empty()
    }

    /// The next batch to start, from each destination in turn. Its delivery must be followed by a `report`.
    pub(crate) fn next(&mut self, now: i64) -> Option<(DestNumber, Batch)> {
        while let Some(number) = self.ring.pop_front() {
            let Some(dest) = self.get_mut(number) else {
                continue;
            };
            dest.is_ready = false;
            if !dest.can_start(now) {
                self.rearm(number, now);
                continue;
            }
            let Some(batch) = dest.batches.pop_front() else {
                continue;
            };
            dest.note_start(now);
            self.pending -= 1;
            self.ready(number, now);
            self.rearm(number, now);
            return Some((DestNumber(number), batch));
        }
        None
    }

    /// A delivery is over.
    pub(crate) fn report(
        &mut self,
        number: DestNumber,
        verdict: Verdict,
        now: i64,
        life: i64,
    ) -> Change {
        let is_adaptive = self.is_adaptive;
        let mut change = Change::default();
        let widest = self.get(number).map_or(1, |d| self.widest(&d.rule));
        let Some(dest) = self.get_mut(number.0) else {
            return change;
        };
        dest.active = dest.active.saturating_sub(1);
        match verdict {
            Verdict::Good if is_adaptive => {
                dest.strikes = 0;
                dest.hold = HOLD;
                dest.window = (dest.window + 1).min(widest);
            }
            Verdict::Trouble(mut text) if is_adaptive => {
                text.truncate(TEXT_LIMIT);
                dest.last_text = text;
                dest.window = (dest.window / 2).max(1);
                dest.strikes += 1;
                if dest.strikes >= STRIKES && !dest.is_held(now) {
                    dest.strikes = STRIKES - SECOND_STRIKES;
                    dest.hold_until = now.saturating_add(dest.hold);
                    dest.hold = (dest.hold * 2).min(HOLD_LIMIT);
                    change.evicted = dest.batches.drain(..).collect();
                    let life = dest.rule.lifetime.unwrap_or(life);
                    change.expired = dest.waiting.take_born_before(now.saturating_sub(life));
                    self.pending -= change.evicted.len();
                }
            }
            _ => {}
        }
        self.ready(number.0, now);
        self.rearm(number.0, now);
        change
    }

    /// Lets a message wait for a destination: its recipients are all there.
    pub(crate) fn park(
        &mut self,
        number: DestNumber,
        id: MessageId,
        when: i64,
        birth: i64,
        now: i64,
    ) {
        if let Some(dest) = self.get_mut(number.0) {
            dest.waiting.insert_born(id, when, birth);
        }
        self.rearm(number.0, now);
    }

    /// A message that waited and may be opened now.
    pub(crate) fn take_waiting(&mut self, now: i64) -> Option<MessageId> {
        let due: Vec<usize> = self
            .timers
            .iter()
            .take_while(|(when, _)| *when <= now)
            .take(LOOK)
            .map(|(_, number)| *number)
            .collect();
        for number in due {
            self.ready(number, now);
            if self.has_room(DestNumber(number), None, now)
                && let Some(dest) = self.get_mut(number)
                && let Some(id) = dest.waiting.take_due(now)
            {
                self.rearm(number, now);
                return Some(id);
            }
            self.rearm_after(number, now.saturating_add(1), now);
        }
        None
    }

    /// When to look at `take_waiting` and `next` again.
    pub(crate) fn first_due(&self) -> Option<i64> {
        self.timers.first().map(|(when, _)| *when)
    }

    fn rearm(&mut self, number: usize, now: i64) {
        self.rearm_after(number, i64::MIN, now);
    }

    /// Sets the time when a destination is to be looked at, and forgets one that has nothing more to do.
    fn rearm_after(&mut self, number: usize, earliest: i64, now: i64) {
        let is_adaptive = self.is_adaptive;
        let Some(dest) = self.dests.get_mut(number).and_then(Option::as_mut) else {
            return;
        };
        if let Some(old) = dest.timer.take() {
            self.timers.remove(&(old, number));
        }
        let next_minute = dest.minute.saturating_add(60);
        let wish = if dest.is_held(now) {
            Some(dest.hold_until)
        } else if dest.is_spent(now) {
            Some(next_minute)
        } else {
            let first = dest.waiting.first_due();
            first.or(dest.is_counting(now).then_some(next_minute))
        };
        if let Some(when) = wish {
            let when = when.max(earliest);
            dest.timer = Some(when);
            self.timers.insert((when, number));
        } else if is_adaptive && dest.is_idle(now) && !dest.is_ready {
            self.names.remove(&dest.name);
            if let Some(place) = self.dests.get_mut(number) {
                *place = None;
            }
            self.free.push(number);
        }
    }

    /// Forgets a destination that `find` made and nobody used.
    pub(crate) fn release(&mut self, number: DestNumber, now: i64) {
        self.rearm(number.0, now);
    }

    /// Everything is due, and no destination is on hold.
    pub(crate) fn make_due(&mut self, now: i64) {
        for number in 0..self.dests.len() {
            if let Some(dest) = self.get_mut(number) {
                dest.waiting.make_due(now);
                dest.hold_until = i64::MIN;
            }
            self.ready(number, now);
            self.rearm(number, now);
        }
    }

    /// Takes out all that waits: message and time.
    pub(crate) fn drain_waiting(&mut self) -> Vec<(MessageId, i64)> {
        let mut all = Vec::new();
        for dest in self.dests.iter_mut().flatten() {
            all.extend(std::iter::from_fn(|| dest.waiting.take()));
        }
        all
    }
}

#[cfg(test)]
mod tests;
