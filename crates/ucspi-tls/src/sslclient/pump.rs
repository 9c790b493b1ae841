//! Carrying bytes between the server and the program.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use base::Bytes;
use base::die::system_text;
use sys::fd::Raw;
use sys::poll::Wait;
use tls::agreed::Agreed;
use tls::client::Session;

/// How much plain text is moved at once, bytes: one record of TLS.
const PIECE: usize = 16_384;
/// How long the last words to the server may take.
const LAST_TIME: Duration = Duration::from_secs(10);

/// A connection with a server.
pub(super) struct Pump {
    socket: OwnedFd,
    session: Session,
    /// the server has said its last byte
    server_over: bool,
    /// plain text for the program that it has not taken
    waiting: Bytes,
    /// the program will be told no more
    told_all: bool,
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn sentence(error: &io::Error) -> String {
    if error.kind() == ErrorKind::InvalidData {
        let text = error.to_string();
        String::from_utf8_lossy(&base::bytes::printable(text.as_bytes())).into_owned()
    } else {
        system_text(error)
    }
}

impl Pump {
    pub(super) fn new(socket: OwnedFd, session: Session) -> io::Result<Pump> {
        sys::fd::nonblocking(&socket, true)?;
        Ok(Pump {
            socket,
            session,
            server_over: false,
            waiting: Bytes::new(),
            told_all: false,
        })
    }

    pub(super) fn agreed(&self) -> Option<Agreed> {
        self.session.agreed()
    }

    /// The handshake.
    ///
    /// Waits   until `end`.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn shake(&mut self, end: Option<Instant>) -> Result<(), String> {
        loop {
            let flushed = self.flush().map_err(|e| sentence(&e))?;
            if flushed && !self.session.is_handshaking() {
                return Ok(());
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let mut list = [if flushed {
                Wait::readable(&self.socket)
            } else {
                Wait::writable(&self.socket)
            }];
            match sys::poll::wait(&mut list, left) {
                Ok(0) => return Err("timed out".into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(system_text(&e)),
            }
            match self.session.take(&mut Raw(&self.socket)) {
                Ok(0) => return Err("the server has gone".into()),
                Ok(_) => {}
                Err(e) if is_passing(&e) => {}
                Err(e) => {
                    // It is told why.
                    let _ = self.flush();
                    return Err(sentence(&e));
                }
            }
        }
    }

    /// Gives the server what there is for it. `false`: it cannot take all of it now.
    fn flush(&mut self) -> io::Result<bool> {
        while self.session.has_output() {
            match self.session.give(&mut Raw(&self.socket)) {
                Ok(_) => {}
                Err(e) if is_passing(&e) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Carries bytes until the program has closed its side or the server is of no more use. Silence of `idle_time` ends it
    /// too. The program reads the end of file then.
    pub(super) fn carry(mut self, plain: OwnedFd, idle_time: Duration) {
        let mut scratch = vec![0; PIECE];
        if sys::fd::nonblocking(&plain, true).is_err() {
            return;
        }
        loop {
            match self.round(&plain, &mut scratch) {
                Ok(Round::Again) => {}
                Ok(Round::Waits) => {
                    if !self.wait(&plain, idle_time) {
                        return;
                    }
                }
                Ok(Round::Over) => return self.last_words(),
                Err(_) => return,
            }
        }
    }

    fn wait(&self, plain: &OwnedFd, idle_time: Duration) -> bool {
        let mut list = Vec::new();
        let has_output = self.session.has_output();
        if has_output {
            list.push(Wait::writable(&self.socket));
        } else {
            list.push(Wait::readable(plain));
        }
        if !self.waiting.is_empty() {
            list.push(Wait::writable(plain));
        } else if !self.server_over {
            list.push(Wait::readable(&self.socket));
        }
        match sys::poll::wait(&mut list, Some(idle_time)) {
            Ok(count) => count > 0,
            Err(e) => e.kind() == ErrorKind::Interrupted,
        }
    }

    fn round(&mut self, plain: &OwnedFd, scratch: &mut [u8]) -> io::Result<Round> {
        let mut moved = false;
        if !self.server_over && self.waiting.is_empty() {
            match self.session.take(&mut Raw(&self.socket)) {
                Ok(count) => {
                    self.server_over = count == 0;
                    moved = true;
                }
                Err(e) if is_passing(&e) => {}
                Err(e) => {
                    let _ = self.flush();
                    return Err(e);
                }
            }
        }
        moved |= self.tell(plain, scratch);
        if !self.session.has_output() {
            match sys::fd::read(plain, scratch) {
                Ok(0) => return Ok(Round::Over),
                Ok(count) => {
                    self.session.say(scratch.get(..count).unwrap_or_default())?;
                    moved = true;
                }
                Err(e) if is_passing(&e) => {}
                Err(_) => return Ok(Round::Over),
            }
        }
        let had = self.session.has_output();
        moved |= self.flush()? && had;
        Ok(if moved { Round::Again } else { Round::Waits })
    }

    /// Plain text for the program. A program that does not listen misses it.
    fn tell(&mut self, plain: &OwnedFd, scratch: &mut [u8]) -> bool {
        let mut moved = false;
        loop {
            if !self.waiting.is_empty() {
                match sys::fd::write(plain, &self.waiting) {
                    Ok(count) => {
                        self.waiting.drain(..count);
                        moved = true;
                    }
                    Err(e) if is_passing(&e) => return moved,
                    Err(_) => self.waiting.clear(),
                }
                continue;
            }
            match self.session.plain(scratch) {
                Ok(None) => return moved,
                Ok(Some(count @ 1..)) => {
                    let piece = scratch.get(..count).unwrap_or_default();
                    self.waiting.extend_from_slice(piece);
                }
                // In good order or not, there is no more.
                Ok(Some(_)) | Err(_) => {
                    self.server_over = true;
                    if !self.told_all {
                        self.told_all = true;
                        sys::local::hush(plain);
                        moved = true;
                    }
                    return moved;
                }
            }
        }
    }

    /// The rest of what the program said, and the end.
    fn last_words(mut self) {
        self.session.close();
        let end = Instant::now().checked_add(LAST_TIME);
        loop {
            match self.flush() {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
            let left = end.map_or(LAST_TIME, |end| {
                end.saturating_duration_since(Instant::now())
            });
            if !sys::poll::writable(&self.socket, left).unwrap_or(false) {
                return;
            }
        }
    }
}

/// What one round has come to.
enum Round {
    Again,
    Waits,
    /// the program has closed its side
    Over,
}
