//! The client's side of the mechanisms, as a function of bytes, for programs that log in elsewhere.
//!
//! Source  as `sasl`

use base::Bytes;
use base::bytes::{find, number};

use crate::digest::{Hash, same};
use crate::encoding::{decode, encode};
use crate::sasl::{Binding, Bound, Mechanism, cram_digest};
use crate::scram::{ROUNDS_LIMIT, proof};

/// Who we are.
#[derive(Clone)]
pub struct Credentials {
    /// our name there
    pub name: Bytes,
    /// our password there
    pub password: Bytes,
}

/// Whether what we send can be read by others on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// it can: nothing plain
    Clear,
    /// it cannot
    Encrypted,
}

/// One exchange.
pub struct Client {
    mechanism: Mechanism,
    credentials: Credentials,
    binding: Option<Binding>,
    state: State,
}

enum State {
    First,
    LoginPassword,
    Scram {
        header: Bytes,
        bare: Bytes,
        nonce: Bytes,
    },
    Signature(Bytes),
    Done,
    Failed,
}

/// The best mechanism that the other side offers and that we may use: bound SCRAM, SCRAM, CRAM-MD5 where others can
/// listen, PLAIN, LOGIN.
pub fn choose(offered: &[Mechanism], line: Line, binding: Option<&Binding>) -> Option<Mechanism> {
    let plain = [Mechanism::Plain, Mechanism::Login];
    let scram = |bound| [Hash::Sha256, Hash::Sha1].map(|hash| Mechanism::Scram(hash, bound));
    let mut order = Vec::new();
    if binding.is_some() {
        order.extend(scram(Bound::ToTls));
    }
    order.extend(scram(Bound::Free));
    order.push(Mechanism::CramMd5);
    if line == Line::Encrypted {
        order.extend(plain);
    }
    order.into_iter().find(|m| offered.contains(m))
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.mechanism.name())
    }
}

impl Client {
    /// Begins. `nonce` is `sasl::nonce`, for SCRAM. What comes back, if anything, is the initial response, before
    /// encoding.
    ///
    /// With a `binding` and a mechanism that is not bound the server is told that we could: if it can too, somebody took
    /// -PLUS out of its list, and it refuses.
    pub fn begin(
        mechanism: Mechanism,
        credentials: Credentials,
        binding: Option<Binding>,
        nonce: &[u8],
    ) -> (Client, Option<Bytes>) {
        let mut client = Client {
            mechanism,
            credentials,
            binding,
            state: State::First,
        };
        let initial = mechanism
            .client_first()
            .then(|| client.first(nonce))
            .flatten();
        (client, initial)
    }

    fn first(&mut self, nonce: &[u8]) -> Option<Bytes> {
        match self.mechanism {
            Mechanism::Plain => {
                self.state = State::Done;
                Some(
                    [
                        b"\0",
                        self.credentials.name.as_slice(),
                        b"\0",
                        &self.credentials.password,
                    ]
                    .concat(),
                )
            }
            Mechanism::Xoauth2 => {
                self.state = State::Done;
                let (name, token) = (&self.credentials.name, &self.credentials.password);
                Some(
                    [
                        b"user=",
                        name.as_slice(),
                        b"\x01auth=Bearer ",
                        token,
                        b"\x01\x01",
                    ]
                    .concat(),
                )
            }
            Mechanism::Scram(_, bound) => {
                let header = match (bound, &self.binding) {
                    (Bound::ToTls, Some(binding)) => {
                        [b"p=", binding.kind.as_slice(), b",,"].concat()
                    }
                    (Bound::ToTls, None) => return None,
                    (Bound::Free, Some(_)) => b"y,,".to_vec(),
                    (Bound::Free, None) => b"n,,".to_vec(),
                };
                let name = escape(&self.credentials.name);
                let bare = [b"n=", name.as_slice(), b",r=", nonce].concat();
                let first = [header.as_slice(), &bare].concat();
                self.state = State::Scram {
                    header,
                    bare,
                    nonce: nonce.to_vec(),
                };
                Some(first)
            }
            Mechanism::Login | Mechanism::CramMd5 => None,
        }
    }

    /// The response to a challenge. `None`: the server does not keep to the mechanism, or does not know our password
    /// itself; cancel, and do not believe it when it says that we are in.
    pub fn answer(&mut self, challenge: &[u8]) -> Option<Bytes> {
        let state = std::mem::replace(&mut self.state, State::Failed);
        let (next, response) = match (state, self.mechanism) {
            (State::First, Mechanism::Login) => {
                (State::LoginPassword, self.credentials.name.clone())
            }
            (State::LoginPassword, _) => (State::Done, self.credentials.password.clone()),
            (State::First, Mechanism::CramMd5) => {
                let digest = cram_digest(&self.credentials.password, challenge);
                let name = self.credentials.name.as_slice();
                (State::Done, [name, b" ", &digest].concat())
            }
            (
                State::Scram {
                    header,
                    bare,
                    nonce,
                },
                Mechanism::Scram(hash, _),
            ) => self.proof(hash, &header, &bare, &nonce, challenge)?,
            (State::Signature(expected), _) => {
                let signature = challenge.strip_prefix(b"v=").and_then(decode)?;
                if !same(&signature, &expected) {
                    return None;
                }
                (State::Done, Bytes::new())
            }
            _ => return None,
        };
        self.state = next;
        Some(response)
    }

    /// Whether everything was said: a server that accepts before that has not kept to the mechanism. With SCRAM it has
    /// also shown that it knows our password.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// SCRAM's second message, and the signature that must come.
    fn proof(
        &self,
        hash: Hash,
        header: &[u8],
        bare: &[u8],
        nonce: &[u8],
        challenge: &[u8],
    ) -> Option<(State, Bytes)> {
        let mut fields = challenge.split(|&b| b == b',');
        let whole = fields.next()?.strip_prefix(b"r=")?;
        let salt = decode(fields.next()?.strip_prefix(b"s=")?).filter(|s| !s.is_empty())?;
        let rounds = u32::try_from(number(fields.next()?.strip_prefix(b"i=")?)?).ok()?;
        // The nonce must be ours and longer.
        if find(whole, nonce) != Some(0)
            || whole.len() <= nonce.len()
            || !(1..=ROUNDS_LIMIT).contains(&rounds)
        {
            return None;
        }
        let data = match (&self.binding, header.starts_with(b"p=")) {
            (Some(binding), true) => binding.data.as_slice(),
            _ => b"",
        };
        let channel = encode(&[header, data].concat());
        let last = [b"c=", channel.as_slice(), b",r=", whole].concat();
        let message = [bare, b",", challenge, b",", &last].concat();
        let (proof, signature) = proof(hash, &self.credentials.password, &salt, rounds, &message);
        let response = [last.as_slice(), b",p=", &encode(&proof)].concat();
        Some((State::Signature(signature), response))
    }
}

/// A name as SCRAM writes it.
fn escape(name: &[u8]) -> Bytes {
    let mut text = Bytes::new();
    for &byte in name {
        match byte {
            b',' => text.extend_from_slice(b"=2C"),
            b'=' => text.extend_from_slice(b"=3D"),
            _ => text.push(byte),
        }
    }
    text
}

#[cfg(test)]
mod tests;
