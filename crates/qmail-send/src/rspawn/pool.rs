//! The workers: each is a qmail-remote that does one job after the other, and may have a connection open.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use base::Bytes;
use queue::frames::Command;
use queue::remote::{self, Kept};
use queue::spawner::Ticket;
use sys::dir::Stat;
use sys::handover::{self, Patience};
use sys::poll::Wait;
use sys::signal::Signal;
use sys::spawn::Spawn;

use super::program::Program;

/// How long a worker may take to say hello.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// A worker gets no job later than this after its start: it has seen the world as it was then.
const LIFE: Duration = Duration::from_mins(1);
/// A worker without a job is sent home after this time.
const IDLE: Duration = Duration::from_secs(20);
/// The longest job: a session of qmail-remote ends after a day, and what comes before it takes minutes.
const JOB_TIME: Duration = Duration::from_hours(26);
/// How long a kept connection is thought to be open: a little shorter than it is.
const KEEP: Duration = Duration::from_millis(remote::KEEP * 1000 - 100);
/// So many idle workers with connections to other hosts are left alone; more of them are used for new hosts.
const SPARE: usize = 8;

/// What came of a job: the ticket, how many recipients it had, and qmail-remote's reports, or none if it crashed.
pub(super) struct News {
    pub(super) ticket: Ticket,
    pub(super) recipients: usize,
    pub(super) reports: Option<Bytes>,
}

/// A job that a worker has.
struct Busy {
    ticket: Ticket,
    number: u32,
    recipients: usize,
    since: Instant,
}

struct Worker {
    socket: OwnedFd,
    /// `None` once it has ended
    pid: Option<u32>,
    born: Instant,
    greeted: bool,
    busy: Option<Busy>,
    idle_since: Instant,
    /// the host of its last job, in lower case, and what it kept of it
    host: Bytes,
    kept: Kept,
}

/// How well an idle worker fits a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// it would have to close a connection that others could use
    Other,
    /// it has none
    Free,
    /// it has one to a relay, which may be the host's
    Relay,
    /// it has one to the host
    Host,
}

/// Whether a worker could not be told because it has ended.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl Worker {
    /// Starts one; it has not said hello.
    fn start(program: &Program, null: &File) -> io::Result<Worker> {
        let (ours, theirs) = handover::pair()?;
        let pid = Spawn::new(&program.path)
            .arg0("qmail-remote")
            .arg(remote::ARGUMENT)
            .fd(0, theirs.as_fd())
            .fd(1, null.as_fd())
            .fd(2, null.as_fd())
            .spawn()?;
        let now = Instant::now();
        Ok(Worker {
            socket: ours,
            pid: Some(pid),
            born: now,
            greeted: false,
            busy: None,
            idle_since: now,
            host: Bytes::new(),
            kept: Kept::None,
        })
    }

    fn kill(&self) {
        if let Some(pid) = self.pid {
            // Gone already is as good.
            let _ = sys::signal::send(pid, Signal::SIGKILL);
        }
    }

    fn is_idle(&self) -> bool {
        self.busy.is_none()
    }

    fn is_old(&self) -> bool {
        self.born.elapsed() > LIFE
    }

    fn fit(&self, host: &[u8]) -> Fit {
        let kept = if self.idle_since.elapsed() < KEEP {
            self.kept
        } else {
            Kept::None
        };
        match kept {
            Kept::None => Fit::Free,
            Kept::Host | Kept::Relay if self.host == host => Fit::Host,
            Kept::Host => Fit::Other,
            Kept::Relay => Fit::Relay,
        }
    }

    /// Reads one message. `Err`: this worker is of no more use; its job, if any, is in the news.
    fn listen(&mut self, identity: &Stat, buffer: &mut [u8]) -> Result<Option<News>, Option<News>> {
        let received = match handover::receive(&self.socket, buffer, Patience::Now) {
            Ok((count, _)) => buffer.get(..count).unwrap_or_default(),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(_) => &[],
        };
        if !self.greeted && remote::is_hello(received, identity) {
            self.greeted = true;
            return Ok(None);
        }
        let reports = match remote::read_answer(received) {
            Some((number, kept, reports))
                if self.busy.as_ref().is_some_and(|b| b.number == number) =>
            {
                self.kept = kept;
                self.idle_since = Instant::now();
                Some(reports.to_vec())
            }
            _ => None,
        };
        let fine = reports.is_some();
        let news = self.busy.take().map(|busy| News {
            ticket: busy.ticket,
            recipients: busy.recipients,
            reports,
        });
        if fine { Ok(news) } else { Err(news) }
    }
}

/// All workers of one program.
pub(super) struct Pool {
    /// `None`: it is not there any more, and only jobs that were given out are left
    program: Option<Program>,
    identity: Stat,
    null: File,
    workers: Vec<Worker>,
    /// those that are to go when their job is done
    retired: Vec<Worker>,
    buffer: Bytes,
}

impl Pool {
    /// Starts the first worker, and waits for its hello. `None`: this program does not work so.
    pub(super) fn open(program: Program) -> Option<Pool> {
        if program.is_script() {
            return None;
        }
        let identity = program.identity()?;
        let null = File::options().write(true).open("/dev/null").ok()?;
        let mut worker = Worker::start(&program, &null).ok()?;
        let mut buffer = vec![0; remote::MESSAGE_LIMIT];
        let heard = sys::poll::readable(&worker.socket, HELLO_TIME).unwrap_or(false);
        if !heard || worker.listen(&identity, &mut buffer).is_err() || !worker.greeted {
            worker.kill();
            return None;
        }
        Some(Pool {
            program: Some(program),
            identity,
            null,
            workers: vec![worker],
            retired: Vec::new(),
            buffer,
        })
    }

    /// Whether it takes jobs.
    pub(super) fn is_open(&self) -> bool {
        self.program.is_some()
    }

    /// Gives no more jobs to the workers there are.
    pub(super) fn retire(&mut self) {
        let old = std::mem::take(&mut self.workers);
        self.retired
            .extend(old.into_iter().filter(|w| !w.is_idle()));
    }

    /// Takes no more jobs, because the program is another one now. `None`: no job is left.
    pub(super) fn last_jobs(mut self) -> Option<Pool> {
        self.retire();
        self.program = None;
        (!self.retired.is_empty()).then_some(self)
    }

    /// Takes the workers of a pool that this one follows.
    pub(super) fn inherit(&mut self, mut old: Pool) {
        old.retire();
        self.retired.append(&mut old.retired);
    }

    /// Gives a job to the worker that fits it best. The frame of the job was made by `remote::encode_job`.
    ///
    /// # Errors
    /// There is no worker and none can be started, or the job cannot be handed over. Nobody has it.
    pub(super) fn give(
        &mut self,
        ticket: Ticket,
        command: &Command,
        job: &[u8],
        host: &[u8],
        message: &File,
    ) -> io::Result<()> {
        let program = self.program.clone().ok_or(io::ErrorKind::NotFound)?;
        self.workers.retain(|w| !(w.is_idle() && w.is_old()));
        loop {
            let chosen = self.choose(host);
            let is_new = chosen.is_none();
            let mut worker = match chosen.and_then(|at| self.take(at)) {
                Some(worker) => worker,
                None => Worker::start(&program, &self.null)?,
            };
            if let Err(e) = handover::send(&worker.socket, job, Some(message.as_fd())) {
                if !is_gone(&e) {
                    self.workers.push(worker);
                    return Err(e);
                }
                if is_new {
                    return Err(e);
                }
                // Another one may be there.
                continue;
            }
            worker.host = host.to_vec();
            worker.busy = Some(Busy {
                ticket,
                number: command.number,
                recipients: command.recipients.len(),
                since: Instant::now(),
            });
            self.workers.push(worker);
            return Ok(());
        }
    }

    fn take(&mut self, at: usize) -> Option<Worker> {
        (at < self.workers.len()).then(|| self.workers.swap_remove(at))
    }

    /// The best idle worker; among equals the one that worked last, so that the others may go home. `None`: start one.
    fn choose(&self, host: &[u8]) -> Option<usize> {
        let idle = || {
            let all = self.workers.iter().enumerate();
            all.filter(|(_, w)| w.is_idle())
        };
        let (at, worker) = idle().max_by_key(|(_, w)| (w.fit(host), w.idle_since))?;
        if worker.fit(host) != Fit::Other {
            return Some(at);
        }
        // The connection that has waited longest is the least useful.
        let oldest = idle().min_by_key(|(_, w)| w.idle_since)?.0;
        (idle().count() >= SPARE).then_some(oldest)
    }

    /// What it waits for, and how long at most.
    pub(super) fn waits(&self, waits: &mut Vec<Wait>) -> Option<Duration> {
        waits.extend(self.all().map(|w| Wait::readable(&w.socket)));
        self.all().next().map(|_| IDLE / 4)
    }

    fn all(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().chain(&self.retired)
    }

    /// Reads what the workers have said; `waits` are those of `waits`. Ends what has taken too long.
    pub(super) fn listen(&mut self, waits: &[Wait]) -> Vec<News> {
        let mut news = Vec::new();
        let mut ready = waits.iter().map(Wait::is_ready);
        let (identity, buffer) = (self.identity, &mut self.buffer);
        let mut hear = |worker: &mut Worker| {
            let heard = match ready.next() {
                Some(true) => worker.listen(&identity, buffer),
                _ => Ok(None),
            };
            let is_good = heard.is_ok();
            if !is_good {
                worker.kill();
            }
            news.extend(heard.unwrap_or_else(|last| last));
            is_good
        };
        self.workers.retain_mut(&mut hear);
        self.retired
            .retain_mut(|worker| hear(worker) && !worker.is_idle());
        self.workers
            .retain(|w| !w.is_idle() || w.idle_since.elapsed() < IDLE);
        for worker in self.all() {
            if worker
                .busy
                .as_ref()
                .is_some_and(|b| b.since.elapsed() > JOB_TIME)
            {
                // Its end will be in the news.
                worker.kill();
            }
        }
        news
    }

    /// A child of ours has ended: its number may be given to another process now.
    pub(super) fn ended(&mut self, pid: u32) {
        let all = self.workers.iter_mut().chain(&mut self.retired);
        for worker in all.filter(|w| w.pid == Some(pid)) {
            worker.pid = None;
        }
    }
}
