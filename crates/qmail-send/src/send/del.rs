//! Deliveries: starting them, and what their reports mean.
//!
//! Source  qmail-send(8), qmail-log(5)

mod reports;

use std::fmt::Write;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use base::Bytes;
use queue::names::MessageId;

use super::bounce;
use super::channel::{BOTH, Channel, Pair};
use super::comm::Comm;
use super::desk::Desk;
use super::jobs::{self, JobNumber};
use super::log::safe;
use super::plan::{Plan, Ticket};
use super::settle;
use reports::{Report, Reports};

/// Bytes read at once from a spawner.
const PIECE: usize = 8 * 1024;
/// What is added to the deferral that becomes a failure.
const TOO_LONG: &[u8] =
    b"I'm not going to try again; this message has been in the queue too long.\n";

/// One running delivery.
#[derive(Debug)]
struct Delivery {
    job: JobNumber,
    /// its number in the log
    number: u64,
    /// where its record stands
    at: u64,
    recipient: Bytes,
}

/// The deliveries of one channel.
#[derive(Debug)]
struct Side {
    /// `None`: the spawner is gone
    from: Option<OwnedFd>,
    reports: Reports,
    places: Vec<Option<Delivery>>,
    used: usize,
    ticket: Option<Ticket>,
}

/// All deliveries.
#[derive(Debug)]
pub(crate) struct Deliveries {
    sides: Pair<Side>,
    next_number: u64,
}

impl Deliveries {
    /// `from` are the spawners' reports, `concurrency` how many deliveries may run.
    pub(crate) fn new(from: Pair<OwnedFd>, concurrency: &Pair<u8>) -> Deliveries {
        let mut counts = BOTH.iter().map(|&c| *concurrency.of(c));
        let sides = from.map(|fd| Side {
            from: Some(fd),
            reports: Reports::default(),
            places: (0..counts.next().unwrap_or(0)).map(|_| None).collect(),
            used: 0,
            ticket: None,
        });
        Deliveries {
            sides,
            next_number: 1,
        }
    }

    /// `status: local 0/10 remote 0/20`
    pub(crate) fn log_status(&self, desk: &mut Desk) {
        let mut text = "status:".to_owned();
        for channel in BOTH {
            let side = self.sides.of(channel);
            let (name, limit) = (channel.name(), side.places.len());
            let _ = write!(text, " {name} {}/{limit}", side.used);
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
            side.from.is_none() || side.used == 0
        })
    }

    /// Whether nothing runs at all.
    pub(crate) fn is_idle(&self) -> bool {
        BOTH.iter().all(|&c| self.sides.of(c).used == 0)
    }

    /// Whether one more delivery may start.
    pub(crate) fn is_available(&self, channel: Channel, comm: &Comm) -> bool {
        let side = self.sides.of(channel);
        side.from.is_some() && side.used < side.places.len() && comm.can_write(channel)
    }

    /// Starts one delivery. The caller has asked `is_available`.
    pub(crate) fn start(
        &mut self,
        desk: &mut Desk,
        comm: &mut Comm,
        job: JobNumber,
        at: u64,
        recipient: Bytes,
    ) {
        let Some((id, channel, sender)) = desk
            .jobs
            .get(job)
            .map(|j| (j.id, j.channel, j.sender.clone()))
        else {
            return;
        };
        let side = self.sides.of_mut(channel);
        let free = (0u8..=255)
            .zip(&mut side.places)
            .find(|(_, place)| place.is_none());
        let Some((slot, place)) = free else { return };
        let number = self.next_number;
        self.next_number += 1;
        desk.jobs.hold(job);
        comm.write(channel, slot, &desk.layout.below(id), &sender, &recipient);
        let text = format!(
            "starting delivery {number}: msg {id} to {} ",
            channel.name()
        );
        desk.log.line([text.as_bytes(), &safe(&recipient)].concat());
        *place = Some(Delivery {
            job,
            number,
            at,
            recipient,
        });
        side.used += 1;
        self.log_status(desk);
    }

    pub(crate) fn prepare(&mut self, plan: &mut Plan) {
        for channel in BOTH {
            let side = self.sides.of_mut(channel);
            side.ticket = side.from.as_ref().map(|fd| plan.readable(fd));
        }
    }

    /// Takes reports.
    pub(crate) fn act(&mut self, desk: &mut Desk, comm: &mut Comm, plan: &Plan) {
        for channel in BOTH {
            if !comm.is_alive(channel) {
                self.sides.of_mut(channel).from = None;
            }
            let side = self.sides.of_mut(channel);
            let Some(fd) = side.from.as_ref().filter(|_| plan.is_ready(side.ticket)) else {
                continue;
            };
            let mut piece = [0; PIECE];
            match sys::fd::read(fd, &mut piece) {
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Ok(0) | Err(_) => {
                    side.from = None;
                    comm.died(desk, channel);
                }
                Ok(count) => {
                    for &byte in piece.iter().take(count) {
                        let report = self.sides.of_mut(channel).reports.feed(byte);
                        if let Some(report) = report {
                            self.finish(desk, channel, report);
                        }
                    }
                }
            }
        }
    }

    /// One delivery is over.
    fn finish(&mut self, desk: &mut Desk, channel: Channel, report: Report) {
        let side = self.sides.of_mut(channel);
        let place = side.places.get_mut(usize::from(report.slot));
        let Some(delivery) = place.and_then(Option::take) else {
            desk.log
                .warning("internal error: delivery report out of range");
            return;
        };
        side.used -= 1;
        conclude(desk, channel, &delivery, report);
        jobs::close(desk, delivery.job);
        self.log_status(desk);
    }
}

/// Logs a report and does what it asks for.
fn conclude(desk: &mut Desk, channel: Channel, delivery: &Delivery, report: Report) {
    let Some((id, is_dying)) = desk.jobs.get(delivery.job).map(|j| (j.id, j.is_dying)) else {
        return;
    };
    let Report {
        mut letter,
        mut text,
        ..
    } = report;
    if letter == b'Z' && is_dying {
        letter = b'D';
        text.extend_from_slice(TOO_LONG);
    }
    let word = match letter {
        b'K' => "success",
        b'Z' => "deferral",
        b'D' => "failure",
        _ => {
            let number = delivery.number;
            desk.log
                .line(format!("delivery {number}: report mangled, will defer"));
            return;
        }
    };
    let head = format!("delivery {}: {word}: ", delivery.number);
    desk.log.line([head.as_bytes(), &safe(&text)].concat());
    let is_done = match letter {
        b'K' => true,
        // Only when the sender is sure to hear of it.
        b'D' => bounce::append(desk, id, &delivery.recipient, &text),
        _ => false,
    };
    if is_done {
        done(desk, channel, delivery, id);
    }
}

/// A recipient is done with.
fn done(desk: &mut Desk, channel: Channel, delivery: &Delivery, id: MessageId) {
    if settle::mark(desk, channel, id, delivery.at).is_err() {
        let text = desk.about(
            "trouble marking ",
            channel.part(),
            id,
            "; message will be delivered twice!",
        );
        desk.log.warning(text);
    }
    if let Some(job) = desk.jobs.get_mut(delivery.job) {
        job.left = job.left.saturating_sub(1);
    }
}
