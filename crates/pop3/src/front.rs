//! The conversation with a client that nobody knows yet: a function of the bytes that come in.
//!
//! It ends with a wish: to be asked for, to have TLS, or to leave. Who knows passwords is elsewhere (`Back`), so that this
//! part, which hears strangers, can be a process that may do nothing but hear and speak.
//!
//! Source  RFC 1939, RFC 2449, RFC 2595, RFC 5034, RFC 6856; qmail-popup(8)

use auth::Mechanism;
use auth::encoding::{self, Response};
use auth::sasl::{Exchange, Request, Setup, Step, nonce, stamp};
use base::Bytes;

use crate::client::{Client, Gone, Line, Link, split};
use crate::rules::Rules;

/// Errors of a client before we hang up.
pub const ERRORS_LIMIT: u32 = 20;
/// Commands of a client that has not logged in yet.
pub const COMMANDS_LIMIT: u32 = 200;

/// Verbs of other protocols, sent here by tricked browsers and lost clients.
const ALIEN_VERBS: [&[u8]; 12] = [
    b"get", b"post", b"put", b"head", b"delete", b"options", b"connect", b"trace", b"patch",
    b"pri", b"ehlo", b"helo",
];

const ALIEN: &str = "this is POP3";
const SYNTAX: &str = "syntax error";
const FIRST: &str = "authorization first";
const TLS_FIRST: &str = "STLS first";
const NOT_IN_CLEAR: &str = "no password without TLS here";

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// the client has left, or must leave
    Leave,
    /// it has heard that TLS may begin
    Tls,
    /// this shall be asked of the checker, which then serves the client
    Ask(Method, Request),
    /// the checker that knows about the proof shall go on and serve the client
    Go,
}

/// How the client says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// USER and PASS
    Pass,
    /// APOP
    Apop,
    /// AUTH
    Sasl(Mechanism),
}

impl Method {
    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Method::Pass => "PASS",
            Method::Apop => "APOP",
            Method::Sasl(mechanism) => mechanism.name(),
        }
    }
}

/// Who knows passwords: the middle of an exchange with SCRAM.
pub trait Back {
    /// Salt and rounds of a name. `None`: it is over, and whoever is behind tells the client.
    fn salted(&mut self, mechanism: Mechanism, request: &Request) -> Option<(Bytes, u32)>;
    /// The signature for a proof that is right. `None`: as above.
    fn prove(&mut self, message: &[u8], proof: &[u8]) -> Option<Bytes>;
    /// The client gave up.
    fn cancel(&mut self);
}

struct Front<'a, L, B> {
    client: &'a mut Client<L>,
    rules: &'a Rules,
    back: &'a mut B,
    user: Option<Bytes>,
    errors: u32,
    /// a command has made sense
    speaks: bool,
}

/// Talks to a client until it has a wish. All replies have been sent then. `greet`: the connection begins.
pub fn front<L: Link, B: Back>(
    client: &mut Client<L>,
    rules: &Rules,
    back: &mut B,
    greet: bool,
) -> Wish {
    let mut front = Front {
        client,
        rules,
        back,
        user: None,
        errors: 0,
        speaks: false,
    };
    let wish = front.talk(greet).unwrap_or(Wish::Leave);
    match front.client.flush() {
        Ok(()) => wish,
        Err(Gone) => Wish::Leave,
    }
}

impl<L: Link, B: Back> Front<'_, L, B> {
    fn talk(&mut self, greet: bool) -> Result<Wish, Gone> {
        if greet {
            self.client
                .put(&[b"+OK ", self.rules.stamp.as_slice(), b"\r\n"].concat())?;
            self.client.beware();
        }
        let mut line = Bytes::new();
        for _ in 0..COMMANDS_LIMIT {
            let wish = match self.client.line(&mut line)? {
                Line::Whole => self.obey(&line)?,
                Line::TooLong => self.no("line too long")?,
                Line::Flood => {
                    self.client.err("line too long")?;
                    Some(Wish::Leave)
                }
                Line::Alien => {
                    self.client.err(ALIEN)?;
                    Some(Wish::Leave)
                }
            };
            line.fill(0);
            if let Some(wish) = wish {
                return Ok(wish);
            }
            if self.errors >= ERRORS_LIMIT {
                break;
            }
        }
        self.client.err("too many errors")?;
        Ok(Wish::Leave)
    }

    fn ok(&mut self) -> Result<Option<Wish>, Gone> {
        self.speaks = true;
        self.client.ok("")?;
        Ok(None)
    }

    fn no(&mut self, text: &str) -> Result<Option<Wish>, Gone> {
        self.errors += 1;
        self.client.err(text)?;
        Ok(None)
    }

    fn obey(&mut self, line: &[u8]) -> Result<Option<Wish>, Gone> {
        let (verb, argument) = split(line);
        match verb.as_slice() {
            b"quit" => {
                self.client.ok("")?;
                return Ok(Some(Wish::Leave));
            }
            b"noop" | b"utf8" => return self.ok(),
            b"capa" => return self.capa(),
            b"stls" if self.rules.offered || self.rules.tls => return self.stls(argument),
            _ if self.is_alien(&verb) => {
                self.client.err(ALIEN)?;
                return Ok(Some(Wish::Leave));
            }
            _ => {}
        }
        if !self.rules.is_open() {
            return self.no(TLS_FIRST);
        }
        match verb.as_slice() {
            b"user" | b"pass" if !self.rules.passwords => self.no(FIRST),
            b"user" | b"pass" if !self.rules.allows_passwords() => self.no(NOT_IN_CLEAR),
            b"user" => self.user(argument),
            b"pass" => self.pass(argument),
            b"apop" => self.apop(argument),
            b"auth" => self.auth(argument),
            _ => self.no(FIRST),
        }
    }

    /// Whether this is the first word of another protocol.
    fn is_alien(&self, verb: &[u8]) -> bool {
        !self.speaks && (ALIEN_VERBS.contains(&verb) || verb.starts_with(b"ssh-"))
    }

    fn capa(&mut self) -> Result<Option<Wish>, Gone> {
        self.ok()?;
        let mut words: Vec<String> = vec!["TOP".into(), "UIDL".into()];
        if self.rules.passwords && self.rules.allows_passwords() {
            words.push("USER".into());
        }
        let offer = self.rules.offer();
        if !offer.is_empty() {
            words.push(format!("SASL {}", offer.join(" ")));
        }
        if self.rules.offered && !self.rules.tls {
            words.push("STLS".into());
        }
        let rest = ["RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8", "."];
        for word in words.iter().map(String::as_str).chain(rest) {
            self.client.put([word, "\r\n"].concat().as_bytes())?;
        }
        Ok(None)
    }

    fn stls(&mut self, argument: &[u8]) -> Result<Option<Wish>, Gone> {
        if !argument.is_empty() {
            return self.no(SYNTAX);
        }
        if self.rules.tls {
            return self.no("TLS is on");
        }
        self.client.ok("begin TLS")?;
        Ok(Some(Wish::Tls))
    }

    fn user(&mut self, argument: &[u8]) -> Result<Option<Wish>, Gone> {
        if argument.is_empty() {
            return self.no(SYNTAX);
        }
        self.user = Some(argument.to_vec());
        self.ok()
    }

    /// The checker gets the stamp too, as ever.
    fn pass(&mut self, argument: &[u8]) -> Result<Option<Wish>, Gone> {
        let Some(name) = self.user.clone() else {
            return self.no("USER first");
        };
        if argument.is_empty() {
            return self.no(SYNTAX);
        }
        let request = Request::Response {
            name,
            challenge: self.rules.stamp.clone(),
            response: argument.to_vec(),
        };
        Ok(Some(Wish::Ask(Method::Pass, request)))
    }

    fn apop(&mut self, argument: &[u8]) -> Result<Option<Wish>, Gone> {
        let Some((name, digest)) = base::bytes::split_once(argument, b' ') else {
            return self.no(SYNTAX);
        };
        let request = Request::Response {
            name: name.to_vec(),
            challenge: self.rules.stamp.clone(),
            response: digest.to_vec(),
        };
        Ok(Some(Wish::Ask(Method::Apop, request)))
    }

    fn auth(&mut self, argument: &[u8]) -> Result<Option<Wish>, Gone> {
        if argument.is_empty() {
            // A list, as clients ask for it that are older than CAPA.
            self.ok()?;
            for name in self.rules.offer() {
                self.client.put([name, "\r\n"].concat().as_bytes())?;
            }
            self.client.put(b".\r\n")?;
            return Ok(None);
        }
        let (name, initial) = match base::bytes::split_once(argument, b' ') {
            Some((name, initial)) => (name, Some(initial)),
            None => (argument, None),
        };
        let mechanism = Mechanism::parse(name).filter(|m| self.rules.mechanisms.contains(m));
        let Some(mechanism) = mechanism else {
            return self.no("no such mechanism");
        };
        if !self.rules.allows(mechanism) {
            return self.no(NOT_IN_CLEAR);
        }
        let random = stamp(&self.rules.host).and_then(|s| Ok((s, nonce()?)));
        let Ok((challenge, nonce)) = random else {
            self.client.err("[SYS/TEMP] no random numbers")?;
            return Ok(Some(Wish::Leave));
        };
        let setup = Setup {
            challenge,
            nonce,
            binding: None,
        };
        self.exchange(mechanism, setup, initial)
    }

    /// One exchange, up to its end.
    fn exchange(
        &mut self,
        mechanism: Mechanism,
        setup: Setup,
        initial: Option<&[u8]>,
    ) -> Result<Option<Wish>, Gone> {
        let first = match initial.map(encoding::initial) {
            None => None,
            Some(Response::Bytes(bytes)) => Some(bytes),
            Some(Response::Cancel) => return self.no("cancelled"),
            Some(Response::Malformed) => return self.no(SYNTAX),
        };
        let (mut exchange, mut step) = Exchange::begin(mechanism, setup, first.as_deref());
        loop {
            step = match step {
                Step::Challenge(text) => match self.answer(&text)? {
                    Response::Bytes(bytes) => exchange.step(&bytes),
                    Response::Cancel => return self.give_up("cancelled"),
                    Response::Malformed => return self.give_up(SYNTAX),
                },
                Step::Ask(request) if matches!(request, Request::Scram { .. }) => {
                    self.client.flush()?;
                    match self.back.salted(mechanism, &request) {
                        Some((salt, rounds)) => exchange.salted(&salt, rounds),
                        None => return Ok(Some(Wish::Leave)),
                    }
                }
                Step::Ask(request) => {
                    return Ok(Some(Wish::Ask(Method::Sasl(mechanism), request)));
                }
                Step::Prove { message, proof } => match self.back.prove(&message, &proof) {
                    Some(signature) => exchange.signed(&signature),
                    None => return Ok(Some(Wish::Leave)),
                },
                Step::Done => return Ok(Some(Wish::Go)),
                Step::Refused => return self.give_up("[AUTH] authorization failed"),
                Step::Malformed => return self.give_up(SYNTAX),
            }
        }
    }

    fn give_up(&mut self, text: &str) -> Result<Option<Wish>, Gone> {
        self.back.cancel();
        self.no(text)
    }

    /// Sends a challenge and reads the response.
    fn answer(&mut self, challenge: &[u8]) -> Result<Response, Gone> {
        let text = encoding::encode(challenge);
        self.client
            .put(&[b"+ ", text.as_slice(), b"\r\n"].concat())?;
        let mut line = Bytes::new();
        match self.client.line(&mut line)? {
            Line::Whole => Ok(encoding::response(&line)),
            Line::TooLong => Ok(Response::Malformed),
            Line::Flood | Line::Alien => Err(Gone),
        }
    }
}

#[cfg(test)]
mod tests;
