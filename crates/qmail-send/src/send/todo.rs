//! Finding new messages: the kernel tells of new names in todo, or todo is looked through when the trigger is pulled, a
//! piece at a time. What is there is served from there (see `fresh`).

pub(crate) mod take;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::time::{Duration, Instant};

use queue::names::{MessageId, Part};
use sys::watch::News;

use super::SYSTEM_FAILURE;
use super::channel::Channel;
use super::del::Deliveries;
use super::desk::Desk;
use super::fresh;
use super::plan::{Plan, Ticket};
use super::scan::{Step, Walk};
use super::world::Ear;

/// todo is looked at this often without being asked to, seconds.
const EVERY: i64 = 1_500;
/// Names looked at in one turn.
const STEPS: usize = 2_000;
/// Messages taken in one turn, and when nothing local could start anyway.
const BATCH: usize = 32;
const SMALL_BATCH: usize = 8;
/// How long taking messages in may last in one turn.
const SLICE: Duration = Duration::from_millis(4);
/// Bytes of a full pipe: what is read off the trigger before it is opened again.
const PIPE: usize = 64 * 1024;
/// The rest after a look is so many times as long as passing over the names known before took, at the most
/// `REST_LIMIT`.
const REST: u32 = 8;
const REST_LIMIT: Duration = Duration::from_secs(2);
/// How long a bounce may be held.
const HELD: Duration = Duration::from_millis(500);
/// How long a pull waits while a bounce is being sent.
const QUIET: Duration = Duration::from_millis(10);
/// So long after it told of something, the kernel is trusted to have told of everything.
const FAITH: Duration = Duration::from_secs(1);
/// A look that is this short needs no rest.
const SHORT: Duration = Duration::from_millis(5);

/// The intake.
#[derive(Debug)]
pub(crate) struct Todo {
    trigger: Option<File>,
    ticket: Option<Ticket>,
    /// tells of new names; `None`: the kernel cannot, the trigger alone counts
    ear: Option<Box<dyn Ear>>,
    /// names that it told of before the last pull
    news: VecDeque<MessageId>,
    /// bounces that may be our own: they wait until the log has said that they were sent
    held: Vec<MessageId>,
    held_since: Instant,
    /// a pull has come, and is heeded then, or as soon as no bounce is being sent
    quiet_until: Option<Instant>,
    /// when it told of something the last time
    told: Option<Instant>,
    walk: Option<Walk>,
    /// a look has seen everything
    has_looked: bool,
    /// the next look that nobody asks for
    next: i64,
    /// how long this look has taken, the messages that it found aside
    effort: Duration,
    /// no look before this
    rest_until: Instant,
    /// messages that could not be taken in, and when to try again
    later: HashMap<MessageId, i64>,
}

impl Todo {
    /// The first look is due at once.
    pub(crate) fn new(desk: &mut Desk) -> Todo {
        let mut todo = Todo {
            trigger: None,
            ticket: None,
            ear: desk.world.ear(&desk.layout.dirs(Part::Todo)),
            news: VecDeque::new(),
            held: Vec::new(),
            held_since: desk.moment,
            quiet_until: None,
            told: None,
            walk: None,
            has_looked: false,
            next: desk.recent,
            effort: Duration::ZERO,
            rest_until: desk.moment,
            later: HashMap::new(),
        };
        todo.set_trigger(desk);
        todo
    }

    /// Opens the trigger anew, before todo is read: a pull that comes from now on is seen, however soon.
    ///
    /// The old one is emptied first: somebody may keep it open, and then its bytes would stay.
    fn set_trigger(&mut self, desk: &mut Desk) {
        if let Some(old) = &self.trigger {
            let mut bytes = vec![0; PIPE];
            let _ = sys::fd::read(old, &mut bytes);
        }
        self.trigger = desk.world.trigger();
        if self.trigger.is_none() {
            desk.log.warning("unable to open lock/trigger");
        }
    }

    pub(crate) fn prepare(&mut self, desk: &Desk, del: &Deliveries, plan: &mut Plan) {
        self.ticket = None;
        if desk.is_stopping {
            return;
        }
        if del.is_about_to_start(desk.recent) {
            // Nothing is looked at before the spawners answer, which is news by itself.
            return plan.wake_at(desk.recent.saturating_add(1));
        }
        if !self.news.is_empty() {
            plan.at_once();
        }
        if !self.held.is_empty() {
            plan.soon_at(self.held_since + HELD);
        }
        let is_rested = plan.is_past(self.rest_until);
        if let Some(walk) = &self.walk {
            plan.wake_at(walk.due().max(desk.recent));
        } else if is_rested {
            plan.wake_at(self.next);
        } else {
            plan.soon_at(self.rest_until);
        }
        if let Some(until) = self.quiet_until
            && desk.workers.is_posting()
            && !plan.is_past(until)
        {
            return plan.soon_at(until);
        }
        // Without news a pull means another look, which has to wait.
        if self.ear.is_some() || (self.walk.is_none() && is_rested) {
            self.ticket = self.trigger.as_ref().map(|fd| plan.readable(fd));
        }
    }

    pub(crate) fn act(&mut self, desk: &mut Desk, del: &mut Deliveries, plan: &Plan) {
        if desk.is_stopping || del.is_about_to_start(desk.recent) {
            return;
        }
        let is_pulled = plan.is_ready(self.ticket);
        if is_pulled && desk.workers.is_posting() && self.quiet_until.is_none() {
            // It may be the bounce that has come. The answer follows at once, and goes before: a crash in between would
            // mean a second bounce.
            self.quiet_until = Some(desk.moment + QUIET);
        } else if is_pulled {
            self.quiet_until = None;
            // The trigger first: what is pulled from now on is seen. And no news before the pull: until then a message
            // is being made durable.
            self.set_trigger(desk);
            self.hear(desk);
            if self.told.is_none_or(|when| desk.moment > when + FAITH) {
                self.next = i64::MIN;
            }
        }
        if self.walk.is_none() && desk.recent >= self.next && desk.moment >= self.rest_until {
            if !is_pulled {
                self.set_trigger(desk);
            }
            self.begin(desk);
        }
        if !desk.workers.is_posting() || desk.moment >= self.held_since + HELD {
            self.news.extend(self.held.drain(..));
        }
        self.look(desk, del);
    }

    /// Names that the kernel tells of.
    fn hear(&mut self, desk: &Desk) {
        let Some(ear) = &self.ear else { return };
        for news in ear.hear() {
            match news {
                News::Name(name) => {
                    self.told = Some(desk.moment);
                    self.news.extend(MessageId::parse(&name));
                }
                News::Lost => {
                    self.told = None;
                    self.next = i64::MIN;
                }
            }
        }
    }

    /// Begins to look through all of todo.
    fn begin(&mut self, desk: &Desk) {
        self.walk = Some(Walk::new(desk.layout.dirs(Part::Todo)));
        self.effort = Duration::ZERO;
        self.next = desk.recent.saturating_add(EVERY);
        self.later.retain(|_, when| *when > desk.recent);
        // The next look takes up what had to wait.
        if let Some(first) = self.later.values().min() {
            self.next = self.next.min(*first);
        }
    }

    /// Goes on looking.
    fn look(&mut self, desk: &mut Desk, del: &mut Deliveries) {
        let start = desk.world.instant();
        let mut taking = Duration::ZERO;
        let is_hungry = desk.lanes.of(Channel::Local).is_hungry(desk.recent);
        let mut left = if is_hungry { BATCH } else { SMALL_BATCH };
        for _ in 0..STEPS {
            let (step, is_news) = match (self.news.pop_front(), &mut self.walk) {
                (Some(id), _) => (Step::Found(id), true),
                (None, Some(walk)) => (walk.step(desk), false),
                (None, None) => break,
            };
            match step {
                Step::Found(id) if self.later.contains_key(&id) || desk.fresh.knows(id) => {}
                Step::Found(id) => {
                    // If it is gone by now, a later message of its number is looked for without need, no more.
                    if !is_news && self.may_be_old() {
                        desk.doubtful.insert(id);
                    }
                    let before = desk.world.instant();
                    self.take(desk, del, id);
                    taking += desk.world.instant() - before;
                    left -= 1;
                    if left == 0 || taking > SLICE {
                        break;
                    }
                }
                Step::Nothing => {}
                Step::Pause => break,
                Step::End => {
                    self.has_looked |= self.walk.take().is_some_and(|walk| walk.is_whole());
                }
            }
        }
        let end = desk.world.instant();
        self.effort += (end - start).saturating_sub(taking);
        if self.walk.is_none() && self.effort > SHORT {
            self.rest_until = end + (self.effort * REST).min(REST_LIMIT);
        }
    }

    /// Whether a message that a look finds may have been there when we started, so that an earlier qmail-send may have had it
    /// delivered. Of what comes later the kernel tells; if it cannot, the first whole look finds the old ones.
    fn may_be_old(&self) -> bool {
        self.ear.is_some() || !self.has_looked
    }

    /// A message that has not been seen before.
    fn take(&mut self, desk: &mut Desk, del: &mut Deliveries, id: MessageId) {
        match take::first(desk, id) {
            Ok(Some(envelope))
                if matches!(envelope.sender.as_slice(), b"" | b"#@[]")
                    && desk.workers.is_posting()
                    && (self.held.is_empty() || desk.moment < self.held_since + HELD) =>
            {
                if self.held.is_empty() {
                    self.held_since = desk.moment;
                }
                self.held.push(id);
            }
            Ok(Some(envelope)) => {
                desk.log.line(format!("new msg {id}"));
                desk.log.line(&envelope.line);
                fresh::open(desk, del, id, envelope);
            }
            Ok(None) => {}
            // A message that cannot be taken in now must not be tried again with each new one.
            Err(text) => {
                desk.log.warning(text);
                let when = desk.recent.saturating_add(SYSTEM_FAILURE);
                self.later.insert(id, when);
                self.next = self.next.min(when);
            }
        }
    }
}
