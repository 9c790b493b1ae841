//! Threads that do what waits: for the disk, or for qmail-queue. The loop gives them work and never waits for them.
//!
//! Nothing here forks: children are started by `sys::spawn` only, whose child touches nothing but its own stack.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::names::{Layout, MessageId};
use sys::Dir;

use super::bounce;
use super::convert::{self, Conversion};
use super::plan::{Plan, Ticket};
use super::settle::{self, Unsettled};

/// Bounces that are sent at a time.
const POSTMEN: usize = 4;
/// Bounces that may wait for one of them.
const MAIL_BAG: usize = 16;

/// Work for the disk.
pub(crate) enum Chore {
    /// make messages' classic files, durably
    Convert(Vec<Conversion>),
    /// make marks and removals durable
    Settle(Unsettled),
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
struct Results {
    sender: Sender<Done>,
    bell: Arc<OwnedFd>,
}

impl Results {
    fn give(&self, done: Done) {
        // Without a reader the program is at its end.
        let _ = self.sender.send(done);
        let _ = sys::fd::write(self.bell.as_ref(), &[0]);
    }
}

/// The threads.
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

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Workers({}, {})", self.chores, self.letters)
    }
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    /// No thread, no pipe, no queue.
    pub(crate) fn start(layout: Layout) -> io::Result<Workers> {
        let (bell, ringer) = sys::fd::pipe()?;
        sys::fd::nonblocking(&bell, true)?;
        sys::fd::nonblocking(&ringer, true)?;
        let (sender, results) = channel();
        let results_to = Results {
            sender,
            bell: Arc::new(ringer),
        };
        let (disk, chores) = channel();
        let queue = Dir::open("queue")?;
        let to = results_to.clone();
        std::thread::Builder::new().spawn(move || keep_disk(&queue, layout, &chores, &to))?;
        let (post, letters) = channel();
        let letters = Arc::new(Mutex::new(letters));
        for _ in 0..POSTMEN {
            let (letters, to) = (Arc::clone(&letters), results_to.clone());
            let queue = Dir::open("queue")?;
            std::thread::Builder::new().spawn(move || carry(&queue, layout, &letters, &to))?;
        }
        Ok(Workers {
            disk,
            post,
            results,
            bell,
            ticket: None,
            chores: 0,
            letters: 0,
        })
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

    /// What has been done since the last time; waits for the first at most `wait`.
    pub(crate) fn done(&mut self, wait: Duration) -> Vec<Done> {
        let mut bytes = [0; 256];
        let _ = sys::fd::read(&self.bell, &mut bytes);
        let first = if wait.is_zero() {
            self.results.try_recv().ok()
        } else {
            self.results.recv_timeout(wait).ok()
        };
        let all: Vec<Done> = first.into_iter().chain(self.results.try_iter()).collect();
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

fn keep_disk(queue: &Dir, layout: Layout, chores: &Receiver<Chore>, to: &Results) {
    while let Ok(chore) = chores.recv() {
        match chore {
            Chore::Convert(all) => {
                for (id, result) in convert::all(queue, layout, all) {
                    to.give(Done::Converted(id, result));
                }
            }
            Chore::Settle(unsettled) => to.give(Done::Settled(settle::settle(queue, unsettled))),
        }
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

/// An open regular file of the queue.
///
/// # Errors
/// Also when it is not a regular file.
pub(crate) fn regular(file: File) -> io::Result<File> {
    if sys::dir::stat_fd(&file)?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
