//! One exchange with a client, and the checker behind it: what a server's AUTH command needs.
//!
//! The server reads and writes lines; this decides what they are. It says so once, and then it is over:
//! `Event::End`.

use base::Bytes;

use crate::checker::{Checker, Running, Verdict};
use crate::encoding::{self, Response};
use crate::sasl::{Exchange, Mechanism, Request, Setup, Step};

/// What the server does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// sends this after `334 ` or `+ `, and gives the client's line to `line`
    Challenge(Bytes),
    /// nothing more: this is the result
    End(End),
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// the checker said so
    Verdict(Verdict),
    /// the client sent `*`
    Cancelled,
    /// the client's line has not the form of the mechanism
    Malformed,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Dialogue<'a> {
    checker: &'a Checker,
    exchange: Exchange,
    running: Option<Running>,
    name: Bytes,
}

const OVER: Event = Event::End(End::Malformed);

impl<'a> Dialogue<'a> {
    /// Begins. `initial` is the word after the name of the mechanism, as it came.
    ///
    /// Waits   here and in `line` for the checker, as long as it may take.
    pub fn begin(
        mechanism: Mechanism,
        setup: Setup,
        initial: Option<&[u8]>,
        checker: &'a Checker,
    ) -> (Dialogue<'a>, Event) {
        let response = initial.map(encoding::initial);
        let bytes = match &response {
            Some(Response::Bytes(bytes)) => Some(bytes.as_slice()),
            _ => None,
        };
        let (exchange, step) = Exchange::begin(mechanism, setup, bytes);
        let mut dialogue = Dialogue {
            checker,
            exchange,
            running: None,
            name: Bytes::new(),
        };
        let event = match response {
            Some(Response::Cancel) => Event::End(End::Cancelled),
            Some(Response::Malformed) => OVER,
            _ => dialogue.act(step),
        };
        (dialogue, event)
    }

    /// Goes on with a line of the client, without its line end.
    pub fn line(&mut self, line: &[u8]) -> Event {
        let step = match encoding::response(line) {
            Response::Bytes(bytes) => self.exchange.step(&bytes),
            Response::Cancel => return self.leave(End::Cancelled),
            Response::Malformed => Step::Malformed,
        };
        self.act(step)
    }

    /// The client is gone, or sent something too long: nothing more will come.
    pub fn abandon(&mut self) {
        self.leave(End::Cancelled);
    }

    /// Who says that he is that; empty as long as he has not said it.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    fn act(&mut self, step: Step) -> Event {
        match self.next(step) {
            Ok(Step::Challenge(text)) => Event::Challenge(encoding::encode(&text)),
            Ok(Step::Refused) => self.leave(End::Verdict(Verdict::Refused)),
            Ok(_) => self.leave(End::Malformed),
            Err(verdict) => self.leave(End::Verdict(verdict)),
        }
    }

    /// Does what a step asks for, until it is something for the client.
    fn next(&mut self, step: Step) -> Result<Step, Verdict> {
        match step {
            Step::Ask(request) => {
                self.name = request.name().to_vec();
                let running = self.checker.start(&request)?;
                if !matches!(request, Request::Scram { .. }) {
                    return Err(running.verdict());
                }
                let (running, salted) = running.salted()?;
                self.running = Some(running);
                Ok(self.exchange.salted(&salted.salt, salted.rounds))
            }
            Step::Prove { message, proof } => {
                let running = self.running.take().ok_or(Verdict::Temporary)?;
                let (running, signature) = running.prove(&message, &proof)?;
                self.running = Some(running);
                Ok(self.exchange.signed(&signature))
            }
            Step::Done => Err(self.running.take().map_or(Verdict::Temporary, Running::go)),
            other => Ok(other),
        }
    }

    fn leave(&mut self, end: End) -> Event {
        if let Some(running) = self.running.take() {
            running.kill();
        }
        Event::End(end)
    }
}

impl Drop for Dialogue<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[cfg(test)]
mod tests;
