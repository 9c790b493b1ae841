//! The parameters behind the address of MAIL and RCPT.
//!
//! Source  RFC 5321 4.1.2 (esmtp-param), RFC 1870, RFC 6152

use base::bytes::{scan_number, split_once};

use crate::reply::{PARAMETER_SYNTAX, Reply, TOO_LARGE, UNKNOWN_PARAMETER};

/// Registered parameters that stand without a value: other single words are no parameters but litter.
const WITHOUT_VALUE: [&str; 4] = ["SMTPUTF8", "REQUIRETLS", "CONPERM", "CONNEG"];

struct Parameter<'a> {
    keyword: &'a [u8],
    value: Option<&'a [u8]>,
}

fn is_keyword(word: &[u8]) -> bool {
    word.first().is_some_and(u8::is_ascii_alphanumeric)
        && word.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_value(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|&b| (33..127).contains(&b) && b != b'=')
}

fn parse(word: &[u8]) -> Result<Parameter<'_>, Reply> {
    let (keyword, value) = match split_once(word, b'=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (word, None),
    };
    let known = |list: &[&str]| {
        list.iter()
            .any(|w| keyword.eq_ignore_ascii_case(w.as_bytes()))
    };
    let sound = is_keyword(keyword)
        && match value {
            Some(value) => is_value(value),
            None => known(&WITHOUT_VALUE) || known(&["SIZE", "BODY"]),
        };
    if sound {
        Ok(Parameter { keyword, value })
    } else {
        Err(PARAMETER_SYNTAX)
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b' ').filter(|w| !w.is_empty())
}

/// Checks the parameters of MAIL: `SIZE=n` against `databytes` (0: no limit), `BODY=7BIT` or `8BITMIME`, and where there
/// is AUTH, `AUTH=<>` or an address; each once. Whom AUTH names counts for nothing: nobody vouches for it.
pub fn mail(text: &[u8], databytes: u64, auth: bool) -> Result<(), Reply> {
    let (mut size_seen, mut body_seen, mut auth_seen) = (false, false, false);
    for word in words(text) {
        let Parameter { keyword, value } = parse(word)?;
        let again = if keyword.eq_ignore_ascii_case(b"SIZE") {
            size(value, databytes)?;
            std::mem::replace(&mut size_seen, true)
        } else if keyword.eq_ignore_ascii_case(b"BODY") {
            body(value)?;
            std::mem::replace(&mut body_seen, true)
        } else if auth && keyword.eq_ignore_ascii_case(b"AUTH") {
            author(value)?;
            std::mem::replace(&mut auth_seen, true)
        } else {
            return Err(UNKNOWN_PARAMETER);
        };
        if again {
            return Err(PARAMETER_SYNTAX);
        }
    }
    Ok(())
}

/// Checks the parameters of RCPT: none is known.
pub fn rcpt(text: &[u8]) -> Result<(), Reply> {
    match words(text).next() {
        Some(word) => parse(word).and(Err(UNKNOWN_PARAMETER)),
        None => Ok(()),
    }
}

/// A size of more digits than a number holds is still a size: a very large one.
fn size(value: Option<&[u8]>, databytes: u64) -> Result<(), Reply> {
    let value = value.ok_or(PARAMETER_SYNTAX)?;
    let (size, digits) = scan_number(value);
    if digits != value.len() || digits > 20 {
        return Err(PARAMETER_SYNTAX);
    }
    if databytes > 0 && size > databytes {
        return Err(TOO_LARGE);
    }
    Ok(())
}

fn body(value: Option<&[u8]>) -> Result<(), Reply> {
    let value = value.ok_or(PARAMETER_SYNTAX)?;
    if value.eq_ignore_ascii_case(b"7BIT") || value.eq_ignore_ascii_case(b"8BITMIME") {
        Ok(())
    } else {
        Err(UNKNOWN_PARAMETER)
    }
}

/// `<>`, or an address as xtext: `+` begins two upper-case hexadecimal digits (RFC 3461 4).
fn author(value: Option<&[u8]>) -> Result<(), Reply> {
    let mut rest = value.ok_or(PARAMETER_SYNTAX)?;
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    while let Some((_, after)) = split_once(rest, b'+') {
        match after {
            [high, low, ..] if digit(high) && digit(low) => rest = after,
            _ => return Err(PARAMETER_SYNTAX),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_knows_size_and_body() {
        for (text, expected) in [
            ("", None),
            (" ", None),
            (" SIZE=100", None),
            (" size=0 body=8bitmime", None),
            (" BODY=7BIT  SIZE=7 ", None),
            (" SIZE=101", Some(TOO_LARGE)),
            (" SIZE=18446744073709551616", Some(TOO_LARGE)),
            (" SIZE=184467440737095516160", Some(PARAMETER_SYNTAX)),
            (" SIZE=", Some(PARAMETER_SYNTAX)),
            (" SIZE", Some(PARAMETER_SYNTAX)),
            (" SIZE=-1", Some(PARAMETER_SYNTAX)),
            (" SIZE=1 SIZE=1", Some(PARAMETER_SYNTAX)),
            (" BODY=BINARYMIME", Some(UNKNOWN_PARAMETER)),
            (" BODY", Some(PARAMETER_SYNTAX)),
            (" RET=HDRS", Some(UNKNOWN_PARAMETER)),
            (" SMTPUTF8", Some(UNKNOWN_PARAMETER)),
            (" AUTH=<>", Some(UNKNOWN_PARAMETER)),
            (" hello", Some(PARAMETER_SYNTAX)),
            (" =x", Some(PARAMETER_SYNTAX)),
            (" A=b=c", Some(PARAMETER_SYNTAX)),
            ("x", Some(PARAMETER_SYNTAX)),
        ] {
            assert_eq!(
                mail(text.as_bytes(), 100, false).err(),
                expected,
                "{text:?}"
            );
        }
        assert_eq!(mail(b" SIZE=99999999999999999999", 0, false), Ok(()));
    }

    #[test]
    fn mail_knows_auth_where_there_is_auth() {
        for (text, expected) in [
            (" AUTH=<>", None),
            (" auth=joe@b.test SIZE=1", None),
            (" AUTH=joe+40b.test+3D", None),
            (" AUTH=joe+4xb.test", Some(PARAMETER_SYNTAX)),
            (" AUTH=joe+3d", Some(PARAMETER_SYNTAX)),
            (" AUTH=joe+", Some(PARAMETER_SYNTAX)),
            (" AUTH=", Some(PARAMETER_SYNTAX)),
            (" AUTH", Some(PARAMETER_SYNTAX)),
            (" AUTH=<> AUTH=<>", Some(PARAMETER_SYNTAX)),
        ] {
            assert_eq!(mail(text.as_bytes(), 0, true).err(), expected, "{text:?}");
        }
    }

    #[test]
    fn rcpt_knows_none() {
        assert_eq!(rcpt(b" "), Ok(()));
        assert_eq!(rcpt(b" NOTIFY=NEVER"), Err(UNKNOWN_PARAMETER));
        assert_eq!(rcpt(b" hello world"), Err(PARAMETER_SYNTAX));
        assert_eq!(rcpt(b" SIZE=1"), Err(UNKNOWN_PARAMETER));
    }
}
