//! The desk where messages become durable, then visible, then durably visible: one flush for all that lie there.
//!
//! Whoever finds nobody at the desk serves it until it is empty; the others leave theirs there and go on with their work.
//! Where the file system does not keep order, and a message needs two flushes, few messages go alone, each flushed by
//! whoever brings it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use queue::intake::{Durable, Fault, Intake, Published, Round, Written};

/// Messages at the desk from which on they go together, where the file system does not keep order. Fewer flush beside each
/// other, and none waits for the other.
const CROWD: usize = 4;
/// Bytes from which on whoever brings a message waits until it is written: not those who wait at the desk.
const LARGE: u64 = 256 * 1024;

/// What lies there. `T` is told the outcome.
#[derive(Debug)]
pub(super) struct Desk<'q, T> {
    intake: &'q Intake,
    pile: Mutex<Pile<'q, T>>,
}

#[derive(Debug)]
struct Pile<'q, T> {
    written: Vec<(Written<'q>, T)>,
    published: Vec<(Published<'q>, T)>,
    /// messages that were brought and are not done, wherever they are
    here: usize,
    is_served: bool,
}

impl<'q, T> Desk<'q, T> {
    pub(super) fn new(intake: &'q Intake) -> Desk<'q, T> {
        let pile = Pile {
            written: Vec::new(),
            published: Vec::new(),
            here: 0,
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

    /// Brings a message whose files are written. `tell` is called for every message that this caller has served.
    pub(super) fn bring(
        &self,
        written: Written<'q>,
        who: T,
        tell: impl FnMut(T, Result<(), Fault>),
    ) {
        let mut pile = self.pile();
        pile.here += 1;
        let together = if self.intake.keeps_order() {
            written.on_disk() < LARGE
        } else {
            pile.here >= CROWD
        };
        if together {
            pile.written.push((written, who));
            return self.serve(pile, tell);
        }
        drop(pile);
        self.alone(written, who, tell);
    }

    /// As `bring`, but it never has others wait for its files, nor waits for theirs.
    pub(super) fn bring_alone(
        &self,
        written: Written<'q>,
        who: T,
        tell: impl FnMut(T, Result<(), Fault>),
    ) {
        self.pile().here += 1;
        self.alone(written, who, tell);
    }

    fn alone(&self, written: Written<'q>, who: T, mut tell: impl FnMut(T, Result<(), Fault>)) {
        let linked = written.sync().and_then(Durable::link);
        let mut pile = self.pile();
        match linked {
            Ok(published) => {
                pile.published.push((published, who));
                self.serve(pile, tell);
            }
            Err(fault) => {
                pile.here -= 1;
                drop(pile);
                tell(who, Err(fault));
            }
        }
    }

    fn serve<'s>(
        &'s self,
        mut pile: MutexGuard<'s, Pile<'q, T>>,
        mut tell: impl FnMut(T, Result<(), Fault>),
    ) {
        if pile.is_served {
            return;
        }
        pile.is_served = true;
        while !(pile.written.is_empty() && pile.published.is_empty()) {
            let mut written = std::mem::take(&mut pile.written);
            let mut published = std::mem::take(&mut pile.published);
            drop(pile);
            let (mut linked, mut refused) = (Vec::new(), Vec::new());
            if self.intake.keeps_order() {
                // The flush of this round makes them durable, names and all.
                for (written, who) in written.drain(..) {
                    match written.sync().and_then(Durable::link) {
                        Ok(visible) => published.push((visible, who)),
                        Err(fault) => refused.push((who, fault)),
                    }
                }
            }
            let (written, writers): (Vec<_>, Vec<_>) = written.into_iter().unzip();
            let (published, readers): (Vec<_>, Vec<_>) = published.into_iter().unzip();
            let Round { durable, settled } = self.intake.round(written, &published);
            for (done, who) in durable.into_iter().zip(writers) {
                match done.and_then(Durable::link) {
                    Ok(published) => linked.push((published, who)),
                    Err(fault) => refused.push((who, fault)),
                }
            }
            if !published.is_empty() {
                drop(queue::intake::pull_trigger(self.intake.queue()));
            }
            let done = readers.len() + refused.len();
            for who in readers {
                tell(who, settled);
            }
            for (who, fault) in refused {
                tell(who, Err(fault));
            }
            pile = self.pile();
            pile.here -= done;
            pile.published.append(&mut linked);
        }
        pile.is_served = false;
    }
}
