//! One line of rules, as tcprules reads it. Pure.

use base::Bytes;
use base::bytes::scan_number;

use crate::network::{Network, Size};
use crate::rules::SIZES;

/// The records of one line: the same data under one key, or under several for a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Records {
    /// the address; all addresses of a range
    pub(crate) keys: Vec<Bytes>,
    /// the sizes of those that are networks
    pub(crate) sizes: Vec<Size>,
    /// `D`, if denied, and `+NAME=value` for each variable, each with a NUL behind it
    pub(crate) data: Bytes,
}

/// A line that says something, but nothing that can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The largest number that a range reaches.
const RANGE_END: u64 = 255;

/// A line without the blanks at its end: what is parsed, and shown if it cannot be.
pub(crate) fn trimmed(line: &[u8]) -> &[u8] {
    let end = line
        .iter()
        .rposition(|b| !matches!(b, b'\n' | b' ' | b'\t'))
        .map_or(0, |at| at + 1);
    line.get(..end).unwrap_or_default()
}

/// Reads one `trimmed` line: `address:deny` or `address:allow`, then `,NAME=` and a value between two equal bytes, any
/// number of times.
///
/// `Ok(None)`: an empty line, a comment, or a line without a colon.
///
/// # Errors
/// Something else stands there.
pub(crate) fn parse(line: &[u8]) -> Result<Option<Records>, Unreadable> {
    if line.starts_with(b"#") || !line.contains(&b':') {
        return Ok(None);
    }
    // A NUL would end a field of the record early and could turn the rest of a value into an instruction.
    if line.contains(&0) {
        return Err(Unreadable);
    }
    let (address, verdict) = split(line).ok_or(Unreadable)?;
    let (mut data, rest) = match verdict.strip_prefix(b"deny") {
        Some(rest) => (b"D\0".to_vec(), rest),
        None => (
            Bytes::new(),
            verdict.strip_prefix(b"allow").ok_or(Unreadable)?,
        ),
    };
    variables(rest, &mut data)?;
    let (mut keys, mut sizes) = (addresses(address)?, Vec::new());
    for key in &mut keys {
        if let Some(network) = Network::read(key).map_err(|_| Unreadable)? {
            *key = network.name();
            sizes.push(network.size());
        } else if key == SIZES {
            return Err(Unreadable);
        }
    }
    Ok(Some(Records { keys, sizes, data }))
}

/// The address and the verdict: IPv6 addresses have colons too, so it is the first colon with a verdict behind it.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    line.iter()
        .enumerate()
        .filter(|(_, b)| **b == b':')
        .filter_map(|(at, _)| Some((line.get(..at)?, line.get(at + 1..)?)))
        .find(|(_, rest)| rest.starts_with(b"deny") || rest.starts_with(b"allow"))
}

fn variables(mut rest: &[u8], data: &mut Bytes) -> Result<(), Unreadable> {
    while !rest.is_empty() {
        let setting = rest.strip_prefix(b",").ok_or(Unreadable)?;
        let (name, quoted) = base::bytes::split_once(setting, b'=').ok_or(Unreadable)?;
        let (&delimiter, quoted) = quoted.split_first().ok_or(Unreadable)?;
        let (value, after) = base::bytes::split_once(quoted, delimiter).ok_or(Unreadable)?;
        data.extend_from_slice(&[b"+", name, b"=", value, b"\0"].concat());
        rest = after;
    }
    Ok(())
}

/// The addresses that `address` stands for: itself, or with the numbers of its first range `m-n`.
///
/// Host names and users may hold a `-`, so only an address without `=` and `@` has ranges.
fn addresses(address: &[u8]) -> Result<Vec<Bytes>, Unreadable> {
    if address.contains(&b'=') || address.contains(&b'@') {
        return Ok(vec![address.to_vec()]);
    }
    let Some((before, after)) = base::bytes::split_once(address, b'-') else {
        return Ok(vec![address.to_vec()]);
    };
    let left = before
        .iter()
        .rposition(|&b| b == b'.')
        .map_or(0, |at| at + 1);
    let (head, first) = before.split_at_checked(left).ok_or(Unreadable)?;
    let right = after.iter().position(|&b| b == b'.').unwrap_or(after.len());
    let (last, tail) = after.split_at_checked(right).ok_or(Unreadable)?;
    let numbers = number(first)?..=number(last)?.min(RANGE_END);
    Ok(numbers
        .map(|n| [head, n.to_string().as_bytes(), tail].concat())
        .collect())
}

/// Digits only; none at all are 0.
fn number(digits: &[u8]) -> Result<u64, Unreadable> {
    let (value, count) = scan_number(digits);
    if count == digits.len() {
        Ok(value)
    } else {
        Err(Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(line: &str) -> Vec<String> {
        let records = parse(line.as_bytes()).unwrap().unwrap();
        let text = |k| String::from_utf8(k).unwrap();
        records.keys.into_iter().map(text).collect()
    }

    fn data(line: &str) -> String {
        String::from_utf8(parse(line.as_bytes()).unwrap().unwrap().data).unwrap()
    }

    #[test]
    fn verdicts_and_variables() {
        assert_eq!(data("1.2.3.4:allow"), "");
        assert_eq!(data("1.2.3.4:deny"), "D\0");
        assert_eq!(data(":allow,RELAYCLIENT=\"\""), "+RELAYCLIENT=\0");
        assert_eq!(data(":deny,A=/b\"c/,B==d="), "D\0+A=b\"c\0+B=d\0");
        assert_eq!(data(":allow,A=x=yx"), "+A==y\0");
        assert_eq!(keys(":allow"), [""]);
    }

    #[test]
    fn lines_that_say_nothing() {
        for line in ["", "# a:deny", "1.2.3.4", "  # comment", "deny"] {
            assert_eq!(parse(line.as_bytes()), Ok(None), "{line}");
        }
        assert_eq!(trimmed(b" \t \n"), b"");
        assert_eq!(trimmed(b" a \t \n"), b" a");
    }

    #[test]
    fn lines_that_cannot_be_read() {
        for line in [
            "1.2.3.4:frob",
            "1.2.3.4:",
            ":",
            "1.2.3.4:ALLOW",
            "1.2.3.4:allowed",
            "1.2.3.4:allow,",
            "1.2.3.4:allow,X",
            "1.2.3.4:allow,X=",
            "1.2.3.4:allow,X=\"",
            "1.2.3.4:allow,X=\"y",
            "1.2.3.4:allow ,X=\"y\"",
            "1.2.3.4:allow,X=\"a\"Y=\"b\"",
            "1.2.3.4:deny\r",
            "1.2.x-5.:deny",
            "1.2.3-5x.:deny",
            "1.2.3.4:allow,X=\"a\0D\"",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Unreadable), "{line}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(keys("1.2.3-5.:deny"), ["1.2.3.", "1.2.4.", "1.2.5."]);
        assert_eq!(keys("1.2.3.9-10:deny"), ["1.2.3.9", "1.2.3.10"]);
        assert_eq!(keys("1-2:deny"), ["1", "2"]);
        assert_eq!(keys("1.2.254-300.:deny"), ["1.2.254.", "1.2.255."]);
        assert_eq!(keys("1.2.5-3.:deny"), [""; 0]);
        assert_eq!(keys("1.-1.:deny"), ["1.0.", "1.1."]);
        assert_eq!(keys("1-2.3-4.:deny"), ["1.3-4.", "2.3-4."]);
        assert_eq!(keys("=a-b.test:deny"), ["=a-b.test"]);
        assert_eq!(keys("u@1.2.3-5.:deny"), ["u@1.2.3-5."]);
    }

    #[test]
    fn networks() {
        assert_eq!(keys("192.0.2.9/24:deny"), ["192.0.2.0/24"]);
        assert_eq!(keys("2001:db8::/32:allow"), ["2001:db8::/32"]);
        assert_eq!(keys("10.0-1.0.0/16:deny"), ["10.0.0.0/16", "10.1.0.0/16"]);
        assert_eq!(keys("u@192.0.2.9/24:deny"), ["u@192.0.2.9/24"]);
        assert_eq!(keys("=a/24:deny"), ["=a/24"]);
        for line in ["192.0.2.0/33:deny", "::/x:deny", "/:deny"] {
            assert_eq!(parse(line.as_bytes()), Err(Unreadable), "{line}");
        }
    }

    #[test]
    fn ipv6_addresses_keep_their_colons() {
        assert_eq!(keys("2001:db8::1:allow"), ["2001:db8::1"]);
        assert_eq!(keys("2001:db8::allow"), ["2001:db8:"]);
        assert_eq!(keys("::deny"), [":"]);
        assert_eq!(keys(":deny"), [""]);
        assert_eq!(keys("a:b:deny"), ["a:b"]);
    }
}
