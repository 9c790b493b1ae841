//! The back of qmail-popup: letters in, the checker's verdict out.

use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use auth::checker::{Checker, Client, Running, Verdict};
use auth::sasl::Request;
use auth::throttle::{Before, Throttle};
use base::Bytes;
use net::starttls;

use super::hear;
use crate::front::{Method, Wish};
use crate::letter::{self, Letter};
use crate::log;
use crate::rules::Rules;

/// What a client learns when it is not let in; the same for a wrong password and for a name that nobody has.
const REFUSED: &str = "[AUTH] authorization failed";
const TEMPORARY: &str = "[SYS/TEMP] unable to check passwords now";
const NO_FORK: &str = "[SYS/TEMP] unable to fork";
/// How long somebody who was refused waits for the answer at least.
const PENANCE: Duration = Duration::from_secs(2);

/// A connection.
pub(super) struct State {
    rules: Rules,
    checker: Checker,
    /// who he says he is, and how; for the log
    claim: Option<(Method, Bytes)>,
    begun: Instant,
    /// when the checker was asked
    asked: Instant,
    /// the failures of all sessions
    throttle: Throttle,
    /// the client's address; without it nothing can be counted
    address: Option<IpAddr>,
    /// refused without asking: there were too many failures
    unasked: bool,
}

/// Why a front ended.
enum Next {
    /// the session is over, with this last word
    Over(Option<&'static str>),
    /// another front begins, under TLS
    Front,
}

impl State {
    pub(super) fn new(
        words: &[Bytes],
        rules: Rules,
        throttle: Throttle,
        address: Option<IpAddr>,
    ) -> State {
        State {
            checker: Checker {
                words: words.to_vec(),
                order: rules.order,
                client: Client::Kept,
                limit: None,
                environment: Vec::new(),
            },
            rules,
            claim: None,
            begun: Instant::now(),
            asked: Instant::now(),
            throttle,
            address,
            unasked: false,
        }
    }

    /// Serves one client to the end. Returns what is left to say.
    pub(super) fn serve(&mut self) -> Option<&'static str> {
        let mut greet = true;
        loop {
            match self.front(greet) {
                Next::Over(text) => return text,
                Next::Front => greet = false,
            }
        }
    }

    /// Runs a front, and does what it asks for.
    fn front(&mut self, greet: bool) -> Next {
        let Ok((ours, theirs)) = sys::local::pair() else {
            return Next::Over(Some(NO_FORK));
        };
        let mut ours = Some(File::from(ours));
        let rules = &self.rules;
        let forked = sys::process::fork(|| {
            // The front must not hold this end: it would never see the back go.
            ours = None;
            hear(rules, theirs, greet)
        });
        let (Ok(pid), Some(mut letters)) = (forked, ours) else {
            return Next::Over(Some(NO_FORK));
        };
        let mut running = None;
        let end = loop {
            match Letter::read(&mut letters) {
                Ok(Some(Letter::Wish(wish))) => break Ok(wish),
                Ok(Some(letter)) => match self.scram(letter, running.take(), &mut letters) {
                    Ok(more) => running = more,
                    Err(verdict) => break Err(verdict),
                },
                // It was killed, or is no longer itself.
                Ok(None) | Err(_) => break Ok(Wish::Leave),
            }
        };
        // Whoever still waits for an answer sees the end now.
        drop(letters);
        let _ = sys::process::wait_for(pid);
        match end {
            Ok(wish) => self.fulfil(wish, running),
            Err(verdict) => Next::Over(self.judge(verdict)),
        }
    }

    /// A letter in the middle of an exchange.
    fn scram(
        &mut self,
        letter: Letter,
        running: Option<Running>,
        letters: &mut File,
    ) -> Result<Option<Running>, Verdict> {
        let (running, kind, fields) = match (letter, running) {
            (Letter::Salt(mechanism, request), None) => {
                let running = self.start(Method::Sasl(mechanism), &request)?;
                let (running, salted) = running.salted()?;
                let rounds = salted.rounds.to_string().into_bytes();
                (running, b's', vec![salted.salt, rounds])
            }
            (Letter::Prove(message, proof), Some(running)) => {
                let (running, signature) = running.prove(&message, &proof)?;
                (running, b'g', vec![signature])
            }
            (_, running) => {
                if let Some(running) = running {
                    running.kill();
                }
                return Ok(None);
            }
        };
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let sent = letter::write(kind, &fields).and_then(|text| letters.write_all(&text));
        match sent {
            Ok(()) => Ok(Some(running)),
            Err(_) => Err(running.kill()),
        }
    }

    /// Runs the checker, in an environment without what is between us and the TLS server.
    fn start(&mut self, method: Method, request: &Request) -> Result<Running, Verdict> {
        self.claim = Some((method, request.name().to_vec()));
        self.asked = Instant::now();
        let before = self
            .address
            .map(|a| self.throttle.before(a, request.name()));
        if matches!(before, Some(Before::Refuse(_))) {
            self.unasked = true;
            return Err(Verdict::Refused);
        }
        clean_environment().map_err(|_| Verdict::Temporary)?;
        self.checker.start(request)
    }

    fn fulfil(&mut self, wish: Wish, running: Option<Running>) -> Next {
        let verdict = match (wish, running) {
            (Wish::Go, Some(running)) => running.go(),
            (Wish::Ask(method, request), None) => {
                let started = self.start(method, &request);
                started.map_or_else(|verdict| verdict, Running::verdict)
            }
            (wish, running) => {
                if let Some(running) = running {
                    running.kill();
                }
                return match wish {
                    Wish::Tls => self.start_tls(),
                    _ => Next::Over(None),
                };
            }
        };
        Next::Over(self.judge(verdict))
    }

    /// Has TLS begun; descriptors 0 and 1 are the encrypted connection then.
    fn start_tls(&mut self) -> Next {
        let started = starttls::offered().map(|offer| offer.start(starttls::HANDSHAKE_TIME));
        let Some(Ok(told)) = started else {
            // In clear there is nothing more to say.
            return Next::Over(None);
        };
        self.checker.environment = told;
        self.rules.tls = true;
        self.rules.offered = false;
        Next::Front
    }

    /// What the client is told of a verdict, and when.
    fn judge(&self, verdict: Verdict) -> Option<&'static str> {
        let Some((method, name)) = &self.claim else {
            return None;
        };
        let mut failures = None;
        match (verdict, self.address) {
            (Verdict::Accepted, Some(address)) => self.throttle.succeeded(address, name),
            (Verdict::Refused, address) => {
                let after = address.map(|a| self.throttle.failed(a, name));
                let delay = after.map_or(PENANCE, |a| a.delay.max(PENANCE));
                // The same time for every refusal, whatever the checker had to do for it.
                std::thread::sleep(delay.saturating_sub(self.asked.elapsed()));
                let counted = after.filter(|_| self.throttle.is_working());
                failures = counted.map(|a| (a.network, a.account));
            }
            _ => {}
        }
        let attempt = log::Attempt {
            name,
            method: *method,
            tls: self.rules.tls,
            verdict,
            unasked: self.unasked,
            failures,
            time: self.begun.elapsed(),
        };
        attempt.write();
        match verdict {
            Verdict::Accepted => None,
            Verdict::Refused => Some(REFUSED),
            Verdict::Temporary => Some(TEMPORARY),
        }
    }
}

/// Takes the variables of UCSPI-TLS out of our environment.
fn clean_environment() -> std::io::Result<()> {
    let all: Vec<(Bytes, Bytes)> = std::env::vars_os()
        .map(|(name, value)| (name.into_vec(), value.into_vec()))
        .collect();
    let is_theirs = |name: &Bytes| starttls::VARIABLES.contains(&name.as_slice());
    if !all.iter().any(|(name, _)| is_theirs(name)) {
        return Ok(());
    }
    let kept = all.iter().filter(|(name, _)| !is_theirs(name));
    let words = kept.map(|(name, value)| [name.as_slice(), b"=", value, b"\0"].concat());
    sys::process::set_environment(words.collect::<Vec<_>>().concat())
}
