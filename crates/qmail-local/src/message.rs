//! The message on descriptor 0: read from its start again for every delivery.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use base::Die;
use base::io::Line;

use crate::die;

/// The open message.
#[derive(Debug)]
pub(crate) struct Message {
    /// `None`: we were given no descriptor 0
    file: Option<File>,
}

impl Message {
    /// Takes descriptor 0. Trouble shows when the message is wanted.
    pub(crate) fn take() -> Message {
        Message {
            file: sys::fd::take(0).ok().map(File::from),
        }
    }

    /// A message that somebody else has opened.
    pub(crate) fn from(file: File) -> Message {
        Message { file: Some(file) }
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
        if has_line(self.rewound()?, delivered_to)? {
            return Err(die::permanent(
                "This message is looping: it already has my Delivered-To line. (#5.4.6)",
            ));
        }
        Ok(())
    }
}

/// Whether `wanted`, with its line end, is a line of the header, byte for byte.
fn has_line(message: impl Read, wanted: &[u8]) -> Result<bool, Die> {
    let mut input = BufReader::new(message);
    let mut line = Vec::new();
    // A longer line cannot be the wanted one; it comes in pieces, of which only the last has a line end.
    let limit = wanted.len() + 1;
    let mut continued = false;
    loop {
        let found = base::io::line(&mut input, b'\n', limit, &mut line)
            .map_err(|e| die::unable(b"read message", &e, "#4.3.0"))?;
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
