//! Deliveries: starting them, and what their reports mean.
//!
//! Source  qmail-send(8), qmail-log(5); docs/decisions/0006-spawner-protocol.md

mod reports;

use std::fmt::Write;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use base::Bytes;
use queue::frames;
use queue::names::MessageId;

use super::bounce;
use super::channel::{BOTH, Channel, Pair};
use super::comm::{self, Comm};
use super::desk::Desk;
use super::jobs::{self, JobNumber};
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
    job: JobNumber,
    /// the number of its first recipient in the log; the others follow
    number: u64,
    recipients: Vec<Recipient>,
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
    next_number: u64,
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
            next_number: 1,
        }
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

    /// Whether nothing runs at all.
    pub(crate) fn is_idle(&self) -> bool {
        BOTH.iter().all(|&c| self.sides.of(c).used() == 0)
    }

    /// Whether one more delivery may start.
    pub(crate) fn is_available(&self, channel: Channel, comm: &Comm) -> bool {
        let side = self.sides.of(channel);
        side.from.is_some()
            && !matches!(side.speech, Speech::Asked(_))
            && !side.free.is_empty()
            && comm.can_write(channel)
    }

    /// Starts one delivery. The caller has asked `is_available`. More than one recipient: only if `is_extended`.
    pub(crate) fn start(
        &mut self,
        desk: &mut Desk,
        comm: &mut Comm,
        job: JobNumber,
        recipients: Vec<Recipient>,
    ) {
        let Some((id, channel, sender)) = desk
            .jobs
            .get(job)
            .map(|j| (j.id, j.channel, j.sender.clone()))
        else {
            return;
        };
        let side = self.sides.of_mut(channel);
        let Some(place) = side.free.pop() else { return };
        let message = desk.layout.below(id);
        let command = command(side.speech, place, message, &sender, &recipients);
        comm.write(channel, &command.unwrap_or_default());
        desk.jobs.hold(job);
        let number = self.next_number;
        for (n, recipient) in (number..).zip(&recipients) {
            let text = format!("starting delivery {n}: msg {id} to {} ", channel.name());
            desk.log
                .line([text.as_bytes(), &safe(&recipient.address)].concat());
            self.next_number = n + 1;
        }
        if let Some(free) = side.places.get_mut(place) {
            *free = Some(Delivery {
                job,
                number,
                recipients,
            });
        }
        self.log_status(desk);
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
        while !self.sides.of(channel).reports.is_extended() {
            let Some((&byte, after)) = rest.split_first() else {
                return;
            };
            rest = after;
            let side = self.sides.of_mut(channel);
            if let Some(report) = side.reports.feed(byte) {
                if report.place == usize::from(frames::PROBE_NUMBER) {
                    self.agree(desk, channel, report);
                } else {
                    self.finish(desk, channel, report);
                }
            }
        }
        match self.sides.of_mut(channel).reports.feed_frames(rest) {
            Ok(reports) => {
                for report in reports {
                    self.finish(desk, channel, report);
                }
            }
            Err(_) => self.lose(desk, comm, channel),
        }
    }

    /// The answer to the question.
    fn agree(&mut self, desk: &mut Desk, channel: Channel, report: Report) {
        let side = self.sides.of_mut(channel);
        if !matches!(side.speech, Speech::Asked(_)) {
            return self.finish(desk, channel, report);
        }
        let answer = report.results.first().and_then(|(letter, text)| {
            frames::read_answer(&[&[*letter], text.as_slice()].concat())
        });
        side.speech = Speech::Classic;
        let Some(able) = answer else { return };
        side.speech = Speech::Extended;
        side.reports.extend();
        let before = side.places.len();
        side.resize(usize::try_from(able).unwrap_or(usize::MAX));
        if side.places.len() != before {
            self.log_status(desk);
        }
    }

    /// One delivery is over.
    fn finish(&mut self, desk: &mut Desk, channel: Channel, report: Report) {
        let side = self.sides.of_mut(channel);
        let place = side.places.get_mut(report.place);
        let Some(delivery) = place.and_then(Option::take) else {
            desk.log
                .warning("internal error: delivery report out of range");
            return;
        };
        side.free.push(report.place);
        let mut results = report.results.into_iter();
        for (number, recipient) in (delivery.number..).zip(&delivery.recipients) {
            let (letter, text) = results.next().unwrap_or_default();
            let done = Conclusion {
                job: delivery.job,
                number,
                recipient,
            };
            done.draw(desk, channel, letter, text);
        }
        jobs::close(desk, delivery.job);
        self.log_status(desk);
    }
}

/// What to tell a spawner. `None`: it cannot be said.
fn command(
    speech: Speech,
    place: usize,
    message: Bytes,
    sender: &[u8],
    recipients: &[Recipient],
) -> Option<Bytes> {
    let first = recipients.first()?;
    if speech == Speech::Extended {
        return frames::encode_command(&frames::Command {
            number: u32::try_from(place).ok()?,
            message,
            sender: comm::verp(sender, &first.address),
            recipients: recipients.iter().map(|r| r.address.clone()).collect(),
        });
    }
    let number = u8::try_from(place).ok()?;
    Some(comm::classic(number, &message, sender, &first.address))
}

/// The end of a delivery for one recipient.
struct Conclusion<'a> {
    job: JobNumber,
    number: u64,
    recipient: &'a Recipient,
}

impl Conclusion<'_> {
    /// Logs a report and does what it asks for.
    fn draw(self, desk: &mut Desk, channel: Channel, mut letter: u8, mut text: Bytes) {
        let Some((id, is_dying)) = desk.jobs.get(self.job).map(|j| (j.id, j.is_dying)) else {
            return;
        };
        if letter == b'Z' && is_dying {
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
                return;
            }
        };
        let head = format!("delivery {}: {word}: ", self.number);
        desk.log.line([head.as_bytes(), &safe(&text)].concat());
        let is_done = match letter {
            b'K' => true,
            // Only when the sender is sure to hear of it.
            b'D' => bounce::append(desk, id, &self.recipient.address, &text),
            _ => false,
        };
        if is_done {
            self.done(desk, channel, id);
        }
    }

    /// A recipient is done with.
    fn done(self, desk: &mut Desk, channel: Channel, id: MessageId) {
        if settle::mark(desk, channel, id, self.recipient.at).is_err() {
            let text = desk.about(
                "trouble marking ",
                channel.part(),
                id,
                "; message will be delivered twice!",
            );
            desk.log.warning(text);
        }
        if let Some(job) = desk.jobs.get_mut(self.job) {
            job.left = job.left.saturating_sub(1);
        }
    }
}
