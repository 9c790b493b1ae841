//! The two languages of qmail-send: the classic one until it asks for the other.

use std::io;

use base::Bytes;

use super::command::Parser;
use super::{CONCURRENCY, Deliver};
use crate::frames::{self, Command, FRAME_LIMIT, Frames, Report};

/// What qmail-send wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// deliver this
    Deliver(Command),
    /// speak in frames, if you can; the same as a classic command
    Probe(Command),
}

/// How qmail-send is understood and answered.
#[derive(Debug)]
pub(super) enum Speech {
    /// one byte for the delivery, one recipient
    Classic {
        parser: Parser,
        /// bytes that came and were not looked at, in reverse
        rest: Bytes,
    },
    /// frames
    Extended(Frames),
}

impl Default for Speech {
    fn default() -> Speech {
        Speech::Classic {
            parser: Parser::default(),
            rest: Bytes::new(),
        }
    }
}

impl Speech {
    /// How many deliveries may run at a time: their numbers are below it.
    pub(super) fn limit(&self, deliver: &impl Deliver) -> u32 {
        match self {
            Speech::Classic { .. } => u32::from(CONCURRENCY),
            Speech::Extended(_) => deliver.limit(),
        }
    }

    /// Takes what came from qmail-send. All orders are taken out after each piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        match self {
            Speech::Classic { rest, .. } => rest.extend(piece.iter().rev()),
            Speech::Extended(frames) => frames.feed(piece),
        }
    }

    /// The next whole order.
    ///
    /// # Errors
    /// What comes from qmail-send cannot be understood any more.
    pub(super) fn next_order(&mut self) -> io::Result<Option<Order>> {
        match self {
            Speech::Classic { parser, rest } => {
                while let Some(byte) = rest.pop() {
                    if let Some(order) = parser.feed(byte) {
                        return Ok(Some(order));
                    }
                }
                Ok(None)
            }
            Speech::Extended(frames) => match frames.next_frame()? {
                None => Ok(None),
                Some(frame) => frames::decode_command(frame)
                    .map(|command| Some(Order::Deliver(command)))
                    .ok_or_else(|| io::ErrorKind::InvalidData.into()),
            },
        }
    }

    /// From here on, frames.
    pub(super) fn extend(&mut self) {
        if let Speech::Classic { rest, .. } = self {
            let mut frames = Frames::default();
            rest.reverse();
            frames.feed(rest);
            *self = Speech::Extended(frames);
        }
    }

    /// Adds the report of a delivery to `out`. A text ends before its first NUL.
    pub(super) fn report(&self, number: u32, texts: &[Bytes], out: &mut Bytes) {
        let before_nul = |text: &Bytes| {
            let end = text.iter().position(|&b| b == 0).unwrap_or(text.len());
            text.get(..end).unwrap_or_default().to_vec()
        };
        match self {
            Speech::Classic { .. } => {
                out.push(u8::try_from(number).unwrap_or(u8::MAX));
                out.extend(texts.first().map(before_nul).unwrap_or_default());
                out.push(0);
            }
            Speech::Extended(_) => {
                // Together they must fit into one frame.
                let share = FRAME_LIMIT / texts.len().max(1) - 8;
                let texts = texts.iter().map(|text| {
                    let mut text = before_nul(text);
                    text.truncate(share);
                    text
                });
                let report = Report {
                    number,
                    texts: texts.collect(),
                };
                out.extend(frames::encode_report(&report).unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(speech: &mut Speech, bytes: &[u8]) -> Vec<Order> {
        speech.feed(bytes);
        let mut found = Vec::new();
        while let Some(order) = speech.next_order().unwrap() {
            if matches!(order, Order::Probe(_)) {
                speech.extend();
            }
            found.push(order);
        }
        found
    }

    fn command(number: u32, recipients: &[&str]) -> Command {
        Command {
            number,
            message: b"3/1".to_vec(),
            sender: b"s".to_vec(),
            attempt: None,
            recipients: recipients.iter().map(|r| r.as_bytes().to_vec()).collect(),
        }
    }

    #[test]
    fn frames_follow_the_question_at_once() {
        let want = command(700, &["a@h", "b@h"]);
        let mut bytes = b"\x073/1\0s\0r@h\0".to_vec();
        bytes.extend(frames::probe());
        bytes.extend(frames::encode_command(&want).unwrap());
        let mut speech = Speech::default();
        let found = orders(&mut speech, &bytes);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], Order::Deliver(command(7, &["r@h"])));
        assert_eq!(found[2], Order::Deliver(want.clone()));
        let mut out = Bytes::new();
        speech.report(700, &[b"Ka\0b".to_vec(), b"Z".to_vec()], &mut out);
        let report = frames::decode_report(&out[4..]).unwrap();
        assert_eq!(report.texts, [b"Ka".to_vec(), b"Z".to_vec()]);

        // Byte by byte it is the same.
        let mut speech = Speech::default();
        let found: Vec<Order> = bytes
            .iter()
            .flat_map(|&b| orders(&mut speech, &[b]))
            .collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[2], Order::Deliver(want));
    }

    #[test]
    fn a_question_of_another_form_is_a_command() {
        for bytes in [
            &b"\xfeqmail-rs/3\0\0\0"[..],
            b"\xffqmail-rs/3\0s\0\0",
            b"\xffqmail-rs/3\0\0r\0",
            b"\xffqmail-rs/2\0\0\0",
        ] {
            let found = orders(&mut Speech::default(), bytes);
            assert!(matches!(found[..], [Order::Deliver(_)]), "{found:?}");
        }
    }

    #[test]
    fn reports_that_are_too_long_together_are_cut() {
        let mut speech = Speech::default();
        speech.extend();
        let mut out = Bytes::new();
        speech.report(1, &vec![vec![b'D'; 32 * 1024]; 100], &mut out);
        let report = frames::decode_report(&out[4..]).unwrap();
        assert_eq!(report.texts.len(), 100);
        assert!(report.texts.iter().all(|t| t.len() > 10_000));
    }

    #[test]
    fn nonsense_between_frames_is_noticed() {
        let mut speech = Speech::default();
        speech.extend();
        speech.feed(b"\xff\xff\xff\xff");
        assert!(speech.next_order().is_err());
        let mut speech = Speech::default();
        speech.extend();
        speech.feed(b"\x02\0\0\0xx");
        assert!(speech.next_order().is_err());
    }
}
