//! The server's side of the mechanisms, as a function of bytes: what comes is the decoded response, what goes is the
//! challenge before encoding. Nothing is looked up here; the caller asks somebody who knows, or lets `dialogue` do it.
//!
//! Source  RFC 4616 PLAIN, RFC 2195 CRAM-MD5, RFC 5802 and 7677 SCRAM; LOGIN and XOAUTH2 are known by their users only

mod scram;

use std::io;

use base::Bytes;
use base::bytes::rsplit_once;

use crate::digest::Hash;
use crate::encoding::hex;

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// name and password in one response
    Plain,
    /// name and password in two
    Login,
    /// HMAC-MD5 of our challenge
    CramMd5,
    /// a token of somebody else's login service; the checker must know what to do with it
    Xoauth2,
    /// SCRAM
    Scram(Hash, Bound),
}

/// Whether SCRAM is bound to the TLS session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// no
    Free,
    /// yes: the -PLUS form
    ToTls,
}

const NAMES: [(&str, Mechanism); 8] = [
    ("PLAIN", Mechanism::Plain),
    ("LOGIN", Mechanism::Login),
    ("CRAM-MD5", Mechanism::CramMd5),
    ("XOAUTH2", Mechanism::Xoauth2),
    ("SCRAM-SHA-1", Mechanism::Scram(Hash::Sha1, Bound::Free)),
    ("SCRAM-SHA-256", Mechanism::Scram(Hash::Sha256, Bound::Free)),
    (
        "SCRAM-SHA-1-PLUS",
        Mechanism::Scram(Hash::Sha1, Bound::ToTls),
    ),
    (
        "SCRAM-SHA-256-PLUS",
        Mechanism::Scram(Hash::Sha256, Bound::ToTls),
    ),
];

impl Mechanism {
    /// By its name, in any case.
    pub fn parse(name: &[u8]) -> Option<Mechanism> {
        let found = NAMES
            .iter()
            .find(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name));
        found.map(|(_, m)| *m)
    }

    /// As it stands in the list of a server.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, m)| *m == self)
            .map_or("", |(n, _)| n)
    }

    /// Whether who listens learns the secret: only under TLS, or where a rule says so.
    pub fn is_plain(self) -> bool {
        matches!(
            self,
            Mechanism::Plain | Mechanism::Login | Mechanism::Xoauth2
        )
    }

    /// Whether the client speaks first.
    pub fn client_first(self) -> bool {
        !matches!(self, Mechanism::Login | Mechanism::CramMd5)
    }

    /// Whether a checker must know it: the classic protocol has no words for it.
    pub fn needs_checker(self) -> bool {
        matches!(self, Mechanism::Xoauth2 | Mechanism::Scram(..))
    }
}

/// What ties a SCRAM exchange to the TLS session under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// the name of the kind: `tls-exporter`
    pub kind: Bytes,
    /// the data that both ends derive
    pub data: Bytes,
}

/// What an exchange needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// the challenge of CRAM-MD5: `stamp`, used for one exchange only
    pub challenge: Bytes,
    /// our part of SCRAM's nonce: `nonce`, used for one exchange only
    pub nonce: Bytes,
    /// if TLS is there and -PLUS is offered
    pub binding: Option<Binding>,
}

/// What is asked of somebody who knows passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// is this the password?
    Password {
        /// who says so
        name: Bytes,
        /// in clear
        password: Bytes,
    },
    /// is this the answer to our challenge? CRAM-MD5 and APOP
    Response {
        /// who says so
        name: Bytes,
        /// what we said
        challenge: Bytes,
        /// 32 hexadecimal digits
        response: Bytes,
    },
    /// is this token good for this name?
    Token {
        /// who says so
        name: Bytes,
        /// what the login service gave the client
        token: Bytes,
    },
    /// salt and rounds of this name; a proof follows
    Scram {
        /// who says so
        name: Bytes,
        /// of the mechanism
        hash: Hash,
    },
}

impl Request {
    /// Who says that he is that.
    pub fn name(&self) -> &[u8] {
        match self {
            Request::Password { name, .. }
            | Request::Response { name, .. }
            | Request::Token { name, .. }
            | Request::Scram { name, .. } => name,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// send this, encoded, and give the response to `step`
    Challenge(Bytes),
    /// ask this. After `Request::Scram` give salt and rounds to `salted`; after the others the exchange is over, and
    /// the answer is the result
    Ask(Request),
    /// have this proof checked, and give the signature to `signed`. No signature: refused
    Prove {
        /// what was said so far
        message: Bytes,
        /// the client's proof
        proof: Bytes,
    },
    /// the client has our signature and goes on: accepted
    Done,
    /// the client may not get in: it refused to be bound to TLS although we offered it, or changed what was said
    Refused,
    /// the client's fault: not in the form of the mechanism
    Malformed,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    setup: Setup,
    state: State,
}

#[derive(Debug)]
enum State {
    First,
    Password { name: Bytes },
    Scram(scram::Server),
    Over,
}

/// A challenge that is never the same: `<pid.time.random@host>`, for CRAM-MD5 and for the greeting of POP3.
///
/// # Errors
/// The kernel has no random numbers.
pub fn stamp(host: &[u8]) -> io::Result<Bytes> {
    let left = format!(
        "<{}.{}.{:08x}@",
        std::process::id(),
        base::tai::unix_now(),
        sys::random::number()?
    );
    Ok([left.as_bytes(), host, b">"].concat())
}

/// Our part of SCRAM's nonce: 24 printable bytes.
///
/// # Errors
/// The kernel has no random numbers.
pub fn nonce() -> io::Result<Bytes> {
    let mut bytes = [0; 18];
    sys::random::fill(&mut bytes)?;
    Ok(crate::encoding::encode(&bytes))
}

/// Bytes without the NULs at the end, which some clients send.
fn unpadded(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

/// A word that can stand in the checkpassword protocol: not empty, no NUL.
fn word(bytes: &[u8]) -> Option<Bytes> {
    let bytes = unpadded(bytes);
    (!bytes.is_empty() && !bytes.contains(&0)).then(|| bytes.to_vec())
}

impl Exchange {
    /// Begins, with the initial response if there was one.
    pub fn begin(mechanism: Mechanism, setup: Setup, initial: Option<&[u8]>) -> (Exchange, Step) {
        let mut exchange = Exchange {
            mechanism,
            setup,
            state: State::First,
        };
        let step = match (initial, mechanism) {
            // The server speaks first there: an initial response has no place.
            (Some(_), Mechanism::CramMd5) => Step::Malformed,
            (Some(response), _) => exchange.step(response),
            (None, Mechanism::Login) => Step::Challenge(b"Username:".to_vec()),
            (None, Mechanism::CramMd5) => Step::Challenge(exchange.setup.challenge.clone()),
            (None, _) => Step::Challenge(Bytes::new()),
        };
        (exchange, step)
    }

    /// Goes on with the client's response.
    pub fn step(&mut self, response: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        let step = match state {
            State::First => self.first(response),
            State::Password { name } => {
                word(response).map(|password| Step::Ask(Request::Password { name, password }))
            }
            State::Scram(server) => {
                let (server, step) = server.step(response, self.setup.binding.as_ref());
                self.state = server.map_or(State::Over, State::Scram);
                Some(step)
            }
            State::Over => None,
        };
        step.unwrap_or(Step::Malformed)
    }

    /// Goes on with what the checker said of salt and rounds.
    pub fn salted(&mut self, salt: &[u8], rounds: u32) -> Step {
        match &mut self.state {
            State::Scram(server) => Step::Challenge(server.salted(&self.setup.nonce, salt, rounds)),
            _ => Step::Malformed,
        }
    }

    /// Goes on with the checker's signature: the proof was right.
    pub fn signed(&mut self, signature: &[u8]) -> Step {
        match &mut self.state {
            State::Scram(server) => Step::Challenge(server.signed(signature)),
            _ => Step::Malformed,
        }
    }

    fn first(&mut self, response: &[u8]) -> Option<Step> {
        match self.mechanism {
            Mechanism::Plain => plain(response),
            Mechanism::Login => {
                self.state = State::Password {
                    name: word(response)?,
                };
                Some(Step::Challenge(b"Password:".to_vec()))
            }
            Mechanism::CramMd5 => cram(response, &self.setup.challenge),
            Mechanism::Xoauth2 => xoauth2(response),
            Mechanism::Scram(hash, bound) => {
                let (server, step) =
                    scram::Server::first(response, hash, bound, self.setup.binding.as_ref());
                self.state = server.map_or(State::Over, State::Scram);
                Some(step)
            }
        }
    }
}

/// `authorize-id NUL name NUL password`. The first is ignored: one gets in as who one is.
fn plain(response: &[u8]) -> Option<Step> {
    let mut parts = unpadded(response).splitn(3, |&b| b == 0);
    parts.next()?;
    let name = word(parts.next()?)?;
    let password = word(parts.next()?)?;
    Some(Step::Ask(Request::Password { name, password }))
}

/// `name SP digest`.
fn cram(response: &[u8], challenge: &[u8]) -> Option<Step> {
    let (name, digest) = rsplit_once(unpadded(response), b' ')?;
    Some(Step::Ask(Request::Response {
        name: word(name)?,
        challenge: challenge.to_vec(),
        response: digest_word(digest)?,
    }))
}

/// The 32 digits of an MD5 digest, in lower case.
pub fn digest_word(word: &[u8]) -> Option<Bytes> {
    let right = word.len() == 2 * Hash::Md5.size() && word.iter().all(u8::is_ascii_hexdigit);
    right.then(|| word.to_ascii_lowercase())
}

/// What a client that knows the secret answers to `challenge` in CRAM-MD5.
pub fn cram_digest(secret: &[u8], challenge: &[u8]) -> Bytes {
    hex(&Hash::Md5.hmac(secret, challenge))
}

/// What a client that knows the secret answers to `challenge` in APOP (RFC 1939 7).
pub fn apop_digest(secret: &[u8], challenge: &[u8]) -> Bytes {
    hex(&Hash::Md5.digest(&[challenge, secret]))
}

/// `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
fn xoauth2(response: &[u8]) -> Option<Step> {
    let mut fields = response.strip_suffix(b"\x01\x01")?.split(|&b| b == 1);
    let name = word(fields.next()?.strip_prefix(b"user=")?)?;
    let (kind, token) = fields.next()?.strip_prefix(b"auth=")?.split_at_checked(7)?;
    if !kind.eq_ignore_ascii_case(b"Bearer ") || fields.next().is_some() {
        return None;
    }
    let token = word(token)?;
    Some(Step::Ask(Request::Token { name, token }))
}

#[cfg(test)]
mod tests;
