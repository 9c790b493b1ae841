//! Taking new messages in: each envelope in todo becomes info, local and remote, durably, and only then goes.
//!
//! A turn takes a limited number of messages, so that deliveries go on however much new mail there is; their files are
//! flushed together.

mod take;

use std::collections::HashMap;
use std::fs::File;

use queue::names::{MessageId, Part};

use super::desk::Desk;
use super::plan::{Plan, Ticket};
use super::scan::{Step, Walk};
use super::{SYSTEM_FAILURE, channel::BOTH};
use take::Taken;

/// todo is looked at this often without being asked to, seconds.
const EVERY: i64 = 1_500;
/// Messages taken in one turn.
const BATCH: usize = 16;
/// Names looked at in one turn.
const STEPS: usize = 200;
/// Bytes of a full pipe: what is read off the trigger before it is opened again.
const PIPE: usize = 64 * 1024;

/// The intake.
#[derive(Debug)]
pub(crate) struct Todo {
    trigger: Option<File>,
    ticket: Option<Ticket>,
    walk: Option<Walk>,
    /// the next look that nobody asks for
    next: i64,
    /// messages that could not be taken in, and when to try again
    later: HashMap<MessageId, i64>,
}

impl Todo {
    /// The first look is due at once.
    pub(crate) fn new(desk: &mut Desk) -> Todo {
        let mut todo = Todo {
            trigger: None,
            ticket: None,
            walk: None,
            next: desk.recent,
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
        self.trigger = desk
            .queue
            .open_read(b"lock/trigger")
            .ok()
            .filter(|f| sys::dir::stat_fd(f).is_ok_and(|s| s.is_fifo()));
        if self.trigger.is_none() {
            desk.log.warning("unable to open lock/trigger");
        }
    }

    pub(crate) fn prepare(&mut self, desk: &Desk, plan: &mut Plan) {
        self.ticket = None;
        if desk.is_stopping {
            return;
        }
        match &self.walk {
            Some(walk) => plan.wake_at(walk.due().max(desk.recent)),
            None => {
                self.ticket = self.trigger.as_ref().map(|fd| plan.readable(fd));
                plan.wake_at(self.next);
            }
        }
    }

    pub(crate) fn act(&mut self, desk: &mut Desk, plan: &Plan) {
        if desk.is_stopping {
            return;
        }
        if self.walk.is_none() {
            if desk.recent < self.next && !plan.is_ready(self.ticket) {
                return;
            }
            self.set_trigger(desk);
            self.walk = Some(Walk::new(desk.layout.dirs(Part::Todo)));
            self.next = desk.recent.saturating_add(EVERY);
            self.later.retain(|_, when| *when > desk.recent);
            // The next look takes up what had to wait.
            if let Some(first) = self.later.values().min() {
                self.next = self.next.min(*first);
            }
        }
        let batch = self.gather(desk);
        self.take(desk, batch);
    }

    /// The next messages to take in.
    fn gather(&mut self, desk: &mut Desk) -> Vec<MessageId> {
        let mut batch = Vec::new();
        for _ in 0..STEPS {
            let Some(walk) = &mut self.walk else { break };
            match walk.step(desk) {
                Step::Found(id) if self.later.contains_key(&id) => {}
                Step::Found(id) => batch.push(id),
                Step::Nothing => {}
                Step::Pause => break,
                Step::End => self.walk = None,
            }
            if batch.len() >= BATCH {
                break;
            }
        }
        batch
    }

    /// Takes messages in together.
    fn take(&mut self, desk: &mut Desk, batch: Vec<MessageId>) {
        let mut taken: Vec<Taken> = Vec::new();
        for id in batch {
            match Taken::read(desk, id) {
                Ok(Some(message)) => taken.push(message),
                Ok(None) => {}
                Err(text) => self.put_off(desk, id, &text),
            }
        }
        for (id, done) in take::settle(desk, taken) {
            match done {
                Ok(channels) => {
                    desk.schedule.note_fresh(id);
                    for channel in BOTH.into_iter().filter(|c| channels.contains(c)) {
                        let queue = desk.schedule.channels.of_mut(channel);
                        queue.insert(id, desk.recent);
                    }
                    if channels.is_empty() {
                        desk.schedule.done.insert(id, desk.recent);
                    }
                }
                Err(text) => self.put_off(desk, id, &text),
            }
        }
    }

    /// A message that cannot be taken in now must not be tried again with each new one.
    fn put_off(&mut self, desk: &mut Desk, id: MessageId, text: &[u8]) {
        if !text.is_empty() {
            desk.log.warning(text);
        }
        let when = desk.recent.saturating_add(SYSTEM_FAILURE);
        self.later.insert(id, when);
        self.next = self.next.min(when);
    }
}
