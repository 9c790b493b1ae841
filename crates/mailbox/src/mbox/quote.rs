//! The `>` before lines of a message that look like a `From ` line: `>From ` too, so that it can be undone.

use base::Bytes;

const FROM: &[u8] = b"From ";

/// Goes through a message piece by piece.
#[derive(Debug)]
pub(super) struct Quote {
    place: Place,
    ends_with_newline: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// at the start of a line: so many `>`, then so many bytes of `From `; held back until it is clear what it is
    Start { marks: usize, matched: usize },
    /// further on
    Inside,
}

const FRESH: Place = Place::Start {
    marks: 0,
    matched: 0,
};

impl Default for Quote {
    fn default() -> Quote {
        Quote {
            place: FRESH,
            // An empty message gets no line end of its own.
            ends_with_newline: true,
        }
    }
}

impl Quote {
    /// Adds the quoted form of the next `piece` to `out`.
    pub(super) fn feed(&mut self, mut piece: &[u8], out: &mut Bytes) {
        if let Some(&last) = piece.last() {
            self.ends_with_newline = last == b'\n';
        }
        while let Some((&byte, rest)) = piece.split_first() {
            match self.place {
                Place::Start { marks, matched } => {
                    self.at_start(byte, marks, matched, out);
                    piece = rest;
                }
                Place::Inside => {
                    let line = piece.iter().position(|&b| b == b'\n');
                    let (whole, rest) = piece.split_at(line.map_or(piece.len(), |at| at + 1));
                    out.extend_from_slice(whole);
                    if line.is_some() {
                        self.place = FRESH;
                    }
                    piece = rest;
                }
            }
        }
    }

    fn at_start(&mut self, byte: u8, marks: usize, matched: usize, out: &mut Bytes) {
        if matched == 0 && byte == b'>' {
            self.place = Place::Start {
                marks: marks + 1,
                matched,
            };
            return;
        }
        if FROM.get(matched) != Some(&byte) {
            hold_no_longer(marks, matched, out);
            out.push(byte);
            self.place = if byte == b'\n' { FRESH } else { Place::Inside };
            return;
        }
        let matched = matched + 1;
        self.place = Place::Start { marks, matched };
        if matched == FROM.len() {
            out.push(b'>');
            hold_no_longer(marks, matched, out);
            self.place = Place::Inside;
        }
    }

    /// The end of the message: a last line gets its line end, and an empty line follows.
    pub(super) fn finish(self, out: &mut Bytes) {
        if let Place::Start { marks, matched } = self.place {
            hold_no_longer(marks, matched, out);
        }
        if !self.ends_with_newline {
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

fn hold_no_longer(marks: usize, matched: usize, out: &mut Bytes) {
    out.resize(out.len() + marks, b'>');
    out.extend_from_slice(FROM.get(..matched).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &[u8], piece: usize) -> Vec<u8> {
        let mut quote = Quote::default();
        let mut out = Bytes::new();
        for part in text.chunks(piece) {
            quote.feed(part, &mut out);
        }
        quote.finish(&mut out);
        out
    }

    #[test]
    fn quotes_the_same_wherever_the_pieces_are_cut() {
        for (text, want) in [
            (&b""[..], &b"\n"[..]),
            (b"\n", b"\n\n"),
            (b"a", b"a\n\n"),
            (b"From ", b">From \n\n"),
            (b"From", b"From\n\n"),
            (b"From\n", b"From\n\n"),
            (b">", b">\n\n"),
            (b">>From x\n", b">>>From x\n\n"),
            (b">>Fro", b">>Fro\n\n"),
            (b"Fr>From x\n", b"Fr>From x\n\n"),
            (b"FFrom x\n", b"FFrom x\n\n"),
            (b"a\nFrom b\n\nFrom c", b"a\n>From b\n\n>From c\n\n"),
            (b"from me\n From me\n", b"from me\n From me\n\n"),
            (b">F\n>From \n", b">F\n>>From \n\n"),
        ] {
            for piece in 1..=text.len().max(1) {
                assert_eq!(
                    quoted(text, piece).escape_ascii().to_string(),
                    want.escape_ascii().to_string(),
                    "pieces of {piece}"
                );
            }
        }
    }
}
