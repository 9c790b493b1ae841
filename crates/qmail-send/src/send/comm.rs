//! Commands to the spawners. Their pipes never block: what does not go now waits in a buffer.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use base::Bytes;
use base::bytes::rsplit_once;

use super::channel::{BOTH, Channel, Pair};
use super::desk::Desk;
use super::plan::{Plan, Ticket};

/// As long as less than this waits in the buffer, more deliveries may start. Bytes.
const BUFFER: usize = 8 * 1024;

/// The way to one spawner.
#[derive(Debug)]
struct Line {
    /// `None`: the spawner is gone
    to: Option<OwnedFd>,
    waiting: Bytes,
    ticket: Option<Ticket>,
}

/// The ways to both.
#[derive(Debug)]
pub(crate) struct Comm {
    lines: Pair<Line>,
}

impl Comm {
    /// The descriptors must be non-blocking.
    pub(crate) fn new(to: Pair<OwnedFd>) -> Comm {
        let line = |fd| Line {
            to: Some(fd),
            waiting: Bytes::new(),
            ticket: None,
        };
        Comm {
            lines: to.map(line),
        }
    }

    /// Whether the spawner lives.
    pub(crate) fn is_alive(&self, channel: Channel) -> bool {
        self.lines.of(channel).to.is_some()
    }

    /// Whether one more command can be taken.
    pub(crate) fn can_write(&self, channel: Channel) -> bool {
        self.is_alive(channel) && self.lines.of(channel).waiting.len() < BUFFER
    }

    /// Puts a command into the buffer; see `order`.
    pub(crate) fn write(&mut self, channel: Channel, command: &[u8]) {
        self.lines
            .of_mut(channel)
            .waiting
            .extend_from_slice(command);
    }

    pub(crate) fn prepare(&mut self, plan: &mut Plan) {
        for channel in BOTH {
            let line = self.lines.of_mut(channel);
            line.ticket = match &line.to {
                Some(fd) if !line.waiting.is_empty() => Some(plan.writable(fd)),
                _ => None,
            };
        }
    }

    pub(crate) fn act(&mut self, desk: &mut Desk, plan: &Plan) {
        for channel in BOTH {
            let line = self.lines.of_mut(channel);
            let Some(fd) = line.to.as_ref().filter(|_| plan.is_ready(line.ticket)) else {
                continue;
            };
            match sys::fd::write(fd, &line.waiting) {
                Ok(count) => drop(line.waiting.drain(..count.min(line.waiting.len()))),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => self.died(desk, channel),
            }
        }
    }

    /// A spawner is gone. Without it there is no use in going on, but what the other one does may finish.
    pub(crate) fn died(&mut self, desk: &mut Desk, channel: Channel) {
        let line = self.lines.of_mut(channel);
        if line.to.take().is_some() {
            desk.log.alert("oh no! lost spawn connection! dying...");
        }
        line.waiting.clear();
        desk.is_stopping = true;
    }
}

/// One command of the classic protocol.
pub(crate) fn classic(number: u8, message: &[u8], sender: &[u8], recipient: &[u8]) -> Bytes {
    let nul: &[u8] = b"\0";
    let sender = verp(sender, recipient);
    [&[number], message, nul, &sender, nul, recipient, nul].concat()
}

/// Whether each recipient sees a sender of its own.
pub(crate) fn is_verp(sender: &[u8]) -> bool {
    sender.ends_with(b"-@[]")
}

/// The sender that one recipient sees: `list-@host-@[]` becomes `list-user=domain@host`, so that a bounce tells whom it
/// is about. Any other sender stays as it is.
///
/// Source  addresses(5), "Extended addresses"
pub(crate) fn verp(sender: &[u8], recipient: &[u8]) -> Bytes {
    let parts = || {
        let (list, host) = rsplit_once(sender.strip_suffix(b"-@[]")?, b'@')?;
        let (user, domain) = rsplit_once(recipient, b'@')?;
        Some([list, user, b"=", domain, b"@", host].concat())
    };
    parts().unwrap_or_else(|| sender.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verp_names_the_recipient_in_the_sender() {
        let table = [
            ("list-@host-@[]", "bob@d.test", "list-bob=d.test@host"),
            ("list-@host-@[]", "a@b@d.test", "list-a@b=d.test@host"),
            ("a@b-@host-@[]", "bob@d", "a@b-bob=d@host"),
            ("list-@host-@[]", "bob", "list-@host-@[]"),
            ("list-@host", "bob@d", "list-@host"),
            ("-@[]", "bob@d", "-@[]"),
            ("host-@[]", "bob@d", "host-@[]"),
            ("@host-@[]", "bob@d", "bob=d@host"),
            ("@-@[]", "bob@d", "bob=d@"),
            ("#@[]", "bob@d", "#@[]"),
            ("", "bob@d", ""),
        ];
        for (sender, recipient, expected) in table {
            let found = verp(sender.as_bytes(), recipient.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }
}
