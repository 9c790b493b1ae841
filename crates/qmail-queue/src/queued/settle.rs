//! The desk where published messages become durably visible: one flush for all that lie there.
//!
//! Whoever brings a message while nobody is at the desk serves it until it is empty; the others go on with their work.

use std::sync::{Mutex, MutexGuard, PoisonError};

use queue::intake::{Fault, Intake, Published};

/// What lies there. `T` is told the outcome.
#[derive(Debug)]
pub(super) struct Desk<'q, T> {
    intake: &'q Intake,
    pile: Mutex<Pile<'q, T>>,
}

#[derive(Debug)]
struct Pile<'q, T> {
    published: Vec<Published<'q>>,
    who: Vec<T>,
    is_served: bool,
}

impl<'q, T> Desk<'q, T> {
    pub(super) fn new(intake: &'q Intake) -> Desk<'q, T> {
        let pile = Pile {
            published: Vec::new(),
            who: Vec::new(),
            is_served: false,
        };
        Desk {
            intake,
            pile: Mutex::new(pile),
        }
    }

    fn pile(&self) -> MutexGuard<'_, Pile<'q, T>> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a message there. `tell` is called for every message that this caller has served.
    pub(super) fn bring(
        &self,
        published: Published<'q>,
        who: T,
        mut tell: impl FnMut(T, Result<(), Fault>),
    ) {
        let mut pile = self.pile();
        pile.published.push(published);
        pile.who.push(who);
        if pile.is_served {
            return;
        }
        pile.is_served = true;
        while !pile.who.is_empty() {
            let batch = std::mem::take(&mut pile.published);
            let who = std::mem::take(&mut pile.who);
            drop(pile);
            let done = self.intake.settle(&batch);
            queue::intake::pull_trigger(self.intake.queue());
            for one in who {
                tell(one, done);
            }
            pile = self.pile();
        }
        pile.is_served = false;
    }
}
