//! qmail-clean at the other end of its pipes.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use base::Bytes;
use base::bytes::number;
use queue::names::{Layout, MessageId, Part};

use super::disk::Disk;

#[derive(Debug)]
pub(super) struct Cleaner {
    requests: Option<OwnedFd>,
    answers: Option<OwnedFd>,
    input: Bytes,
    /// what it has been asked to remove
    asked: VecDeque<VecDeque<(Part, MessageId)>>,
    /// when it does the next step
    pub(super) next: Duration,
}

impl Cleaner {
    pub(super) fn new((requests, answers): (OwnedFd, OwnedFd)) -> Cleaner {
        sys::fd::nonblocking(&requests, true).unwrap();
        Cleaner {
            requests: Some(requests),
            answers: Some(answers),
            input: Bytes::new(),
            asked: VecDeque::new(),
            next: Duration::ZERO,
        }
    }

    pub(super) fn die(&mut self) {
        self.requests = None;
        self.answers = None;
        self.asked.clear();
    }

    pub(super) fn due(&self) -> Option<Duration> {
        (!self.asked.is_empty()).then_some(self.next)
    }

    /// How many requests wait, but for the question whether it is there.
    pub(super) fn requests(&self) -> usize {
        self.asked.iter().filter(|parts| !parts.is_empty()).count()
    }

    pub(super) fn hear(&mut self) {
        let mut piece = [0; 4096];
        let Some(fd) = &self.requests else { return };
        while let Ok(count @ 1..) = sys::fd::read(fd, &mut piece) {
            self.input.extend_from_slice(&piece[..count]);
        }
        while let Some(end) = self.input.iter().position(|&b| b == 0) {
            let request: Bytes = self.input.drain(..=end).collect();
            let id = MessageId::new(number(&request[5..end]).unwrap());
            let parts = match &request[..5] {
                b"foop/" => [Part::Intd, Part::Mess],
                b"todo/" => [Part::Todo, Part::Intd],
                other => panic!("what is {other:?}?"),
            };
            // No message has the number 0: it is asked whether it is there.
            let parts: Vec<_> = (parts.into_iter())
                .filter_map(|part| Some((part, id?)))
                .collect();
            self.asked.push_back(parts.into());
        }
    }

    /// One step: a name, or an answer. A hasty one, a mutant, removes the message with its envelope.
    pub(super) fn step(&mut self, disk: &mut Disk, layout: Layout, refuses: bool, is_hasty: bool) {
        let Some(parts) = self.asked.front_mut() else {
            return;
        };
        let answer = match parts.pop_front() {
            Some(_) if refuses => b"!",
            Some((part, id)) => {
                let _ = disk.unlink(&layout.path(part, id));
                if is_hasty && part == Part::Todo {
                    let _ = disk.unlink(&layout.path(Part::Mess, id));
                }
                return;
            }
            None => b"+",
        };
        self.asked.pop_front();
        if let Some(fd) = &self.answers {
            let _ = sys::fd::write(fd, answer);
        }
    }
}
