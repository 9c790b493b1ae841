//! base64 as AUTH commands carry it, with the quirks of clients.
//!
//! Source  RFC 4954 4, RFC 4648 4

use base::Bytes;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The longest response or challenge, bytes of base64 (RFC 4954 4: 12288 with its line end).
pub const LIMIT: usize = 12286;

/// Padding may be missing: some clients forget it. Bits beyond the last byte must be zero.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client's line was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// these bytes
    Bytes(Bytes),
    /// a lone `*`: the client gives up
    Cancel,
    /// not base64, or too long
    Malformed,
}

/// base64 of `bytes`.
pub fn encode(bytes: &[u8]) -> Bytes {
    ENGINE.encode(bytes).into_bytes()
}

/// The bytes of `text`; `None` if it is not base64, or longer than `LIMIT`.
pub fn decode(text: &[u8]) -> Option<Bytes> {
    (text.len() <= LIMIT)
        .then(|| ENGINE.decode(text).ok())
        .flatten()
}

/// A line of the client after a challenge, without its line end.
pub fn response(line: &[u8]) -> Response {
    if line == b"*" {
        return Response::Cancel;
    }
    decode(line).map_or(Response::Malformed, Response::Bytes)
}

/// The initial response on the command line: `=` stands for an empty one.
pub fn initial(word: &[u8]) -> Response {
    if word == b"=" {
        return Response::Bytes(Bytes::new());
    }
    response(word)
}

/// Two digits for each byte.
pub fn hex(bytes: &[u8]) -> Bytes {
    let mut text = Bytes::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    text
}

/// The bytes of an even number of hexadecimal digits.
pub fn unhex(text: &[u8]) -> Option<Bytes> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_clients() {
        assert_eq!(
            response(b"dXNlcg=="),
            Response::Bytes(b"user".to_vec()),
            "with padding"
        );
        assert_eq!(response(b"dXNlcg"), Response::Bytes(b"user".to_vec()));
        assert_eq!(response(b""), Response::Bytes(vec![]));
        assert_eq!(response(b"*"), Response::Cancel);
        assert_eq!(initial(b"="), Response::Bytes(vec![]));
        assert_eq!(response(b"="), Response::Malformed);
        for bad in [
            &b"d"[..],
            b"dXNlcg===",
            b"dXNl cg==",
            b"dXN*",
            b"dX\0=",
            b"**",
            b"====",
        ] {
            assert_eq!(response(bad), Response::Malformed, "{}", bad.escape_ascii());
        }
        assert_eq!(response(&vec![b'A'; LIMIT + 2]), Response::Malformed);
        assert!(matches!(
            response(&vec![b'A'; LIMIT - 2]),
            Response::Bytes(_)
        ));
    }

    #[test]
    fn hexadecimal_there_and_back() {
        assert_eq!(hex(&[0, 171, 255]), b"00abff");
        assert_eq!(unhex(b"00aBff"), Some(vec![0, 171, 255]));
        assert_eq!(unhex(b"0"), None);
        assert_eq!(unhex(b"0g"), None);
        assert_eq!(unhex(b""), Some(vec![]));
    }
}
