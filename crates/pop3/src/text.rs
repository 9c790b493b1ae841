//! The text of a message as it goes out over POP3: CR LF line ends, stuffed dots, a blank line at the end.
//!
//! Source  RFC 1939 3; qmail-pop3d(8)

use base::Bytes;
use base::bytes::find_byte;

/// What stands behind every text: the original adds a blank line.
const END: &[u8] = b"\r\n.\r\n";

/// The writer's state between blocks.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// lines of the body that may still go out; `None`: all
    left: Option<u64>,
    in_header: bool,
    /// a byte of this line has come
    begun: bool,
    /// bytes of this line have gone out
    filled: bool,
    /// a CR came last: it is part of the line end if a LF follows
    cr: bool,
    over: bool,
}

impl Outgoing {
    /// The whole text, or its header and so many lines of the body.
    pub fn new(lines: Option<u64>) -> Outgoing {
        Outgoing {
            left: lines,
            in_header: true,
            begun: false,
            filled: false,
            cr: false,
            over: false,
        }
    }

    /// Whether nothing more of the text is wanted.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Takes the next block of the file, in blocks of any size, and appends to `out` what goes over the wire: at most
    /// three times as much.
    pub fn feed(&mut self, block: &[u8], out: &mut Bytes) {
        let mut rest = block;
        while !rest.is_empty() {
            if !self.begun && !self.begin() {
                return;
            }
            let end = find_byte(rest, b'\n');
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.put(part, out);
            if end.is_some() {
                self.end_line(out);
            }
            rest = after.get(1..).unwrap_or_default();
        }
    }

    /// A new line. `false`: it is one too many.
    fn begin(&mut self) -> bool {
        if !self.in_header {
            match &mut self.left {
                Some(0) => self.over = true,
                Some(left) => *left -= 1,
                None => {}
            }
        }
        self.begun = !self.over;
        self.begun
    }

    /// Bytes of one line, without LF.
    fn put(&mut self, part: &[u8], out: &mut Bytes) {
        let (text, cr) = match part.strip_suffix(b"\r") {
            Some(text) => (text, true),
            None => (part, false),
        };
        if self.cr && !part.is_empty() {
            // The CR held back was no part of a line end.
            out.push(b'\r');
            self.filled = true;
            self.cr = false;
        }
        if !self.filled && text.first() == Some(&b'.') {
            out.push(b'.');
        }
        self.filled |= !text.is_empty();
        out.extend_from_slice(text);
        self.cr |= cr;
    }

    fn end_line(&mut self, out: &mut Bytes) {
        self.in_header &= self.filled;
        self.begun = false;
        self.filled = false;
        self.cr = false;
        out.extend_from_slice(b"\r\n");
    }

    /// Ends the text. A last line without its end gets one.
    pub fn finish(mut self, out: &mut Bytes) {
        if self.begun {
            if self.cr {
                out.push(b'\r');
            }
            self.end_line(out);
        }
        out.extend_from_slice(END);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str, lines: Option<u64>, block: usize) -> String {
        let mut out = Bytes::new();
        let mut outgoing = Outgoing::new(lines);
        for block in text.as_bytes().chunks(block) {
            outgoing.feed(block, &mut out);
        }
        outgoing.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn in_blocks_of_any_size_the_same_goes_out() {
        for (text, want) in [
            ("", ""),
            ("a: b\n\nc\n", "a: b\r\n\r\nc\r\n"),
            ("a: b\n\nc", "a: b\r\n\r\nc\r\n"),
            (".\n..a\nb.\n", "..\r\n...a\r\nb.\r\n"),
            ("a\r\n\r\n.\r\n", "a\r\n\r\n..\r\n"),
            ("a\rb\r\r\n\r.\n", "a\rb\r\r\n\r.\r\n"),
            ("x\r", "x\r\r\n"),
            ("\r\r\r\n", "\r\r\r\n"),
            ("\0\n.\0\n", "\0\r\n..\0\r\n"),
        ] {
            for block in 1..=text.len().max(1) {
                assert_eq!(
                    sent(text, None, block),
                    format!("{want}\r\n.\r\n"),
                    "{text:?} in blocks of {block}"
                );
            }
        }
    }

    #[test]
    fn top_counts_lines_of_the_body() {
        for text in [
            "h: 1\nh: 2\n\none\n\n.three\nfour",
            "h: 1\r\nh: 2\r\n\r\none\r\n\r\n.three\r\nfour",
        ] {
            for block in 1..=text.len() {
                for (lines, want) in [
                    (0, ""),
                    (1, "one\r\n"),
                    (3, "one\r\n\r\n..three\r\n"),
                    (4, "one\r\n\r\n..three\r\nfour\r\n"),
                    (u64::MAX, "one\r\n\r\n..three\r\nfour\r\n"),
                ] {
                    assert_eq!(
                        sent(text, Some(lines), block),
                        format!("h: 1\r\nh: 2\r\n\r\n{want}\r\n.\r\n")
                    );
                }
            }
        }
    }

    #[test]
    fn no_text_ends_early_and_every_one_ends() {
        // Every text over a small alphabet: the only line that is a lone dot is the last.
        for mut n in 0..4u32.pow(7) {
            let text: String = (0..7)
                .map(|_| {
                    let c = ['.', '\r', '\n', 'x'][n as usize % 4];
                    n /= 4;
                    c
                })
                .collect();
            for block in [1, 2, 7] {
                let sent = sent(&text, None, block);
                assert_eq!(sent.find("\r\n.\r\n"), Some(sent.len() - 5), "{text:?}");
                assert!(!sent.starts_with(".\r\n"), "{text:?}");
            }
        }
    }
}
