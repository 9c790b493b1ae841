//! A conversation in SMTP that takes no mail.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use base::Bytes;
use base::io::Timed;

/// What is kept of a line, bytes: more than the longest command that is known.
const LINE_LIMIT: usize = 16;
const OK: &[u8] = b"250 rblsmtpd.local\r\n";

/// Talks to the client on descriptors 0 and 1 until it leaves or `time` is over. `early` has been read already. With
/// no time at all the refusal is the greeting.
pub(super) fn hold(message: &[u8], early: &[u8], time: Duration) {
    let refusal = [message, b"\r\n"].concat();
    let Ok(output) = sys::fd::inherited(1) else {
        return;
    };
    if time.is_zero() {
        let _ = sys::fd::write_all(&output, &refusal);
        return;
    }
    let Ok(input) = sys::fd::inherited(0) else {
        let _ = sys::fd::write_all(&output, b"220 rblsmtpd.local\r\n");
        return;
    };
    let end = Instant::now().checked_add(time);
    let (mut input, mut output) = (Timed::new(input, time), Timed::new(output, time));
    input.set_deadline(end);
    output.set_deadline(end);
    // However it ends, there is nothing left to do.
    let _ = talk(&mut early.chain(&mut input), &mut output, &refusal);
}

/// Greets, and answers every line. The replies to what came together go together.
fn talk(input: &mut impl Read, output: &mut impl Write, refusal: &[u8]) -> io::Result<()> {
    output.write_all(b"220 rblsmtpd.local\r\n")?;
    let mut line = Bytes::new();
    let mut block = [0; 1024];
    loop {
        let count = input.read(&mut block)?;
        let read = block.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok(());
        }
        let mut replies = Bytes::new();
        for &byte in read {
            if byte != b'\n' {
                if line.len() < LINE_LIMIT {
                    line.push(byte);
                }
                continue;
            }
            let answer = answer(&line);
            line.clear();
            replies.extend_from_slice(answer.unwrap_or(refusal));
            if answer == Some(QUIT) {
                return output.write_all(&replies);
            }
        }
        output.write_all(&replies)?;
    }
}

const QUIT: &[u8] = b"221 rblsmtpd.local\r\n";

/// The reply to a line; `None` for what is refused.
fn answer(line: &[u8]) -> Option<&'static [u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let verb = line.split(|&b| b == b' ').next()?;
    match verb.to_ascii_lowercase().as_slice() {
        b"quit" => Some(QUIT),
        b"helo" | b"ehlo" | b"mail" | b"rset" | b"noop" => Some(OK),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[u8]) -> String {
        let mut out = Bytes::new();
        talk(&mut &lines[..], &mut out, b"451 no\r\n").unwrap();
        let text = String::from_utf8(out).unwrap();
        text.replace(" rblsmtpd.local", "").replace("\r\n", ",")
    }

    #[test]
    fn nothing_is_taken() {
        for (lines, want) in [
            (&b""[..], "220,"),
            (
                b"HELO x\r\nMail from:<a>\r\nrcpt to:<b>\r\ndata\r\n",
                "220,250,250,451 no,451 no,",
            ),
            (b"rset\nnoop\nquit\nnoop\n", "220,250,250,221,"),
            (b"quit", "220,"),
            (
                b" quit\n\nquit\rx\nquitx\n",
                "220,451 no,451 no,451 no,451 no,",
            ),
            (b"quit\0\n", "220,451 no,"),
            (b"noop                        x\n", "220,250,"),
        ] {
            assert_eq!(said(lines), want);
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let long = [b"noop ", vec![b'x'; 100_000].as_slice(), b"\nquit\n"].concat();
        assert_eq!(said(&long), "220,250,221,");
    }
}
