//! Quoting of local parts, so that an address of the envelope can stand in SMTP or in a header.
//!
//! Source  RFC 5321 4.1.2 (Local-part), RFC 5322 3.2.4; addresses(5)

use base::Bytes;
use base::bytes::rsplit_once;

/// Whether `byte` may stand in a local part without quotes.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)
}

/// Whether `local` needs quotes: other bytes than atoms hold, an empty part, or a dot at an end or beside another.
pub fn needs_quotes(local: &[u8]) -> bool {
    local.is_empty()
        || !local.iter().all(|&b| is_plain(b))
        || local.first() == Some(&b'.')
        || local.last() == Some(&b'.')
        || local.windows(2).any(|w| w == b"..")
}

/// A local part as a dot-string if it can be one, else as a quoted string.
pub fn local(local: &[u8]) -> Bytes {
    if !needs_quotes(local) {
        return local.to_vec();
    }
    let mut quoted = Bytes::with_capacity(local.len() + 2);
    quoted.push(b'"');
    for &byte in local {
        if matches!(byte, b'"' | b'\\' | b'\r' | b'\n') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

/// A whole address with its local part quoted if needed (djb's `quote2`). Cut at the last `@`; one without `@` is all
/// local part; the empty address stays empty.
pub fn address(address: &[u8]) -> Bytes {
    if address.is_empty() {
        return Bytes::new();
    }
    match rsplit_once(address, b'@') {
        Some((name, host)) => [&local(name), b"@".as_slice(), host].concat(),
        None => local(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_what_needs_it() {
        assert_eq!(address(b"joe@example.com"), b"joe@example.com");
        assert_eq!(address(b"a b@c"), b"\"a b\"@c");
        assert_eq!(address(b"a\"b\\@c"), b"\"a\\\"b\\\\\"@c");
        assert_eq!(address(b"a@b@c"), b"\"a@b\"@c");
        assert_eq!(address(b".a@c"), b"\".a\"@c");
        assert_eq!(address(b"@c"), b"\"\"@c");
        assert_eq!(address(b""), b"");
    }
}
