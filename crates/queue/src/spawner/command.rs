//! Commands from qmail-send, one byte at a time.

use base::Bytes;

/// The longest field that is kept, bytes: an address of the queue (1003) with prefix and VERP, and room.
const FIELD_LIMIT: usize = 16 * 1024;

/// One whole command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) number: u8,
    pub(super) message: Bytes,
    pub(super) sender: Bytes,
    pub(super) recipient: Bytes,
    /// a field was longer than `FIELD_LIMIT`: only `number` can be trusted
    pub(super) overlong: bool,
}

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
    command: Command,
}

impl Parser {
    /// Takes one byte; returns a command when it is the last one of it.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Command> {
        let command = &mut self.command;
        let (field, next) = match self.stage {
            Stage::Number => {
                command.number = byte;
                self.stage = Stage::Message;
                return None;
            }
            Stage::Message => (&mut command.message, Stage::Sender),
            Stage::Sender => (&mut command.sender, Stage::Recipient),
            Stage::Recipient => (&mut command.recipient, Stage::Number),
        };
        if byte != 0 {
            if field.len() < FIELD_LIMIT {
                field.push(byte);
            } else {
                command.overlong = true;
            }
            return None;
        }
        self.stage = next;
        matches!(next, Stage::Number).then(|| std::mem::take(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Command> {
        let mut parser = Parser::default();
        bytes.iter().filter_map(|&b| parser.feed(b)).collect()
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
                recipient: b"r@h".to_vec(),
                overlong: false,
            }
        );
        assert_eq!(found[1].number, 1);
        assert!(found[1].recipient.is_empty());
    }

    #[test]
    fn an_overlong_field_spoils_its_own_command_only() {
        let mut bytes = b"\x05m\0".to_vec();
        bytes.extend(vec![b'x'; FIELD_LIMIT + 1]);
        bytes.extend(b"\0r@h\0\x06m\0s\0r@h\0");
        let found = all(&bytes);
        assert_eq!(
            (found[0].number, found[0].overlong, found[0].sender.len()),
            (5, true, FIELD_LIMIT)
        );
        assert!(!found[1].overlong);
        assert_eq!(found[1].sender, b"s");
    }
}
