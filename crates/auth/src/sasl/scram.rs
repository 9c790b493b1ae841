//! SCRAM, the server's side: the messages.
//!
//! Source  RFC 5802 5 and 7

use base::Bytes;
use base::bytes::{find, rsplit_once, split_once};

use super::{Binding, Bound, Request, Step, word};
use crate::digest::{Hash, same};
use crate::encoding::{decode, encode};

/// The longest nonce of a client, bytes.
const NONCE_LIMIT: usize = 256;

/// What is known of an exchange so far.
#[derive(Debug)]
pub(super) struct Server {
    hash: Hash,
    /// `p=tls-exporter,,` and the like
    header: Bytes,
    /// the client's first message without that
    first_bare: Bytes,
    /// the client's nonce, then with ours
    nonce: Bytes,
    /// our first message
    our_first: Bytes,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Salt,
    Final,
    Signature,
    Empty,
}

impl Server {
    /// The client's first message.
    pub(super) fn first(
        message: &[u8],
        hash: Hash,
        bound: Bound,
        binding: Option<&Binding>,
    ) -> (Option<Server>, Step) {
        match parse_first(message, bound, binding) {
            Ok((header, bare, name, nonce)) => {
                let server = Server {
                    hash,
                    header,
                    first_bare: bare,
                    nonce,
                    our_first: Bytes::new(),
                    next: Next::Salt,
                };
                (Some(server), Step::Ask(Request::Scram { name, hash }))
            }
            Err(step) => (None, step),
        }
    }

    /// Our first message.
    pub(super) fn salted(&mut self, nonce: &[u8], salt: &[u8], rounds: u32) -> Bytes {
        self.nonce.extend_from_slice(nonce);
        self.our_first = [
            b"r=",
            self.nonce.as_slice(),
            b",s=",
            &encode(salt),
            b",i=",
            rounds.to_string().as_bytes(),
        ]
        .concat();
        self.next = Next::Final;
        self.our_first.clone()
    }

    /// Our last message.
    pub(super) fn signed(&mut self, signature: &[u8]) -> Bytes {
        self.next = Next::Empty;
        [b"v=", encode(signature).as_slice()].concat()
    }

    /// The client's second message, or the empty one at the end.
    pub(super) fn step(
        mut self,
        response: &[u8],
        binding: Option<&Binding>,
    ) -> (Option<Server>, Step) {
        match self.next {
            Next::Final => match self.last(response, binding) {
                Ok(step) => {
                    self.next = Next::Signature;
                    (Some(self), step)
                }
                Err(step) => (None, step),
            },
            Next::Empty if response.is_empty() => (None, Step::Done),
            _ => (None, Step::Malformed),
        }
    }

    fn last(&self, message: &[u8], binding: Option<&Binding>) -> Result<Step, Step> {
        let (bare, proof) = rsplit_once(message, b',').ok_or(Step::Malformed)?;
        let proof = field(proof, b'p').and_then(decode);
        let proof = proof
            .filter(|p| p.len() == self.hash.size())
            .ok_or(Step::Malformed)?;
        let mut fields = bare.split(|&b| b == b',');
        let channel = fields.next().and_then(|f| field(f, b'c')).and_then(decode);
        let channel = channel.ok_or(Step::Malformed)?;
        let nonce = fields.next().and_then(|f| field(f, b'r'));
        let nonce = nonce.ok_or(Step::Malformed)?;
        let data = binding
            .filter(|_| self.header.starts_with(b"p="))
            .map_or(&[][..], |b| b.data.as_slice());
        if !same(&channel, &[self.header.as_slice(), data].concat()) || !same(nonce, &self.nonce) {
            return Err(Step::Refused);
        }
        let message = [
            self.first_bare.as_slice(),
            b",",
            &self.our_first,
            b",",
            bare,
        ]
        .concat();
        Ok(Step::Prove { message, proof })
    }
}

/// The value of the field `letter=value`.
fn field(text: &[u8], letter: u8) -> Option<&[u8]> {
    match text {
        [first, b'=', value @ ..] if *first == letter => Some(value),
        _ => None,
    }
}

/// Header, the rest, the name and the nonce.
fn parse_first(
    message: &[u8],
    bound: Bound,
    binding: Option<&Binding>,
) -> Result<(Bytes, Bytes, Bytes, Bytes), Step> {
    let (flag, rest) = split_once(message, b',').ok_or(Step::Malformed)?;
    let (authorize, bare) = split_once(rest, b',').ok_or(Step::Malformed)?;
    channel(flag, bound, binding)?;
    let mut fields = bare.split(|&b| b == b',');
    let name = fields.next().and_then(|f| field(f, b'n'));
    let name = name.and_then(unescape).ok_or(Step::Malformed)?;
    let nonce = fields.next().and_then(|f| field(f, b'r'));
    let nonce = nonce
        .filter(|n| (1..=NONCE_LIMIT).contains(&n.len()) && n.iter().all(u8::is_ascii_graphic))
        .ok_or(Step::Malformed)?;
    if !authorize.is_empty() {
        let wanted = field(authorize, b'a').and_then(unescape);
        // One gets in as who one is.
        if wanted.ok_or(Step::Malformed)? != name {
            return Err(Step::Refused);
        }
    }
    let header = [flag, b",", authorize, b","].concat();
    Ok((header, bare.to_vec(), name, nonce.to_vec()))
}

/// What the client says of channel binding.
fn channel(flag: &[u8], bound: Bound, binding: Option<&Binding>) -> Result<(), Step> {
    match (flag, bound, binding) {
        (b"n", Bound::Free, _) | (b"y", Bound::Free, None) => Ok(()),
        // It can, and believes that we cannot: somebody took -PLUS out of our list.
        (b"y", Bound::Free, Some(_)) => Err(Step::Refused),
        (_, Bound::ToTls, Some(binding)) if field(flag, b'p') == Some(&binding.kind) => Ok(()),
        _ => Err(Step::Malformed),
    }
}

/// A name as it was before `,` and `=` were written `=2C` and `=3D`.
fn unescape(text: &[u8]) -> Option<Bytes> {
    let mut name = Bytes::new();
    let mut rest = text;
    while let Some(at) = find(rest, b"=") {
        name.extend_from_slice(rest.get(..at)?);
        name.push(match rest.get(at..at + 3)? {
            b"=2C" => b',',
            b"=3D" => b'=',
            _ => return None,
        });
        rest = rest.get(at + 3..)?;
    }
    name.extend_from_slice(rest);
    (word(&name)? == name).then_some(name)
}
