//! One SMTP session: a function of the bytes that come in.
//!
//! Every path that ends a transaction goes through `Envelope::reset`; MAIL, HELO, EHLO, RSET and DATA do it first,
//! whatever becomes of them.
//!
//! Source  RFC 5321; qmail-smtpd(8)

mod admit;
mod login;
mod record;
mod secure;

use std::convert::Infallible;

use base::Bytes;
use mail::received::Received;
use wire::command::{self, Command, Unclean};

use crate::address::{self, Fault, Form, Mailbox};
use crate::channel::{Channel, Gone, Line as Input, Link};
use crate::data::{self, Stop};
use crate::gate::Gate;
use crate::judge::Judge;
use crate::parameters;
use crate::reply::{self, Reply};
use crate::settings::Settings;
use crate::sink::{Message, Sink};
use crate::tls::{Cover, Offer};
use crate::transaction::{Envelope, Transaction};
use login::{AUTH_LINE_LIMIT, Login};
use record::Fate;

/// Bytes of a command line, with its end. RFC 5321 4.5.3.1.4 asks for 512 and more for parameters.
pub const LINE_LIMIT: usize = 2_048;
/// An address must be shorter than this, bytes, as in the original.
pub const ADDRESS_LIMIT: usize = 900;
/// Bytes of all recipients of a message: what this process is willing to remember.
pub const RECIPIENTS_LIMIT: usize = 256 * 1024;

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// with QUIT
    Quit,
    /// without
    Gone(Gone),
    /// by us, with this last reply
    Closed(Box<Reply>),
}

impl From<Gone> for End {
    fn from(gone: Gone) -> End {
        End::Gone(gone)
    }
}

/// Verbs of other protocols that are sent to port 25 by tricked browsers and lost clients.
const ALIEN_VERBS: [&str; 10] = [
    "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI",
];

/// How much an error counts against the session's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Single,
    /// bytes that no honest client sends: the second time is the last
    Half,
}

struct Session<'a, L, S> {
    channel: Channel<L>,
    settings: &'a Settings,
    judge: &'a mut dyn Judge,
    gate: &'a mut dyn Gate,
    sink: S,
    log: &'a mut dyn FnMut(&[u8]),
    login: Option<Login>,
    /// how often a name and a password did not belong together
    failures: u64,
    helo: Option<Bytes>,
    cover: Option<Cover>,
    /// whether a name must come before anything else: what was said in clear counts no more
    anew: bool,
    /// whether any command has made sense
    speaks: bool,
    envelope: Envelope,
    errors: u64,
    last: Option<Reply>,
    logged: bool,
}

/// Serves one client to the end. `log` gets whole lines.
pub fn session<L: Link, S: Sink>(
    link: L,
    settings: &Settings,
    judge: &mut dyn Judge,
    gate: &mut dyn Gate,
    sink: S,
    log: &mut dyn FnMut(&[u8]),
) -> End {
    let mut session = Session {
        channel: Channel::new(link, settings.idle, settings.total),
        settings,
        judge,
        gate,
        sink,
        log,
        login: None,
        failures: 0,
        helo: None,
        cover: settings.tls.cover.clone(),
        anew: false,
        speaks: false,
        envelope: Envelope::default(),
        errors: 0,
        last: None,
        logged: false,
    };
    let Err(end) = session.serve();
    session.leave(end)
}

impl<L: Link, S: Sink> Session<'_, L, S> {
    fn serve(&mut self) -> Result<Infallible, End> {
        let greeting = [b"220 ", self.settings.greeting.as_slice(), b" ESMTP\r\n"].concat();
        self.channel.put(&greeting)?;
        let mut line = Bytes::new();
        loop {
            let input = self.channel.line(&mut line, self.line_limit())?;
            self.take(input, &line)?;
            let limit = self.settings.max_errors;
            if limit > 0 && self.errors >= limit {
                return close(reply::TOO_MANY_ERRORS);
            }
        }
    }

    /// AUTH may be longer than all others, where there is AUTH.
    fn line_limit(&self) -> usize {
        if self.knows_auth() {
            AUTH_LINE_LIMIT
        } else {
            LINE_LIMIT
        }
    }

    fn take(&mut self, input: Input, line: &[u8]) -> Result<(), End> {
        match input {
            Input::Whole => {}
            Input::TooLong => return self.answer(&reply::LINE_TOO_LONG),
            Input::Flood => return close(reply::FLOOD),
            Input::Alien => return close(reply::NOT_SMTP),
        }
        match command::content(line) {
            Ok(content) => {
                let command = command::split(content);
                if line.len() > LINE_LIMIT && !command.is("AUTH") {
                    return self.answer(&reply::LINE_TOO_LONG);
                }
                self.obey(command)
            }
            Err(Unclean::BareLf) => self.complain(&reply::BARE_LF_COMMAND, Weight::Half),
            Err(Unclean::BareCr) => self.complain(&reply::BARE_CR_COMMAND, Weight::Half),
            Err(Unclean::Nul) => self.complain(&reply::NUL_COMMAND, Weight::Half),
        }
    }

    fn obey(&mut self, command: Command<'_>) -> Result<(), End> {
        let argument = command.argument;
        let verb = command.verb.to_ascii_uppercase();
        match verb.as_slice() {
            b"RCPT" => {
                let reply = self.rcpt(argument)?;
                self.answer(&reply)
            }
            b"MAIL" => {
                let reply = self.mail(argument)?;
                self.answer(&reply)
            }
            b"DATA" => self.data(),
            b"HELO" => self.helo(argument, b"250 ", &[]),
            b"EHLO" => {
                let offers = self.offers();
                self.helo(argument, b"250-", &offers)
            }
            b"AUTH" if self.knows_auth() => self.auth(argument),
            b"STARTTLS" if self.knows_tls() => self.start_tls(argument),
            b"RSET" => {
                self.reset();
                self.answer(&reply::FLUSHED)
            }
            b"NOOP" => self.answer(&reply::NOOP),
            b"VRFY" => self.answer(&reply::VRFY),
            b"HELP" => self.answer(&reply::HELP),
            b"QUIT" => Err(End::Quit),
            _ if is_alien(&verb, self.speaks) => close(reply::NOT_SMTP),
            _ => self.answer(&reply::UNIMPLEMENTED),
        }
    }

    /// Sends a reply and counts it if it is an error.
    fn answer(&mut self, reply: &Reply) -> Result<(), End> {
        self.complain(reply, Weight::Single)
    }

    fn complain(&mut self, reply: &Reply, weight: Weight) -> Result<(), End> {
        if reply.code < 400 {
            self.speaks = true;
        } else {
            self.last = Some(reply.clone());
        }
        if reply.code >= 500 {
            self.count(weight);
        }
        Ok(self.channel.put(&reply.line())?)
    }

    fn count(&mut self, weight: Weight) {
        self.errors = self.errors.saturating_add(match weight {
            Weight::Single => 1,
            Weight::Half => self.settings.max_errors.div_ceil(2).max(1),
        });
    }

    /// What EHLO tells.
    fn offers(&self) -> Vec<String> {
        let mut offers = Vec::new();
        if let Some(list) = self.offered_auth() {
            // Some old clients understand the second form only.
            offers.push(format!("AUTH {list}"));
            offers.push(format!("AUTH={list}"));
        }
        if self.offers_tls() {
            offers.push("STARTTLS".to_owned());
        }
        offers.push("PIPELINING".to_owned());
        offers.push("8BITMIME".to_owned());
        offers.push(format!("SIZE {}", self.settings.data.databytes));
        offers.push("ENHANCEDSTATUSCODES".to_owned());
        offers
    }

    fn helo(&mut self, name: &[u8], code: &[u8], offers: &[String]) -> Result<(), End> {
        self.reset();
        self.speaks = true;
        self.anew = false;
        self.helo = Some(name.to_vec());
        let mut text = [code, self.settings.greeting.as_slice(), b"\r\n"].concat();
        for (index, offer) in offers.iter().enumerate() {
            let last = index + 1 == offers.len();
            let line = format!("250{}{offer}\r\n", if last { ' ' } else { '-' });
            text.extend_from_slice(line.as_bytes());
        }
        Ok(self.channel.put(&text)?)
    }

    fn form(&self, keyword: &'static str) -> Form {
        Form {
            keyword,
            spaces: self.settings.spaces,
        }
    }

    /// Replaces a literal of ours by our name. `true`: it was one.
    fn replace(&mut self, mailbox: &mut Mailbox) -> Result<bool, End> {
        let trusted = self.relay().is_some();
        match self.settings.own.replace(mailbox, trusted) {
            Ok(replaced) => Ok(replaced),
            Err(error) => self.trouble(reply::NO_ADDRESSES, "interfaces", &error),
        }
    }

    fn mail(&mut self, argument: &[u8]) -> Result<Reply, End> {
        self.reset();
        if let Some(reply) = self.unready() {
            return Ok(reply);
        }
        if self.settings.login.required && self.login.is_none() {
            return Ok(reply::WANT_AUTH);
        }
        let path = match address::parse(argument, self.form("FROM")) {
            Ok(path) => path,
            Err(Fault::Syntax) => return Ok(reply::SENDER_SYNTAX),
            Err(Fault::NonAscii) => return Ok(reply::SENDER_NON_ASCII),
        };
        let databytes = self.settings.data.databytes;
        if let Err(reply) = parameters::mail(path.parameters, databytes, self.has_auth()) {
            return Ok(reply);
        }
        let sender = match path.mailbox {
            None => Bytes::new(),
            Some(mut mailbox) => {
                if is_deceptive(&mailbox) {
                    return Ok(reply::SENDER_SYNTAX);
                }
                self.replace(&mut mailbox)?;
                mailbox.bytes()
            }
        };
        if sender.len() >= ADDRESS_LIMIT {
            return Ok(reply::ADDRESS_TOO_LONG);
        }
        if self.is_foreign(&sender) {
            return Ok(reply::NOT_YOUR_SENDER);
        }
        let barred = self.settings.bad_senders.has_sender(&sender);
        let now = self.channel.link().elapsed();
        self.envelope.begin(Transaction::new(sender, barred, now));
        Ok(reply::SENDER_OK)
    }

    fn rcpt(&mut self, argument: &[u8]) -> Result<Reply, End> {
        if self.envelope.open().is_none() {
            return Ok(reply::WANT_MAIL);
        }
        let path = match address::parse(argument, self.form("TO")) {
            Ok(path) => path,
            Err(Fault::Syntax) => return Ok(self.refuse(argument, reply::RECIPIENT_SYNTAX)),
            Err(Fault::NonAscii) => return Ok(self.refuse(argument, reply::RECIPIENT_NON_ASCII)),
        };
        let Some(mut mailbox) = path.mailbox else {
            return Ok(self.refuse(b"", reply::RECIPIENT_SYNTAX));
        };
        if let Err(reply) = parameters::rcpt(path.parameters) {
            return Ok(self.refuse(&mailbox.bytes(), reply));
        }
        let own = self.replace(&mut mailbox)?;
        let address = mailbox.bytes();
        if address.len() >= ADDRESS_LIMIT {
            return Ok(self.refuse(&address, reply::ADDRESS_TOO_LONG));
        }
        let address = match self.admit(&mailbox, own)? {
            Ok(admitted) => admitted,
            Err(reply) => return Ok(self.refuse(&address, reply)),
        };
        if let Some(transaction) = self.envelope.open() {
            transaction.accept(address);
        }
        Ok(reply::RECIPIENT_OK)
    }

    fn refuse(&mut self, address: &[u8], reply: Reply) -> Reply {
        if let Some(transaction) = self.envelope.open() {
            transaction.refuse(address, &reply);
        }
        reply
    }

    fn data(&mut self) -> Result<(), End> {
        let Some(open) = self.envelope.open() else {
            return self.answer(&reply::WANT_MAIL);
        };
        if open.recipients.is_empty() {
            return self.answer(&reply::WANT_RCPT);
        }
        let Some(transaction) = self.envelope.reset() else {
            return self.answer(&reply::WANT_MAIL);
        };
        let Ok(mut message) = self.sink.open(&self.changes()) else {
            return self.conclude(&transaction, 0, &reply::QQT, None);
        };
        self.channel.put(b"354 go ahead\r\n")?;
        message.write(&self.received());
        self.text(&transaction, message)
    }

    fn text(&mut self, transaction: &Transaction, message: S::Message) -> Result<(), End> {
        let mut bytes = 0;
        let rules = self.settings.data;
        let body = match data::receive(&mut self.channel, rules, message, &mut bytes) {
            Ok(body) => body,
            Err(stop) => return self.cut(transaction, bytes, stop),
        };
        match body.message {
            Ok(mut message) => {
                let outcome = message.finish(&transaction.sender, &transaction.recipients);
                let id = message.id();
                let unix = self.channel.link().unix();
                let reply =
                    Reply::refused_by_queue(&outcome).unwrap_or_else(|| Reply::accepted(unix, id));
                self.conclude(transaction, bytes, &reply, Some(id))
            }
            Err(fault) => {
                let reply = fault.reply();
                if fault.is_ambiguous() {
                    self.record(transaction, bytes, &Fate::told(&reply), None);
                    return close(reply);
                }
                self.conclude(transaction, bytes, &reply, None)
            }
        }
    }

    /// The end of a message never came.
    fn cut(&mut self, transaction: &Transaction, bytes: u64, stop: Stop) -> Result<(), End> {
        let end = match stop {
            Stop::BareLf => End::from(reply::BARE_LF),
            Stop::Stalled => End::from(reply::STALLED),
            Stop::Gone(gone) => End::Gone(gone),
        };
        self.record(transaction, bytes, &Fate::ended(&end), None);
        Err(end)
    }

    /// Answers a message and tells the log.
    fn conclude(
        &mut self,
        transaction: &Transaction,
        bytes: u64,
        reply: &Reply,
        id: Option<u32>,
    ) -> Result<(), End> {
        self.record(transaction, bytes, &Fate::told(reply), id);
        self.answer(reply)
    }

    fn received(&self) -> Bytes {
        let peer = &self.settings.peer;
        // A client that calls itself what we call it gets no remark.
        let helo = self
            .helo
            .as_deref()
            .filter(|name| !name.eq_ignore_ascii_case(peer.host()));
        Received {
            host: peer.host(),
            helo,
            info: self.info(),
            ip: peer.ip(),
            local: peer.local(),
            protocol: &self.protocol(),
        }
        .line(self.channel.link().unix())
    }
}

fn close<T>(reply: Reply) -> Result<T, End> {
    Err(reply.into())
}

/// Whether the `@` inside a local part would be taken for the one before a domain.
fn is_deceptive(mailbox: &Mailbox) -> bool {
    mailbox.domain.is_none() && mailbox.local.contains(&b'@')
}

/// Whether a verb is one of another protocol. Header lines count as such unless the client `speaks` SMTP: it may send
/// a message after a refused DATA.
fn is_alien(verb: &[u8], speaks: bool) -> bool {
    verb.starts_with(b"SSH-")
        || (verb.ends_with(b":") && !speaks)
        || ALIEN_VERBS.iter().any(|w| verb == w.as_bytes())
}

#[cfg(test)]
mod tests;
