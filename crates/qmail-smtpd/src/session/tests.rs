//! Sessions in memory: no process, no clock, no queue.

mod end_of_data;
mod limits;
mod logins;
mod model;
mod replies;
mod scram;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use auth::checker::Verdict as Login;
use auth::sasl::Request;
use base::Bytes;
use net::peer::Peer;
use queue::submit::{Change, Outcome};

use super::{End, session};
use crate::channel::Link;
use crate::data::Rules;
use crate::gate::{Answer, Failure, Gate, Question};
use crate::header::Limits;
use crate::hosts::{Hosts, List};
use crate::judge::{Judge, Verdict};
use crate::login::Rules as LoginRules;
use crate::own::Own;
use crate::settings::Settings;
use crate::sink::{Message, Sink};
use crate::tls::{Cover, Offer, Tls};

/// What the client does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Send(Vec<u8>),
    Wait(u64),
}

/// A client that follows a script, and then hangs up.
struct Script {
    acts: VecDeque<Act>,
    told: Rc<RefCell<Vec<u8>>>,
    writes: Rc<Cell<usize>>,
    now: Cell<Duration>,
    deaf: bool,
    no_handshake: bool,
}

/// What the fake TLS process tells.
pub(super) fn cover() -> Cover {
    Cover {
        version: Some(b"TLSv1.3".to_vec()),
        cipher: Some(b"TLS_AES_256_GCM_SHA384".to_vec()),
        ..Cover::default()
    }
}

impl Link for Script {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        loop {
            match self.acts.pop_front() {
                None => return Ok(0),
                Some(Act::Wait(seconds)) => {
                    let time = Duration::from_secs(seconds);
                    self.now.set(self.now.get() + time.min(wait));
                    if time > wait {
                        let rest = time.saturating_sub(wait).as_secs();
                        self.acts.push_front(Act::Wait(rest));
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Some(Act::Send(mut bytes)) => {
                    if bytes.is_empty() {
                        continue;
                    }
                    if bytes.len() > buffer.len() {
                        let rest = bytes.split_off(buffer.len());
                        self.acts.push_front(Act::Send(rest));
                    }
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(bytes.len());
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8], _wait: Duration) -> io::Result<()> {
        if self.deaf {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.told.borrow_mut().extend_from_slice(bytes);
        self.writes.set(self.writes.get() + 1);
        Ok(())
    }

    fn start_tls(&mut self) -> io::Result<Cover> {
        if self.no_handshake {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.told.borrow_mut().extend_from_slice(b"=TLS=\r\n");
        Ok(cover())
    }

    fn pause(&self, time: Duration) {
        self.now.set(self.now.get() + time);
    }

    fn elapsed(&self) -> Duration {
        self.now.get()
    }

    fn unix(&self) -> i64 {
        0
    }
}

/// A message that reached the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    /// without our Received line
    pub(super) text: Bytes,
}

/// A queue in memory.
#[derive(Clone)]
pub(super) struct Memory {
    stored: Rc<RefCell<Vec<Stored>>>,
    received: Rc<RefCell<String>>,
    verdict: Outcome,
    closed: bool,
}

pub(super) struct Draft {
    memory: Memory,
    text: Bytes,
}

impl Sink for Memory {
    type Message = Draft;

    fn open(&mut self, _changes: &[Change]) -> io::Result<Draft> {
        if self.closed {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Draft {
            memory: self.clone(),
            text: Bytes::new(),
        })
    }
}

impl Message for Draft {
    fn id(&self) -> u32 {
        77
    }

    fn write(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    fn finish(&mut self, sender: &[u8], recipients: &[Bytes]) -> Outcome {
        let at = base::bytes::find(&self.text, b"-0000\n").unwrap() + 6;
        let received = String::from_utf8(self.text[..at].to_vec()).unwrap();
        *self.memory.received.borrow_mut() = received;
        if self.memory.verdict == Outcome::Queued {
            self.memory.stored.borrow_mut().push(Stored {
                sender: String::from_utf8(sender.to_vec()).unwrap(),
                recipients: recipients
                    .iter()
                    .map(|r| String::from_utf8(r.clone()).unwrap())
                    .collect(),
                text: self.text[at..].to_vec(),
            });
        }
        self.memory.verdict.clone()
    }

    fn abandon(self) {}
}

/// Judges by the first letters of an address.
pub(super) struct Fake;

impl Judge for Fake {
    fn verdict(&mut self, address: &[u8]) -> io::Result<Verdict> {
        Ok(match address {
            a if a.starts_with(b"unknown") => Verdict::Unknown,
            a if a.starts_with(b"trouble") => Verdict::Trouble,
            a if a.starts_with(b"hack%") => Verdict::Remote(b"hack@out.example".to_vec()),
            a if a.starts_with(b"broken") => return Err(io::ErrorKind::PermissionDenied.into()),
            _ => Verdict::Accept,
        })
    }
}

/// Knows alice, whose password is `secret`, and `carol@v.test` with the same one; `broken` breaks it.
pub(super) struct Accounts {
    asked: Rc<RefCell<Vec<Question>>>,
}

/// What every wrong password costs.
pub(super) const FAILURE: Failure = Failure {
    delay: Duration::from_secs(2),
    network: 3,
    account: 1,
    unasked: false,
};

impl Gate for Accounts {
    fn ask(&mut self, question: &Question) -> Answer {
        self.asked.borrow_mut().push(question.clone());
        let Question::Ask(request) = question else {
            return Answer::Verdict(Login::Temporary);
        };
        let known = [&b"alice"[..], b"carol@v.test"].contains(&request.name());
        let right = match request {
            Request::Password { password, .. } => password == b"secret",
            Request::Response {
                challenge,
                response,
                ..
            } => *response == auth::sasl::cram_digest(b"secret", challenge),
            _ => false,
        };
        Answer::Verdict(match request.name() {
            b"broken" => Login::Temporary,
            _ if known && right => Login::Accepted,
            _ => return Answer::Failed(FAILURE),
        })
    }
}

/// host.test, with small limits.
pub(super) fn settings() -> Settings {
    Settings {
        greeting: b"mx.host.test".to_vec(),
        peer: Peer {
            remote_ip: Some(b"192.0.2.1".to_vec()),
            remote_host: Some(b"client.test".to_vec()),
            local_host: Some(b"mx.host.test".to_vec()),
            ..Peer::default()
        },
        own: Own {
            name: Some(b"host.test".to_vec()),
            address: "198.51.100.5".parse().ok(),
            interfaces: || Ok(Vec::new()),
        },
        tls: Tls {
            offer: Offer::No,
            cover: None,
        },
        login: LoginRules::new(&Ok(None), |_| None, &[], b""),
        words: Ok(None),
        senders: None,
        relay: None,
        hosts: Hosts::new(List::new(b"host.test\n".to_vec()), None),
        bad_senders: List::new(b"spam@bad.test\n@worse.test\n".to_vec()),
        check_recipients: true,
        spaces: true,
        data: Rules {
            databytes: 0,
            header: Limits {
                bytes: 1000,
                lines: 20,
                hops: 5,
            },
            progress: Some(Duration::from_mins(5)),
        },
        max_recipients: 3,
        max_errors: 20,
        idle: Duration::from_mins(20),
        total: Some(Duration::from_hours(1)),
        pid: 4,
    }
}

/// What a session left behind.
pub(super) struct Left {
    pub(super) end: End,
    pub(super) told: String,
    pub(super) stored: Vec<Stored>,
    pub(super) log: String,
    /// how often replies were sent
    pub(super) writes: usize,
    /// what the checker was asked
    pub(super) asked: Vec<Question>,
    received: String,
}

impl Left {
    /// The codes of the replies, without the greeting; a reply of several lines counts once.
    pub(super) fn codes(&self) -> Vec<u16> {
        self.told
            .lines()
            .skip(1)
            .filter(|line| line.as_bytes()[3] == b' ' && !line.starts_with('='))
            .map(|line| line.split(' ').next().unwrap().parse().unwrap())
            .collect()
    }

    /// Our Received line on the last message.
    pub(super) fn stored_received(&self) -> &str {
        &self.received
    }
}

pub(super) struct Play {
    pub(super) settings: Settings,
    pub(super) verdict: Outcome,
    pub(super) closed: bool,
    pub(super) deaf: bool,
    pub(super) no_handshake: bool,
}

impl Play {
    pub(super) fn new(settings: Settings) -> Play {
        Play {
            settings,
            verdict: Outcome::Queued,
            closed: false,
            deaf: false,
            no_handshake: false,
        }
    }

    pub(super) fn run(&self, acts: impl IntoIterator<Item = Act>) -> Left {
        let told = Rc::new(RefCell::new(Vec::new()));
        let stored = Rc::new(RefCell::new(Vec::new()));
        let received = Rc::new(RefCell::new(String::new()));
        let writes = Rc::new(Cell::new(0));
        let asked = Rc::new(RefCell::new(Vec::new()));
        let script = Script {
            acts: acts.into_iter().collect(),
            told: Rc::clone(&told),
            writes: Rc::clone(&writes),
            now: Cell::new(Duration::ZERO),
            deaf: self.deaf,
            no_handshake: self.no_handshake,
        };
        let memory = Memory {
            stored: Rc::clone(&stored),
            received: Rc::clone(&received),
            verdict: self.verdict.clone(),
            closed: self.closed,
        };
        let mut log = Vec::new();
        let mut gate = Accounts {
            asked: Rc::clone(&asked),
        };
        let settings = &self.settings;
        let end = session(
            script,
            settings,
            &mut Fake,
            &mut gate,
            memory,
            &mut |line| {
                log.extend_from_slice(line);
            },
        );
        let told = String::from_utf8(told.take()).unwrap();
        for line in told.split_inclusive("\r\n") {
            assert!(line.ends_with("\r\n") && line.len() < 512, "{told:?}");
        }
        Left {
            end,
            told,
            stored: stored.take(),
            log: String::from_utf8(log).unwrap(),
            writes: writes.get(),
            asked: asked.take(),
            received: received.take(),
        }
    }
}

/// A session with the usual settings; the client sends all at once.
pub(super) fn run(wire: impl AsRef<[u8]>) -> Left {
    run_acts([Act::Send(wire.as_ref().to_vec())])
}

/// A session with the usual settings.
pub(super) fn run_acts(acts: impl IntoIterator<Item = Act>) -> Left {
    Play::new(settings()).run(acts)
}

/// The client sends a text.
pub(super) fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

/// Cuts bytes into segments of random sizes.
pub(super) fn segments(wire: &[u8], random: &mut Random) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let size = 1 + random.below(rest.len().min(40));
        acts.push(Act::Send(rest[..size].to_vec()));
        rest = &rest[size..];
    }
    acts
}

/// A small generator: the same run every time.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
}

/// A whole envelope, up to DATA.
pub(super) const ENVELOPE: &str = "MAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n";

/// A message with this text, and QUIT.
pub(super) fn message(text: &str) -> String {
    format!("{ENVELOPE}{text}\r\n.\r\nQUIT\r\n")
}
