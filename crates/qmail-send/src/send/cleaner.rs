//! Talking to qmail-clean, which removes the files that belong to qmailq.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use base::io::Timed;
use queue::names::{MessageId, Part};

use super::desk::Desk;

/// How long qmail-clean may work on one request: it only removes two names.
const ANSWER_WAIT: Duration = Duration::from_hours(1);

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
    to: Timed<OwnedFd>,
    from: Timed<OwnedFd>,
    is_alive: bool,
}

impl Cleaner {
    pub(crate) fn new(to: OwnedFd, from: OwnedFd) -> Cleaner {
        Cleaner {
            to: Timed::new(to, ANSWER_WAIT),
            from: Timed::new(from, ANSWER_WAIT),
            is_alive: true,
        }
    }

    /// Sends a request and waits for the answer. `None`: qmail-clean is gone.
    fn ask(&mut self, text: &[u8]) -> Option<bool> {
        if !self.is_alive {
            return None;
        }
        let mut answer = [0];
        if self.to.write_all(text).is_ok() && self.from.read_exact(&mut answer).is_ok() {
            return Some(answer == *b"+");
        }
        self.is_alive = false;
        None
    }
}

/// Has something removed. `false`: it may still be there; the log says why.
pub(crate) fn remove(desk: &mut Desk, request: Request, id: MessageId) -> bool {
    let name = match request {
        Request::Message => format!("foop/{id}"),
        Request::Todo => format!("todo/{id}"),
    };
    let was_alive = desk.cleaner.is_alive;
    match desk.cleaner.ask(format!("{name}\0").as_bytes()) {
        Some(true) => {
            if request == Request::Todo {
                let dir = desk.layout.dir(Part::Todo, id);
                desk.settle.dir(dir, desk.recent);
            }
            true
        }
        Some(false) => {
            desk.log
                .warning(format!("qmail-clean unable to clean up {name}"));
            false
        }
        None => {
            if was_alive {
                desk.log
                    .alert("oh no! lost qmail-clean connection! dying...");
            }
            desk.is_stopping = true;
            false
        }
    }
}
