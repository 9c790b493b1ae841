//! Deliveries: starting them, and what their reports mean.
//!
//! Source  qmail-send(8), qmail-log(5); docs/decisions/0006-spawner-protocol.md, 0016-delivered-once.md

mod reports;

use std::fmt::Write;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use base::Bytes;
use queue::frames::{self, Attempt, Past};
use queue::names::MessageId;

use super::bounce;
use super::channel::{BOTH, Channel, Pair};
use super::comm::{self, Comm};
use super::desk::Desk;
use super::jobs::{self, JobNumber};
use super::lane::{Batch, DestNumber, Verdict};
use super::log::safe;
use super::plan::{Plan, Ticket};
use super::settle;
use reports::{Report, Reports};

/// Bytes read at once from a spawner.
const PIECE: usize = 16 * 1024;
/// What is added to the deferral that becomes a failure.
const TOO_LONG: &[u8] =
    b"I'm not going to try again; this message has been in the queue too long.\n";
/// How long a spawner may take to say which protocol it speaks, seconds; after that, the classic one.
const QUESTION_WAIT: i64 = 60;
/// The most deliveries of one channel, whatever the control file and the spawner say.
const PLACES_LIMIT: usize = 100_000;

/// A recipient of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipient {
    /// where its record stands
    pub(crate) at: u64,
    pub(crate) address: Bytes,
}

/// One running delivery.
#[derive(Debug)]
struct Delivery {
    destination: DestNumber,
    /// the number of its first recipient in the log; the others follow
    number: u64,
    batch: Batch,
}

/// How to talk to a spawner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// it has been asked, then
    Asked(i64),
    Classic,
    Extended,
}

/// The deliveries of one channel.
#[derive(Debug)]
struct Side {
    /// `None`: the spawner is gone
    from: Option<OwnedFd>,
    reports: Reports,
    speech: Speech,
    /// what the control file allows
    wanted: usize,
    places: Vec<Option<Delivery>>,
    /// numbers of places that are free, the next one last
    free: Vec<usize>,
    ticket: Option<Ticket>,
}

impl Side {
    fn resize(&mut self, able: usize) {
        let count = self.wanted.min(able).min(PLACES_LIMIT);
        self.places = (0..count).map(|_| None).collect();
        self.free = (0..count).rev().collect();
    }

    fn used(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// All deliveries.
#[derive(Debug)]
pub(crate) struct Deliveries {
    sides: Pair<Side>,
    /// when qmail-clean was asked whether it is there; nothing starts before it has answered
    clean_asked: Option<i64>,
    next_number: u64,
    /// reports came in this turn
    heard: bool,
}

impl Deliveries {
    /// `from` are the spawners' reports, `wanted` how many deliveries may run, `able` how many a classic spawner can.
    pub(crate) fn new(from: Pair<OwnedFd>, wanted: &Pair<u64>, able: &Pair<u8>) -> Deliveries {
        let mut channels = BOTH.into_iter();
        let sides = from.map(|fd| {
            let channel = channels.next().unwrap_or(Channel::Remote);
            let mut side = Side {
                from: Some(fd),
                reports: Reports::default(),
                speech: Speech::Classic,
                wanted: usize::try_from(*wanted.of(channel)).unwrap_or(usize::MAX),
                places: Vec::new(),
                free: Vec::new(),
                ticket: None,
            };
            side.resize((*able.of(channel)).into());
            side
        });
        Deliveries {
            sides,
            clean_asked: None,
            next_number: 1,
            heard: false,
        }
    }

    /// Starts nothing until `clean_is_there`.
    pub(crate) fn wait_for_clean(&mut self, now: i64) {
        self.clean_asked = Some(now);
    }

    /// qmail-clean has answered.
    pub(crate) fn clean_is_there(&mut self) {
        self.clean_asked = None;
    }

    /// Asks the spawners whether they speak the extended protocol. Nothing starts before they have answered.
    pub(crate) fn ask(&mut self, comm: &mut Comm, now: i64) {
        for channel in BOTH {
            comm.write(channel, &frames::probe());
            self.sides.of_mut(channel).speech = Speech::Asked(now);
        }
    }

    /// `status: local 0/10 remote 0/20`
    pub(crate) fn log_status(&self, desk: &mut Desk) {
        let mut text = "status:".to_owned();
        for channel in BOTH {
            let side = self.sides.of(channel);
            let (name, limit) = (channel.name(), side.places.len());
            let _ = write!(text, " {name} {}/{limit}", side.used());
        }
        if desk.is_stopping {
            text.push_str(" exitasap");
        }
        desk.log.line(text);
    }

    /// Whether nothing runs whose report could still come.
    pub(crate) fn can_exit(&self) -> bool {
        BOTH.iter().all(|&c| {
            let side = self.sides.of(c);
            side.from.is_none() || side.used() == 0
        })
    }

    /// How many deliveries of a channel can run.
    pub(crate) fn limit(&self, channel: Channel) -> usize {
        self.sides.of(channel).places.len()
    }

    /// Whether the spawners or qmail-clean have just been asked, so that deliveries will be possible at any moment.
    pub(crate) fn is_about_to_start(&self, now: i64) -> bool {
        self.clean_asked.is_some_and(|when| now <= when)
            || BOTH
                .iter()
                .any(|&c| matches!(self.sides.of(c).speech, Speech::Asked(when) if now <= when))
    }

    /// Whether several recipients can go in one delivery.
    pub(crate) fn is_extended(&self, channel: Channel) -> bool {
        self.sides.of(channel).speech == Speech::Extended
    }

    /// Whether one more delivery may start.
    pub(crate) fn is_available(&self, channel: Channel, comm: &Comm) -> bool {
        let side = self.sides.of(channel);
        self.clean_asked.is_none()
            && side.from.is_some()
            && !matches!(side.speech, Speech::Asked(_))
            && !side.free.is_empty()
            && comm.can_write(channel)
    }

    /// Starts one delivery. The caller has asked `is_available`; more than one recipient: only if `is_extended`.
    pub(crate) fn start(
        &mut self,
        desk: &mut Desk,
        comm: &mut Comm,
        destination: DestNumber,
        batch: Batch,
    ) {
        let Some(job) = desk.jobs.get_mut(batch.job) else {
            return;
        };
        job.is_tried = true;
        let (id, channel, sender) = (job.id, job.channel, job.sender.clone());
        let side = self.sides.of_mut(channel);
        let Some(place) = side.free.pop() else { return };
        let message = desk.layout.below(id);
        let past = if desk.doubtful.contains(&id) {
            Past::Unknown
        } else {
            Past::Clean
        };
        let who = (channel, past, batch.recipients.as_slice());
        let command = command(side.speech, place, message, &sender, who);
        comm.write(channel, &command.unwrap_or_default());
        let number = self.next_number;
        for recipient in &batch.recipients {
            self.log_start(desk, id, channel, recipient);
        }
        let side = self.sides.of_mut(channel);
        if let Some(free) = side.places.get_mut(place) {
            *free = Some(Delivery {
                destination,
                number,
                batch,
            });
        }
        self.log_status(desk);
    }

    fn log_start(&mut self, desk: &mut Desk, id: MessageId, channel: Channel, to: &Recipient) {
        let (number, name) = (self.next_number, channel.name());
        self.next_number += 1;
        let text = format!("starting delivery {number}: msg {id} to {name} ");
        desk.log
            .line([text.as_bytes(), &safe(&to.address)].concat());
    }

    /// Gives recipients up without a try, in the words with which their destination was put on hold.
    pub(crate) fn give_up(&mut self, desk: &mut Desk, batch: &Batch, text: &[u8]) {
        let Some((id, channel)) = desk.jobs.get(batch.job).map(|j| (j.id, j.channel)) else {
            return;
        };
        let mut places = Vec::new();
        for recipient in &batch.recipients {
            let number = self.next_number;
            self.log_start(desk, id, channel, recipient);
            let conclusion = Conclusion {
                job: batch.job,
                number,
                recipient,
                is_dying: true,
            };
            if conclusion.draw(desk, b'Z', text.to_vec()) {
                places.push(recipient.at);
            }
        }
        done(desk, channel, batch.job, &places);
    }

    pub(crate) fn prepare(&mut self, plan: &mut Plan) {
        for channel in BOTH {
            let side = self.sides.of_mut(channel);
            side.ticket = side.from.as_ref().map(|fd| plan.readable(fd));
            if let Speech::Asked(when) = side.speech {
                plan.wake_at(when.saturating_add(QUESTION_WAIT));
            }
        }
    }

    /// Takes reports.
    pub(crate) fn act(&mut self, desk: &mut Desk, comm: &mut Comm, plan: &Plan) {
        self.heard = false;
        for channel in BOTH {
            if !comm.is_alive(channel) {
                self.sides.of_mut(channel).from = None;
            }
            let side = self.sides.of_mut(channel);
            if let Speech::Asked(when) = side.speech
                && desk.recent >= when.saturating_add(QUESTION_WAIT)
            {
                side.speech = Speech::Classic;
            }
            let Some(fd) = side.from.as_ref().filter(|_| plan.is_ready(side.ticket)) else {
                continue;
            };
            let mut piece = [0; PIECE];
            match sys::fd::read(fd, &mut piece) {
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Ok(0) | Err(_) => self.lose(desk, comm, channel),
                Ok(count) => {
                    let piece = piece.get(..count).unwrap_or_default();
                    self.take(desk, comm, channel, piece);
                }
            }
        }
    }

    fn lose(&mut self, desk: &mut Desk, comm: &mut Comm, channel: Channel) {
        self.sides.of_mut(channel).from = None;
        comm.died(desk, channel);
    }

    /// Bytes from a spawner.
    fn take(&mut self, desk: &mut Desk, comm: &mut Comm, channel: Channel, piece: &[u8]) {
        let mut rest = piece;
        let mut reports = Vec::new();
        while !self.sides.of(channel).reports.is_extended() {
            let Some((&byte, after)) = rest.split_first() else {
                break;
            };
            rest = after;
            let side = self.sides.of_mut(channel);
            if let Some(report) = side.reports.feed(byte) {
                if report.place == usize::from(frames::PROBE_NUMBER) {
                    reports.extend(self.agree(desk, channel, report));
                } else {
                    reports.push(report);
                }
            }
        }
        match self.sides.of_mut(channel).reports.feed_frames(rest) {
            Ok(more) => reports.extend(more),
            Err(_) => self.lose(desk, comm, channel),
        }
        // All that was said is noted before anything follows from it: a crash in between would deliver again.
        let noted = reports.into_iter();
        let noted: Vec<Noted> = noted
            .filter_map(|report| self.note(desk, channel, report))
            .collect();
        self.heard |= !noted.is_empty();
        for noted in noted {
            self.finish(desk, channel, noted);
        }
    }

    /// Whether reports came in this turn.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Whether deliveries run whose reports will come.
    pub(crate) fn is_busy(&self) -> bool {
        !self.can_exit()
    }

    /// The answer to the question. Gives it back if it is a report.
    fn agree(&mut self, desk: &mut Desk, channel: Channel, report: Report) -> Option<Report> {
        let side = self.sides.of_mut(channel);
        if !matches!(side.speech, Speech::Asked(_)) {
            return Some(report);
        }
        let answer = report.results.first().and_then(|(letter, text)| {
            frames::read_answer(&[&[*letter], text.as_slice()].concat())
        });
        side.speech = Speech::Classic;
        let able = answer?;
        side.speech = Speech::Extended;
        side.reports.extend();
        let before = side.places.len();
        side.resize(usize::try_from(able).unwrap_or(usize::MAX));
        let limit = side.places.len();
        if limit != before {
            desk.lanes.of_mut(channel).set_limit(limit);
            self.log_status(desk);
        }
        None
    }

    /// One delivery is over: notes what became of its recipients.
    fn note(&mut self, desk: &mut Desk, channel: Channel, report: Report) -> Option<Noted> {
        let side = self.sides.of_mut(channel);
        let place = side.places.get_mut(report.place);
        let Some(delivery) = place.and_then(Option::take) else {
            desk.log
                .warning("internal error: delivery report out of range");
            return None;
        };
        side.free.push(report.place);
        let Delivery {
            destination,
            number,
            batch,
        } = delivery;
        let verdict = verdict(&report.results);
        let mut results = report.results.into_iter();
        let mut places = Vec::new();
        for (number, recipient) in (number..).zip(&batch.recipients) {
            let (letter, text) = results.next().unwrap_or_default();
            let conclusion = Conclusion {
                job: batch.job,
                number,
                recipient,
                is_dying: batch.is_dying,
            };
            if conclusion.draw(desk, letter, text) {
                places.push(recipient.at);
            }
        }
        if channel == Channel::Local && places.len() < batch.recipients.len() {
            doubt(desk, batch.job);
        }
        done(desk, channel, batch.job, &places);
        Some(Noted {
            destination,
            job: batch.job,
            verdict,
        })
    }

    /// What follows from the end of a delivery.
    fn finish(&mut self, desk: &mut Desk, channel: Channel, noted: Noted) {
        let Noted {
            destination,
            job,
            verdict,
        } = noted;
        let (recent, life) = (desk.recent, desk.settings.lifetime);
        let lanes = desk.lanes.of_mut(channel);
        let change = lanes.report(destination, verdict, recent, life);
        let hold = lanes.held(destination, recent).map(|(until, _)| until);
        let name = lanes.name(destination).to_vec();
        jobs::close(desk, job);
        for batch in change.evicted {
            if let Some(job) = desk.jobs.get_mut(batch.job) {
                job.lacks_room(&name, hold.unwrap_or(recent));
            }
            jobs::close(desk, batch.job);
        }
        for id in change.expired {
            desk.schedule.channels.of_mut(channel).insert(id, recent);
        }
        desk.lanes.of_mut(channel).release(destination, recent);
        self.log_status(desk);
    }
}

/// What the results of a delivery say of its destination: one success is enough, and a text of our own system
/// (`#4.3.`) says nothing.
fn verdict(results: &[(u8, Bytes)]) -> Verdict {
    let mut verdict = Verdict::Nothing;
    for (letter, text) in results {
        match letter {
            b'K' | b'D' => return Verdict::Good,
            b'Z' if base::bytes::find(text, b"(#4.3.").is_none() => {
                verdict = Verdict::Trouble(text.clone());
            }
            _ => {}
        }
    }
    verdict
}

/// What to tell a spawner. `None`: it cannot be said.
fn command(
    speech: Speech,
    place: usize,
    message: Bytes,
    sender: &[u8],
    (channel, past, recipients): (Channel, Past, &[Recipient]),
) -> Option<Bytes> {
    let first = recipients.first()?;
    if speech == Speech::Extended {
        let attempt = Attempt { at: first.at, past };
        return frames::encode_command(&frames::Command {
            number: u32::try_from(place).ok()?,
            message,
            sender: comm::verp(sender, &first.address),
            attempt: (channel == Channel::Local).then_some(attempt),
            recipients: recipients.iter().map(|r| r.address.clone()).collect(),
        });
    }
    let number = u8::try_from(place).ok()?;
    Some(comm::classic(number, &message, sender, &first.address))
}

/// A delivery that is over, and whose recipients are marked.
struct Noted {
    destination: DestNumber,
    job: JobNumber,
    verdict: Verdict,
}

/// The end of a delivery for one recipient.
struct Conclusion<'a> {
    job: JobNumber,
    number: u64,
    recipient: &'a Recipient,
    is_dying: bool,
}

impl Conclusion<'_> {
    /// Logs a report. `true`: the recipient is done with.
    fn draw(self, desk: &mut Desk, mut letter: u8, mut text: Bytes) -> bool {
        let Some(id) = desk.jobs.get(self.job).map(|j| j.id) else {
            return false;
        };
        if letter == b'Z' && self.is_dying {
            letter = b'D';
            text.extend_from_slice(TOO_LONG);
        }
        let word = match letter {
            b'K' => "success",
            b'Z' => "deferral",
            b'D' => "failure",
            _ => {
                let number = self.number;
                desk.log
                    .line(format!("delivery {number}: report mangled, will defer"));
                return false;
            }
        };
        let head = format!("delivery {}: {word}: ", self.number);
        desk.log.line([head.as_bytes(), &safe(&text)].concat());
        match letter {
            b'K' => true,
            // Only when the sender is sure to hear of it.
            b'D' => bounce::append(desk, id, &self.recipient.address, &text),
            _ => false,
        }
    }
}

/// The next delivery of this message on this machine is one that may have been made.
fn doubt(desk: &mut Desk, job: JobNumber) {
    if let Some(id) = desk.jobs.get(job).map(|j| j.id) {
        desk.doubtful.insert(id);
    }
}

/// Recipients are done with, whose records stand at `places`: marks them, in memory or on disk. If no other recipient is left,
/// the file goes instead, which is one call of the kernel.
fn done(desk: &mut Desk, channel: Channel, job: JobNumber, places: &[u64]) {
    let Some(state) = desk.jobs.get_mut(job).filter(|_| !places.is_empty()) else {
        return;
    };
    let id = state.id;
    state.left = state.left.saturating_sub(places.len() as u64);
    let is_last = state.is_read && state.left == 0;
    if desk.fresh.has(id) {
        for &at in places {
            desk.fresh.mark(id, channel, at);
        }
        return;
    }
    if is_last && settle::unlink(desk, channel.part(), id).is_ok() {
        if let Some(state) = desk.jobs.get_mut(job) {
            state.is_removed = true;
        }
        return;
    }
    for &at in places {
        if settle::mark(desk, channel, id, at).is_err() {
            doubt(desk, job);
            let text = desk.about(
                "trouble marking ",
                channel.part(),
                id,
                "; message will be delivered twice!",
            );
            desk.log.warning(text);
        }
    }
}
