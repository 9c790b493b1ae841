//! The common loop of qmail-lspawn and qmail-rspawn: take commands, start one program per recipient, report.
//!
//! The two differ in a [`Deliver`]: how a program is started and what its end means. Everything that reads from
//! qmail-send or from the queue is here.
//!
//! Protocol   first one byte: how many deliveries may run at a time. Then commands come on descriptor 0: one byte
//!            delivery number, message name below `mess` NUL, sender NUL, recipient NUL; answers go to descriptor 1: the
//!            delivery number, a text that begins with K, Z or D, NUL. A qmail-send of ours asks for frames first, see
//!            [`crate::frames`]: more deliveries at a time, several recipients in one.
//! Ends       when descriptor 0 has ended and the last delivery has been reported.
//!
//! Source  qmail-lspawn(8), qmail-rspawn(8), docs/decisions/0006-spawner-protocol.md

mod command;
mod job;
mod process;
mod speech;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use base::bytes::rsplit_once;
use base::{Bytes, Die};
use sys::poll::Wait;
use sys::process::End;
use sys::signal::Signal;
use sys::{Dir, Stat};

use crate::frames::{Attempt, Command};
use job::{Job, Unit};
use process::Process;
use speech::Speech;

/// The most deliveries at a time in the classic protocol (conf-spawn of the original); it must fit into one byte.
pub const CONCURRENCY: u8 = 120;
/// The longest name of a message, bytes with its NUL.
const NAME_LIMIT: usize = 100;
/// The longest address that is taken, bytes: an address of the queue (1003) with prefix and VERP, and room.
const FIELD_LIMIT: usize = 16 * 1024;
/// Bytes read at once from qmail-send.
const PIECE: usize = 16 * 1024;
/// How long to rest when the kernel cannot even wait for us.
const REST: Duration = Duration::from_secs(1);
/// The longest wait: a day, only so that it has an end.
const LONGEST: Duration = Duration::from_hours(24);

/// Names one piece of work: a message and the recipients that go together. No two have the same in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A message and who shall have it.
#[derive(Debug)]
pub struct Work<'a> {
    /// stands at the start of the message; an open file of its own
    pub message: File,
    /// what the kernel says of it
    pub stat: Stat,
    /// the envelope sender, without NUL
    pub sender: &'a [u8],
    /// which attempt it is, if qmail-send said so and there is one recipient
    pub attempt: Option<Attempt>,
    /// 1 to `Deliver::batch` recipients, without NUL, each with an `@`
    pub recipients: &'a [Bytes],
}

/// Where a piece of work stands.
#[derive(Debug)]
pub enum Step {
    /// this process is at work; the loop collects what comes out of `output`, waits for its end and asks for the
    /// reports
    Process {
        /// its process id
        pid: u32,
        /// where its descriptors 1 and 2 go
        output: OwnedFd,
    },
    /// it is over: a text for each recipient, or one for all, beginning with K, Z or D
    Done(Vec<Bytes>),
    /// the [`Deliver`] has it in its own hands, and will tell from `advance`
    Later,
}

impl Step {
    /// One text for all recipients.
    pub fn done(text: impl Into<Bytes>) -> Step {
        Step::Done(vec![text.into()])
    }
}

/// What a spawner does for its recipients.
///
/// The simplest one starts a process for each recipient: `start` and `report`. One that takes several recipients in
/// one process says so with `batch`, `start_batch` and `reports`. One that delivers by itself begins and advances.
pub trait Deliver {
    /// How many bytes of a program's output are kept; the rest is read and dropped.
    fn output_limit(&self) -> usize;

    /// What stands at the end of an output that was cut; it counts toward the limit.
    fn cut_note(&self) -> &'static [u8] {
        b""
    }

    /// How many deliveries may run at a time, for a qmail-send that can count further than one byte.
    fn limit(&self) -> u32 {
        u32::from(CONCURRENCY)
    }

    /// How many recipients of one message go together.
    fn batch(&self) -> usize {
        1
    }

    /// Starts the program for one recipient and returns its process id.
    ///
    /// Shape   `message` stands at the start of the message; `report` is where the program's descriptors 1 and 2 go;
    ///         `at` is where the last `@` stands in `recipient`. Neither address holds a NUL.
    ///
    /// # Errors
    /// The text to report instead, beginning with K, Z or D.
    fn start(
        &mut self,
        message: File,
        report: OwnedFd,
        sender: &[u8],
        recipient: &[u8],
        at: usize,
    ) -> Result<u32, Bytes> {
        let _ = (message, report, sender, recipient, at);
        Err(b"ZInternal error: nothing to start. (#4.3.5)\n".to_vec())
    }

    /// Starts the program for several recipients. Without `batch`, there is one.
    ///
    /// # Errors
    /// As `start`; the text counts for all.
    fn start_batch(
        &mut self,
        message: File,
        report: OwnedFd,
        sender: &[u8],
        recipients: &[Bytes],
    ) -> Result<u32, Bytes> {
        match recipients {
            [recipient] => {
                let at = rsplit_once(recipient, b'@').map_or(recipient.len(), |(l, _)| l.len());
                self.start(message, report, sender, recipient, at)
            }
            _ => Err(b"ZInternal error: one recipient at a time. (#4.3.5)\n".to_vec()),
        }
    }

    /// What to tell qmail-send of a program that ended: a letter K, Z or D and a text. What comes after a NUL is
    /// dropped.
    fn report(&self, end: End, output: &[u8]) -> Bytes;

    /// As `report`, for a program that had several recipients: a text for each, or one for all.
    fn reports(&self, end: End, output: &[u8], recipients: usize) -> Vec<Bytes> {
        let _ = recipients;
        vec![self.report(end, output)]
    }

    /// Begins a piece of work: by starting its process, unless a spawner knows better.
    fn begin(&mut self, ticket: Ticket, work: Work<'_>) -> Step {
        let _ = ticket;
        let Ok((output, report)) = sys::fd::pipe() else {
            return Step::done(b"Zqmail-spawn unable to create pipe. (#4.3.0)\n");
        };
        match self.start_batch(work.message, report, work.sender, work.recipients) {
            Ok(pid) => Step::Process { pid, output },
            Err(text) => Step::Done(vec![text]),
        }
    }

    /// Adds what the spawner itself waits for, and says how long it wants to wait at most.
    fn waits(&self, waits: &mut Vec<Wait>) -> Option<Duration> {
        let _ = waits;
        None
    }

    /// One turn of its own: `waits` are those that it added, after the wait. Returns news of work that is in its own
    /// hands; each piece of work gets `Done` or `Process` once.
    fn advance(&mut self, waits: &[Wait]) -> Vec<(Ticket, Step)> {
        let _ = waits;
        Vec::new()
    }

    /// qmail-send has been told of all that is over: what was kept of it may go.
    fn reported(&mut self) {}

    /// A child that is no `Process` of the loop has ended.
    fn ended(&mut self, pid: u32, end: End) {
        let _ = (pid, end);
    }
}

/// Who may own a message: the queue's own user. Without root the whole suite may run as one user, so that one too; and
/// a root without such users has only itself.
fn trusted_owners() -> Vec<u32> {
    let [.., qmailq, _, _] = control::owners::user_names();
    let own = sys::ids::euid();
    match sys::users::local(qmailq.as_bytes()) {
        Ok(Some(account)) if own == 0 => vec![account.uid],
        Ok(Some(account)) => vec![account.uid, own],
        Ok(None) | Err(_) => vec![own],
    }
}

/// A spawner at work.
struct Spawner<D> {
    deliver: D,
    mess: Dir,
    owners: Vec<u32>,
    /// `None` once qmail-send has closed it
    input: Option<OwnedFd>,
    /// `None` once nobody reads it: deliveries go on, nobody is told
    output: Option<OwnedFd>,
    /// what goes out at the end of the turn
    answers: Bytes,
    speech: Speech,
    /// by delivery number
    jobs: BTreeMap<u32, Job>,
    /// the parts of the jobs that are not over
    units: BTreeMap<Ticket, Unit>,
    /// those of them that are processes of ours
    processes: BTreeMap<Ticket, Process>,
    next: u64,
}

impl<D: Deliver> Spawner<D> {
    /// Writes to qmail-send; when it is gone, never again.
    fn flush(&mut self) {
        if let Some(fd) = &self.output
            && !self.answers.is_empty()
            && sys::fd::write_all(fd, &self.answers).is_err()
        {
            self.output = None;
        }
        self.answers.clear();
    }

    /// Reports a job, all of it with the same text.
    fn refuse(&mut self, command: &Command, text: &[u8]) {
        let texts = vec![text.to_vec(); command.recipients.len()];
        self.speech
            .report(command.number, &texts, &mut self.answers);
    }

    /// Opens a message afresh, so that each delivery has its own place in it.
    fn open(&self, name: &[u8]) -> Result<(File, Stat), &'static str> {
        let message = self
            .mess
            .open_read(name)
            .map_err(|_| "Zqmail-spawn unable to open message. (#4.3.0)\n")?;
        let stat = sys::dir::stat_fd(&message)
            .map_err(|_| "Zqmail-spawn unable to fstat message. (#4.3.0)\n")?;
        if !stat.is_file() {
            return Err("ZSorry, message has wrong type. (#4.3.5)\n");
        }
        if !self.owners.contains(&stat.uid) {
            return Err("ZSorry, message has wrong owner. (#4.3.5)\n");
        }
        Ok((message, stat))
    }

    /// Whether a command makes sense at all.
    fn check(&self, command: &Command) -> Result<(), &'static str> {
        let fits = |field: &Bytes| field.len() <= FIELD_LIMIT;
        if !fits(&command.message) || !fits(&command.sender) || !command.recipients.iter().all(fits)
        {
            return Err("Zqmail-spawn out of memory. (#4.3.0)\n");
        }
        if command.number >= self.speech.limit(&self.deliver) {
            return Err("ZInternal error: delnum too big. (#4.3.5)\n");
        }
        if self.jobs.contains_key(&command.number) {
            return Err("ZInternal error: delnum in use. (#4.3.5)\n");
        }
        let name = &command.message;
        let slash_first = name.first() == Some(&b'/');
        if slash_first || !name.iter().all(|&b| b.is_ascii_digit() || b == b'/') {
            return Err("DInternal error: messid has nonnumerics. (#5.3.5)\n");
        }
        if name.len() >= NAME_LIMIT {
            return Err("DInternal error: messid too long. (#5.3.5)\n");
        }
        if name.is_empty() {
            return Err("DInternal error: messid too short. (#5.3.5)\n");
        }
        Ok(())
    }

    /// Starts one job.
    fn start(&mut self, command: Command) {
        if let Err(text) = self.check(&command) {
            self.refuse(&command, text.as_bytes());
            return;
        }
        let number = command.number;
        self.jobs.insert(number, Job::new(command.recipients.len()));
        let attempt = match command.recipients.len() {
            1 => command.attempt,
            _ => None,
        };
        let (whole, broken): (Vec<_>, Vec<_>) = command
            .recipients
            .into_iter()
            .enumerate()
            .partition(|(_, recipient)| recipient.contains(&b'@'));
        if !broken.is_empty() {
            let unit = Unit {
                number,
                places: broken.into_iter().map(|(place, _)| place).collect(),
            };
            let text = b"DSorry, address must include host name. (#5.1.3)\n";
            self.note(&unit, vec![text.to_vec()]);
        }
        for group in whole.chunks(self.deliver.batch().max(1)) {
            let (places, recipients): (Vec<usize>, Vec<Bytes>) = group.iter().cloned().unzip();
            self.begin(
                Unit { number, places },
                &command.message,
                (&command.sender, attempt),
                &recipients,
            );
        }
    }

    fn begin(
        &mut self,
        unit: Unit,
        name: &[u8],
        (sender, attempt): (&[u8], Option<Attempt>),
        recipients: &[Bytes],
    ) {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.units.insert(ticket, unit);
        let step = match self.open(name) {
            Err(text) => Step::done(text),
            Ok((message, stat)) => {
                let work = Work {
                    message,
                    stat,
                    sender,
                    attempt,
                    recipients,
                };
                self.deliver.begin(ticket, work)
            }
        };
        self.step(ticket, step);
    }

    fn step(&mut self, ticket: Ticket, step: Step) {
        match step {
            Step::Later => {}
            Step::Process { pid, output } => {
                if self.units.contains_key(&ticket) {
                    self.processes.insert(ticket, Process::new(pid, output));
                }
            }
            Step::Done(texts) => {
                if let Some(unit) = self.units.remove(&ticket) {
                    self.note(&unit, texts);
                }
            }
        }
    }

    /// Notes the end of a part of a job, and reports the job if that was the last.
    fn note(&mut self, unit: &Unit, texts: Vec<Bytes>) {
        let Some(job) = self.jobs.get_mut(&unit.number) else {
            return;
        };
        job.note(&unit.places, &texts);
        if let Some(texts) = job.finished() {
            self.speech.report(unit.number, &texts, &mut self.answers);
            self.jobs.remove(&unit.number);
        }
    }

    /// Reads what came from qmail-send and does it.
    fn obey(&mut self) {
        let Some(input) = &self.input else { return };
        let mut piece = [0; PIECE];
        match sys::fd::read(input, &mut piece) {
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Ok(0) | Err(_) => self.input = None,
            Ok(count) => {
                self.speech.feed(piece.get(..count).unwrap_or_default());
                self.obey_all();
            }
        }
    }

    fn obey_all(&mut self) {
        loop {
            match self.speech.next_order() {
                Ok(None) => return,
                Ok(Some(speech::Order::Deliver(command))) => self.start(command),
                // In the middle of classic deliveries nobody of ours asks.
                Ok(Some(speech::Order::Probe(command))) if !self.jobs.is_empty() => {
                    self.refuse(&command, b"ZInternal error: delnum too big. (#4.3.5)\n");
                }
                Ok(Some(speech::Order::Probe(_))) => {
                    let limit = self.deliver.limit();
                    self.answers
                        .extend_from_slice(&crate::frames::answer(limit));
                    self.speech.extend();
                }
                // Nothing that comes after this can be understood.
                Err(_) => {
                    self.input = None;
                    return;
                }
            }
        }
    }

    /// Notes which programs have ended, if one has.
    fn reap(&mut self) {
        if !sys::signal::pending(Signal::SIGCHLD) {
            return;
        }
        while let Some((pid, end)) = sys::process::ended() {
            match self.processes.values_mut().find(|p| p.is(pid)) {
                Some(process) => process.end = Some(end),
                None => self.deliver.ended(pid, end),
            }
        }
    }

    /// Notes the reports of deliveries that are over: the program has ended and nobody can write to its report any more.
    /// Returns their processes.
    fn finish(&mut self) -> Vec<(Ticket, Process)> {
        let over = self.processes.extract_if(.., |_, p| p.is_over());
        let over: Vec<(Ticket, Process)> = over.collect();
        for (ticket, process) in &over {
            let Some(unit) = self.units.remove(ticket) else {
                continue;
            };
            // `is_over` has seen the end.
            let end = process.end.unwrap_or(End::Signal(0));
            let texts = self
                .deliver
                .reports(end, &process.output, unit.places.len());
            self.note(&unit, texts);
        }
        over
    }

    /// One turn: wait, then do all that can be done. `false`: nothing is left to do.
    fn turn(&mut self) -> io::Result<bool> {
        let wake = sys::signal::wake()?;
        self.reap();
        let over = self.finish();
        // A crash before this would make the deliveries again: what is left of them is cleared away after it.
        self.flush();
        drop(over);
        self.deliver.reported();
        if self.input.is_none() && self.jobs.is_empty() {
            return Ok(false);
        }
        let mut waits = vec![Wait::readable(&wake)];
        waits.extend(self.input.iter().map(Wait::readable));
        let first_process = waits.len();
        let open: Vec<Ticket> = self
            .processes
            .iter()
            .filter_map(|(&ticket, process)| {
                waits.push(Wait::readable(process.pipe()?));
                Some(ticket)
            })
            .collect();
        let first_own = waits.len();
        let longest = self.deliver.waits(&mut waits).unwrap_or(LONGEST);
        sys::poll::wait(&mut waits, Some(longest.min(LONGEST)))?;
        if waits.first().is_some_and(Wait::is_ready) {
            sys::signal::woken();
        }

        let (limit, note) = (self.deliver.output_limit(), self.deliver.cut_note());
        for (wait, ticket) in waits.iter().skip(first_process).zip(open) {
            if wait.is_ready()
                && let Some(process) = self.processes.get_mut(&ticket)
            {
                process.collect(limit, note);
            }
        }
        // Ends before news: what a child wrote last is read after it is known to have ended.
        self.reap();
        let own = waits.get(first_own..).unwrap_or_default();
        for (ticket, step) in self.deliver.advance(own) {
            self.step(ticket, step);
        }
        if self.input.is_some() && waits.get(1).is_some_and(Wait::is_ready) {
            self.flush();
            self.obey();
            for (ticket, step) in self.deliver.advance(&[]) {
                self.step(ticket, step);
            }
        }
        Ok(true)
    }
}

/// Runs a spawner in home, on descriptors 0 and 1, to its end.
///
/// # Errors
/// No queue, no way to catch signals: 111, silently, as the original.
pub fn run(deliver: impl Deliver) -> Result<(), Die> {
    let broken = |_| Die::silent(base::die::TEMPORARY);
    let mess = Dir::open("queue/mess").map_err(broken)?;
    sys::signal::ignore(Signal::SIGPIPE).map_err(broken)?;
    sys::signal::wake().map_err(broken)?;
    sys::signal::catch(Signal::SIGCHLD).map_err(broken)?;
    sys::signal::unblock(Signal::SIGCHLD).map_err(broken)?;
    let mut spawner = Spawner {
        deliver,
        mess,
        owners: trusted_owners(),
        input: sys::fd::take(0).ok(),
        output: sys::fd::take(1).ok(),
        answers: vec![CONCURRENCY],
        speech: Speech::default(),
        jobs: BTreeMap::new(),
        units: BTreeMap::new(),
        processes: BTreeMap::new(),
        next: 0,
    };
    loop {
        match spawner.turn() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // The next wait will see that a signal came, and end at once.
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => std::thread::sleep(REST),
        }
    }
}

/// Starts `program` as both spawners do: message on 0, report on 1 and 2.
pub fn plumb<'a>(
    program: sys::spawn::Spawn<'a>,
    message: &'a File,
    report: &'a OwnedFd,
) -> sys::spawn::Spawn<'a> {
    program
        .fd(0, message.as_fd())
        .fd(1, report.as_fd())
        .fd(2, report.as_fd())
}
