//! The text of a message as it comes over SMTP: finds its end, takes the stuffed dots and the CRs away.
//!
//! Only CR LF is a line end and only CR LF `.` CR LF is the end. A LF or a CR that stands alone is never taken for
//! either, nor repaired: what another machine might read as the end of a message must not be stored as its middle.
//!
//! Source  RFC 5321 2.3.8, 4.1.1.4, 4.5.2; CVE-2023-51764, -51765, -51766

use std::io::BufRead;

/// One piece of text, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// bytes of a line; long lines come in several
    Text(&'a [u8]),
    /// the end of a line
    Newline,
}

/// How far a block brought us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// all was taken, the end has not come
    More,
    /// the end came; this many bytes of the block were taken, the rest is commands
    End(usize),
    /// a LF without CR stands before this many bytes had been taken: nothing behind it can be trusted
    BareLf(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// behind CR LF, or at the very beginning
    LineStart,
    /// inside a line
    Middle,
    /// behind a CR inside a line
    Cr,
    /// behind a dot that begins a line
    Dot,
    /// behind a CR behind such a dot
    DotCr,
}

/// The reader's state between blocks.
#[derive(Clone, Debug)]
pub struct Unstuff {
    state: State,
    bare_cr: bool,
    nul: bool,
}

impl Default for Unstuff {
    fn default() -> Unstuff {
        Unstuff {
            state: State::LineStart,
            bare_cr: false,
            nul: false,
        }
    }
}

/// Where `byte` first stands in `bytes`, at the speed of the system's memchr.
fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    let mut rest = bytes;
    // Reading a slice does not fail.
    let taken = rest.skip_until(byte).unwrap_or(0);
    let last = taken.checked_sub(1)?;
    (bytes.get(last) == Some(&byte)).then_some(last)
}

impl Unstuff {
    /// Whether a CR without a LF behind it has been seen.
    pub fn saw_bare_cr(&self) -> bool {
        self.bare_cr
    }

    /// Whether a NUL has been seen.
    pub fn saw_nul(&self) -> bool {
        self.nul
    }

    /// Takes the next block of input, in blocks of any size, and hands out what it means.
    pub fn feed(&mut self, block: &[u8], mut emit: impl FnMut(Piece<'_>)) -> Step {
        let mut rest = block;
        while let Some(&first) = rest.first() {
            let taken = match self.state {
                State::LineStart => {
                    self.state = State::Middle;
                    if first == b'.' {
                        self.state = State::Dot;
                        1
                    } else {
                        0
                    }
                }
                State::Dot if first == b'\r' => {
                    self.state = State::DotCr;
                    1
                }
                State::Dot => {
                    self.state = State::Middle;
                    0
                }
                State::DotCr if first == b'\n' => {
                    return Step::End(block.len() - rest.len() + 1);
                }
                State::Cr if first == b'\n' => {
                    emit(Piece::Newline);
                    self.state = State::LineStart;
                    1
                }
                State::DotCr | State::Cr => {
                    self.bare_cr = true;
                    self.state = State::Middle;
                    0
                }
                State::Middle => {
                    let cr = find(rest, b'\r');
                    let text = rest.get(..cr.unwrap_or(rest.len())).unwrap_or_default();
                    if let Some(lf) = find(text, b'\n') {
                        return Step::BareLf(block.len() - rest.len() + lf);
                    }
                    self.nul |= find(text, 0).is_some();
                    if !text.is_empty() {
                        emit(Piece::Text(text));
                    }
                    if cr.is_some() {
                        self.state = State::Cr;
                    }
                    text.len() + usize::from(cr.is_some())
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Step::More
    }
}

#[cfg(test)]
mod tests;
