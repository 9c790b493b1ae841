//! Replies of an SMTP server, read by a client that does not trust it.
//!
//! Source  RFC 5321 4.2

use std::io::{self, BufRead};

use base::Bytes;
use base::io::Line;

/// The most bytes of a reply that are kept, as in C qmail.
pub const TEXT_LIMIT: usize = 5000;
/// The most bytes that a reply may have; what comes after that is not read.
pub const REPLY_LIMIT: usize = 64 * 1024;

/// One reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// the code; 0 when the reply makes no sense: its first line does not begin with one, or its lines disagree
    pub code: u16,
    /// all lines with their codes, each with LF, without CR; cut after `TEXT_LIMIT` bytes
    pub text: Bytes,
}

impl Reply {
    /// Whether it says yes (2xx).
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it says no for good (5xx).
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The words of one line of an EHLO reply after the first: the keyword, then its parameters.
    pub fn extension(&self, keyword: &str) -> Option<Vec<&[u8]>> {
        let lines = self.text.split(|&b| b == b'\n').skip(1);
        lines
            .filter_map(|line| line.get(4..))
            .map(|line| {
                line.split(|b| *b == b' ' || *b == b'\t')
                    .filter(|w| !w.is_empty())
                    .collect::<Vec<_>>()
            })
            .find(|words| {
                words
                    .first()
                    .is_some_and(|w| w.eq_ignore_ascii_case(keyword.as_bytes()))
            })
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub enum Trouble {
    /// the connection ended, or nothing came in time
    Lost(io::Error),
    /// more than `REPLY_LIMIT` bytes
    Endless,
}

/// Reads one reply. A first line without a code is a whole reply; a later one is text of the reply it stands in.
///
/// Waits   as `input` does.
///
/// # Errors
/// See `Trouble`. Nothing is known of what the server meant, and the connection is of no more use.
pub fn read(input: &mut impl BufRead) -> Result<Reply, Trouble> {
    let mut reply = Reply::default();
    let mut left = REPLY_LIMIT;
    let mut line = Bytes::new();
    let mut is_first = true;
    loop {
        match base::io::line(input, b'\n', left, &mut line).map_err(Trouble::Lost)? {
            Line::Whole => left -= line.len(),
            Line::Partial | Line::End => {
                return Err(Trouble::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            Line::TooLong => return Err(Trouble::Endless),
        }
        let room = TEXT_LIMIT - reply.text.len();
        let kept = line.iter().copied().filter(|&b| b != b'\r').take(room);
        reply.text.extend(kept);

        let is_last = line.get(3) != Some(&b'-');
        match code(&line) {
            None if is_first => return Ok(reply),
            None => continue,
            Some(code) if is_first => reply.code = code,
            Some(code) if code != reply.code => reply.code = 0,
            Some(_) => {}
        }
        if is_last {
            return Ok(reply);
        }
        is_first = false;
    }
}

/// The three digits that a line begins with, if nothing but a blank, a hyphen or the end follows.
fn code(line: &[u8]) -> Option<u16> {
    let (digits, after) = line.split_at_checked(3)?;
    if !matches!(after.first(), Some(b' ' | b'-' | b'\r' | b'\n')) {
        return None;
    }
    base::bytes::number(digits).and_then(|n| u16::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &[u8]) -> Reply {
        read(&mut &text[..]).unwrap()
    }

    #[test]
    fn one_line_and_many_lines() {
        assert_eq!(reply(b"250 ok\r\nrest").code, 250);
        assert_eq!(reply(b"250 ok\n").text, b"250 ok\n");
        assert_eq!(reply(b"354\r\n").code, 354);
        let many = reply(b"250-a\r\n250-b\r\n250 c\r\n251 next\r\n");
        assert_eq!(
            (many.code, &many.text[..]),
            (250, &b"250-a\n250-b\n250 c\n"[..])
        );
        assert_eq!(reply(b"220-hi\r\nwelcome text\r\n220 go\r\n").code, 220);
    }

    #[test]
    fn nonsense_has_code_zero() {
        for text in [
            &b"HTTP/1.1 400 Bad\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"2500 x\r\n",
            b"25x ok\r\n",
            b"SSH-2.0-x\r\n",
            b"250-ok\r\n550 no\r\n",
            b"\0\0\0\n",
        ] {
            let reply = reply(text);
            assert_eq!(reply.code, 0, "{}", text.escape_ascii());
            assert!(!reply.is_success() && !reply.is_permanent());
        }
    }

    #[test]
    fn a_reply_has_an_end() {
        let mut endless = io::BufReader::new(io::repeat(b'2'));
        assert!(matches!(read(&mut endless), Err(Trouble::Endless)));
        let many = b"250-more\r\n".repeat(10_000);
        assert!(matches!(read(&mut &many[..]), Err(Trouble::Endless)));
        let long = [&b"250 "[..], &vec![b'x'; 60_000], b"\r\n"].concat();
        assert_eq!(reply(&long).text.len(), TEXT_LIMIT);
        for cut in [&b""[..], b"250", b"250-x\r\n", b"250 x"] {
            assert!(matches!(read(&mut &cut[..]), Err(Trouble::Lost(_))));
        }
    }

    #[test]
    fn extensions_are_found_in_any_case() {
        let ehlo = reply(b"250-PIPELINING here\r\n250-size 1000 x\r\n250-8bitMIME\r\n250 \t\r\n");
        assert_eq!(
            ehlo.extension("PIPELINING"),
            None,
            "the first line is a greeting"
        );
        assert_eq!(
            ehlo.extension("SIZE"),
            Some(vec![&b"size"[..], b"1000", b"x"])
        );
        assert!(ehlo.extension("8BITMIME").is_some());
        assert_eq!(ehlo.extension("8BIT"), None);
        assert_eq!(reply(b"250\r\n").extension("SIZE"), None);
    }
}
