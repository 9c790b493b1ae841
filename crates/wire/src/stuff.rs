//! The text of a message as it goes out over SMTP: CR LF line ends, stuffed dots, the end.
//!
//! A queue file has LF line ends, but may hold any bytes. Whatever they are, the receiver sees exactly one message with
//! the lines that the queue file has, because no CR and no LF goes out but as a pair:
//!
//! - LF and CR LF become CR LF;
//! - a CR that no LF follows becomes a space. As a line end it would begin lines that no filter before us has seen as
//!   lines, and as it stands some receivers take it for one: both have been used to smuggle messages;
//! - a dot that only NULs part from the line start is stuffed as one at the line start, for receivers that drop NULs.
//!   Others see a dot more: no text has such a line.
//!
//! Source  RFC 5321 2.3.8, 4.1.1.4, 4.5.2; CVE-2023-51764, -51765, -51766; docs/compat.md

use base::Bytes;
use base::bytes::find_byte;

/// What ends the text.
const END: &[u8] = b".\r\n";

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    /// behind NULs that begin a line
    Nuls,
    Middle,
}

/// The last line has no line end, so the text cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialLine;

/// The writer's state between blocks.
#[derive(Clone, Debug)]
pub struct Stuff {
    at: At,
    /// a CR came last; what it is depends on the next byte
    cr: bool,
}

impl Default for Stuff {
    fn default() -> Stuff {
        Stuff {
            at: At::LineStart,
            cr: false,
        }
    }
}

impl Stuff {
    /// Takes the next block of the message, in blocks of any size, and appends to `out` what goes over the wire:
    /// at most twice as much, and two bytes.
    pub fn feed(&mut self, block: &[u8], out: &mut Bytes) {
        let mut rest = block;
        while !rest.is_empty() {
            let end = find_byte(rest, b'\n');
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.line(line, out);
            rest = after;
            if let Some((_, after)) = rest.split_first() {
                // A CR held back belongs to this LF.
                self.cr = false;
                self.at = At::LineStart;
                out.extend_from_slice(b"\r\n");
                rest = after;
            }
        }
    }

    /// Bytes of one line, without LF.
    fn line(&mut self, line: &[u8], out: &mut Bytes) {
        let mut rest = line;
        while !rest.is_empty() {
            if self.cr {
                self.at = At::Middle;
                out.push(b' ');
            }
            let cr = find_byte(rest, b'\r');
            let (mut text, after) = rest.split_at(cr.unwrap_or(rest.len()));
            if self.at != At::Middle {
                text = self.begin(text, out);
            }
            out.extend_from_slice(text);
            self.cr = cr.is_some();
            rest = after.get(1..).unwrap_or_default();
        }
    }

    /// Bytes at the start of a line: sends NULs on and stuffs a dot. Returns the rest.
    fn begin<'a>(&mut self, text: &'a [u8], out: &mut Bytes) -> &'a [u8] {
        let nuls = text.iter().take_while(|&&b| b == 0).count();
        let (nuls, rest) = text.split_at(nuls);
        out.extend_from_slice(nuls);
        if !nuls.is_empty() {
            self.at = At::Nuls;
        }
        if let Some(&first) = rest.first() {
            self.at = At::Middle;
            if first == b'.' {
                out.push(b'.');
            }
        }
        rest
    }

    /// Ends the text.
    ///
    /// # Errors
    /// The last line is partial; nothing was appended, and the receiver has no message as long as nothing follows.
    pub fn finish(&self, out: &mut Bytes) -> Result<(), PartialLine> {
        if self.cr || self.at != At::LineStart {
            return Err(PartialLine);
        }
        out.extend_from_slice(END);
        Ok(())
    }
}

/// What a client wants to know of a message before it offers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    bytes: u64,
    line_ends: u64,
    pairs: u64,
    last: u8,
    eight_bit: bool,
}

impl Survey {
    /// Looks at the next block.
    pub fn feed(&mut self, block: &[u8]) {
        let mut rest = block;
        let mut before = self.last;
        while let Some(at) = find_byte(rest, b'\n') {
            let previous = at.checked_sub(1).and_then(|p| rest.get(p));
            let previous = previous.copied().unwrap_or(before);
            self.line_ends = self.line_ends.saturating_add(1);
            self.pairs = self.pairs.saturating_add(u64::from(previous == b'\r'));
            before = b'\n';
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        self.bytes = self.bytes.saturating_add(block.len() as u64);
        self.eight_bit |= !block.is_ascii();
        self.last = block.last().copied().unwrap_or(self.last);
    }

    /// Bytes over the wire, counted as RFC 1870 wants: with CR LF, without stuffed dots and without the end.
    pub fn size(&self) -> u64 {
        self.bytes
            .saturating_add(self.line_ends)
            .saturating_sub(self.pairs)
    }

    /// Whether there is a byte above 127.
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Whether the last line has no line end.
    pub fn is_partial(&self) -> bool {
        self.bytes > 0 && self.last != b'\n'
    }
}

#[cfg(test)]
mod tests;
