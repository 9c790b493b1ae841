//! The extended protocol between our qmail-send and our spawners: more than 255 deliveries, several recipients in one.
//!
//! Both directions are a run of frames: a count of four bytes, little end first, then that many bytes. It is spoken
//! only after both sides have shown in the classic protocol that they know it: see `probe` and `answer`.
//!
//! Source  docs/decisions/0006-spawner-protocol.md, 0016-delivered-once.md

use std::io::{self, ErrorKind};

use base::Bytes;
use base::bytes::number;

/// The longest frame, bytes without its count.
pub const FRAME_LIMIT: usize = 1024 * 1024;
/// The most recipients of one command.
pub const RECIPIENT_LIMIT: usize = 100;
/// The delivery number of the question: no classic spawner can have so many.
pub const PROBE_NUMBER: u8 = 255;
/// The message path of the question.
pub const PROBE_PATH: &[u8] = b"qmail-rs/3";

/// What an answer begins with; the number of deliveries follows.
const ANSWER: &[u8] = b"K3 ";
/// Bytes of a number in a frame, and of the count before it.
const WORD: usize = 4;

/// What follows the place of a recipient if an earlier attempt may have delivered.
const DOUBT: &[u8] = b"?";

/// One attempt to deliver to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// where the recipient's record stands in the list of its channel: the same at every attempt
    pub at: u64,
    /// what is known of those before it
    pub past: Past,
}

/// What is known of earlier attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// there was none
    Clean,
    /// it may have delivered, wholly or in part
    Unknown,
}

impl Attempt {
    fn encode(self) -> Bytes {
        let doubt = match self.past {
            Past::Clean => b"",
            Past::Unknown => DOUBT,
        };
        [self.at.to_string().as_bytes(), doubt].concat()
    }

    fn decode(text: &[u8]) -> Option<Attempt> {
        let (digits, past) = match text.strip_suffix(DOUBT) {
            Some(digits) => (digits, Past::Unknown),
            None => (text, Past::Clean),
        };
        let at = number(digits)?;
        let attempt = Attempt { at, past };
        // One form only: no zeros in front.
        (attempt.encode() == text).then_some(attempt)
    }
}

/// Deliver one message to some recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// chosen by qmail-send, below the spawner's limit; comes back in the report
    pub number: u32,
    /// below queue/mess: `3/123`
    pub message: Bytes,
    /// the envelope sender
    pub sender: Bytes,
    /// of a delivery to one recipient on this machine; without it, it cannot be known again
    pub attempt: Option<Attempt>,
    /// 1 to `RECIPIENT_LIMIT`, all of one domain
    pub recipients: Vec<Bytes>,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// the number of the command
    pub number: u32,
    /// for each recipient, in order: K, Z or D, and a text
    pub texts: Vec<Bytes>,
}

/// The classic command that asks a spawner whether it speaks this protocol. Any other spawner refuses it with a
/// report for `PROBE_NUMBER`.
pub fn probe() -> Bytes {
    [&[PROBE_NUMBER], PROBE_PATH, b"\0\0\0"].concat()
}

/// Whether a classic command is that question.
pub fn is_probe(number: u8, message: &[u8], sender: &[u8], recipient: &[u8]) -> bool {
    number == PROBE_NUMBER && message == PROBE_PATH && sender.is_empty() && recipient.is_empty()
}

/// The classic report that says yes: `limit` deliveries can run at once. After it, frames in both directions.
pub fn answer(limit: u32) -> Bytes {
    [&[PROBE_NUMBER], ANSWER, limit.to_string().as_bytes(), b"\0"].concat()
}

/// What the text of a classic report for `PROBE_NUMBER` says: how many deliveries can run at once. `None`: a classic
/// spawner's refusal.
pub fn read_answer(text: &[u8]) -> Option<u32> {
    u32::try_from(number(text.strip_prefix(ANSWER)?)?).ok()
}

/// One frame around a number and some texts. `None`: a text has a NUL, or the frame would be too long.
fn encode<'a>(number: u32, texts: impl Iterator<Item = &'a Bytes>) -> Option<Bytes> {
    let mut frame = vec![0; WORD];
    frame.extend_from_slice(&number.to_le_bytes());
    for text in texts {
        if text.contains(&0) || frame.len() + text.len() + 1 > WORD + FRAME_LIMIT {
            return None;
        }
        frame.extend_from_slice(text);
        frame.push(0);
    }
    let count = u32::try_from(frame.len() - WORD).ok()?;
    frame.splice(..WORD, count.to_le_bytes());
    Some(frame)
}

/// The number and the texts inside a frame. `None`: the last one has no end.
fn decode(frame: &[u8]) -> Option<(u32, Vec<Bytes>)> {
    let (number, rest) = frame.split_first_chunk::<WORD>()?;
    let texts = rest.strip_suffix(b"\0")?;
    let texts = texts.split(|&b| b == 0).map(<[u8]>::to_vec);
    Some((u32::from_le_bytes(*number), texts.collect()))
}

/// The frame of a command. `None`: no recipient or too many, a NUL inside, or longer than `FRAME_LIMIT`.
pub fn encode_command(command: &Command) -> Option<Bytes> {
    if command.recipients.is_empty() || command.recipients.len() > RECIPIENT_LIMIT {
        return None;
    }
    let attempt = command.attempt.map(Attempt::encode).unwrap_or_default();
    let texts = [&command.message, &command.sender, &attempt]
        .into_iter()
        .chain(&command.recipients);
    encode(command.number, texts)
}

/// The command in a frame (without its count). `None`: it is none. Whether the path and the number are sane is for
/// the spawner to see.
pub fn decode_command(frame: &[u8]) -> Option<Command> {
    let (number, texts) = decode(frame)?;
    let mut texts = texts.into_iter();
    let (message, sender, attempt) = (texts.next()?, texts.next()?, texts.next()?);
    let attempt = match attempt.as_slice() {
        b"" => None,
        some => Some(Attempt::decode(some)?),
    };
    let command = Command {
        number,
        message,
        sender,
        attempt,
        recipients: texts.collect(),
    };
    let count = command.recipients.len();
    (1..=RECIPIENT_LIMIT).contains(&count).then_some(command)
}

/// The frame of a report. `None`: no text or too many, a NUL inside, or longer than `FRAME_LIMIT`.
pub fn encode_report(report: &Report) -> Option<Bytes> {
    if report.texts.is_empty() || report.texts.len() > RECIPIENT_LIMIT {
        return None;
    }
    encode(report.number, report.texts.iter())
}

/// The report in a frame (without its count). `None`: it is none. Whether there is one text for each recipient, and
/// whether its letter is known, is for qmail-send to see.
pub fn decode_report(frame: &[u8]) -> Option<Report> {
    let (number, texts) = decode(frame)?;
    (1..=RECIPIENT_LIMIT)
        .contains(&texts.len())
        .then_some(Report { number, texts })
}

/// Gathers frames from pieces of a stream.
#[derive(Debug, Default)]
pub struct Frames {
    /// what came and was not given out, from `start` on
    buffer: Bytes,
    start: usize,
}

impl Frames {
    /// Takes the next bytes of the stream.
    ///
    /// Callers take out whole frames after each piece: then no more than one frame and one piece is ever held.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole frame, without its count; `None` until more bytes come.
    ///
    /// # Errors
    /// `InvalidData`: a frame longer than `FRAME_LIMIT`. The stream is of no more use.
    pub fn next_frame(&mut self) -> io::Result<Option<&[u8]>> {
        let held = self.buffer.get(self.start..).unwrap_or_default();
        let Some((count, _)) = held.split_first_chunk::<WORD>() else {
            return Ok(None);
        };
        let count = usize::try_from(u32::from_le_bytes(*count)).unwrap_or(usize::MAX);
        if count > FRAME_LIMIT {
            return Err(ErrorKind::InvalidData.into());
        }
        let Some(frame) = held.get(WORD..WORD + count) else {
            return Ok(None);
        };
        self.start += WORD + count;
        Ok(Some(frame))
    }

    /// Whether the stream stands between two frames.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }
}

#[cfg(test)]
mod tests;
