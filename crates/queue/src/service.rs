//! The talk between the queue service and those who bring it messages: qmail-queued(8) on a local socket.
//!
//! The client begins with one letter: `q` for one message, `Q` for any number. A message is netstrings that hold the
//! text in pieces of any size, an empty netstring, netstrings that hold the envelope (as on descriptor 1 of
//! qmail-queue), an empty netstring. The answer is one netstring: the exit code of qmail-queue as one byte, the number
//! to be known by (`qp`) in decimal, and perhaps a space and a text. After `q` the service hangs up then. A client that
//! hangs up early takes its message back.
//!
//! Source  qmail-queued(8)

use base::Bytes;

/// Where the service listens, below home.
pub const SOCKET: &str = "run/queue/socket";
/// First byte of a client that brings one message.
pub const ONE: u8 = b'q';
/// First byte of a client that brings any number of messages, one after the other.
pub const MANY: u8 = b'Q';
/// Code of an answer that came before anything was taken: too many connections or messages at once. The classic way is
/// still open.
pub const BUSY: u8 = 121;
/// The largest piece, bytes.
pub const PIECE_LIMIT: usize = 1 << 20;
/// The longest answer, bytes with its frame.
pub const ANSWER_LIMIT: usize = 1024;

/// Input that is no netstring, or one over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Takes netstrings apart while they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// digits of a length, and how many there were
    Length(usize, u8),
    /// bytes of the text that are missing
    Text(usize),
    /// the comma is missing; whether the text was empty
    Comma(bool),
}

impl Default for State {
    fn default() -> State {
        State::Length(0, 0)
    }
}

/// What `Pieces` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// some bytes of a text
    Bytes(&'a [u8]),
    /// the empty netstring
    End,
}

impl Pieces {
    /// Takes the next piece off `input`. `None`: all of `input` has been looked at.
    ///
    /// # Errors
    /// `Malformed`; nothing after it means anything.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        loop {
            match self.state {
                State::Text(missing) if missing > 0 => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let count = missing.min(input.len());
                    let (text, rest) = input.split_at(count);
                    *input = rest;
                    self.state = State::Text(missing - count);
                    return Ok(Some(Piece::Bytes(text)));
                }
                State::Text(_) => self.state = State::Comma(false),
                _ => {
                    let Some((&byte, rest)) = input.split_first() else {
                        return Ok(None);
                    };
                    *input = rest;
                    if self.step(byte)? {
                        return Ok(Some(Piece::End));
                    }
                }
            }
        }
    }

    /// Looks at a byte outside of a text. `true`: it ends an empty netstring.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        match (self.state, byte) {
            // A length has no leading zero.
            (State::Length(0, 1), b'0'..=b'9') => Err(Malformed),
            (State::Length(value, count), b'0'..=b'9') => {
                let value = value * 10 + usize::from(byte - b'0');
                if value > PIECE_LIMIT {
                    return Err(Malformed);
                }
                self.state = State::Length(value, count + 1);
                Ok(false)
            }
            (State::Length(0, 1), b':') => {
                self.state = State::Comma(true);
                Ok(false)
            }
            (State::Length(value, 1..), b':') => {
                self.state = State::Text(value);
                Ok(false)
            }
            (State::Comma(empty), b',') => {
                self.state = State::default();
                Ok(empty)
            }
            _ => Err(Malformed),
        }
    }
}

/// Appends `bytes` as netstrings; nothing for no bytes.
pub fn put_pieces(output: &mut Bytes, bytes: &[u8]) {
    for piece in bytes.chunks(PIECE_LIMIT) {
        output.extend_from_slice(piece.len().to_string().as_bytes());
        output.push(b':');
        output.extend_from_slice(piece);
        output.push(b',');
    }
}

/// The empty netstring: the end of a text or of an envelope.
pub const END: &[u8] = b"0:,";

/// What the service says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// exit code of qmail-queue, or `BUSY`
    pub code: u8,
    /// the number that logs call `qp`
    pub qp: u32,
    /// may explain the code; empty if not
    pub text: Bytes,
}

impl Answer {
    /// As it is sent.
    pub fn bytes(&self) -> Bytes {
        let mut text = vec![self.code];
        text.extend_from_slice(self.qp.to_string().as_bytes());
        if !self.text.is_empty() {
            text.push(b' ');
            text.extend_from_slice(&self.text);
        }
        let mut bytes = Bytes::new();
        put_pieces(&mut bytes, &text);
        bytes
    }

    /// Reads an answer. `Ok(None)`: it is not whole yet.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn read(bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        let mut pieces = Pieces::default();
        let mut input = bytes;
        let Some(Piece::Bytes(text)) = pieces.next(&mut input)? else {
            return if bytes.len() < ANSWER_LIMIT {
                Ok(None)
            } else {
                Err(Malformed)
            };
        };
        // The comma has been seen if the parser stands before a length again.
        if pieces.next(&mut input)?.is_some() || pieces != Pieces::default() {
            return Ok(None);
        }
        let (&code, rest) = text.split_first().ok_or(Malformed)?;
        let (qp, used) = base::bytes::scan_number(rest);
        let qp = u32::try_from(qp).map_err(|_| Malformed)?;
        let text = match rest.get(used..).unwrap_or_default() {
            [] => Bytes::new(),
            [b' ', text @ ..] => text.to_vec(),
            _ => return Err(Malformed),
        };
        Ok(Some(Answer { code, qp, text }))
    }
}

#[cfg(test)]
mod tests;
