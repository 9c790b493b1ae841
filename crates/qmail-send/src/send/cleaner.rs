//! Talking to qmail-clean, which removes the files that belong to qmailq. Requests go out as they come up; the answers
//! come back in the same order, one byte each.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use base::Bytes;
use queue::names::MessageId;

use super::desk::Desk;
use super::fresh;
use super::plan::{Plan, Ticket};

/// How long qmail-clean may be silent when it has been asked for something, seconds: it only removes names.
const ANSWER_WAIT: i64 = 3_600;
/// Answers read at once.
const PIECE: usize = 1024;

/// What qmail-clean is asked to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// both names of the envelope
    Todo,
    /// the message
    Message,
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Cleaner {
    to: OwnedFd,
    from: OwnedFd,
    is_alive: bool,
    waiting: Bytes,
    /// `None`: whether it is there
    asked: VecDeque<Option<(Request, MessageId)>>,
    has_answered: bool,
    /// when it was last heard of, or first asked
    heard: i64,
    tickets: (Option<Ticket>, Option<Ticket>),
}

impl Cleaner {
    /// # Errors
    /// A descriptor cannot be made non-blocking.
    pub(crate) fn new(to: OwnedFd, from: OwnedFd) -> io::Result<Cleaner> {
        sys::fd::nonblocking(&to, true)?;
        Ok(Cleaner {
            to,
            from,
            is_alive: true,
            waiting: Bytes::new(),
            asked: VecDeque::new(),
            has_answered: false,
            heard: 0,
            tickets: (None, None),
        })
    }

    /// Whether it lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.is_alive
    }

    /// Asks for a sign of life. Before that nothing should be delivered: it could not be marked as done, and every start
    /// would deliver it again.
    pub(crate) fn ask(&mut self, now: i64) {
        self.heard = now;
        self.asked.push_back(None);
        // No message has this number.
        self.waiting.extend_from_slice(b"foop/0\0");
    }

    /// Whether it has answered anything yet.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether it has been asked for the envelope of this message.
    pub(crate) fn is_asked(&self, id: MessageId) -> bool {
        self.asked.contains(&Some((Request::Todo, id)))
    }

    /// Whether nothing is asked for.
    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    pub(crate) fn prepare(&mut self, plan: &mut Plan) {
        self.tickets = (None, None);
        if self.is_alive && !self.asked.is_empty() {
            plan.wake_at(self.heard.saturating_add(ANSWER_WAIT));
            self.tickets.1 = Some(plan.readable(&self.from));
            if !self.waiting.is_empty() {
                self.tickets.0 = Some(plan.writable(&self.to));
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match sys::fd::write(&self.to, &self.waiting) {
            Ok(count) => drop(self.waiting.drain(..count.min(self.waiting.len()))),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; PIECE];
        match sys::fd::read(&self.from, &mut piece) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                piece.truncate(count);
                Ok(piece)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(Bytes::new())
            }
            Err(e) => Err(e),
        }
    }
}

/// Has something removed; the answer comes later.
pub(crate) fn remove(desk: &mut Desk, request: Request, id: MessageId) {
    if !desk.cleaner.is_alive {
        return;
    }
    let name = name(request, id);
    if desk.cleaner.asked.is_empty() {
        desk.cleaner.heard = desk.recent;
    }
    desk.cleaner.asked.push_back(Some((request, id)));
    desk.cleaner.waiting.extend_from_slice(name.as_bytes());
    desk.cleaner.waiting.push(0);
}

fn name(request: Request, id: MessageId) -> String {
    match request {
        Request::Message => format!("foop/{id}"),
        Request::Todo => format!("todo/{id}"),
    }
}

/// Sends requests and takes answers.
pub(crate) fn act(desk: &mut Desk, plan: &Plan) {
    let tickets = desk.cleaner.tickets;
    if !desk.cleaner.is_alive {
        return;
    }
    let is_silent = !desk.cleaner.asked.is_empty()
        && desk.recent >= desk.cleaner.heard.saturating_add(ANSWER_WAIT);
    if is_silent || (plan.is_ready(tickets.0) && desk.cleaner.write().is_err()) {
        return lose(desk);
    }
    if plan.is_ready(tickets.1) {
        match desk.cleaner.read() {
            Ok(answers) => {
                for answer in answers {
                    heed(desk, answer);
                }
            }
            Err(_) => lose(desk),
        }
    }
}

/// Sends what was asked for in this turn, without waiting for the next one.
pub(crate) fn push(desk: &mut Desk) {
    let cleaner = &mut desk.cleaner;
    if cleaner.is_alive && !cleaner.waiting.is_empty() && cleaner.write().is_err() {
        lose(desk);
    }
}

fn lose(desk: &mut Desk) {
    desk.log
        .alert("oh no! lost qmail-clean connection! dying...");
    desk.cleaner.is_alive = false;
    desk.cleaner.asked.clear();
    desk.cleaner.waiting.clear();
    desk.is_stopping = true;
}

/// One answer.
fn heed(desk: &mut Desk, answer: u8) {
    desk.cleaner.heard = desk.recent;
    desk.cleaner.has_answered = true;
    // An answer that nobody asked for means nothing.
    let Some((request, id)) = desk.cleaner.asked.pop_front().flatten() else {
        return;
    };
    let is_done = answer == b'+';
    if !is_done {
        let name = name(request, id);
        desk.log
            .warning(format!("qmail-clean unable to clean up {name}"));
    }
    match request {
        Request::Todo => fresh::cleaned(desk, id, is_done),
        Request::Message => desk.settle.left(id),
    }
}
