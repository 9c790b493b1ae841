//! AUTH: the exchange with the client, and what a success is worth.
//!
//! Source  RFC 4954; the words are those of qmail-smtpd-auth 0.31

use auth::Mechanism;
use auth::checker::Verdict;
use auth::encoding::{self, Response};
use auth::sasl::{Binding, Exchange, Request, Setup, Step};
use base::Bytes;
use wire::command::{self, Unclean};

use super::{End, Session, Weight, close};
use crate::channel::{Line as Input, Link};
use crate::gate::{Answer, Failure, Question};
use crate::login::State;
use crate::reply::{self, Reply};
use crate::sink::Sink;

/// Bytes of a line of an exchange, and of the AUTH command, with its end (RFC 4954 4).
pub(super) const AUTH_LINE_LIMIT: usize = 12_288;

/// A client that showed who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) name: Bytes,
    pub(super) mechanism: Mechanism,
}

impl Login {
    /// As environments and logs have it.
    pub(super) fn method(&self) -> String {
        method(self.mechanism)
    }
}

pub(super) fn method(mechanism: Mechanism) -> String {
    mechanism.name().to_ascii_lowercase()
}

/// An exchange under way: who says that he is that, and whether a checker waits for more.
#[derive(Default)]
struct Talk {
    name: Bytes,
    open: bool,
    failure: Option<Failure>,
}

impl<L: Link, S: Sink> Session<'_, L, S> {
    /// Whether AUTH is a word here.
    pub(super) fn knows_auth(&self) -> bool {
        self.settings.login.state != State::Unknown
    }

    /// Whether it can lead to something now.
    pub(super) fn has_auth(&self) -> bool {
        self.settings.login.is_open(self.cover.is_some())
    }

    /// The list of mechanisms for EHLO.
    pub(super) fn offered_auth(&self) -> Option<String> {
        let bound = self.binding().is_some();
        self.settings.login.offer(self.cover.is_some(), bound)
    }

    /// What SCRAM can be bound to.
    fn binding(&self) -> Option<&[u8]> {
        self.cover.as_ref()?.binding.as_deref()
    }

    /// Whether the client logged in and `sender` is somebody else's.
    pub(super) fn is_foreign(&self, sender: &[u8]) -> bool {
        match (&self.settings.senders, &self.login) {
            (Some(senders), Some(login)) => !senders.allows(&login.name, sender),
            _ => false,
        }
    }

    pub(super) fn auth(&mut self, argument: &[u8]) -> Result<(), End> {
        let rules = &self.settings.login;
        let tls = self.cover.is_some();
        if rules.state != State::On {
            return self.answer(&reply::NO_AUTH);
        }
        if self.login.is_some() {
            return self.answer(&reply::AUTH_TWICE);
        }
        if self.envelope.open().is_some() {
            return self.answer(&reply::AUTH_IN_TRANSACTION);
        }
        if let Some(reply) = self.unready() {
            return self.answer(&reply);
        }
        if rules.max_failures > 0 && self.failures >= rules.max_failures {
            return close(reply::TOO_MANY_LOGINS);
        }
        let command::Command {
            verb: name,
            argument: initial,
        } = command::split(argument);
        let Some(mechanism) = rules.find(name, self.binding().is_some()) else {
            return self.answer(&reply::AUTH_UNKNOWN);
        };
        if !rules.allows(mechanism, tls) {
            return self.answer(&reply::AUTH_IN_CLEAR);
        }
        self.exchange(mechanism, initial)
    }

    fn exchange(&mut self, mechanism: Mechanism, initial: &[u8]) -> Result<(), End> {
        let begun = self.channel.link().elapsed();
        let mut talk = Talk::default();
        let reply = match self.dialogue(mechanism, initial, &mut talk) {
            Ok(reply) => reply,
            Err(end) => {
                self.give_up(&mut talk);
                return Err(end);
            }
        };
        self.give_up(&mut talk);
        if reply.code == reply::AUTH_OK.code {
            self.login = Some(Login {
                name: talk.name.clone(),
                mechanism,
            });
        } else if talk.failure.is_some() {
            self.failures = self.failures.saturating_add(1);
        }
        if let Some(failure) = talk.failure {
            self.channel.link().pause(failure.delay);
        }
        self.record_login(&talk.name, mechanism, &reply, talk.failure, begun);
        self.answer(&reply)
    }

    /// A checker in the middle of a conversation is not left alone.
    fn give_up(&mut self, talk: &mut Talk) {
        if std::mem::take(&mut talk.open) {
            let _ = self.gate.ask(&Question::GiveUp);
        }
    }

    /// The exchange up to the reply that ends it.
    fn dialogue(
        &mut self,
        mechanism: Mechanism,
        initial: &[u8],
        talk: &mut Talk,
    ) -> Result<Reply, End> {
        let Ok(setup) = self.setup(mechanism) else {
            return Ok(reply::AUTH_TROUBLE);
        };
        let initial = match initial {
            b"" => None,
            word => match encoding::initial(word) {
                Response::Bytes(bytes) => Some(bytes),
                Response::Cancel => return Ok(reply::AUTH_CANCELLED),
                Response::Malformed => return Ok(reply::AUTH_MALFORMED),
            },
        };
        let (mut exchange, mut step) = Exchange::begin(mechanism, setup, initial.as_deref());
        loop {
            step = match step {
                Step::Challenge(text) => match self.respond(&text)? {
                    Ok(response) => exchange.step(&response),
                    Err(reply) => return Ok(reply),
                },
                Step::Malformed => return Ok(reply::AUTH_MALFORMED),
                Step::Refused => return Ok(reply::AUTH_FAILED),
                asked => match self.check(asked, &mut exchange, talk) {
                    Ok(step) => step,
                    Err(reply) => return Ok(reply),
                },
            };
        }
    }

    /// What the exchange must know; the challenge is never the same.
    fn setup(&self, mechanism: Mechanism) -> std::io::Result<Setup> {
        let mut setup = Setup::default();
        match mechanism {
            Mechanism::CramMd5 => setup.challenge = auth::sasl::stamp(&self.settings.login.host)?,
            Mechanism::Scram(..) => {
                setup.nonce = auth::sasl::nonce()?;
                setup.binding = self.binding().map(|data| Binding {
                    kind: b"tls-exporter".to_vec(),
                    data: data.to_vec(),
                });
            }
            _ => {}
        }
        Ok(setup)
    }

    /// Asks the checker what a step wants to know.
    fn check(
        &mut self,
        step: Step,
        exchange: &mut Exchange,
        talk: &mut Talk,
    ) -> Result<Step, Reply> {
        let (question, last) = match step {
            Step::Ask(request) => {
                talk.name = request.name().to_vec();
                let last = !matches!(request, Request::Scram { .. });
                (Question::Ask(request), last)
            }
            Step::Prove { message, proof } => (Question::Prove { message, proof }, false),
            _ => (Question::Go, true),
        };
        talk.open = false;
        match self.gate.ask(&question) {
            // Before the end of a conversation a yes proves nothing.
            Answer::Verdict(Verdict::Accepted) if last => Err(reply::AUTH_OK),
            Answer::Verdict(Verdict::Accepted | Verdict::Temporary) => Err(reply::AUTH_TROUBLE),
            Answer::Verdict(Verdict::Refused) => Err(reply::AUTH_FAILED),
            Answer::Failed(failure) => {
                talk.failure = Some(failure);
                Err(if failure.unasked {
                    reply::AUTH_BARRED
                } else {
                    reply::AUTH_FAILED
                })
            }
            Answer::Salted(salted) => {
                talk.open = true;
                Ok(exchange.salted(&salted.salt, salted.rounds))
            }
            Answer::Signed(signature) => {
                talk.open = true;
                Ok(exchange.signed(&signature))
            }
        }
    }

    /// Sends a challenge and reads the response, or says what is wrong with it.
    fn respond(&mut self, challenge: &[u8]) -> Result<Result<Bytes, Reply>, End> {
        let text = [b"334 ", encoding::encode(challenge).as_slice(), b"\r\n"].concat();
        self.channel.put(&text)?;
        let mut line = Bytes::new();
        match self.channel.line(&mut line, AUTH_LINE_LIMIT)? {
            Input::Whole => {}
            Input::TooLong => return Ok(Err(reply::AUTH_TOO_LONG)),
            Input::Flood => return close(reply::FLOOD),
            Input::Alien => return close(reply::NOT_SMTP),
        }
        let unclean = match command::content(&line) {
            Ok(content) => {
                return Ok(match encoding::response(content) {
                    Response::Bytes(bytes) => Ok(bytes),
                    Response::Cancel => Err(reply::AUTH_CANCELLED),
                    Response::Malformed => Err(reply::AUTH_MALFORMED),
                });
            }
            Err(Unclean::BareLf) => reply::BARE_LF_COMMAND,
            Err(Unclean::BareCr) => reply::BARE_CR_COMMAND,
            Err(Unclean::Nul) => reply::NUL_COMMAND,
        };
        self.count(Weight::Half);
        Ok(Err(unclean))
    }

    /// Whether the client may write to anybody, and what is appended to recipients then.
    pub(super) fn relay(&self) -> Option<&[u8]> {
        match self.login {
            Some(_) => Some(b""),
            None => self.settings.relay.as_deref(),
        }
    }

    /// Who the client is: the name that it proved, else what its ident server says.
    pub(super) fn info(&self) -> Option<&[u8]> {
        let login = self.login.as_ref().map(|l| l.name.as_slice());
        login.or(self.settings.peer.remote_info.as_deref())
    }
}
