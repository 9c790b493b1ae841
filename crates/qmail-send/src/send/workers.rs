//! Threads that do what waits: for the disk, or for qmail-queue. The loop gives them work and never waits for them.
//!
//! Nothing here forks: children are started by `sys::spawn` only, whose child touches nothing but its own stack.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use queue::names::{Layout, MessageId};
use sys::Dir;

use super::bounce;
use super::convert::{self, Conversion};
use super::files::Files;
use super::plan::{Plan, Ticket};
use super::settle::{self, Unsettled};

/// Bounces that are sent at a time.
const POSTMEN: usize = 4;
/// Bounces that may wait for one of them.
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
                for (id, result) in convert::all(queue, layout, all) {
                    give(Done::Converted(id, result));
                }
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

/// The threads, as the loop sees them.
pub(crate) struct Workers {
    disk: Sender<Chore>,
    post: Sender<bounce::Letter>,
    results: Receiver<Done>,
    bell: OwnedFd,
    ticket: Option<Ticket>,
    /// chores and letters without a result
    chores: usize,
    letters: usize,
}

/// The queue, once for each thread.
#[derive(Debug)]
pub(crate) struct Queues {
    disk: Dir,
    post: Vec<Dir>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workers({}, {})", self.chores, self.letters)
    }
}

impl Workers {
    /// The queue as each thread holds it. To be opened before the promises, which keep its directory closed.
    pub(crate) fn open_queues() -> io::Result<Queues> {
        let disk = Dir::open("queue")?;
        let post = (0..POSTMEN).map(|_| Dir::open("queue"));
        Ok(Queues {
            disk,
            post: post.collect::<io::Result<Vec<Dir>>>()?,
        })
    }

    /// Starts them.
    ///
    /// # Errors
    /// No thread, no pipe.
    pub(crate) fn start(layout: Layout, queues: Queues) -> io::Result<Workers> {
        let (workers, orders) = Workers::connect()?;
        let queue = queues.disk;
        let to = orders.results.clone();
        let chores = orders.chores;
        std::thread::Builder::new().spawn(move || {
            while let Ok(chore) = chores.recv() {
                chore.run(&queue, layout, |done| to.give(done));
            }
        })?;
        let letters = Arc::new(Mutex::new(orders.letters));
        for queue in queues.post {
            let (letters, to) = (Arc::clone(&letters), orders.results.clone());
            std::thread::Builder::new().spawn(move || carry(&queue, layout, &letters, &to))?;
        }
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
            post,
            results,
            bell,
            ticket: None,
            chores: 0,
            letters: 0,
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

    /// Whether one more bounce would be sent soon.
    pub(crate) fn has_postman(&self) -> bool {
        self.letters < MAIL_BAG
    }

    /// Whether a bounce is being sent.
    pub(crate) fn is_posting(&self) -> bool {
        self.letters > 0
    }

    /// Sends a bounce.
    pub(crate) fn letter(&mut self, letter: bounce::Letter) {
        self.letters += 1;
        let _ = self.post.send(letter);
    }

    /// Whether nothing is being done.
    pub(crate) fn is_idle(&self) -> bool {
        self.chores + self.letters == 0
    }

    /// How much waits for the disk.
    pub(crate) fn chores(&self) -> usize {
        self.chores
    }

    pub(crate) fn prepare(&mut self, plan: &mut Plan) {
        self.ticket = Some(plan.readable(&self.bell));
    }

    /// What has been done since the last time.
    pub(crate) fn done(&mut self) -> Vec<Done> {
        let mut bytes = [0; 256];
        let _ = sys::fd::read(&self.bell, &mut bytes);
        let all: Vec<Done> = self.results.try_iter().collect();
        for done in &all {
            match done {
                Done::Bounced(..) => self.letters -= 1,
                Done::Converted(..) | Done::Settled(_) => self.chores -= 1,
            }
        }
        all
    }

    /// Whether results may be there.
    pub(crate) fn has_rung(&self, plan: &Plan) -> bool {
        plan.is_ready(self.ticket)
    }
}

fn carry(queue: &Dir, layout: Layout, letters: &Mutex<Receiver<bounce::Letter>>, to: &Results) {
    loop {
        let next = match letters.lock() {
            Ok(letters) => letters.recv(),
            Err(_) => return,
        };
        let Ok(letter) = next else { return };
        let fate = letter.send(queue, layout);
        to.give(Done::Bounced(letter.id, fate));
    }
}
