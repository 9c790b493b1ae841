//! Reading and writing descriptors with a time limit, and lines with a size limit.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::Bytes;

/// A descriptor whose every wait ends.
///
/// Waits   each read and write at most `timeout`, and all of them together until `deadline`, if set; then
///         `ErrorKind::TimedOut`.
/// Errors  interrupted calls go on by themselves.
#[derive(Debug)]
pub struct Timed<F> {
    fd: F,
    timeout: Duration,
    deadline: Option<Instant>,
    eagerness: Eagerness,
}

/// Whether a write is tried before it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eagerness {
    /// no: it could not be stopped
    Waits,
    /// yes, by the call that only sockets have
    Tries,
}

impl<F: AsRawFd> Timed<F> {
    /// Wraps `fd`, which should be blocking.
    pub fn new(fd: F, timeout: Duration) -> Timed<F> {
        Timed {
            fd,
            timeout,
            deadline: None,
            eagerness: Eagerness::Waits,
        }
    }

    /// Writes without having asked whether there is room, as long as that turns out to be a socket, which mostly has some.
    #[must_use]
    pub fn eager(self) -> Timed<F> {
        Timed {
            eagerness: Eagerness::Tries,
            ..self
        }
    }

    /// Changes the limit of each wait.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sets the end of all waiting.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// The descriptor itself.
    pub fn get_ref(&self) -> &F {
        &self.fd
    }

    /// Gives the descriptor back.
    pub fn into_inner(self) -> F {
        self.fd
    }

    fn left(&self) -> Duration {
        match self.deadline {
            Some(end) => self
                .timeout
                .min(end.saturating_duration_since(Instant::now())),
            None => self.timeout,
        }
    }
}

impl<F: AsRawFd> Read for Timed<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !sys::poll::readable(&self.fd, self.left())? {
                return Err(ErrorKind::TimedOut.into());
            }
            match sys::fd::read(&self.fd, buffer) {
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                done => return done,
            }
        }
    }
}

impl<F: AsRawFd> Write for Timed<F> {
    /// On a blocking descriptor a large write may wait longer than the limit once it has begun, so it is cut into
    /// pieces that a pipe or socket takes whole after it has reported room.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const PIECE: usize = 4096;
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        if self.eagerness == Eagerness::Tries {
            match sys::local::send_now(&self.fd, piece) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if sys::local::is_no_socket(&e) => self.eagerness = Eagerness::Waits,
                done => return done,
            }
        }
        loop {
            if !sys::poll::writable(&self.fd, self.left())? {
                return Err(ErrorKind::TimedOut.into());
            }
            match sys::fd::write(&self.fd, piece) {
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `line` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// a line that ended with the separator, which is in the buffer
    Whole,
    /// the last bytes of the input, without a separator
    Partial,
    /// nothing was left
    End,
    /// `limit` bytes came without a separator; the rest stays unread
    TooLong,
}

/// Reads up to and including `separator` into `line`, which is emptied first (djb's `getln`).
///
/// Units   `limit` counts bytes with the separator.
pub fn line(
    input: &mut impl BufRead,
    separator: u8,
    limit: usize,
    line: &mut Bytes,
) -> io::Result<Line> {
    line.clear();
    loop {
        let available = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if available.is_empty() {
            return Ok(if line.is_empty() {
                Line::End
            } else {
                Line::Partial
            });
        }
        let room = limit.saturating_sub(line.len());
        if room == 0 {
            return Ok(Line::TooLong);
        }
        let usable = available.get(..room).unwrap_or(available);
        match usable.iter().position(|&b| b == separator) {
            Some(at) => {
                line.extend_from_slice(usable.get(..=at).unwrap_or_default());
                input.consume(at + 1);
                return Ok(Line::Whole);
            }
            None => {
                let count = usable.len();
                line.extend_from_slice(usable);
                input.consume(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_limit() {
        let mut input = io::BufReader::with_capacity(3, &b"ab\n\ncdefgh\nxy"[..]);
        let mut buffer = Bytes::new();
        assert_eq!(
            line(&mut input, b'\n', 5, &mut buffer).unwrap(),
            Line::Whole
        );
        assert_eq!(buffer, b"ab\n");
        assert_eq!(
            line(&mut input, b'\n', 5, &mut buffer).unwrap(),
            Line::Whole
        );
        assert_eq!(buffer, b"\n");
        assert_eq!(
            line(&mut input, b'\n', 5, &mut buffer).unwrap(),
            Line::TooLong
        );
        assert_eq!(buffer, b"cdefg");
        assert_eq!(
            line(&mut input, b'\n', 5, &mut buffer).unwrap(),
            Line::Whole
        );
        assert_eq!(
            line(&mut input, b'\n', 5, &mut buffer).unwrap(),
            Line::Partial
        );
        assert_eq!(buffer, b"xy");
        assert_eq!(line(&mut input, b'\n', 5, &mut buffer).unwrap(), Line::End);
    }

    #[test]
    fn an_eager_writer_waits_for_room_and_gives_up_in_time() {
        let wait = Duration::from_millis(20);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut eager = Timed::new(ours, wait).eager();
        let block = [b'x'; 10_000];
        let sent = std::iter::repeat_with(|| eager.write(&block)).take(10_000);
        let (mut total, mut end) = (0, None);
        for result in sent {
            match result {
                Ok(count) => total += count,
                Err(e) => {
                    end = Some(e.kind());
                    break;
                }
            }
        }
        assert_eq!((total > 4096, end), (true, Some(ErrorKind::TimedOut)));
        let mut taken = vec![0; total];
        (&theirs).read_exact(&mut taken).unwrap();
        assert!(taken.iter().all(|&b| b == b'x'));
        assert_eq!(eager.write(b"more").unwrap(), 4);
    }

    #[test]
    fn an_eager_writer_takes_what_is_no_socket() {
        let (reader, writer) = sys::fd::pipe().unwrap();
        let mut eager = Timed::new(writer, Duration::from_mins(1)).eager();
        for _ in 0..2 {
            eager.write_all(b"abc").unwrap();
        }
        drop(eager);
        let mut text = Bytes::new();
        std::fs::File::from(reader).read_to_end(&mut text).unwrap();
        assert_eq!(text, b"abcabc");
    }

    #[test]
    fn a_silent_peer_ends_in_a_timeout() {
        let (reader, _writer) = sys::fd::pipe().unwrap();
        let mut timed = Timed::new(reader, Duration::from_millis(10));
        assert_eq!(
            timed.read(&mut [0; 1]).unwrap_err().kind(),
            ErrorKind::TimedOut
        );
    }
}
