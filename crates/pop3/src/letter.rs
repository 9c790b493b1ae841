//! What the part that hears strangers and the part that runs the checker say to each other.
//!
//! A letter is its kind, one byte; the number of fields, one byte; and each field with its length in two bytes, big-endian.
//! The reader takes nothing for granted: the writer may be in a stranger's hands.

use std::io::{self, ErrorKind, Read};

use auth::Mechanism;
use auth::sasl::Request;
use base::Bytes;

use crate::front::{Method, Wish};

/// Fields of a letter at most.
const FIELDS_LIMIT: usize = 4;
/// Bytes of a field at most: a command line.
const FIELD_LIMIT: usize = 8192;

/// From the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Letter {
    /// its last
    Wish(Wish),
    /// SCRAM: who it is about
    Salt(Mechanism, Request),
    /// SCRAM: message and proof
    Prove(Bytes, Bytes),
    /// SCRAM: the client gave up
    Cancel,
}

/// Writes kind and fields.
pub(crate) fn write(kind: u8, fields: &[&[u8]]) -> io::Result<Bytes> {
    let count = u8::try_from(fields.len()).map_err(|_| ErrorKind::InvalidInput)?;
    let mut text = vec![kind, count];
    for field in fields {
        let length = u16::try_from(field.len()).map_err(|_| ErrorKind::InvalidInput)?;
        text.extend_from_slice(&length.to_be_bytes());
        text.extend_from_slice(field);
    }
    Ok(text)
}

/// Reads kind and fields. `None`: the other side has gone.
pub(crate) fn read(input: &mut impl Read) -> io::Result<Option<(u8, Vec<Bytes>)>> {
    let mut head = [0; 2];
    match input.read_exact(&mut head) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let [kind, count] = head;
    if usize::from(count) > FIELDS_LIMIT {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut fields = Vec::new();
    for _ in 0..count {
        let mut length = [0; 2];
        input.read_exact(&mut length)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length > FIELD_LIMIT {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut field = vec![0; length];
        input.read_exact(&mut field)?;
        fields.push(field);
    }
    Ok(Some((kind, fields)))
}

impl Letter {
    pub(crate) fn write(&self) -> io::Result<Bytes> {
        match self {
            Letter::Wish(Wish::Leave) => write(b'q', &[]),
            Letter::Wish(Wish::Tls) => write(b't', &[]),
            Letter::Wish(Wish::Go) => write(b'g', &[]),
            Letter::Wish(Wish::Ask(method, request)) => ask(b'a', *method, request),
            Letter::Salt(mechanism, request) => ask(b's', Method::Sasl(*mechanism), request),
            Letter::Prove(message, proof) => write(b'p', &[message, proof]),
            Letter::Cancel => write(b'c', &[]),
        }
    }

    /// Reads a letter. `None`: the front has gone.
    pub(crate) fn read(input: &mut impl Read) -> io::Result<Option<Letter>> {
        let Some((kind, fields)) = read(input)? else {
            return Ok(None);
        };
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let letter = match (kind, fields.as_slice()) {
            (b'q', []) => Letter::Wish(Wish::Leave),
            (b't', []) => Letter::Wish(Wish::Tls),
            (b'g', []) => Letter::Wish(Wish::Go),
            (b'c', []) => Letter::Cancel,
            (b'p', [message, proof]) => Letter::Prove(message.to_vec(), proof.to_vec()),
            (b'a', [method, rest @ ..]) => request(method, rest)
                .map(|(method, request)| Letter::Wish(Wish::Ask(method, request)))
                .ok_or(ErrorKind::InvalidData)?,
            (b's', [method, rest @ ..]) => match request(method, rest) {
                Some((Method::Sasl(mechanism), request)) => Letter::Salt(mechanism, request),
                _ => return Err(ErrorKind::InvalidData.into()),
            },
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        Ok(Some(letter))
    }
}

fn ask(kind: u8, method: Method, request: &Request) -> io::Result<Bytes> {
    let method = method.name().as_bytes();
    match request {
        Request::Password { name, password } => write(kind, &[method, name, password]),
        Request::Response {
            name,
            challenge,
            response,
        } => write(kind, &[method, name, challenge, response]),
        Request::Token { name, token } => write(kind, &[method, name, token]),
        Request::Scram { name, .. } => write(kind, &[method, name]),
    }
}

/// A request, in the form that its method has.
fn request(method: &[u8], fields: &[&[u8]]) -> Option<(Method, Request)> {
    let method = match method {
        b"PASS" => Method::Pass,
        b"APOP" => Method::Apop,
        name => Method::Sasl(Mechanism::parse(name)?),
    };
    let request = match (method, fields) {
        (
            Method::Pass | Method::Apop | Method::Sasl(Mechanism::CramMd5),
            [name, challenge, response],
        ) => Request::Response {
            name: name.to_vec(),
            challenge: challenge.to_vec(),
            response: response.to_vec(),
        },
        (Method::Sasl(Mechanism::Plain | Mechanism::Login), [name, password]) => {
            Request::Password {
                name: name.to_vec(),
                password: password.to_vec(),
            }
        }
        (Method::Sasl(Mechanism::Xoauth2), [name, token]) => Request::Token {
            name: name.to_vec(),
            token: token.to_vec(),
        },
        (Method::Sasl(Mechanism::Scram(hash, _)), [name]) => Request::Scram {
            name: name.to_vec(),
            hash,
        },
        _ => return None,
    };
    Some((method, request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::digest::Hash;
    use auth::sasl::Bound;

    #[test]
    fn every_letter_arrives_as_it_was_sent() {
        let name = b"joe".to_vec();
        let response = Request::Response {
            name: name.clone(),
            challenge: b"<1.2@h>".to_vec(),
            response: b"a b\0c".to_vec(),
        };
        let password = Request::Password {
            name: name.clone(),
            password: vec![b'x'; 4096],
        };
        let token = Request::Token {
            name: name.clone(),
            token: b"t".to_vec(),
        };
        let hash = Hash::Sha256;
        let scram = Mechanism::Scram(hash, Bound::Free);
        for letter in [
            Letter::Wish(Wish::Leave),
            Letter::Wish(Wish::Tls),
            Letter::Wish(Wish::Go),
            Letter::Wish(Wish::Ask(Method::Pass, response.clone())),
            Letter::Wish(Wish::Ask(Method::Apop, response.clone())),
            Letter::Wish(Wish::Ask(Method::Sasl(Mechanism::CramMd5), response)),
            Letter::Wish(Wish::Ask(Method::Sasl(Mechanism::Plain), password)),
            Letter::Wish(Wish::Ask(Method::Sasl(Mechanism::Xoauth2), token)),
            Letter::Salt(scram, Request::Scram { name, hash }),
            Letter::Prove(b"m".to_vec(), vec![0; 64]),
            Letter::Cancel,
        ] {
            let text = letter.write().unwrap();
            assert_eq!(Letter::read(&mut &text[..]).unwrap(), Some(letter));
            for cut in 2..text.len() {
                assert!(Letter::read(&mut &text[..cut]).is_err());
            }
        }
        assert_eq!(Letter::read(&mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn letters_of_an_intruder_are_no_letters() {
        for text in [
            &b"x\0"[..],
            b"a\0",
            b"q\x01\0\0",
            b"a\xff",
            b"a\x02\0\x04PASS\xff\xff",
            b"a\x02\0\x04PASS\0\x01j",
            b"s\x02\0\x04PASS\0\x01j",
            b"a\x02\0\x03FOO\0\x01j",
            b"p\x01\0\0",
        ] {
            assert!(Letter::read(&mut &text[..]).is_err(), "{text:?}");
        }
    }
}
