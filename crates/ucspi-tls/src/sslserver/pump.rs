//! One connection in a worker: from its first byte to its last. Nothing here waits; `step` does what can be done now.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use base::Bytes;
use net::proxy::{self, Header};
use sys::fd::Raw;
use tls::server::{Config, Session as Crypto, Told, Trouble};

use super::settings::Options;
use super::wire::{self, Way, pairs};

/// How much plain text is taken from a program at once, bytes: one record of TLS.
pub(super) const PIECE: usize = 16_384;
/// The most rounds of one session before others get their turn.
const ROUNDS: usize = 16;
/// The most bytes of a client before the handshake is over: a hello, and a chain of certificates.
const HANDSHAKE_LIMIT: usize = 160_000;
/// The longest header of a front end, bytes.
const HEADER_LIMIT: usize = 4_500;
/// How long a client may take to hang up after our last word.
const LINGER_TIME: Duration = Duration::from_secs(3);
/// The most bytes that it may say meanwhile.
const LINGER_LIMIT: usize = 1 << 20;
/// How long the rest of what a program said may take to reach the client.
const FLUSH_TIME: Duration = Duration::from_mins(2);

/// What a step has come to.
#[derive(Debug)]
pub(super) enum Step {
    /// nothing can be done now
    Waits,
    /// others get their turn, then there is more to do
    Again,
    /// the handshake is over
    Ready(Told),
    /// the end
    Over(End),
    /// the end for the listener; the client gets its last words
    Lingers(End),
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// there never was TLS
    Failed(String),
    /// in good order, or with a reason
    Closed(Option<String>),
}

impl End {
    /// As the listener hears it.
    pub(super) fn word(self) -> (u8, String) {
        match self {
            End::Failed(why) => (wire::FAILED, why),
            End::Closed(why) => (wire::OVER, why.unwrap_or_default()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// the program has not asked for TLS
    Plain,
    /// a front end tells whose connection it is
    Header,
    Handshake,
    Open,
    /// the program has ended: the client gets the rest
    Flush,
    /// the client hangs up, or time is over
    Linger,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    None,
    /// the program's word; what is plain is not ours to look at
    Control,
    All,
}

/// A connection.
pub(super) struct Session {
    state: State,
    watched: Watched,
    client: OwnedFd,
    /// `None` once the program's side is closed
    plain: Option<OwnedFd>,
    control: Option<OwnedFd>,
    crypto: Option<Box<Crypto>>,
    /// bytes of the client that came with the header
    early: Bytes,
    passed: Option<(SocketAddr, SocketAddr)>,
    /// the program wants to be told
    tells: bool,
    handshake_time: Duration,
    handshake_bytes: usize,
    lingered: usize,
    /// of this state; `None`: only silence ends it
    deadline: Option<Instant>,
    touched: Instant,
    /// the client has said its last byte, or will not be heard
    client_over: bool,
    /// the program hears no more
    deaf: bool,
    /// why the end is not in good order
    trouble: Option<String>,
}

/// Something that was not there, or was.
type Moved = bool;

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Session {
    pub(super) fn new(
        way: Way,
        client: OwnedFd,
        plain: OwnedFd,
        control: Option<OwnedFd>,
        handshake_time: Duration,
    ) -> io::Result<Session> {
        sys::fd::nonblocking(&plain, true)?;
        if let Some(control) = &control {
            sys::fd::nonblocking(control, true)?;
        }
        // While it is plain, the program has the same socket, and does not expect that.
        if way != Way::Delayed {
            sys::fd::nonblocking(&client, true)?;
        }
        let state = match way {
            Way::Delayed => State::Plain,
            Way::Passed => State::Header,
            Way::Implicit => State::Handshake,
        };
        let now = Instant::now();
        Ok(Session {
            state,
            watched: Watched::None,
            client,
            plain: Some(plain),
            control,
            crypto: None,
            early: Bytes::new(),
            passed: None,
            tells: false,
            handshake_time,
            handshake_bytes: 0,
            lingered: 0,
            deadline: (way != Way::Delayed)
                .then(|| now.checked_add(handshake_time))
                .flatten(),
            touched: now,
            client_over: false,
            deaf: false,
            trouble: None,
        })
    }

    /// What to wait for from now on, besides what was answered before.
    pub(super) fn unwatched(&mut self) -> Vec<&OwnedFd> {
        let all = self.state != State::Plain;
        let now = if all { Watched::All } else { Watched::Control };
        let before = std::mem::replace(&mut self.watched, now);
        match now {
            _ if now == before => Vec::new(),
            Watched::All => [Some(&self.client), self.plain.as_ref()]
                .into_iter()
                .flatten()
                .collect(),
            Watched::None | Watched::Control => self.control.iter().collect(),
        }
    }

    /// When it ends by itself. While the program has not asked for TLS, its own patience counts.
    pub(super) fn deadline(&self, options: &Options) -> Instant {
        let far = self.touched + Duration::from_hours(24);
        match (self.state, self.deadline) {
            (State::Plain, _) => far,
            (_, Some(deadline)) => deadline,
            (_, None) => self.touched.checked_add(options.idle_time).unwrap_or(far),
        }
    }

    /// The word for the listener when time is over; `None`: it has had one, or there is nothing to say yet.
    pub(super) fn too_late(&self) -> Option<End> {
        match self.state {
            State::Linger => None,
            State::Handshake | State::Header => Some(End::Failed("timed out".into())),
            State::Plain | State::Open | State::Flush => {
                Some(End::Closed(Some("timed out".into())))
            }
        }
    }

    /// Whether a program talks to this connection already.
    pub(super) fn has_program(&self) -> bool {
        self.control.is_some() || !matches!(self.state, State::Header | State::Handshake)
    }

    pub(super) fn step(&mut self, config: &Config, scratch: &mut [u8]) -> Step {
        for _ in 0..ROUNDS {
            let before = self.state;
            let moved = match self.state {
                State::Plain => self.wait_for_word(),
                State::Header => self.read_header(),
                State::Handshake => match self.shake(config) {
                    Ok(Shaken::Over) => match self.open() {
                        Ok(told) => return Step::Ready(told),
                        Err(end) => Err(end),
                    },
                    Ok(Shaken::More(moved)) => Ok(moved),
                    Err(end) => Err(end),
                },
                State::Open => self.carry(scratch),
                State::Flush => self.flush(),
                State::Linger => {
                    if self.is_hung_up(scratch) {
                        return Step::Over(End::Closed(None));
                    }
                    return Step::Waits;
                }
            };
            match moved {
                Ok(true) => self.touched = Instant::now(),
                Ok(false) if self.state == before => return Step::Waits,
                Ok(false) => {}
                Err(end) => return self.end(end),
            }
            if before != State::Linger && self.state == State::Linger {
                return Step::Lingers(End::Closed(self.trouble.take()));
            }
        }
        Step::Again
    }

    /// The last words to the client, if it may still hear them.
    fn end(&mut self, end: End) -> Step {
        self.plain = None;
        self.control = None;
        let said = self.crypto.as_mut().is_some_and(|crypto| {
            while crypto.has_output() {
                if crypto.give(&mut Raw(&self.client)).is_err() {
                    return false;
                }
            }
            true
        });
        if !said {
            return Step::Over(end);
        }
        self.linger();
        Step::Lingers(end)
    }

    fn linger(&mut self) {
        sys::local::hush(&self.client);
        self.plain = None;
        self.crypto = None;
        self.state = State::Linger;
        self.deadline = Instant::now().checked_add(LINGER_TIME);
    }

    /// Whether the client has hung up, or will not stop talking. What it still says is not for us.
    fn is_hung_up(&mut self, scratch: &mut [u8]) -> bool {
        while self.lingered < LINGER_LIMIT {
            match sys::fd::read(&self.client, scratch) {
                Ok(0) => return true,
                Ok(count) => self.lingered += count,
                Err(e) => return !is_passing(&e),
            }
        }
        true
    }

    /// Plain text goes past us. The program asks for TLS with one byte.
    fn wait_for_word(&mut self) -> Result<Moved, End> {
        let Some(control) = &self.control else {
            return Err(End::Closed(None));
        };
        let mut word = [0];
        match sys::fd::read(control, &mut word) {
            Ok(1) => {}
            // The program has ended, or wants no TLS.
            Ok(_) => return Err(End::Closed(None)),
            Err(e) if is_passing(&e) => return Ok(false),
            Err(_) => return Err(End::Closed(None)),
        }
        match word {
            [b'Y'] => self.tells = true,
            [b'y'] => {}
            _ => return Err(End::Failed("the program asked for something else".into())),
        }
        let unable = |e: io::Error| End::Failed(e.to_string());
        sys::fd::nonblocking(&self.client, true).map_err(unable)?;
        self.state = State::Handshake;
        self.deadline = Instant::now().checked_add(self.handshake_time);
        Ok(true)
    }

    fn read_header(&mut self) -> Result<Moved, End> {
        let mut piece = [0; 1024];
        let count = match sys::fd::read(&self.client, &mut piece) {
            Ok(0) => return Err(End::Failed("no PROXY header".into())),
            Ok(count) => count,
            Err(e) if is_passing(&e) => return Ok(false),
            Err(e) => return Err(End::Failed(base::die::system_text(&e))),
        };
        self.early
            .extend_from_slice(piece.get(..count).unwrap_or_default());
        let mut rest = self.early.as_slice();
        match proxy::read(&mut rest) {
            Ok(header) => {
                if let Header::Passed {
                    source,
                    destination,
                } = header
                {
                    self.passed = Some((source, destination));
                }
                self.early = rest.to_vec();
                self.state = State::Handshake;
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::UnexpectedEof && self.early.len() <= HEADER_LIMIT => {
                Ok(true)
            }
            Err(_) => Err(End::Failed("no PROXY header".into())),
        }
    }

    fn shake(&mut self, config: &Config) -> Result<Shaken, End> {
        let failed = |Trouble(why)| End::Failed(why);
        if self.crypto.is_none() {
            self.crypto = Some(Box::new(Crypto::new(config).map_err(failed)?));
        }
        let Some(crypto) = &mut self.crypto else {
            return Ok(Shaken::More(false));
        };
        let mut moved = false;
        if crypto.wants_input() {
            let taken = if self.early.is_empty() {
                crypto.take(&mut Raw(&self.client))
            } else {
                let mut rest = self.early.as_slice();
                let taken = crypto.take(&mut rest);
                self.early = rest.to_vec();
                taken
            };
            match taken {
                Ok(0) => return Err(End::Failed("the client has gone".into())),
                Ok(count) => {
                    moved = true;
                    self.handshake_bytes += count;
                    crypto.process().map_err(failed)?;
                }
                Err(e) if is_passing(&e) => {}
                Err(e) => return Err(End::Failed(base::die::system_text(&e))),
            }
        }
        while crypto.has_output() {
            match crypto.give(&mut Raw(&self.client)) {
                Ok(_) => moved = true,
                Err(e) if is_passing(&e) => break,
                Err(e) => return Err(End::Failed(base::die::system_text(&e))),
            }
        }
        if !crypto.is_handshaking() {
            return Ok(Shaken::Over);
        }
        if self.handshake_bytes > HANDSHAKE_LIMIT {
            return Err(End::Failed("too long a handshake".into()));
        }
        Ok(Shaken::More(moved))
    }

    /// The handshake is over: the program is told, if it asked.
    fn open(&mut self) -> Result<Told, End> {
        self.state = State::Open;
        self.deadline = None;
        self.touched = Instant::now();
        let mut told = self.crypto.as_ref().map(|c| c.told()).unwrap_or_default();
        if let Some(control) = self.control.take()
            && self.tells
        {
            let text = [pairs(&told), b"\0".to_vec()].concat();
            let sent = sys::local::send(&control, &text);
            if !sent.is_ok_and(|count| count == text.len()) {
                return Err(End::Closed(Some("the program has gone".into())));
            }
        }
        if let Some((source, destination)) = self.passed {
            told.push((wire::SOURCE.to_vec(), source.to_string().into()));
            told.push((wire::DESTINATION.to_vec(), destination.to_string().into()));
        }
        Ok(told)
    }

    /// Plain text both ways.
    fn carry(&mut self, scratch: &mut [u8]) -> Result<Moved, End> {
        let moved = self.hear_client()?;
        let moved = self.tell_program() | moved;
        let moved = self.hear_program(scratch)? | moved;
        Ok(self.tell_client()? | moved)
    }

    fn hear_client(&mut self) -> Result<Moved, End> {
        let Some(crypto) = &mut self.crypto else {
            return Ok(false);
        };
        if self.client_over || !crypto.wants_input() {
            return Ok(false);
        }
        let taken = if self.early.is_empty() {
            crypto.take(&mut Raw(&self.client))
        } else {
            let mut rest = self.early.as_slice();
            let taken = crypto.take(&mut rest);
            self.early = rest.to_vec();
            taken
        };
        match taken {
            Ok(count) => {
                self.client_over = count == 0;
                crypto
                    .process()
                    .map_err(|Trouble(why)| End::Closed(Some(why)))?;
                Ok(true)
            }
            Err(e) if is_passing(&e) => Ok(false),
            // It has thrown everything away, and so do we.
            Err(e) => Err(End::Closed(Some(base::die::system_text(&e)))),
        }
    }

    fn tell_program(&mut self) -> Moved {
        let (Some(crypto), Some(plain)) = (&mut self.crypto, &self.plain) else {
            return false;
        };
        let mut moved = false;
        while !self.deaf {
            let written = match crypto.plain() {
                Ok(None) => return moved,
                Ok(Some(b"")) => {
                    sys::local::hush(plain);
                    self.deaf = true;
                    break;
                }
                Ok(Some(bytes)) => sys::fd::write(plain, bytes),
                // Cut off, perhaps by somebody in between. What was to come, the program must not do without.
                Err(_) => {
                    self.trouble = Some("the client hung up without a word".into());
                    sys::local::hush(plain);
                    self.deaf = true;
                    break;
                }
            };
            match written {
                Ok(count) => {
                    crypto.consume(count);
                    moved = true;
                }
                Err(e) if is_passing(&e) => return moved,
                // It has closed its input; whatever else comes is for nobody.
                Err(_) => self.deaf = true,
            }
        }
        while let Ok(Some(bytes)) = crypto.plain() {
            let count = bytes.len();
            if count == 0 {
                break;
            }
            crypto.consume(count);
            moved = true;
        }
        moved
    }

    fn hear_program(&mut self, scratch: &mut [u8]) -> Result<Moved, End> {
        let (Some(crypto), Some(plain)) = (&mut self.crypto, &self.plain) else {
            return Ok(false);
        };
        if crypto.has_output() {
            return Ok(false);
        }
        match sys::fd::read(plain, scratch) {
            Ok(0) => {}
            Ok(count) => {
                let piece = scratch.get(..count).unwrap_or_default();
                let said = crypto.say(piece);
                said.map_err(|e| End::Closed(Some(e.to_string())))?;
                return Ok(true);
            }
            Err(e) if is_passing(&e) => return Ok(false),
            // It ended with something of the client unread.
            Err(_) => {}
        }
        crypto.close();
        self.plain = None;
        self.state = State::Flush;
        self.deadline = Instant::now().checked_add(FLUSH_TIME);
        Ok(true)
    }

    fn tell_client(&mut self) -> Result<Moved, End> {
        let Some(crypto) = &mut self.crypto else {
            return Ok(false);
        };
        let mut moved = false;
        while crypto.has_output() {
            match crypto.give(&mut Raw(&self.client)) {
                Ok(_) => moved = true,
                Err(e) if is_passing(&e) => break,
                Err(e) => return Err(End::Closed(Some(base::die::system_text(&e)))),
            }
        }
        Ok(moved)
    }

    fn flush(&mut self) -> Result<Moved, End> {
        let moved = self.tell_client()?;
        if self.crypto.as_ref().is_none_or(|c| !c.has_output()) {
            self.linger();
        }
        Ok(moved)
    }
}

/// How far a handshake is.
enum Shaken {
    Over,
    /// whether anything moved
    More(Moved),
}
