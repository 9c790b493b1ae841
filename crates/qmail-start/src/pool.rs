//! The workers: which there are, what each has in hand, who gets the next job.
//!
//! A worker serves one user id and group id, and no other, ever. It stays for a moment after its last delivery. A few of
//! one user may be at work at a time, so that one writes while others wait for the disk; one that hangs (a network
//! file system, a stopped process) keeps its own jobs only: others are started in its place.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use base::Bytes;
use qmail_local::within::Answer;
use queue::spawner::Ticket;
use sys::handover::{self, Patience};
use sys::ids::Ids;
use sys::poll::Wait;
use sys::process::End;
use sys::signal::{self, Signal};

use crate::job::Job;
use crate::letter::{self, ANSWER_LIMIT};
use crate::{qlx, worker};

/// How many workers of one user are at work at a time, those that hang aside.
///
/// Each waits for the disk with its own batch; the journal of the file system joins those that wait at the same time.
const PER_USER: usize = 4;
/// How many jobs a worker has in hand.
const IN_HAND: usize = worker::BATCH;
/// How many jobs a worker does before another takes its place.
const JOBS: u32 = 1000;
/// How long a worker rests before it is let go.
const REST: Duration = Duration::from_secs(1);
/// How many rest.
const RESTING: usize = 100;
/// A worker that has said nothing for so long hangs, or its disk does: it gets no more, and does not count.
const HANGS: Duration = Duration::from_secs(2);

/// Whose worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// News of a job.
#[derive(Debug)]
pub(crate) enum News {
    /// it is over, with this report
    Report(Bytes),
    /// it is for qmail-local
    Elsewhere(Job),
}

/// One child.
#[derive(Debug)]
struct Worker {
    pid: u32,
    owner: Owner,
    /// `None`: it is not listened to, and is expected to end
    socket: Option<OwnedFd>,
    /// it cannot be talked to, and is expected to end; what it said before counts
    broken: bool,
    in_hand: BTreeMap<Ticket, Job>,
    /// how many jobs it ever got
    given: u32,
    /// when it last said something, or got its first job
    heard: Instant,
}

impl Worker {
    fn hangs(&self) -> bool {
        !self.in_hand.is_empty() && self.heard.elapsed() > HANGS
    }

    /// Whether it counts as one that works for `owner`.
    fn serves(&self, owner: Owner) -> bool {
        let finished = self.given >= JOBS && self.in_hand.is_empty();
        self.owner == owner && self.socket.is_some() && !self.broken && !finished && !self.hangs()
    }

    fn takes_more(&self, owner: Owner) -> bool {
        self.serves(owner) && self.in_hand.len() < IN_HAND && self.given < JOBS
    }

    /// Ends it. What it had in hand is known when it has ended.
    fn kill(&mut self) {
        self.broken = true;
        // Not reaped yet, so the number is still its own.
        let _ = signal::send(self.pid, Signal::SIGKILL);
    }

    /// Ends it, and believes nothing that it has said and we have not read.
    fn condemn(&mut self) {
        self.kill();
        self.socket = None;
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Pool {
    /// what a worker has for descriptors 0 to 2
    null: File,
    /// we are root, and workers become others
    root: bool,
    /// how many workers of one user are at work
    per_user: usize,
    /// instructions for an empty .qmail
    default: Bytes,
    workers: Vec<Worker>,
    queues: BTreeMap<Owner, VecDeque<(Ticket, Job)>>,
    news: Vec<(Ticket, News)>,
    /// jobs that are over and maybe not reported: their messages are closed after that
    over: Vec<Job>,
}

impl Pool {
    pub(crate) fn new(root: bool, default: &[u8]) -> io::Result<Pool> {
        Ok(Pool {
            null: File::options().read(true).write(true).open("/dev/null")?,
            root,
            per_user: PER_USER,
            default: default.to_vec(),
            workers: Vec::new(),
            queues: BTreeMap::new(),
            news: Vec::new(),
            over: Vec::new(),
        })
    }

    /// Takes a job; `hand_out` gives it to a worker. News of it will come.
    ///
    /// It waits for the others that came with it: what a worker has delivered is reported in the next turn, and the
    /// preparation of other deliveries must not come in between.
    pub(crate) fn take(&mut self, ticket: Ticket, job: Job) {
        let owner = Owner {
            uid: job.user.uid,
            gid: job.user.gid,
        };
        let queue = self.queues.entry(owner).or_default();
        queue.push_back((ticket, job));
        if queue.len() >= IN_HAND {
            self.fill(owner);
        }
    }

    /// Hands out what was taken.
    pub(crate) fn hand_out(&mut self) {
        let owners: Vec<Owner> = self.queues.keys().copied().collect();
        for owner in owners {
            self.fill(owner);
        }
    }

    /// Hands out the jobs of one user as far as they go.
    fn fill(&mut self, owner: Owner) {
        let Some(mut queue) = self.queues.remove(&owner) else {
            return;
        };
        self.muster(owner, queue.len());
        while let Some((ticket, job)) = queue.pop_front() {
            let Some(letter) = letter::order(ticket, job.once, job.words()) else {
                self.news.push((ticket, News::Elsewhere(job)));
                continue;
            };
            match self.give(owner, &letter, ticket, job) {
                Handed::Given => {}
                Handed::Wait(job) => {
                    queue.push_front((ticket, job));
                    break;
                }
                Handed::Nobody => {
                    let text = b"Zqmail-spawn unable to fork. (#4.3.0)\n".to_vec();
                    self.news.push((ticket, News::Report(text)));
                }
            }
        }
        if !queue.is_empty() {
            self.queues.insert(owner, queue);
        }
    }

    /// Hires as many workers as `count` jobs will have, before the first of them begins.
    fn muster(&mut self, owner: Owner, count: usize) {
        let at_work = self.workers.iter().filter(|w| w.serves(owner));
        let idle = at_work.clone().filter(|w| w.in_hand.is_empty()).count();
        let room = self.per_user.saturating_sub(at_work.count());
        for _ in 0..room.min(count.saturating_sub(idle)) {
            if self.hire(owner).is_err() {
                return;
            }
        }
    }

    fn give(&mut self, owner: Owner, letter: &[u8], ticket: Ticket, job: Job) -> Handed {
        // Each turn gives the job away, loses a worker, or makes one.
        loop {
            let Some(at) = self.choose(owner) else {
                return if self.is_working(owner) {
                    Handed::Wait(job)
                } else {
                    Handed::Nobody
                };
            };
            let Some(worker) = self.workers.get_mut(at) else {
                return Handed::Wait(job);
            };
            let Some(socket) = &worker.socket else {
                return Handed::Wait(job);
            };
            match handover::send(socket, letter, Some(job.message.as_fd())) {
                Ok(()) => {
                    if worker.in_hand.is_empty() {
                        worker.heard = Instant::now();
                    }
                    worker.given += 1;
                    worker.in_hand.insert(ticket, job);
                    return Handed::Given;
                }
                // The socket is full: its jobs come first.
                Err(e) if sys::is_temporary(&e) && !worker.in_hand.is_empty() => {
                    return Handed::Wait(job);
                }
                // It has ended, or cannot be talked to. This job never reached it.
                Err(_) => worker.kill(),
            }
        }
    }

    /// The worker for the next job of `owner`: one that has nothing to do; else a new one; else the one with the
    /// fewest jobs. `None`: all have enough.
    fn choose(&mut self, owner: Owner) -> Option<usize> {
        let workers = self.workers.iter().enumerate();
        let least = workers
            .filter(|(_, worker)| worker.takes_more(owner))
            .min_by_key(|(_, worker)| worker.in_hand.len())
            .map(|(at, worker)| (at, worker.in_hand.len()));
        let at_work = self.workers.iter().filter(|w| w.serves(owner)).count();
        match least {
            Some((at, 0)) => Some(at),
            Some((at, _)) if at_work >= self.per_user => Some(at),
            None if at_work >= self.per_user => None,
            least => match self.hire(owner) {
                Ok(at) => Some(at),
                Err(_) => least.map(|(at, _)| at),
            },
        }
    }

    /// Whether somebody will come back for the queue of `owner`.
    fn is_working(&self, owner: Owner) -> bool {
        self.workers
            .iter()
            .any(|w| w.owner == owner && !w.in_hand.is_empty())
    }

    /// A new worker. Returns its place.
    fn hire(&mut self, owner: Owner) -> io::Result<usize> {
        let (ours, theirs) = handover::pair()?;
        let ids = self.root.then(|| Ids::new(owner.uid, owner.gid));
        let default = &self.default;
        let pid = handover::fork_with_only(&theirs, &self.null, |socket| {
            worker::serve(&socket, ids.as_ref(), default)
        })?;
        self.workers.push(Worker {
            pid,
            owner,
            socket: Some(ours),
            broken: false,
            in_hand: BTreeMap::new(),
            given: 0,
            heard: Instant::now(),
        });
        Ok(self.workers.len() - 1)
    }

    /// Adds the sockets of all workers to `waits`. Returns when to look again at the latest.
    pub(crate) fn waits(&self, waits: &mut Vec<Wait>) -> Option<Duration> {
        waits.extend(
            self.workers
                .iter()
                .filter_map(|w| w.socket.as_ref())
                .map(Wait::readable),
        );
        if !self.news.is_empty() {
            return Some(Duration::ZERO);
        }
        self.workers
            .iter()
            .filter(|w| w.socket.is_some())
            .filter_map(|w| {
                let limit = if w.in_hand.is_empty() { REST } else { HANGS };
                let left = limit.saturating_sub(w.heard.elapsed());
                // Of those that hang we know already.
                (w.in_hand.is_empty() || !left.is_zero()).then_some(left)
            })
            .min()
            .map(|left| left + Duration::from_millis(1))
    }

    /// One turn: answers come in, jobs go out, who has rested leaves.
    pub(crate) fn advance(&mut self, waits: &[Wait]) -> Vec<(Ticket, News)> {
        let ready: Vec<bool> = waits.iter().map(Wait::is_ready).collect();
        let mut ready = ready.into_iter();
        for worker in self.workers.iter_mut().filter(|w| w.socket.is_some()) {
            if ready.next() == Some(true) {
                listen(worker, &mut self.news, &mut self.over);
            }
        }
        self.hand_out();
        self.let_go();
        std::mem::take(&mut self.news)
    }

    /// Ends the service of those that have done enough or have nothing to do.
    fn let_go(&mut self) {
        let mut resting = 0;
        // From the youngest: the one hired last is most likely to be needed again.
        for worker in self.workers.iter_mut().rev() {
            if worker.socket.is_none() || worker.broken || !worker.in_hand.is_empty() {
                continue;
            }
            resting += 1;
            if worker.given >= JOBS || resting > RESTING || worker.heard.elapsed() >= REST {
                // It sees the end of its orders, and leaves.
                worker.socket = None;
            }
        }
    }

    /// All news have been reported.
    pub(crate) fn reported(&mut self) {
        self.over.clear();
    }

    /// A child has ended. Whatever it had in hand and did not answer is in doubt, and comes again.
    pub(crate) fn ended(&mut self, pid: u32, end: End) {
        let Some(at) = self.workers.iter().position(|w| w.pid == pid) else {
            return;
        };
        let mut worker = self.workers.swap_remove(at);
        listen(&mut worker, &mut self.news, &mut self.over);
        let text = qlx::lost(end);
        for (ticket, job) in worker.in_hand {
            self.news.push((ticket, News::Report(text.clone())));
            self.over.push(job);
        }
        self.fill(worker.owner);
    }
}

/// What became of a job that was to be handed out.
enum Handed {
    Given,
    Wait(Job),
    /// there is no worker and none can be made
    Nobody,
}

/// Takes the answers of one worker. Any bytes may come: one that answers what it was not asked is ended.
fn listen(worker: &mut Worker, news: &mut Vec<(Ticket, News)>, over: &mut Vec<Job>) {
    let mut buffer = [0; ANSWER_LIMIT];
    while let Some(socket) = &worker.socket {
        let (count, fd) = match handover::receive(socket, &mut buffer, Patience::Now) {
            Ok(received) => received,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            // It ended with orders unread. That is said once; its answers come after it.
            Err(e) if e.kind() == ErrorKind::ConnectionReset => continue,
            // It talks too much.
            Err(_) => (0, None),
        };

        let letter = buffer.get(..count).unwrap_or_default();
        let answered = match (fd, letter::read_answer(letter)) {
            (None, Some((ticket, answer))) => worker
                .in_hand
                .remove(&ticket)
                .map(|job| (ticket, job, answer)),
            _ => None,
        };
        let Some((ticket, job, answer)) = answered else {
            worker.condemn();
            return;
        };
        worker.heard = Instant::now();
        news.push(match answer {
            Answer::Over { code, text } => {
                over.push(job);
                (ticket, News::Report(qlx::report(End::Exit(code), &text)))
            }
            Answer::NotHere => (ticket, News::Elsewhere(job)),
        });
        if worker.in_hand.is_empty() {
            // Whatever else it says was not asked for, and is found in the next turn.
            return;
        }
    }
}

#[cfg(test)]
mod tests;
