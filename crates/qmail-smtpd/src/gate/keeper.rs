//! The other side of a gate: runs the checker, and remembers who guesses.

use std::net::IpAddr;
use std::time::Duration;

use auth::checker::{Checker, Running, Verdict};
use auth::sasl::Request;
use auth::throttle::{Before, Throttle};
use base::Bytes;

use super::{Answer, Failure, Gate, Question};

/// How long a client waits for a refusal where nobody counts.
const LEAST_DELAY: Duration = Duration::from_secs(1);

/// Runs the checker for one session.
#[derive(Debug)]
pub struct Keeper {
    checker: Checker,
    guard: Guard,
    /// whether a yes of the checker is worth something
    sound: Sound,
    running: Option<Running>,
    /// whom the running checker looks at
    name: Bytes,
}

/// Who counts failures, and for whom.
#[derive(Debug)]
pub struct Guard {
    /// the tables of all sessions
    pub throttle: Throttle,
    /// the client's address; without it nothing can be counted
    pub address: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    Yes,
    No,
    Unknown,
}

/// Whether a checker says anything but yes to nobody at all: name and password are missing. A program that is none of
/// the family, and does not look at descriptor 3, says yes.
fn is_sound(checker: &Checker) -> bool {
    let nobody = Request::Password {
        name: Vec::new(),
        password: Vec::new(),
    };
    checker.ask(&nobody) != Verdict::Accepted
}

impl Guard {
    /// Too many failures, and this client is not known with this name.
    fn bars(&self, name: &[u8]) -> bool {
        let verdict = self.address.map(|a| self.throttle.before(a, name));
        matches!(verdict, Some(Before::Refuse(_)))
    }

    fn failed(&self, name: &[u8], unasked: bool) -> Failure {
        let after = self.address.map(|a| self.throttle.failed(a, name));
        Failure {
            delay: after.map_or(LEAST_DELAY, |a| a.delay),
            network: after.map_or(0, |a| a.network),
            account: after.map_or(0, |a| a.account),
            unasked,
        }
    }

    fn succeeded(&self, name: &[u8]) {
        if let Some(address) = self.address {
            self.throttle.succeeded(address, name);
        }
    }
}

impl Keeper {
    /// With `doubt` the checker has to show that it can say no before its first yes is believed.
    pub fn new(checker: Checker, doubt: bool, guard: Guard) -> Keeper {
        Keeper {
            checker,
            guard,
            sound: if doubt { Sound::Unknown } else { Sound::Yes },
            running: None,
            name: Bytes::new(),
        }
    }

    /// The end of a question. A yes counts only from a checker that can say no.
    fn conclude(&mut self, verdict: Verdict) -> Answer {
        match verdict {
            Verdict::Accepted if self.is_believed() => {
                self.guard.succeeded(&self.name);
                Answer::Verdict(Verdict::Accepted)
            }
            Verdict::Refused => Answer::Failed(self.guard.failed(&self.name, false)),
            Verdict::Accepted | Verdict::Temporary => Answer::Verdict(Verdict::Temporary),
        }
    }

    fn is_believed(&mut self) -> bool {
        if self.sound == Sound::Unknown {
            self.sound = if is_sound(&self.checker) {
                Sound::Yes
            } else {
                Sound::No
            };
        }
        self.sound == Sound::Yes
    }

    fn first(&mut self, request: &Request) -> Answer {
        self.name = request.name().to_vec();
        if self.guard.bars(&self.name) {
            return Answer::Failed(self.guard.failed(&self.name, true));
        }
        let running = match self.checker.start(request) {
            Ok(running) => running,
            Err(verdict) => return self.conclude(verdict),
        };
        if !matches!(request, Request::Scram { .. }) {
            return self.conclude(running.verdict());
        }
        match running.salted() {
            Ok((running, salted)) => {
                self.running = Some(running);
                Answer::Salted(salted)
            }
            Err(verdict) => self.conclude(verdict),
        }
    }

    fn prove(&mut self, message: &[u8], proof: &[u8]) -> Answer {
        let Some(running) = self.running.take() else {
            return Answer::Verdict(Verdict::Temporary);
        };
        match running.prove(message, proof) {
            Ok((running, signature)) => {
                self.running = Some(running);
                Answer::Signed(signature)
            }
            Err(verdict) => self.conclude(verdict),
        }
    }

    fn give_up(&mut self) {
        if let Some(running) = self.running.take() {
            running.kill();
        }
    }
}

impl Gate for Keeper {
    fn ask(&mut self, question: &Question) -> Answer {
        match question {
            Question::Ask(request) => {
                self.give_up();
                self.first(request)
            }
            Question::Prove { message, proof } => self.prove(message, proof),
            Question::Go => match self.running.take() {
                Some(running) => {
                    let verdict = running.go();
                    self.conclude(verdict)
                }
                None => Answer::Verdict(Verdict::Temporary),
            },
            Question::GiveUp => {
                self.give_up();
                Answer::Verdict(Verdict::Refused)
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests;
