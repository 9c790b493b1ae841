//! The conversation as bytes: command lines in, replies out. Replies go out when input would make us wait.

use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use base::Bytes;
use base::bytes::find_byte;
use base::io::Timed;

/// How long a client may be silent, and how long it may take for one command line.
pub const IDLE: Duration = Duration::from_mins(20);
/// Bytes of a command line without its end. RFC 2449 4 asks for 255, and SASL answers are longer.
pub const LINE_LIMIT: usize = 4096;
/// Bytes of one line that are read and thrown away at most.
pub const DRAIN_LIMIT: usize = 1 << 20;
/// Replies that are held back at most, bytes.
const OUTPUT_LIMIT: usize = 16 * 1024;

/// The two directions of a connection.
pub trait Link: Read + Write {
    /// A new command begins: its line may take the whole time again.
    fn rearm(&mut self);
}

/// The connection on two descriptors. One that is not open is like one that has broken.
#[derive(Debug)]
pub struct Stdio {
    input: Option<Timed<BorrowedFd<'static>>>,
    output: Option<Timed<BorrowedFd<'static>>>,
    /// the end of all input
    end: Option<Instant>,
}

impl Stdio {
    /// Descriptors 0 and 1, for a conversation that lasts no longer than `IDLE` as a whole.
    pub fn open_for_once() -> Stdio {
        let mut stdio = Stdio::open();
        stdio.end = Instant::now().checked_add(IDLE);
        stdio
    }

    /// Descriptors 0 and 1.
    pub fn open() -> Stdio {
        let open = |number| {
            let fd = sys::fd::inherited(number).ok();
            fd.map(|fd| Timed::new(fd, IDLE))
        };
        Stdio {
            input: open(0),
            output: open(1),
            end: None,
        }
    }
}

impl Read for Stdio {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.read(buffer),
            None => Ok(0),
        }
    }
}

impl Write for Stdio {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.output {
            Some(output) => output.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link for Stdio {
    fn rearm(&mut self) {
        if let Some(input) = &mut self.input {
            let line = || Instant::now().checked_add(IDLE);
            input.set_deadline(self.end.or_else(line));
        }
    }
}

/// There is no more input, or nobody takes the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// What `line` has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// a line
    Whole,
    /// a line over the limit; its rest has been thrown away
    TooLong,
    /// a line so long that nobody waits for its end
    Flood,
    /// no line: a stranger's first byte begins no text, as that of a TLS handshake does, and an end may never come
    Alien,
}

/// A buffered link.
#[derive(Debug)]
pub struct Client<L> {
    link: L,
    input: Bytes,
    start: usize,
    end: usize,
    output: Bytes,
    drain: usize,
    /// a stranger is to say his first word
    is_strange: bool,
}

impl<L: Link> Client<L> {
    /// Reads at most `block` bytes at once. With 1, nothing that the client has sent ahead is taken from whoever reads
    /// the connection next; that is slow, so nobody waits for the end of a line that is too long then.
    pub fn new(link: L, block: usize) -> Client<L> {
        Client {
            drain: if block > 1 { DRAIN_LIMIT } else { 0 },
            link,
            input: vec![0; block.max(1)],
            start: 0,
            end: 0,
            output: Bytes::new(),
            is_strange: false,
        }
    }

    /// The next byte is the first of a stranger: it may be that of another protocol.
    pub fn beware(&mut self) {
        self.is_strange = true;
    }

    /// Gives the link back; what was read ahead and what was not sent yet is lost.
    pub fn into_link(self) -> L {
        self.link
    }

    /// Queues bytes of a reply.
    ///
    /// # Errors
    /// The client does not take them.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.output.extend_from_slice(bytes);
        if self.output.len() >= OUTPUT_LIMIT {
            self.flush()?;
        }
        Ok(())
    }

    /// `+OK text`.
    ///
    /// # Errors
    /// As `put`.
    pub fn ok(&mut self, text: &str) -> Result<(), Gone> {
        self.reply("+OK ", text)
    }

    /// `-ERR text`.
    ///
    /// # Errors
    /// As `put`.
    pub fn err(&mut self, text: &str) -> Result<(), Gone> {
        self.reply("-ERR ", text)
    }

    fn reply(&mut self, status: &str, text: &str) -> Result<(), Gone> {
        self.put([status, text, "\r\n"].concat().as_bytes())
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// As `put`.
    pub fn flush(&mut self) -> Result<(), Gone> {
        let sent = self.link.write_all(&self.output);
        self.output.clear();
        sent.map_err(|_| Gone)
    }

    /// Reads a command line into `line`, which is emptied first: without LF, and without a CR before it.
    ///
    /// Waits   at most `IDLE` for the whole line.
    ///
    /// # Errors
    /// The connection ended before a line did.
    pub fn line(&mut self, line: &mut Bytes) -> Result<Line, Gone> {
        line.clear();
        self.link.rearm();
        let mut dropped = 0usize;
        loop {
            if self.start == self.end {
                self.flush()?;
                self.start = 0;
                self.end = self.link.read(&mut self.input).map_err(|_| Gone)?;
                if self.end == 0 {
                    return Err(Gone);
                }
            }
            let available = self.input.get(self.start..self.end).unwrap_or_default();
            if mem::take(&mut self.is_strange)
                && available.first().is_some_and(|&b| begins_no_text(b))
            {
                return Ok(Line::Alien);
            }
            let at = find_byte(available, b'\n');
            let part = available.get(..at.unwrap_or(available.len()));
            let part = part.unwrap_or_default();
            // One more for the CR of the longest line.
            if dropped > 0 || line.len() + part.len() > LINE_LIMIT + 1 {
                dropped = dropped.saturating_add(part.len().max(1));
            } else {
                line.extend_from_slice(part);
            }
            self.start += part.len() + usize::from(at.is_some());
            if at.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                let whole = dropped == 0 && line.len() <= LINE_LIMIT;
                return Ok(if whole { Line::Whole } else { Line::TooLong });
            }
            if dropped > self.drain {
                return Ok(Line::Flood);
            }
        }
    }
}

/// Whether no command of a client begins with this byte.
fn begins_no_text(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\r' | b'\n' | b'\t' | 0)
}

/// A command line, cut as the original cuts it: at the first blank, and behind the blanks that follow.
pub fn split(line: &[u8]) -> (Bytes, &[u8]) {
    let (verb, rest) = base::bytes::split_once(line, b' ').unwrap_or((line, b""));
    let blanks = rest.iter().take_while(|&&b| b == b' ').count();
    (
        verb.to_ascii_lowercase(),
        rest.get(blanks..).unwrap_or_default(),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A client that has sent everything at once; `said` is what it got.
    #[derive(Debug, Default)]
    pub(crate) struct Script {
        sends: Bytes,
        at: usize,
        pub(crate) said: Bytes,
    }

    impl Script {
        /// What nobody has read.
        pub(crate) fn rest(&self) -> &[u8] {
            &self.sends[self.at..]
        }
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.rest().len());
            buffer[..count].copy_from_slice(&self.rest()[..count]);
            self.at += count;
            Ok(count)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.said.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Link for Script {
        fn rearm(&mut self) {}
    }

    pub(crate) fn client(sends: impl AsRef<[u8]>, block: usize) -> Client<Script> {
        let link = Script {
            sends: sends.as_ref().to_vec(),
            ..Script::default()
        };
        Client::new(link, block)
    }

    #[test]
    fn lines_end_with_a_line_feed_and_have_a_limit() {
        for block in [3, 10_000] {
            let long = "x".repeat(LINE_LIMIT);
            let text = format!("a\r\nb\n\r\n\n{long}\r\n{long}y\r\nz{long}\nlast\r\r\npartial");
            let mut client = client(text, block);
            let mut line = Bytes::new();
            for want in ["a", "b", "", "", &long] {
                assert_eq!(client.line(&mut line), Ok(Line::Whole));
                assert_eq!(line, want.as_bytes());
            }
            assert_eq!(client.line(&mut line), Ok(Line::TooLong));
            assert_eq!(client.line(&mut line), Ok(Line::TooLong));
            assert_eq!(client.line(&mut line), Ok(Line::Whole));
            assert_eq!(line, b"last\r");
            assert_eq!(client.line(&mut line), Err(Gone));
        }
    }

    #[test]
    fn byte_by_byte_the_first_line_that_is_too_long_is_the_last() {
        let long = "x".repeat(LINE_LIMIT);
        let mut client = client(format!("a\r\n{long}\r\n{long}xxx\r\n"), 1);
        let mut line = Bytes::new();
        assert_eq!(client.line(&mut line), Ok(Line::Whole));
        assert_eq!(client.line(&mut line), Ok(Line::Whole));
        assert_eq!(line, long.as_bytes());
        assert_eq!(client.line(&mut line), Ok(Line::Flood));
    }

    #[test]
    fn nobody_waits_for_the_end_of_an_endless_line() {
        let mut client = client(vec![b'x'; DRAIN_LIMIT * 2], 4096);
        let mut line = Bytes::new();
        assert_eq!(client.line(&mut line), Ok(Line::Flood));
        assert!(line.capacity() < 3 * LINE_LIMIT);
    }

    #[test]
    fn a_command_is_cut_at_its_first_blank() {
        assert_eq!(split(b"RETR  1 2"), (b"retr".to_vec(), &b"1 2"[..]));
        assert_eq!(split(b" stat"), (b"".to_vec(), &b"stat"[..]));
        assert_eq!(split(b""), (b"".to_vec(), &b""[..]));
        assert_eq!(split(b"pass a b "), (b"pass".to_vec(), &b"a b "[..]));
    }
}
