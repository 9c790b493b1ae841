//! The message on descriptor 0: read from its start again for every delivery.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};

use base::io::Line;
use base::{Bytes, Die};

use crate::die;

/// How much of a message is kept as its opening, bytes: the line of qmail-queue fits.
const OPENING: usize = 128;

/// The open message.
#[derive(Debug)]
pub(crate) struct Message {
    /// `None`: we were given no descriptor 0
    file: Option<File>,
    opening: Bytes,
}

impl Message {
    /// Takes descriptor 0. Trouble shows when the message is wanted.
    pub(crate) fn take() -> Message {
        Message {
            file: sys::fd::take(0).ok().map(File::from),
            opening: Bytes::new(),
        }
    }

    /// A message that somebody else has opened.
    pub(crate) fn from(file: File) -> Message {
        Message {
            file: Some(file),
            opening: Bytes::new(),
        }
    }

    /// How it begins, once `refuse_loop` has looked at it.
    pub(crate) fn opening(&self) -> &[u8] {
        &self.opening
    }

    /// The message from its start.
    pub(crate) fn rewound(&mut self) -> Result<&mut File, Die> {
        let trouble = || die::temporary("Unable to rewind message. (#4.3.0)");
        let file = self.file.as_mut().ok_or_else(trouble)?;
        file.rewind().map_err(|_| trouble())?;
        Ok(file)
    }

    /// Refuses a message whose header holds the line that this delivery would add.
    pub(crate) fn refuse_loop(&mut self, delivered_to: &[u8]) -> Result<(), Die> {
        let mut input = BufReader::new(self.rewound()?);
        let (opening, is_looping) = (opening(&mut input)?, has_line(input, delivered_to)?);
        self.opening = opening;
        if is_looping {
            return Err(die::permanent(
                "This message is looping: it already has my Delivered-To line. (#5.4.6)",
            ));
        }
        Ok(())
    }
}

/// How the message begins, which stands at its start.
fn opening(input: &mut BufReader<impl Read>) -> Result<Bytes, Die> {
    while let Err(e) = input.fill_buf() {
        if e.kind() != ErrorKind::Interrupted {
            return Err(trouble(&e));
        }
    }
    let buffer = input.buffer();
    Ok(buffer.get(..OPENING).unwrap_or(buffer).to_vec())
}

fn trouble(error: &io::Error) -> Die {
    die::unable(b"read message", error, "#4.3.0")
}

/// Whether `wanted`, with its line end, is a line of the header, byte for byte.
fn has_line(mut input: impl BufRead, wanted: &[u8]) -> Result<bool, Die> {
    let mut line = Vec::new();
    // A longer line cannot be the wanted one; it comes in pieces, of which only the last has a line end.
    let limit = wanted.len() + 1;
    let mut continued = false;
    loop {
        let found = base::io::line(&mut input, b'\n', limit, &mut line).map_err(|e| trouble(&e))?;
        match found {
            Line::TooLong => continued = true,
            Line::End | Line::Partial => return Ok(false),
            Line::Whole if continued => continued = false,
            Line::Whole if line.len() <= 1 => return Ok(false),
            Line::Whole if line == wanted => return Ok(true),
            Line::Whole => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_of_the_header_counts() {
        let has = |text: &str| has_line(text.as_bytes(), b"D: me\n").unwrap();
        assert!(has("D: me\n\n"));
        assert!(has("A: b\nD: me\nE: f\n"));
        assert!(!has("A: b\n\nD: me\n"));
        assert!(!has("D: ME\n"));
        assert!(!has("D: me"));
        assert!(!has("D: me \n"));
        assert!(!has("XXXXXXXXXXXXXXXXXXXXXXXXXD: me\n"));
        assert!(!has("XXXXXXXD: me\n"));
        assert!(has("XXXXXXXX\nXXXXXXX\nXXXXXX\nXXXXX\nD: me\n"));
        assert!(!has("XXXXXXX\n\nD: me\n"));
        assert!(!has(""));
    }
}
