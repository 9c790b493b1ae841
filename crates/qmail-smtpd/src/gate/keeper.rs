//! The other side of a gate: runs the checker.

use auth::checker::{Checker, Running, Verdict};
use auth::sasl::Request;

use super::{Answer, Gate, Question};

/// Runs the checker for one session.
#[derive(Debug)]
pub struct Keeper {
    checker: Checker,
    running: Option<Running>,
    /// whether a yes of the checker is worth something
    sound: Sound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    Yes,
    No,
    Unknown,
}

/// Whether a checker says anything but yes to nobody at all: name and password are missing. A program that is none of
/// the family, and does not look at descriptor 3, says yes.
pub fn is_sound(checker: &Checker) -> bool {
    let nobody = Request::Password {
        name: Vec::new(),
        password: Vec::new(),
    };
    checker.ask(&nobody) != Verdict::Accepted
}

impl Keeper {
    /// With `doubt` the checker has to show that it can say no before its first yes is believed.
    pub fn new(checker: Checker, doubt: bool) -> Keeper {
        Keeper {
            checker,
            running: None,
            sound: if doubt { Sound::Unknown } else { Sound::Yes },
        }
    }

    /// A yes counts only from a checker that can say no.
    fn believe(&mut self, verdict: Verdict) -> Answer {
        if verdict == Verdict::Accepted && self.sound == Sound::Unknown {
            self.sound = if is_sound(&self.checker) {
                Sound::Yes
            } else {
                Sound::No
            };
        }
        Answer::Verdict(match (verdict, self.sound) {
            (Verdict::Accepted, Sound::Yes) => Verdict::Accepted,
            (Verdict::Accepted, _) => Verdict::Temporary,
            (verdict, _) => verdict,
        })
    }

    fn first(&mut self, request: &Request) -> Answer {
        let running = match self.checker.start(request) {
            Ok(running) => running,
            Err(verdict) => return self.believe(verdict),
        };
        if !matches!(request, Request::Scram { .. }) {
            return self.believe(running.verdict());
        }
        match running.salted() {
            Ok((running, salted)) => {
                self.running = Some(running);
                Answer::Salted(salted)
            }
            Err(verdict) => self.believe(verdict),
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
            Err(verdict) => self.believe(verdict),
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
            Question::Go => {
                let verdict = self.running.take().map(Running::go);
                self.believe(verdict.unwrap_or(Verdict::Temporary))
            }
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
