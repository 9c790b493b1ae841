//! Commands of the classic protocol, one byte at a time.

use base::Bytes;

use super::FIELD_LIMIT;
use super::speech::Order;
use crate::frames::{self, Command};

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Number,
    Message,
    Sender,
    Recipient,
}

/// Gathers commands.
#[derive(Debug, Default)]
pub(super) struct Parser {
    stage: Stage,
    number: u8,
    message: Bytes,
    sender: Bytes,
    recipient: Bytes,
}

impl Parser {
    /// Takes one byte; returns an order when it is the last one of it.
    ///
    /// A field that is too long is kept one byte longer than the limit, so that it will be refused.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Order> {
        let (field, next) = match self.stage {
            Stage::Number => {
                self.number = byte;
                self.stage = Stage::Message;
                return None;
            }
            Stage::Message => (&mut self.message, Stage::Sender),
            Stage::Sender => (&mut self.sender, Stage::Recipient),
            Stage::Recipient => (&mut self.recipient, Stage::Number),
        };
        if byte != 0 {
            if field.len() <= FIELD_LIMIT {
                field.push(byte);
            }
            return None;
        }
        self.stage = next;
        matches!(next, Stage::Number).then(|| self.order())
    }

    fn order(&mut self) -> Order {
        let probe = frames::is_probe(self.number, &self.message, &self.sender, &self.recipient);
        let command = Command {
            number: u32::from(self.number),
            message: std::mem::take(&mut self.message),
            sender: std::mem::take(&mut self.sender),
            attempt: None,
            recipients: vec![std::mem::take(&mut self.recipient)],
        };
        if probe {
            Order::Probe(command)
        } else {
            Order::Deliver(command)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Command> {
        let mut parser = Parser::default();
        bytes
            .iter()
            .filter_map(|&b| parser.feed(b))
            .map(|order| match order {
                Order::Deliver(command) | Order::Probe(command) => command,
            })
            .collect()
    }

    #[test]
    fn a_command_has_four_parts() {
        let found = all(b"\0\x33/1\0s\0r@h\0\x01\0\0\0\x02half");
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0],
            Command {
                number: 0,
                message: b"3/1".to_vec(),
                sender: b"s".to_vec(),
                attempt: None,
                recipients: vec![b"r@h".to_vec()],
            }
        );
        assert_eq!(found[1].number, 1);
        assert_eq!(found[1].recipients, [b""]);
    }

    #[test]
    fn an_overlong_field_spoils_its_own_command_only() {
        let mut bytes = b"\x05m\0".to_vec();
        bytes.extend(vec![b'x'; 2 * FIELD_LIMIT]);
        bytes.extend(b"\0r@h\0\x06m\0s\0r@h\0");
        let found = all(&bytes);
        assert_eq!(
            (found[0].number, found[0].sender.len()),
            (5, FIELD_LIMIT + 1)
        );
        assert_eq!(found[1].sender, b"s");
    }
}
