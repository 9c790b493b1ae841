//! The connection to the other host. Every wait has an end: that of the command, and that of the whole session.

use std::io::{self, BufReader, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use tls::agreed::Agreed;
use tls::client::{Binding, Config, Session};
use wire::reply::{self, Reply, Trouble};

use crate::stream::Stream;

/// A session ends after this time, however busy the other side looks.
const SESSION_TIME: Duration = Duration::from_hours(24);
/// The longest time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_mins(2);
/// How long a reply may take that must have been sent already.
const LATE_TIME: Duration = Duration::from_secs(2);

/// The other host.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    input: BufReader<Stream>,
    timeout: Duration,
}

impl Peer {
    /// `timeout` is for each reply as a whole, and for each wait of a write.
    pub(crate) fn new(socket: OwnedFd, address: IpAddr, timeout: Duration) -> io::Result<Peer> {
        sys::fd::nonblocking(&socket, true)?;
        // Our writes are whole commands or large blocks; the kernel need not collect more.
        sys::socket::no_delay(&socket)?;
        let stream = Stream::new(socket, timeout, Instant::now() + SESSION_TIME);
        Ok(Peer {
            address,
            input: BufReader::with_capacity(4096, stream),
            timeout,
        })
    }

    /// A new session begins, with all its time before it.
    pub(crate) fn begin(&mut self) {
        self.input.get_mut().set_end(Instant::now() + SESSION_TIME);
    }

    /// Whether all that came was read.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.input.buffer().is_empty() && !self.input.get_mut().has_more()
    }

    /// Reads one reply; it must be complete in time.
    pub(crate) fn reply(&mut self) -> Result<Reply, Trouble> {
        self.reply_within(self.timeout)
    }

    /// As `reply`, with another limit that is not above the usual one.
    pub(crate) fn reply_within(&mut self, limit: Duration) -> Result<Reply, Trouble> {
        let limit = Instant::now() + limit.min(self.timeout);
        self.input.get_mut().set_deadline(limit);
        reply::read(&mut self.input)
    }

    /// Looks for a reply that says why the other side hung up.
    pub(crate) fn last_words(&mut self) -> Option<Reply> {
        self.reply_within(LATE_TIME).ok()
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.get_mut().send(bytes)
    }

    /// Says good-bye without waiting for anything: what was agreed stands.
    pub(crate) fn quit(&mut self) {
        self.input.get_mut().throw(b"QUIT\r\n");
    }

    /// Puts TLS under the dialogue, with a server that goes by `name`. What came in clear must have been read.
    ///
    /// # Errors
    /// A sentence about the other side.
    pub(crate) fn secure(&mut self, config: &Config, name: &[u8]) -> Result<(), String> {
        let session = Session::new(config, name, self.address)?;
        let stream = self.input.get_mut();
        stream.set_deadline(Instant::now() + HANDSHAKE_TIME.min(self.timeout));
        stream.secure(session).map_err(|e| match e.kind() {
            ErrorKind::InvalidData => e.to_string(),
            ErrorKind::TimedOut => "the TLS handshake took too long".to_owned(),
            _ => "the connection died in the TLS handshake".to_owned(),
        })
    }

    /// Whether TLS is under the dialogue.
    pub(crate) fn is_secure(&self) -> bool {
        self.input.get_ref().session().is_some()
    }

    /// What was agreed on, if there is TLS.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        self.input.get_ref().session()?.agreed()
    }

    /// What a login can be bound to.
    pub(crate) fn binding(&self) -> Option<Binding> {
        self.input.get_ref().session()?.binding()
    }
}

impl AsRawFd for Peer {
    fn as_raw_fd(&self) -> RawFd {
        self.input.get_ref().socket().as_raw_fd()
    }
}
