//! Names between text and the form on the wire.

use std::fmt::Write;
use std::net::IpAddr;

use base::Bytes;
use domain::base::Name;
use domain::base::name::{NameBuilder, ToLabelIter};

/// The longest label, bytes (RFC 1035 2.3.4).
const LABEL_LIMIT: usize = 63;

/// A name from its text; `None` if it cannot be one: an empty or a long label, or more than 255 bytes in all.
pub(crate) fn parse(text: &[u8]) -> Option<Name<Vec<u8>>> {
    let mut builder = NameBuilder::new_vec();
    let mut label = Bytes::new();
    let mut rest = text;
    if rest == b"." {
        rest = b"";
    }
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'.' => close(&mut builder, &mut label)?,
            b'\\' => {
                let (byte, after) = escaped(rest)?;
                label.push(byte);
                rest = after;
            }
            _ => label.push(byte),
        }
    }
    if !label.is_empty() {
        close(&mut builder, &mut label)?;
    }
    builder.into_name().ok()
}

fn close(builder: &mut NameBuilder<Vec<u8>>, label: &mut Bytes) -> Option<()> {
    if label.is_empty() || label.len() > LABEL_LIMIT {
        return None;
    }
    builder.append_label(label).ok()?;
    label.clear();
    Some(())
}

/// The byte after a backslash: up to three octal digits, or the byte itself.
fn escaped(rest: &[u8]) -> Option<(u8, &[u8])> {
    let digits = rest
        .iter()
        .take(3)
        .take_while(|b| (b'0'..=b'7').contains(b))
        .count();
    if digits == 0 {
        return rest.split_first().map(|(&b, after)| (b, after));
    }
    let (octal, after) = rest.split_at_checked(digits)?;
    let value = octal
        .iter()
        .fold(0u32, |sum, &b| sum * 8 + u32::from(b - b'0'));
    Some((u8::try_from(value).ok()?, after))
}

/// The text of a name, safe to print; without the last dot, empty for the root.
pub(crate) fn text(name: &impl ToLabelIter) -> Bytes {
    let mut text = Bytes::new();
    for label in name.iter_labels().filter(|l| !l.is_root()) {
        if !text.is_empty() {
            text.push(b'.');
        }
        for &byte in label.as_slice() {
            if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
                text.push(byte.to_ascii_lowercase());
            } else {
                text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
        }
    }
    text
}

/// The name below in-addr.arpa or ip6.arpa that holds the names of an address.
pub(crate) fn reverse(address: IpAddr) -> Bytes {
    let mut text = String::new();
    // Writing into a String cannot fail.
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let _ = write!(text, "{octet}.");
            }
            text.push_str("in-addr.arpa");
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(text, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            text.push_str("ip6.arpa");
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_wire_agree() {
        for good in [
            "a",
            "a.b-c.test",
            "a\\056b.test",
            "\\000\\377.x",
            "_dmarc.x",
        ] {
            assert_eq!(text(&parse(good.as_bytes()).unwrap()), good.as_bytes());
        }
        assert_eq!(text(&parse(b"A.Test.").unwrap()), b"a.test");
        assert_eq!(text(&parse(b"a\\.b").unwrap()), b"a\\056b");
        assert_eq!(text(&parse(b".").unwrap()), b"");
        assert_eq!(text(&parse(b"a b").unwrap()), b"a\\040b");
    }

    #[test]
    fn what_cannot_be_a_name_is_none() {
        let long = [b'a'; 64];
        let many = b"a.".repeat(128);
        for bad in [
            &b"a..b"[..],
            b".a",
            b"a..",
            b"..",
            b"a\\",
            b"\\777",
            &long,
            &many,
        ] {
            assert_eq!(parse(bad), None, "{:?}", bad.escape_ascii().to_string());
        }
        assert!(parse(&b"a.".repeat(127)).is_some());
        assert!(parse(&[b'a'; 63]).is_some());
    }

    #[test]
    fn reverse_names() {
        assert_eq!(
            reverse("192.0.2.10".parse().unwrap()),
            b"10.2.0.192.in-addr.arpa"
        );
        assert_eq!(
            reverse("2001:db8::f1".parse().unwrap()),
            b"1.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
