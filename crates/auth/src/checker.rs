//! Asking a program of the checkpassword family.
//!
//! The program gets on descriptor 3 three strings, each ended by NUL, 512 bytes at most, and end of file. If it is
//! content, it becomes its argument, and that ends with 0. For SCRAM descriptor 3 is a socket, and there is a
//! conversation on it before (docs/decisions/0015-scram-over-checkpassword.md).
//!
//! Source  checkpassword's interface page; qmail-popup(8)

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use base::Bytes;
use sys::process::End;
use sys::signal::Signal;
use sys::spawn::Spawn;

use crate::digest::Hash;
use crate::encoding::{decode, encode};
use crate::sasl::{Mechanism, Request};
use crate::scram::ROUNDS_LIMIT;

/// The descriptor of the protocol.
pub const DESCRIPTOR: i32 = 3;
/// What a classic checker reads, bytes.
pub const LIMIT: usize = 512;
/// What a checker that knows tokens or SCRAM reads, bytes.
pub const LONG_LIMIT: usize = 4096;
/// How long a checker may take, if its caller says nothing else: directories on other machines are slow.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// The largest answer of a SCRAM checker, bytes.
const ANSWER_LIMIT: usize = 512;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// it is him
    Accepted,
    /// it is not, or he may not
    Refused,
    /// nobody can tell now: the checker crashed, could not be run, took too long, or said so
    Temporary,
}

/// The order of strings for a challenge and its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// name, response, challenge: checkpassword, APOP, everybody since 2004
    #[default]
    ResponseFirst,
    /// name, challenge, response: the first SMTP AUTH patch
    ChallengeFirst,
}

/// Whether the checker, and what it becomes, speaks with the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// descriptors 0 and 1 are the client's: the checker becomes the server of the session
    Kept,
    /// they lead nowhere: only the exit code counts
    Hidden,
}

/// A checker and how to run it.
#[derive(Clone, Debug)]
pub struct Checker {
    /// the program and its arguments, among them the program that it becomes
    pub words: Vec<Bytes>,
    /// of a challenge and its response
    pub order: Order,
    /// what becomes of descriptors 0 and 1
    pub client: Client,
    /// how long it may take; `None`: as long as the session that it becomes
    pub limit: Option<Duration>,
    /// set in its environment, on top of ours
    pub environment: Vec<(Bytes, Bytes)>,
}

/// A checker at work.
#[derive(Debug)]
pub struct Running {
    pid: u32,
    end: Option<Instant>,
    /// our end of descriptor 3, for SCRAM
    talk: Option<OwnedFd>,
    client: Client,
}

/// Salt and rounds of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salted {
    /// random bytes
    pub salt: Bytes,
    /// of PBKDF2
    pub rounds: u32,
}

/// The mechanisms that the checker knows beyond the classic ones, from the variable CHECKERKNOWS or, if that is not
/// set, from control/checkerknows: names with blanks or line ends between. What is not such a name counts for nothing.
///
/// # Errors
/// The control file is there and cannot be read.
pub fn knows() -> io::Result<Vec<Mechanism>> {
    let text = match base::env("CHECKERKNOWS") {
        Some(text) => text,
        None => control::list("checkerknows")?
            .unwrap_or_default()
            .join(&b' '),
    };
    Ok(known(&text))
}

fn known(text: &[u8]) -> Vec<Mechanism> {
    let names = text.split(|b| matches!(b, b' ' | b'\t' | b'\n' | b','));
    names
        .filter_map(Mechanism::parse)
        .filter(|m| m.needs_checker())
        .collect()
}

/// The three strings; `None` when they do not fit or hold a NUL.
fn strings(request: &Request, order: Order) -> Option<Bytes> {
    let (parts, limit): ([&[u8]; 3], _) = match request {
        Request::Password { name, password } => ([name, password, b""], LIMIT),
        Request::Response {
            name,
            challenge,
            response,
        } => match order {
            Order::ResponseFirst => ([name, response, challenge], LIMIT),
            Order::ChallengeFirst => ([name, challenge, response], LIMIT),
        },
        Request::Token { name, token } => ([name, token, b"XOAUTH2"], LONG_LIMIT),
        Request::Scram { name, hash } => ([name, b"", scram_name(*hash)], LIMIT),
    };
    if parts.iter().any(|p| p.contains(&0)) {
        return None;
    }
    let text = parts.map(|p| [p, b"\0"].concat()).concat();
    (text.len() <= limit).then_some(text)
}

fn scram_name(hash: Hash) -> &'static [u8] {
    Mechanism::Scram(hash, crate::sasl::Bound::Free)
        .name()
        .as_bytes()
}

/// What an exit code says. Only those that mean "not him" refuse: 1 is everybody's, 3, 12, 13, 15 and 20 to 24 are
/// vchkpw's.
pub fn verdict(end: End) -> Verdict {
    match end {
        End::Exit(0) => Verdict::Accepted,
        End::Exit(1 | 3 | 12 | 13 | 15 | 20..=24) => Verdict::Refused,
        End::Exit(_) | End::Signal(_) => Verdict::Temporary,
    }
}

impl Checker {
    /// Asks and waits for the answer. Not for SCRAM.
    ///
    /// Waits   at most `limit`; then the checker is killed, and nobody can tell.
    pub fn ask(&self, request: &Request) -> Verdict {
        match self.start(request) {
            Ok(running) => running.verdict(),
            Err(verdict) => verdict,
        }
    }

    /// Starts it. Strings that do not fit are refused, without asking anybody; trouble is temporary.
    pub fn start(&self, request: &Request) -> Result<Running, Verdict> {
        let text = strings(request, self.order).ok_or(Verdict::Refused)?;
        let talks = matches!(request, Request::Scram { .. });
        self.run(&text, talks).map_err(|_| Verdict::Temporary)
    }

    /// The null device, for who has no client; it may be out of reach of a caller in a sandbox.
    fn nothing(&self) -> Option<File> {
        let hidden = self.client == Client::Hidden;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        hidden.then(|| options.open("/dev/null").ok()).flatten()
    }

    fn run(&self, text: &[u8], talks: bool) -> io::Result<Running> {
        let mut words = self.words.iter();
        let program = words.next().ok_or(ErrorKind::NotFound)?;
        let (theirs, ours) = if talks {
            sys::local::pair()?
        } else {
            sys::fd::pipe()?
        };
        // It fits into the kernel's buffer, so this neither waits nor meets a reader that is gone.
        sys::fd::write_all(&ours, text)?;
        let mut spawn = Spawn::new(program)
            .args(words)
            .fd(DESCRIPTOR, theirs.as_fd());
        for (name, value) in &self.environment {
            spawn = spawn.set(name, value);
        }
        let nothing = self.nothing();
        if self.client == Client::Hidden {
            spawn = match &nothing {
                Some(fd) => spawn.fd(0, fd.as_fd()).fd(1, fd.as_fd()),
                None => spawn.without_fd(0).without_fd(1),
            };
            // So that what it starts can be ended with it.
            spawn = spawn.new_group();
        }
        Ok(Running {
            pid: spawn.spawn()?,
            end: self.limit.map(|l| Instant::now() + l),
            talk: talks.then_some(ours),
            client: self.client,
        })
    }
}

impl Running {
    /// Waits for the end.
    pub fn verdict(mut self) -> Verdict {
        self.talk = None;
        let end = match self.end {
            None => sys::process::wait_for(self.pid).map(Some),
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                sys::process::wait_within(self.pid, left)
            }
        };
        match end {
            Ok(Some(end)) => verdict(end),
            _ => self.kill(),
        }
    }

    /// Ends it: the client gave up, or it took too long.
    pub fn kill(self) -> Verdict {
        // It is our child and nobody has waited for it, so the number is still its own.
        let _ = match self.client {
            Client::Hidden => sys::signal::send_group(self.pid, Signal::SIGKILL),
            Client::Kept => sys::signal::send(self.pid, Signal::SIGKILL),
        };
        let _ = sys::process::wait_for(self.pid);
        Verdict::Temporary
    }

    /// SCRAM: salt and rounds.
    ///
    /// # Errors
    /// What is left when the checker does not know or does not answer; it is gone then.
    pub fn salted(self) -> Result<(Running, Salted), Verdict> {
        let (running, fields) = self.answer(2)?;
        match salted(&fields) {
            Some(salted) => Ok((running, salted)),
            None => Err(running.kill()),
        }
    }

    /// SCRAM: has the proof checked, and gets the signature that convinces the client.
    ///
    /// # Errors
    /// As `salted`; `Refused` if the proof is wrong.
    pub fn prove(self, message: &[u8], proof: &[u8]) -> Result<(Running, Bytes), Verdict> {
        let text = [message, b"\0", &encode(proof), b"\0"].concat();
        if text.len() > LONG_LIMIT {
            self.kill();
            return Err(Verdict::Refused);
        }
        let (running, fields) = self.say(&text)?.answer(1)?;
        match fields.first().and_then(|f| decode(f)) {
            Some(signature) if !signature.is_empty() => Ok((running, signature)),
            _ => Err(running.kill()),
        }
    }

    /// SCRAM: the client has seen the signature; the checker may become its program.
    pub fn go(self) -> Verdict {
        match self.say(b"+") {
            Ok(running) => running.verdict(),
            Err(verdict) => verdict,
        }
    }

    /// Says something on descriptor 3. A checker that is gone is asked for its exit code instead.
    fn say(self, text: &[u8]) -> Result<Running, Verdict> {
        let said = self.talk.as_ref().map(|fd| sys::local::send(fd, text));
        match said {
            Some(Ok(count)) if count == text.len() => Ok(self),
            _ => Err(not_accepted(self.verdict())),
        }
    }

    /// Reads `count` strings, each ended by NUL, and no byte more.
    fn answer(self, count: usize) -> Result<(Running, Vec<Bytes>), Verdict> {
        let deadline = self.end.unwrap_or_else(|| Instant::now() + PATIENCE);
        let mut text = Bytes::new();
        while text.split(|&b| b == 0).count() <= count {
            let mut piece = [0; ANSWER_LIMIT];
            let left = deadline.saturating_duration_since(Instant::now());
            let got = match &self.talk {
                Some(fd) => match sys::poll::readable(fd, left) {
                    Ok(true) => sys::fd::read(fd, &mut piece),
                    Ok(false) => Err(ErrorKind::TimedOut.into()),
                    Err(e) => Err(e),
                },
                None => Ok(0),
            };
            match got {
                Ok(0) => return Err(not_accepted(self.verdict())),
                Ok(got) => text.extend_from_slice(piece.get(..got).unwrap_or_default()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // It left without reading what we said.
                Err(e) if e.kind() == ErrorKind::ConnectionReset => {
                    return Err(not_accepted(self.verdict()));
                }
                Err(_) => return Err(self.kill()),
            }
            if text.len() > ANSWER_LIMIT {
                return Err(self.kill());
            }
        }
        let mut fields: Vec<Bytes> = text.split(|&b| b == 0).map(<[u8]>::to_vec).collect();
        // After the last NUL there is nothing.
        if fields.pop().is_some_and(|rest| rest.is_empty()) && fields.len() == count {
            Ok((self, fields))
        } else {
            Err(self.kill())
        }
    }
}

/// A checker that ends with 0 before the conversation is over has proved nothing.
fn not_accepted(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Accepted => Verdict::Temporary,
        other => other,
    }
}

fn salted(fields: &[Bytes]) -> Option<Salted> {
    let [salt, rounds] = fields else {
        return None;
    };
    let rounds = u32::try_from(base::bytes::number(rounds)?).ok()?;
    let salt = decode(salt).filter(|s| !s.is_empty())?;
    (1..=ROUNDS_LIMIT)
        .contains(&rounds)
        .then_some(Salted { salt, rounds })
}

#[cfg(test)]
mod tests;
