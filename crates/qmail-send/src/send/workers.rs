//! What waits, for the disk or for qmail-queue, is done by others: a thread, and the post (see `post`). The loop gives them
//! work and never waits for them.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use queue::names::{Layout, MessageId};
use sys::Dir;

use super::bounce;
use super::convert::{self, Conversion};
use super::files::Files;
use super::plan::{Plan, Ticket};
use super::post::Post;
use super::settle::{self, Unsettled};

/// Bounces that are sent at a time.
const POSTMEN: usize = 4;
/// Bounces that are sent or wait for that.
const MAIL_BAG: usize = 16;

/// Work for the disk.
#[derive(Debug)]
pub(crate) enum Chore {
    /// make messages' classic files, durably
    Convert(Vec<Conversion>),
    /// make marks and removals durable
    Settle(Unsettled),
}

impl Chore {
    /// Does it, and gives the results away one by one.
    pub(crate) fn run(self, queue: &dyn Files, layout: Layout, mut give: impl FnMut(Done)) {
        match self {
            Chore::Convert(all) => {
                convert::all(queue, layout, &all, |id, result| {
                    give(Done::Converted(id, result));
                });
            }
            Chore::Settle(unsettled) => give(Done::Settled(settle::settle(queue, unsettled))),
        }
    }
}

/// What has been done.
pub(crate) enum Done {
    /// the classic files of a message are there, or why not
    Converted(MessageId, Result<(), &'static str>),
    /// what was settled
    Settled(settle::Settled),
    /// what became of a bounce
    Bounced(MessageId, bounce::Fate),
    /// nobody can send bounces any more
    NoPost,
}

/// Where results go, with a bell that wakes the loop.
#[derive(Clone)]
pub(crate) struct Results {
    sender: Sender<Done>,
    bell: Arc<OwnedFd>,
}

impl Results {
    pub(crate) fn give(&self, done: Done) {
        // Without a reader the program is at its end.
        let _ = self.sender.send(done);
        let _ = sys::fd::write(self.bell.as_ref(), &[0]);
    }
}

/// The threads' ends of their connections with the loop.
pub(crate) struct Orders {
    pub(crate) chores: Receiver<Chore>,
    pub(crate) letters: Receiver<bounce::Letter>,
    pub(crate) results: Results,
}

/// Who sends bounces.
#[derive(Debug)]
enum Way {
    Post(Post),
    /// somebody takes them out of here: a simulation
    Channel(Sender<bounce::Letter>),
    /// it has gone
    Nowhere,
}

/// The thread and the post, as the loop sees them.
pub(crate) struct Workers {
    disk: Sender<Chore>,
    way: Way,
    results: Receiver<Done>,
    bell: OwnedFd,
    tickets: (Option<Ticket>, Option<Ticket>),
    /// chores without a result
    chores: usize,
    /// bounces that are being sent, and those that wait for that
    posted: BTreeSet<MessageId>,
    waiting: VecDeque<bounce::Letter>,
    /// bounces that could not be given away
    failed: Vec<MessageId>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workers({}, {})", self.chores, self.letters())
    }
}

impl Workers {
    /// Starts the thread. `queue` is the queue as it holds it: opened before the promises, which keep its directory closed.
    ///
    /// # Errors
    /// No thread, no pipe.
    pub(crate) fn start(layout: Layout, queue: Dir, post: Post) -> io::Result<Workers> {
        let (mut workers, orders) = Workers::connect()?;
        workers.way = Way::Post(post);
        let Orders {
            chores,
            letters,
            results: to,
        } = orders;
        // They go by the post.
        drop(letters);
        std::thread::Builder::new().spawn(move || {
            while let Ok(chore) = chores.recv() {
                chore.run(&queue, layout, |done| to.give(done));
            }
        })?;
        Ok(workers)
    }

    /// The connections alone.
    ///
    /// # Errors
    /// No pipe.
    pub(crate) fn connect() -> io::Result<(Workers, Orders)> {
        let (bell, ringer) = sys::fd::pipe()?;
        sys::fd::nonblocking(&bell, true)?;
        sys::fd::nonblocking(&ringer, true)?;
        let (sender, results) = channel();
        let (disk, chores) = channel();
        let (post, letters) = channel();
        let workers = Workers {
            disk,
            way: Way::Channel(post),
            results,
            bell,
            tickets: (None, None),
            chores: 0,
            posted: BTreeSet::new(),
            waiting: VecDeque::new(),
            failed: Vec::new(),
        };
        let orders = Orders {
            chores,
            letters,
            results: Results {
                sender,
                bell: Arc::new(ringer),
            },
        };
        Ok((workers, orders))
    }

    /// Gives the disk something to do.
    pub(crate) fn chore(&mut self, chore: Chore) {
        self.chores += match &chore {
            Chore::Convert(all) => all.len(),
            Chore::Settle(_) => 1,
        };
        // The thread lives as long as the program.
        let _ = self.disk.send(chore);
    }

    /// Bounces without a result.
    fn letters(&self) -> usize {
        self.posted.len() + self.waiting.len() + self.failed.len()
    }

    /// Whether one more bounce would be sent soon.
    pub(crate) fn has_postman(&self) -> bool {
        self.letters() < MAIL_BAG
    }

    /// Whether a bounce is being sent.
    pub(crate) fn is_posting(&self) -> bool {
        self.letters() > 0
    }

    /// Takes a bounce, to be sent at the end of the turn. There is one at a time of a message.
    pub(crate) fn letter(&mut self, letter: bounce::Letter) {
        self.waiting.push_back(letter);
    }

    /// Sends those that wait, as many as may be under way.
    pub(crate) fn post(&mut self) {
        while self.posted.len() < POSTMEN
            && let Some(letter) = self.waiting.pop_front()
        {
            let id = letter.id;
            let has_gone = match &self.way {
                Way::Post(post) => match post.send(&letter) {
                    Some(done) => done.is_ok(),
                    // There will be another one.
                    None => return self.waiting.push_front(letter),
                },
                Way::Channel(channel) => channel.send(letter).is_ok(),
                Way::Nowhere => false,
            };
            if has_gone {
                self.posted.insert(id);
            } else {
                self.failed.push(id);
            }
        }
    }

    /// Whether nothing is being done.
    pub(crate) fn is_idle(&self) -> bool {
        self.chores + self.letters() == 0
    }

    /// How much waits for the disk.
    pub(crate) fn chores(&self) -> usize {
        self.chores
    }

    pub(crate) fn prepare(&mut self, plan: &mut Plan) {
        self.tickets.0 = Some(plan.readable(&self.bell));
        self.tickets.1 = match &self.way {
            Way::Post(post) => Some(plan.readable(post.news())),
            Way::Channel(_) | Way::Nowhere => None,
        };
        if !self.failed.is_empty() {
            plan.at_once();
        }
    }

    /// What has been done since the last time, as far as the wait has found something.
    pub(crate) fn done(&mut self, plan: &Plan) -> Vec<Done> {
        let mut all: Vec<Done> = Vec::new();
        if plan.is_ready(self.tickets.0) {
            let mut bytes = [0; 256];
            let _ = sys::fd::read(&self.bell, &mut bytes);
            all.extend(self.results.try_iter());
        }
        for done in &all {
            match done {
                Done::Bounced(id, _) => drop(self.posted.remove(id)),
                Done::Converted(..) | Done::Settled(_) => self.chores -= 1,
                Done::NoPost => {}
            }
        }
        if plan.is_ready(self.tickets.1) {
            self.hear(&mut all);
        }
        let failed = self.failed.drain(..);
        all.extend(failed.map(|id| Done::Bounced(id, bounce::Fate::NotStarted)));
        all
    }

    /// Takes the answers of the post, or the next post.
    fn hear(&mut self, all: &mut Vec<Done>) {
        while let Way::Post(post) = &mut self.way {
            match post.answer() {
                Ok(Some((id, fate))) => {
                    // What was not asked, or has been answered, counts for nothing.
                    if self.posted.remove(&id) {
                        all.push(Done::Bounced(id, fate));
                    }
                    if self.posted.is_empty() {
                        return;
                    }
                }
                Ok(None) => break,
                // Bounces that were under way may be in the queue, and will come again.
                Err(_) => {
                    let lost = std::mem::take(&mut self.posted).into_iter();
                    all.extend(lost.map(|id| Done::Bounced(id, bounce::Fate::Refused)));
                }
            }
        }
        if let Way::Post(post) = &mut self.way
            && post.renew().is_err()
        {
            self.way = Way::Nowhere;
            all.push(Done::NoPost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use sys::handover::{self, Patience};

    use super::super::world::System;
    use super::*;

    /// A turn of the loop: the bounces that are over.
    fn turn(workers: &mut Workers) -> Vec<(u64, bounce::Fate)> {
        let world = System::new(Dir::open("/").unwrap(), File::open("/dev/null").unwrap());
        let mut plan = Plan::new(0, Instant::now());
        plan.soon(Duration::from_secs(10));
        workers.post();
        workers.prepare(&mut plan);
        plan.wait(&world).unwrap();
        let fate = |done| match done {
            Done::Bounced(id, fate) => Some((id.number(), fate)),
            _ => None,
        };
        let done = workers.done(&plan);
        workers.post();
        done.into_iter().filter_map(fate).collect()
    }

    /// The keeper's part: it makes a post, whose part the test plays.
    fn make(keeper: &OwnedFd) -> OwnedFd {
        let (ours, theirs) = handover::pair().unwrap();
        handover::send(keeper, b"p", Some(ours.as_fd())).unwrap();
        theirs
    }

    /// How many letters have come.
    fn letters(theirs: &OwnedFd) -> usize {
        let mut buffer = vec![0; 4096];
        let mut has_come = || handover::receive(theirs, &mut buffer, Patience::Now).is_ok();
        (0..9).filter(|_| has_come()).count()
    }

    fn count(fates: &[(u64, bounce::Fate)], fate: bounce::Fate) -> usize {
        fates.iter().filter(|(_, f)| *f == fate).count()
    }

    #[test]
    fn bounces_go_by_the_post_a_few_at_a_time_and_its_end_is_their_end() {
        let (ours, keeper) = handover::pair().unwrap();
        let (mut workers, _orders) = Workers::connect().unwrap();
        workers.way = Way::Post(Post::of(ours));
        for n in 1..=MAIL_BAG as u64 {
            assert!(workers.has_postman());
            let id = MessageId::new(n).unwrap();
            let (to, text) = (b"a@b".to_vec(), b"x".to_vec());
            workers.letter(bounce::Letter::new(id, false, to, text.clone(), text));
        }
        assert!(!workers.has_postman());
        let theirs = make(&keeper);
        assert_eq!(turn(&mut workers), []);
        assert_eq!(letters(&theirs), POSTMEN);

        // An answer, twice, and one that nobody asked for.
        for (n, qp) in [(2, 77), (2, 78), (99, 79)] {
            let answer = [&[n, 0, 0, 0, 0, 0, 0, 0, b's'][..], &[qp, 0, 0, 0]].concat();
            handover::send(&theirs, &answer, None).unwrap();
        }
        assert_eq!(turn(&mut workers), [(2, bounce::Fate::Sent(77))]);
        assert_eq!(letters(&theirs), 1);

        // What it has is lost with it; the next one gets the others.
        drop(theirs);
        let fates = turn(&mut workers);
        assert_eq!(fates.len(), POSTMEN);
        assert_eq!(count(&fates, bounce::Fate::Refused), POSTMEN);
        let theirs = make(&keeper);
        assert_eq!(turn(&mut workers), []);
        assert_eq!(letters(&theirs), POSTMEN);

        // Without a keeper there is no next one.
        drop((theirs, keeper));
        let mut fates = turn(&mut workers);
        assert_eq!(count(&fates, bounce::Fate::Refused), POSTMEN);
        fates.extend(turn(&mut workers));
        let left = MAIL_BAG - 2 * POSTMEN - 1;
        assert_eq!(count(&fates, bounce::Fate::NotStarted), left);
        assert!(workers.is_idle());
    }
}
