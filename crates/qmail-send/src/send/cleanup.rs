//! Cleanups: messages that never became visible, left by a qmail-queue that died, are removed when they are old.

use queue::names::{MessageId, Part};

use super::cleaner::{self, Request};
use super::desk::Desk;
use super::plan::Plan;
use super::scan::{Step, Walk};

/// Time between two cleanups, seconds.
const EVERY: i64 = 76_431;
/// Seconds after its last access when a message that nothing names is litter; more than qmail-queue lives.
const OSSIFIED: i64 = 129_600;
/// Names looked at in one turn.
const STEPS: usize = 100;

/// The cleanup.
#[derive(Debug)]
pub(crate) struct Cleanup {
    walk: Option<Walk>,
    next: i64,
}

impl Cleanup {
    /// The first one is due at `now`.
    pub(crate) fn new(now: i64) -> Cleanup {
        Cleanup {
            walk: None,
            next: now,
        }
    }

    pub(crate) fn prepare(&self, desk: &Desk, plan: &mut Plan) {
        if desk.is_stopping {
            return;
        }
        match &self.walk {
            Some(walk) => plan.wake_at(walk.due().max(desk.recent)),
            None => plan.wake_at(self.next),
        }
    }

    pub(crate) fn act(&mut self, desk: &mut Desk) {
        if desk.is_stopping {
            return;
        }
        if self.walk.is_none() {
            if desk.recent < self.next {
                return;
            }
            self.walk = Some(Walk::new(desk.layout.dirs(Part::Mess)));
        }
        for _ in 0..STEPS {
            let Some(walk) = &mut self.walk else { return };
            match walk.step(desk) {
                Step::Found(id) => look(desk, id),
                Step::Nothing => {}
                Step::Pause => return,
                Step::End => {
                    self.walk = None;
                    self.next = desk.recent.saturating_add(EVERY);
                }
            }
        }
    }
}

/// Removes one message if it is litter. In doubt it stays.
///
/// What is from before the start counts from the start: when the clock was set before, a message that is being written right now
/// may look old. One that has just ended is being removed: to ask for that twice would be to ask for the next one of its number.
fn look(desk: &mut Desk, id: MessageId) {
    let path = desk.layout.path(Part::Mess, id);
    let is_old = desk.queue.stat(&path).is_ok_and(|s| {
        let read = desk.clock.past(s.atime);
        let read = read.map(|when| when.max(desk.clock.start()));
        read.is_some_and(|when| desk.recent > when.saturating_add(OSSIFIED))
    });
    if is_old
        && !desk.fresh.knows(id)
        && !desk.settle.is_leaving(id)
        && matches!(desk.exists(Part::Info, id), Ok(false))
        && matches!(desk.exists(Part::Todo, id), Ok(false))
    {
        cleaner::remove(desk, Request::Message, id);
    }
}
