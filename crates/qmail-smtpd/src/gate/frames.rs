//! Questions and answers as bytes: two bytes of length and as many more; inside, fields with the same lengths.

use std::time::Duration;

use auth::checker::{Salted, Verdict};
use auth::digest::Hash;
use auth::sasl::Request;
use base::Bytes;

use super::{Answer, Failure, Question};

/// Bytes of a question or an answer: the largest has a token or a SCRAM message, 4096 bytes, and a name.
pub(super) const LIMIT: usize = 16 * 1024;
/// Bytes of a length.
pub(super) const PREFIX: usize = 2;

/// A frame around `fields`; `None`: too long.
fn frame(fields: &[&[u8]]) -> Option<Bytes> {
    let mut inside = Bytes::new();
    for field in fields {
        inside.extend_from_slice(&length(field)?);
        inside.extend_from_slice(field);
    }
    (inside.len() <= LIMIT).then_some(())?;
    Some([&length(&inside)?[..], &inside].concat())
}

fn length(bytes: &[u8]) -> Option<[u8; PREFIX]> {
    u16::try_from(bytes.len()).ok().map(u16::to_le_bytes)
}

/// The fields of what stood in a frame.
fn fields(mut inside: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !inside.is_empty() {
        let (size, rest) = inside.split_first_chunk::<PREFIX>()?;
        let (field, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*size)))?;
        fields.push(field);
        inside = rest;
    }
    Some(fields)
}

fn hash_name(hash: Hash) -> &'static [u8] {
    match hash {
        Hash::Sha1 => b"1",
        _ => b"256",
    }
}

/// A question in its frame; `None`: too long.
pub(super) fn question(question: &Question) -> Option<Bytes> {
    match question {
        Question::Ask(Request::Password { name, password }) => frame(&[b"P", name, password]),
        Question::Ask(Request::Response {
            name,
            challenge,
            response,
        }) => frame(&[b"R", name, challenge, response]),
        Question::Ask(Request::Token { name, token }) => frame(&[b"T", name, token]),
        Question::Ask(Request::Scram { name, hash }) => frame(&[b"S", name, hash_name(*hash)]),
        Question::Prove { message, proof } => frame(&[b"V", message, proof]),
        Question::Go => frame(&[b"G"]),
        Question::GiveUp => frame(&[b"K"]),
    }
}

/// The question that stood in a frame.
pub(super) fn read_question(inside: &[u8]) -> Option<Question> {
    let owned = |field: &[u8]| field.to_vec();
    Some(match fields(inside)?.as_slice() {
        [b"P", name, password] => Question::Ask(Request::Password {
            name: owned(name),
            password: owned(password),
        }),
        [b"R", name, challenge, response] => Question::Ask(Request::Response {
            name: owned(name),
            challenge: owned(challenge),
            response: owned(response),
        }),
        [b"T", name, token] => Question::Ask(Request::Token {
            name: owned(name),
            token: owned(token),
        }),
        [b"S", name, hash] => Question::Ask(Request::Scram {
            name: owned(name),
            hash: match *hash {
                b"1" => Hash::Sha1,
                b"256" => Hash::Sha256,
                _ => return None,
            },
        }),
        [b"V", message, proof] => Question::Prove {
            message: owned(message),
            proof: owned(proof),
        },
        [b"G"] => Question::Go,
        [b"K"] => Question::GiveUp,
        _ => return None,
    })
}

/// An answer in its frame; `None`: too long.
pub(super) fn answer(answer: &Answer) -> Option<Bytes> {
    match answer {
        Answer::Verdict(Verdict::Accepted) => frame(&[b"Y"]),
        Answer::Verdict(Verdict::Refused) => frame(&[b"N"]),
        Answer::Verdict(Verdict::Temporary) => frame(&[b"Z"]),
        Answer::Failed(failure) => frame(&[
            b"F",
            &millis(failure.delay).to_le_bytes(),
            &failure.network.to_le_bytes(),
            &failure.account.to_le_bytes(),
            &[u8::from(failure.unasked)],
        ]),
        Answer::Salted(Salted { salt, rounds }) => frame(&[b"S", salt, &rounds.to_le_bytes()]),
        Answer::Signed(signature) => frame(&[b"V", signature]),
    }
}

fn millis(delay: Duration) -> u32 {
    u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)
}

fn number(field: &[u8]) -> Option<u32> {
    field.try_into().ok().map(u32::from_le_bytes)
}

/// The answer that stood in a frame.
pub(super) fn read_answer(inside: &[u8]) -> Option<Answer> {
    Some(match fields(inside)?.as_slice() {
        [b"Y"] => Answer::Verdict(Verdict::Accepted),
        [b"N"] => Answer::Verdict(Verdict::Refused),
        [b"Z"] => Answer::Verdict(Verdict::Temporary),
        [b"F", delay, network, account, [unasked]] => Answer::Failed(Failure {
            delay: Duration::from_millis(number(delay)?.into()),
            network: number(network)?,
            account: number(account)?,
            unasked: *unasked != 0,
        }),
        [b"S", salt, rounds] => Answer::Salted(Salted {
            salt: salt.to_vec(),
            rounds: number(rounds)?,
        }),
        [b"V", signature] => Answer::Signed(signature.to_vec()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let b = |text: &str| text.as_bytes().to_vec();
        for asked in [
            Question::Ask(Request::Password {
                name: b("a"),
                password: Bytes::new(),
            }),
            Question::Ask(Request::Response {
                name: b("a"),
                challenge: b("<1@x>"),
                response: b("00"),
            }),
            Question::Ask(Request::Token {
                name: b("a"),
                token: vec![b't'; 4096],
            }),
            Question::Ask(Request::Scram {
                name: b("a"),
                hash: Hash::Sha1,
            }),
            Question::Ask(Request::Scram {
                name: b("a"),
                hash: Hash::Sha256,
            }),
            Question::Prove {
                message: b("m"),
                proof: vec![0, 1, 255],
            },
            Question::Go,
            Question::GiveUp,
        ] {
            let bytes = question(&asked).unwrap();
            assert_eq!(read_question(&bytes[PREFIX..]), Some(asked));
        }
        for told in [
            Answer::Verdict(Verdict::Accepted),
            Answer::Verdict(Verdict::Refused),
            Answer::Verdict(Verdict::Temporary),
            Answer::Failed(Failure {
                delay: Duration::from_secs(16),
                network: 60,
                account: 1,
                unasked: true,
            }),
            Answer::Salted(Salted {
                salt: vec![0; 16],
                rounds: 4096,
            }),
            Answer::Signed(vec![7; 32]),
        ] {
            let bytes = answer(&told).unwrap();
            assert_eq!(read_answer(&bytes[PREFIX..]), Some(told));
        }
    }

    #[test]
    fn what_is_wrong_is_nothing() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\x02\0P",
            b"\x01\0X",
            b"\x01\0P\x01\0a",
            b"\x01\0Y\0",
        ] {
            assert_eq!(read_question(bytes), None, "{bytes:?}");
            assert_eq!(read_answer(bytes), None, "{bytes:?}");
        }
        let long = Question::Prove {
            message: vec![0; LIMIT],
            proof: Bytes::new(),
        };
        assert_eq!(question(&long), None);
    }
}
