//! The bytes of a connection, in clear or under TLS.

use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use base::io::Timed;
use sys::fd::Raw;
use tls::client::Session;

/// A connection. The socket does not block; every wait has an end.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Timed<OwnedFd>,
    session: Option<Box<Session>>,
    /// for each wait of a write
    timeout: Duration,
    /// of everything
    end: Instant,
}

impl Stream {
    pub(crate) fn new(socket: OwnedFd, timeout: Duration, end: Instant) -> Stream {
        Stream {
            socket: Timed::new(socket, timeout),
            session: None,
            timeout,
            end,
        }
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        self.socket.get_ref()
    }

    pub(crate) fn set_end(&mut self, end: Instant) {
        self.end = end;
    }

    /// Reading ends at `deadline`.
    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.socket.set_deadline(Some(deadline.min(self.end)));
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Whether something of the other side waits in here, besides what the kernel has.
    pub(crate) fn has_more(&mut self) -> bool {
        self.session.as_mut().is_some_and(|s| s.has_plain())
    }

    /// Puts TLS under everything that follows. The handshake ends before the deadline of reading.
    ///
    /// # Errors
    /// Those of the connection; `InvalidData` with a sentence.
    pub(crate) fn secure(&mut self, session: Session) -> io::Result<()> {
        let mut session = Box::new(session);
        loop {
            let sent = flush(&mut session, self.socket.get_ref(), self.timeout, self.end);
            if !session.is_handshaking() {
                sent?;
                break;
            }
            sent?;
            match session.take(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) => {
                    // The other side may want to know why.
                    let _ = flush(&mut session, self.socket.get_ref(), self.timeout, self.end);
                    return Err(e);
                }
            }
        }
        self.session = Some(session);
        Ok(())
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let socket = self.socket.get_ref();
        match &mut self.session {
            None => push(socket, bytes, self.timeout, self.end),
            Some(session) => {
                session.say(bytes)?;
                flush(session, socket, self.timeout, self.end)
            }
        }
    }

    /// Sends what the kernel takes at once, and the end of TLS if there is TLS: nobody waits for these bytes.
    pub(crate) fn throw(&mut self, bytes: &[u8]) {
        let socket = self.socket.get_ref();
        match &mut self.session {
            None => {
                let _ = sys::fd::write(socket, bytes);
            }
            Some(session) => {
                if session.say(bytes).is_ok() {
                    session.close();
                    let _ = flush(session, socket, Duration::ZERO, self.end);
                }
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.socket.read(buffer);
        };
        loop {
            if let Some(count) = session.plain(buffer)? {
                return Ok(count);
            }
            // An end that TLS did not announce shows at the next look.
            session.take(&mut self.socket)?;
            flush(session, self.socket.get_ref(), self.timeout, self.end)?;
        }
    }
}

/// Sends everything that TLS has for the other side.
fn flush(
    session: &mut Session,
    socket: &OwnedFd,
    timeout: Duration,
    end: Instant,
) -> io::Result<()> {
    while session.has_output() {
        match session.give(&mut Raw(socket)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(e) => wait(&e, socket, timeout, end)?,
        }
    }
    Ok(())
}

fn push(socket: &OwnedFd, mut bytes: &[u8], timeout: Duration, end: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match sys::fd::write(socket, bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(e) => wait(&e, socket, timeout, end)?,
        }
    }
    Ok(())
}

/// After a write that failed: waits for room if that is all that was missing.
fn wait(error: &io::Error, socket: &OwnedFd, timeout: Duration, end: Instant) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => {
            let left = end.saturating_duration_since(Instant::now());
            if sys::poll::writable(socket, timeout.min(left))? {
                Ok(())
            } else {
                Err(ErrorKind::TimedOut.into())
            }
        }
        kind => Err(io::Error::new(kind, error.to_string())),
    }
}
