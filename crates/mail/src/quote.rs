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

/// An address as it stands between the angle brackets of a command of SMTP or LMTP. `None` when it would break out of them:
/// a line end or NUL anywhere, or in the host, which cannot be quoted, a byte that ends a path.
pub fn path(bytes: &[u8]) -> Option<Bytes> {
    let is_line_end = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
    let host = rsplit_once(bytes, b'@').map_or(&b""[..], |(_, host)| host);
    let breaks = |b: &u8| *b <= b' ' || matches!(b, b'<' | b'>' | 127);
    if bytes.iter().any(is_line_end) || host.iter().any(breaks) {
        return None;
    }
    Some(address(bytes))
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

    #[test]
    fn an_address_cannot_break_out_of_its_command() {
        assert_eq!(path(b"joe@a.test").unwrap(), b"joe@a.test");
        assert_eq!(path(b"").unwrap(), b"");
        assert_eq!(path(b"a> b@a.test").unwrap(), b"\"a> b\"@a.test");
        for bad in [
            &b"a\nb@a.test"[..],
            b"a\r@a.test",
            b"a@b> SIZE=1",
            b"a@b\nDATA",
            b"a@b c",
            b"a@<b",
        ] {
            assert_eq!(path(bad), None, "{}", bad.escape_ascii());
        }
    }
}
