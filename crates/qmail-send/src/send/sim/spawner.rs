//! A spawner at the other end of its pipes: it answers in any order, late, in pieces, wrongly, or dies.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use base::Bytes;
use queue::frames::{self, Attempt, Frames};

use super::chance::Chance;
use super::judge::Who;
use crate::send::channel::Channel;

/// What it is told to do.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) number: usize,
    pub(super) message: Bytes,
    pub(super) sender: Bytes,
    pub(super) attempt: Option<Attempt>,
    pub(super) recipients: Vec<Bytes>,
}

/// A delivery that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) number: usize,
    /// each recipient, with the letter that it will get
    pub(super) all: Vec<(Who, u8)>,
    pub(super) until: Duration,
}

#[derive(Debug)]
pub(super) struct Spawner {
    pub(super) channel: Channel,
    commands: Option<OwnedFd>,
    reports: Option<OwnedFd>,
    /// whether it will say that it speaks the extended protocol, and how many deliveries it can run
    is_ours: bool,
    limit: usize,
    is_extended: bool,
    classic: Bytes,
    frames: Frames,
    pub(super) running: Vec<Running>,
    /// reports on their way
    out: Bytes,
    /// bytes that have been written
    written: usize,
    /// where each report ends, in bytes ever to be written, and what it says
    ends: VecDeque<(usize, Vec<(Who, u8)>)>,
    /// when it looks at its pipes again
    pub(super) looks: Duration,
    pub(super) dies: Option<Duration>,
}

impl Spawner {
    pub(super) fn new(
        channel: Channel,
        (commands, reports): (OwnedFd, OwnedFd),
        is_ours: bool,
        limit: usize,
    ) -> Spawner {
        sys::fd::nonblocking(&commands, true).unwrap();
        sys::fd::nonblocking(&reports, true).unwrap();
        Spawner {
            channel,
            commands: Some(commands),
            reports: Some(reports),
            is_ours,
            limit,
            is_extended: false,
            classic: Bytes::new(),
            frames: Frames::default(),
            running: Vec::new(),
            out: Bytes::new(),
            written: 0,
            ends: VecDeque::new(),
            looks: Duration::ZERO,
            dies: None,
        }
    }

    /// It is gone, and its deliveries with it.
    pub(super) fn die(&mut self) -> Vec<Running> {
        self.commands = None;
        self.reports = None;
        self.out.clear();
        std::mem::take(&mut self.running)
    }

    /// When it has something to do. It looks at its commands when the scene says that qmail-send has written.
    pub(super) fn due(&self) -> Option<Duration> {
        self.commands.as_ref()?;
        let written = (!self.out.is_empty()).then_some(self.looks);
        let ends = self.running.iter().map(|r| r.until).min();
        [written, ends, self.dies].into_iter().flatten().min()
    }

    /// What it has been told meanwhile.
    pub(super) fn hear(&mut self) -> Vec<Order> {
        let mut piece = [0; 16 * 1024];
        let Some(fd) = &self.commands else {
            return Vec::new();
        };
        let mut found = Vec::new();
        while let Ok(count @ 1..) = sys::fd::read(fd, &mut piece) {
            if self.is_extended {
                self.frames.feed(&piece[..count]);
            } else {
                self.classic.extend_from_slice(&piece[..count]);
            }
            if count < piece.len() {
                break;
            }
        }
        while let Some(order) = self.next_order() {
            found.push(order);
        }
        found
    }

    fn next_order(&mut self) -> Option<Order> {
        if self.is_extended {
            let frame = self.frames.next_frame().unwrap()?;
            let command = frames::decode_command(frame).unwrap();
            return Some(Order {
                number: usize::try_from(command.number).unwrap(),
                message: command.message,
                sender: command.sender,
                attempt: command.attempt,
                recipients: command.recipients,
            });
        }
        let (&number, rest) = self.classic.split_first()?;
        let mut fields = rest.splitn(4, |&b| b == 0);
        let [message, sender, recipient] = [(); 3].map(|()| fields.next().map(<[u8]>::to_vec));
        let after = fields.next()?.to_vec();
        let (message, sender, recipient) = (message?, sender?, recipient?);
        self.classic = after;
        if number == frames::PROBE_NUMBER {
            assert!(frames::is_probe(number, &message, &sender, &recipient));
            if self.is_ours {
                self.out
                    .extend(frames::answer(u32::try_from(self.limit).unwrap()));
                self.is_extended = true;
                let rest = std::mem::take(&mut self.classic);
                self.frames.feed(&rest);
            } else {
                self.out.extend(b"\xffZno such number\0");
            }
            return self.next_order();
        }
        Some(Order {
            number: number.into(),
            message,
            sender,
            attempt: None,
            recipients: vec![recipient],
        })
    }

    /// Puts a report on its way.
    pub(super) fn report(&mut self, number: usize, all: Vec<(Who, u8)>) {
        let text = |letter: u8| match letter {
            b'K' => b"Ktaken\n".to_vec(),
            b'D' => b"Dno such\n\nuser (#5.1.1)\n".to_vec(),
            b'Z' => b"Zcome again (#4.2.2)\n".to_vec(),
            other => vec![other, b'?'],
        };
        if self.is_extended {
            let report = frames::Report {
                number: u32::try_from(number).unwrap(),
                texts: all.iter().map(|(_, l)| text(*l)).collect(),
            };
            self.out.extend(frames::encode_report(&report).unwrap());
        } else {
            self.out.push(u8::try_from(number).unwrap());
            self.out.extend(text(all[0].1));
            self.out.push(0);
        }
        self.ends.push_back((self.written + self.out.len(), all));
    }

    /// Something that is no report of a delivery.
    pub(super) fn babble(&mut self) {
        if self.is_extended {
            self.out.extend(b"\x01\0\0\0x");
        } else {
            self.out.extend(b"\xfeKnobody asked\0");
        }
    }

    /// Writes a piece of what is on its way; returns the reports that are whole now.
    pub(super) fn write(&mut self, chance: &mut Chance) -> Vec<Vec<(Who, u8)>> {
        let count = if chance.one_in(3) {
            1 + chance.index(self.out.len())
        } else {
            self.out.len()
        };
        if let Some(fd) = &self.reports {
            let written = sys::fd::write(fd, &self.out[..count]).unwrap_or(0);
            self.out.drain(..written);
            self.written += written;
        }
        let mut whole = Vec::new();
        while self
            .ends
            .front()
            .is_some_and(|(end, _)| *end <= self.written)
        {
            whole.extend(self.ends.pop_front().map(|(_, all)| all));
        }
        whole
    }
}
