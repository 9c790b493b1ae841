//! The conversation as bytes: lines and blocks in, replies out. Replies go out when input would make us wait.

use std::io::{self, ErrorKind};
use std::time::Duration;

use base::Bytes;

use crate::tls::Cover;

/// Bytes read at once while commands come.
const COMMAND_BLOCK: usize = 1024;
/// Bytes read at once while a message comes: at first, since most are small and each page costs, and when that is full.
const FIRST_BLOCK: usize = 8 * 1024;
const DATA_BLOCK: usize = 16 * 1024;
/// Replies that are held back at most, bytes.
const OUTPUT_LIMIT: usize = 4096;
/// Bytes of one command line that are read and thrown away at most.
pub const DRAIN_LIMIT: usize = 1 << 20;
/// Bytes that the client may have sent ahead when we hang up; read, so that the last reply is not lost to a reset.
const FAREWELL_LIMIT: usize = 256 * 1024;

/// The two directions of a connection, and a clock.
pub trait Link {
    /// Reads once; 0 is the end. Waits at most `wait`, then `TimedOut`.
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize>;
    /// Writes all. Waits at most `wait` for each piece.
    fn write(&mut self, bytes: &[u8], wait: Duration) -> io::Result<()>;
    /// Asks whoever carries the bytes for TLS. From `Ok` on all that is read and written is protected.
    ///
    /// # Errors
    /// There is nobody to ask, or the client and TLS do not agree: the connection is of no use any more.
    fn start_tls(&mut self) -> io::Result<Cover> {
        Err(ErrorKind::Unsupported.into())
    }
    /// Lets time pass: who guesses passwords has to wait.
    fn pause(&self, time: Duration);
    /// Time since the session began.
    fn elapsed(&self) -> Duration;
    /// Unix seconds.
    fn unix(&self) -> i64;
}

/// Why there is no more input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// the client hung up, or the connection broke
    Disconnect,
    /// the client was silent for too long
    Idle,
    /// the session has lasted too long
    Total,
    /// the client asked for TLS, and it did not come about
    Tls,
}

/// What `Channel::line` has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// a line with its LF
    Whole,
    /// a line over the limit; its rest has been thrown away
    TooLong,
    /// a line so long that nobody waits for its end
    Flood,
    /// its first byte begins no text: another protocol
    Alien,
}

/// A buffered link with the session's limits of time.
#[derive(Debug)]
pub struct Channel<L> {
    link: L,
    idle: Duration,
    total: Option<Duration>,
    input: Bytes,
    start: usize,
    end: usize,
    output: Bytes,
}

impl<L: Link> Channel<L> {
    /// `idle` limits each wait, `total` the session.
    pub fn new(link: L, idle: Duration, total: Option<Duration>) -> Channel<L> {
        Channel {
            link,
            idle,
            total,
            input: Bytes::new(),
            start: 0,
            end: 0,
            output: Bytes::new(),
        }
    }

    /// The link.
    pub fn link(&self) -> &L {
        &self.link
    }

    /// Whether the client has sent more than was asked for.
    pub fn is_ahead(&self) -> bool {
        self.start < self.end
    }

    /// Goes over to TLS. Nothing that came before may be left: look with `is_ahead` first.
    pub fn start_tls(&mut self) -> Result<Cover, Gone> {
        self.flush()?;
        self.start = 0;
        self.end = 0;
        self.link.start_tls().map_err(|_| Gone::Tls)
    }

    /// Queues a reply.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.output.extend_from_slice(bytes);
        if self.output.len() >= OUTPUT_LIMIT {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends the queued replies. A client that does not take them is gone.
    pub fn flush(&mut self) -> Result<(), Gone> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sent = self.link.write(&self.output, self.idle);
        self.output.clear();
        sent.map_err(|_| Gone::Disconnect)
    }

    /// What is left of `limit`, which ends at a time since the beginning of the session, and of the session.
    fn wait(&self, limit: Duration) -> Result<Duration, Gone> {
        let now = self.link.elapsed();
        let idle = limit.saturating_sub(now);
        match self.total {
            Some(total) if now >= total => Err(Gone::Total),
            Some(total) => Ok(idle.min(total.saturating_sub(now))),
            None => Ok(idle),
        }
    }

    /// Reads the next block into the empty buffer, until `limit`.
    fn fill(&mut self, size: usize, limit: Duration) -> Result<(), Gone> {
        self.flush()?;
        let wait = self.wait(limit)?;
        if self.input.len() != size {
            self.input = vec![0; size];
        }
        self.start = 0;
        self.end = 0;
        match self.link.read(&mut self.input, wait) {
            Ok(0) => Err(Gone::Disconnect),
            Ok(count) => {
                self.end = count;
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::TimedOut => {
                // Either limit may have ended the wait.
                self.wait(limit).and(Err(Gone::Idle))
            }
            Err(_) => Err(Gone::Disconnect),
        }
    }

    fn buffered(&self) -> &[u8] {
        self.input.get(self.start..self.end).unwrap_or_default()
    }

    /// Marks bytes of the last block as used.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// The next block of a message: what is there already, else what comes.
    pub fn block(&mut self) -> Result<&[u8], Gone> {
        if self.start == self.end {
            let limit = self.link.elapsed().saturating_add(self.idle);
            let size = match self.input.len() {
                FIRST_BLOCK if self.end == FIRST_BLOCK => DATA_BLOCK,
                DATA_BLOCK => DATA_BLOCK,
                _ => FIRST_BLOCK,
            };
            self.fill(size, limit)?;
        }
        Ok(self.buffered())
    }

    /// Reads a command line into `line`, which is emptied first. All of it must come within the idle time.
    ///
    /// Units   `limit` counts bytes with the line end.
    pub fn line(&mut self, line: &mut Bytes, limit: usize) -> Result<Line, Gone> {
        line.clear();
        let until = self.link.elapsed().saturating_add(self.idle);
        let mut dropped = 0usize;
        loop {
            if self.start == self.end {
                self.fill(COMMAND_BLOCK, until)?;
            }
            let available = self.buffered();
            if line.is_empty() && dropped == 0 && available.first().is_some_and(|&b| is_alien(b)) {
                return Ok(Line::Alien);
            }
            let at = available.iter().position(|&b| b == b'\n');
            let count = at.map_or(available.len(), |at| at + 1);
            if line.len().saturating_add(count) > limit || dropped > 0 {
                dropped = dropped.saturating_add(count);
            } else {
                line.extend_from_slice(available.get(..count).unwrap_or_default());
            }
            self.consume(count);
            match (at, dropped) {
                (Some(_), 0) => return Ok(Line::Whole),
                (Some(_), _) => return Ok(Line::TooLong),
                (None, n) if n > DRAIN_LIMIT => return Ok(Line::Flood),
                (None, _) => {}
            }
        }
    }

    /// Sends the last reply, then throws away what the client has sent already.
    pub fn farewell(&mut self) {
        if self.flush().is_err() {
            return;
        }
        let mut dropped = 0;
        let mut buffer = vec![0; COMMAND_BLOCK];
        while dropped < FAREWELL_LIMIT {
            match self.link.read(&mut buffer, Duration::ZERO) {
                Ok(count) if count > 0 => dropped += count,
                _ => break,
            }
        }
    }
}

/// No command begins with a control byte or one above 127: a TLS handshake does (22). CR, LF, NUL and TAB come from
/// clients that at least try.
fn is_alien(byte: u8) -> bool {
    byte >= 127 || (byte < b' ' && !matches!(byte, b'\r' | b'\n' | b'\t' | 0))
}
