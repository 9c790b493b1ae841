//! The connection to the other host. Every wait has an end: that of the command, and that of the whole session.

use std::io::{self, BufReader, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use base::io::Timed;
use wire::reply::{self, Reply, Trouble};

/// A session ends after this time, however busy the other side looks.
const SESSION_TIME: Duration = Duration::from_hours(24);
/// How long a reply may take that must have been sent already.
const LATE_TIME: Duration = Duration::from_secs(2);

/// The other host.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    input: BufReader<Timed<OwnedFd>>,
    timeout: Duration,
    end: Instant,
}

impl Peer {
    /// `timeout` is for each reply as a whole, and for each wait of a write.
    pub(crate) fn new(socket: OwnedFd, address: IpAddr, timeout: Duration) -> io::Result<Peer> {
        sys::fd::nonblocking(&socket, true)?;
        // Our writes are whole commands or large blocks; the kernel need not collect more.
        sys::socket::no_delay(&socket)?;
        Ok(Peer {
            address,
            input: BufReader::with_capacity(4096, Timed::new(socket, timeout)),
            timeout,
            end: Instant::now() + SESSION_TIME,
        })
    }

    /// A new session begins, with all its time before it.
    pub(crate) fn begin(&mut self) {
        self.end = Instant::now() + SESSION_TIME;
    }

    /// Whether all that came was read.
    pub(crate) fn is_quiet(&self) -> bool {
        self.input.buffer().is_empty()
    }

    /// Reads one reply; it must be complete in time.
    pub(crate) fn reply(&mut self) -> Result<Reply, Trouble> {
        self.reply_within(self.timeout)
    }

    /// As `reply`, with another limit that is not above the usual one.
    pub(crate) fn reply_within(&mut self, limit: Duration) -> Result<Reply, Trouble> {
        let limit = Instant::now() + limit.min(self.timeout);
        self.input.get_mut().set_deadline(Some(limit.min(self.end)));
        reply::read(&mut self.input)
    }

    /// Looks for a reply that says why the other side hung up.
    pub(crate) fn last_words(&mut self) -> Option<Reply> {
        self.reply_within(LATE_TIME).ok()
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let socket = self.input.get_ref().get_ref();
        while !bytes.is_empty() {
            match sys::fd::write(socket, bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let left = self.end.saturating_duration_since(Instant::now());
                    if !sys::poll::writable(socket, self.timeout.min(left))? {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says good-bye without waiting for anything: what was agreed stands.
    pub(crate) fn quit(&self) {
        let _ = sys::fd::write(self.input.get_ref().get_ref(), b"QUIT\r\n");
    }
}

impl AsRawFd for Peer {
    fn as_raw_fd(&self) -> RawFd {
        self.input.get_ref().get_ref().as_raw_fd()
    }
}
