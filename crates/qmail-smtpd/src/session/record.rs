//! What the log is told, and when.

use std::io;
use std::time::Duration;

use auth::Mechanism;

use super::login::method;
use super::{End, Session, close};
use crate::channel::{Gone, Link};
use crate::gate::Failure;
use crate::log::{Line, Outcome};
use crate::reply::{self, Reply};
use crate::sink::Sink;
use crate::smtpd::detail;
use crate::tls::Cover;
use crate::transaction::Transaction;

/// What became of an attempt.
pub(super) struct Fate {
    outcome: Outcome,
    reply: Option<Reply>,
    reason: &'static str,
}

impl Fate {
    /// The client got this reply.
    pub(super) fn told(reply: &Reply) -> Fate {
        Fate {
            outcome: Outcome::of(reply),
            reason: reply.reason,
            reply: Some(reply.clone()),
        }
    }

    /// The session ended in the middle of it.
    pub(super) fn ended(end: &End) -> Fate {
        let (outcome, reason) = match (end, last_word(end)) {
            (_, Some(reply)) => return Fate::told(&reply),
            (End::Quit, None) => (Outcome::Nothing, "quit"),
            (End::Gone(Gone::Tls), _) => (Outcome::Lost, "tls"),
            _ => (Outcome::Lost, "disconnect"),
        };
        Fate {
            outcome,
            reply: None,
            reason,
        }
    }
}

/// What the client is told at the end, unless it left by itself.
fn last_word(end: &End) -> Option<Reply> {
    match end {
        End::Quit | End::Gone(Gone::Disconnect | Gone::Tls) => None,
        End::Gone(Gone::Idle) => Some(reply::TIMEOUT),
        End::Gone(Gone::Total) => Some(reply::TOO_OLD),
        End::Closed(reply) => Some(reply.as_ref().clone()),
    }
}

impl<L: Link, S: Sink> Session<'_, L, S> {
    /// Ends the transaction. What was refused without a message to tell of it is told now.
    pub(super) fn reset(&mut self) {
        let Some(transaction) = self.envelope.reset() else {
            return;
        };
        if let Some(refusal) = &transaction.refusal {
            self.record(&transaction, 0, &Fate::told(refusal), None);
        }
    }

    /// Ends the session because of our own trouble, with a word to the log.
    pub(super) fn trouble<T>(
        &mut self,
        reply: Reply,
        what: &str,
        error: &io::Error,
    ) -> Result<T, End> {
        let line = self
            .line()
            .outcome(Outcome::Deferred, Some(&reply), reply.reason)
            .value("detail", Some(&detail(what, error)));
        self.write_line(line);
        close(reply)
    }

    /// The words that every line of the log begins with.
    fn line(&self) -> Line {
        let peer = &self.settings.peer;
        Line::new(self.settings.pid)
            .value("ip", Some(peer.ip()))
            .value("host", peer.remote_host.as_deref())
            .value("info", peer.remote_info.as_deref())
            .value("helo", self.helo.as_deref())
            .value("tls", self.cover.as_ref().map(Cover::name))
            .value("auth", self.login.as_ref().map(|l| l.name.as_slice()))
    }

    fn write_line(&mut self, line: Line) {
        self.logged = true;
        (self.log)(&line.end());
    }

    /// Tells of one transaction. `id` is what the queue program is known by.
    pub(super) fn record(
        &mut self,
        transaction: &Transaction,
        bytes: u64,
        fate: &Fate,
        id: Option<u32>,
    ) {
        let asked = !transaction.recipients.is_empty() || transaction.refused > 0;
        let now = self.channel.link().elapsed();
        let id = id.map(|n| n.to_string());
        let line = self
            .line()
            .address("from", Some(&transaction.sender))
            .address("to", asked.then_some(transaction.example.as_slice()))
            .number("rcpt", transaction.recipients.len() as u64)
            .number("refused", transaction.refused)
            .number("bytes", bytes)
            .outcome(fate.outcome, fate.reply.as_ref(), fate.reason)
            .value("qp", id.as_deref().map(str::as_bytes))
            .time("time", now.saturating_sub(transaction.begun));
        self.write_line(line);
    }

    /// Tells of one AUTH. A name may be anything; a password is never here.
    pub(super) fn record_login(
        &mut self,
        name: &[u8],
        mechanism: Mechanism,
        reply: &Reply,
        failure: Option<Failure>,
        begun: Duration,
    ) {
        let now = self.channel.link().elapsed();
        let line = self
            .line()
            .value("login", Some(name))
            .value("method", Some(method(mechanism).as_bytes()))
            .outcome(Outcome::of(reply), Some(reply), reply.reason);
        let line = match failure {
            Some(failure) => line
                .number("netfails", failure.network.into())
                .number("accountfails", failure.account.into()),
            None => line,
        };
        self.write_line(line.time("time", now.saturating_sub(begun)));
    }

    /// Says the last word, and tells the log what it does not know yet.
    pub(super) fn leave(mut self, end: End) -> End {
        if let Some(transaction) = self.envelope.reset() {
            let fate = transaction
                .refusal
                .as_ref()
                .map_or_else(|| Fate::ended(&end), Fate::told);
            self.record(&transaction, 0, &fate, None);
        }
        if end == End::Quit {
            let greeting = self.settings.greeting.as_slice();
            let _ = self
                .channel
                .put(&[b"221 2.0.0 ", greeting, b"\r\n"].concat());
        } else if let Some(reply) = last_word(&end) {
            let _ = self.channel.put(&reply.line());
        }
        self.channel.farewell();
        if !self.logged {
            self.tell_of_nothing(&end);
        }
        end
    }

    /// A session without any transaction: what it ended with, else the last error.
    fn tell_of_nothing(&mut self, end: &End) {
        let told = last_word(end).or_else(|| self.last.take());
        let fate = match &told {
            Some(reply) => Fate::told(reply),
            None => Fate {
                outcome: Outcome::Nothing,
                ..Fate::ended(end)
            },
        };
        let line = self
            .line()
            .outcome(fate.outcome, fate.reply.as_ref(), fate.reason)
            .time("time", self.channel.link().elapsed());
        self.write_line(line);
    }
}
