//! What a certificate says of itself: names, dates, number. Nothing here decides whether to believe it.
//!
//! Pure. A reader of the few parts of DER that are needed; every length is checked against what is there.
//!
//! Source  RFC 5280 section 4; X.690

use std::fmt::Write;

/// The parts of a certificate that are shown or looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// whom it is about, `/C=XX/O=Example/CN=example.org`
    pub subject: Vec<u8>,
    /// who says so
    pub issuer: Vec<u8>,
    /// its number, hexadecimal
    pub serial: String,
    /// the names of hosts, lower case, `*.` in front of some
    pub hosts: Vec<String>,
    /// addresses of mail
    pub mails: Vec<Vec<u8>>,
    /// valid from then, seconds since 1970
    pub begins: i64,
    /// and until then
    pub ends: i64,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// In the list of alternative names.
const MAIL: u8 = 0x81;
const HOST: u8 = 0x82;

/// subjectAltName
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// commonName
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The most names of one certificate that are looked at.
const NAMES_LIMIT: usize = 1000;
/// The longest name in a subject that is shown, bytes.
const SHOWN_LIMIT: usize = 1000;

/// Bytes to read elements from.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and what is in it.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().fold(0, |n, &b| n << 8 | usize::from(b));
                (length, rest)
            }
            _ => return None,
        };
        let (inside, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, inside))
    }

    /// The next element, which must have this tag.
    fn expect(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(tag, _)| *tag == wanted)
            .map(|(_, inside)| inside)
    }

    /// The next element if it has this tag.
    fn optional(&mut self, wanted: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&wanted) {
            self.expect(wanted)
        } else {
            None
        }
    }
}

impl Certificate {
    /// Reads a certificate in DER. `None`: it is none.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let whole = Der(der).expect(SEQUENCE)?;
        let mut parts = Der(Der(whole).expect(SEQUENCE)?);
        let _ = parts.optional(VERSION);
        let serial = parts.expect(INTEGER)?;
        let _signature = parts.expect(SEQUENCE)?;
        let issuer = parts.expect(SEQUENCE)?;
        let mut validity = Der(parts.expect(SEQUENCE)?);
        let (begins, ends) = (time(&mut validity)?, time(&mut validity)?);
        let subject = parts.expect(SEQUENCE)?;
        let _key = parts.expect(SEQUENCE)?;
        let mut found = Certificate {
            subject: shown(subject),
            issuer: shown(issuer),
            serial: hexadecimal(serial),
            begins,
            ends,
            ..Certificate::default()
        };
        while let Some((tag, inside)) = parts.next() {
            if tag == EXTENSIONS {
                extensions(inside, &mut found);
            }
        }
        if found.hosts.is_empty() {
            found.hosts.extend(common_name(subject));
        }
        Some(found)
    }
}

/// A host name in lower case, if it is text.
fn host(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*');
    (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_ascii_lowercase())
}

fn extensions(inside: &[u8], found: &mut Certificate) {
    let Some(list) = Der(inside).expect(SEQUENCE) else {
        return;
    };
    let mut list = Der(list);
    while let Some(extension) = list.expect(SEQUENCE) {
        let mut parts = Der(extension);
        if parts.expect(OID) != Some(ALTERNATIVE_NAMES) {
            continue;
        }
        let _critical = parts.optional(BOOLEAN);
        let names = parts.expect(OCTETS).and_then(|o| Der(o).expect(SEQUENCE));
        let mut names = Der(names.unwrap_or_default());
        while let Some((tag, name)) = names.next() {
            match tag {
                HOST if found.hosts.len() < NAMES_LIMIT => found.hosts.extend(host(name)),
                MAIL if found.mails.len() < NAMES_LIMIT => found.mails.push(name.to_vec()),
                _ => {}
            }
        }
    }
}

/// The parts of a name: what each is, and its value.
fn parts(name: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut sets = Der(name);
    let mut inside = Der(&[]);
    std::iter::from_fn(move || {
        loop {
            if let Some(pair) = inside.expect(SEQUENCE) {
                let mut pair = Der(pair);
                let kind = pair.expect(OID)?;
                return Some((kind, pair.next()?.1));
            }
            inside = Der(sets.expect(SET)?);
        }
    })
}

fn common_name(name: &[u8]) -> Option<String> {
    let value = parts(name)
        .filter(|(kind, _)| *kind == COMMON_NAME)
        .map(|(_, value)| value)
        .last()?;
    host(value)
}

/// `/CN=...`, with what could confuse a reader as `?`.
fn shown(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, value) in parts(name) {
        out.push(b'/');
        match short(kind) {
            Some(short) => out.extend_from_slice(short.as_bytes()),
            None => out.extend_from_slice(hexadecimal(kind).as_bytes()),
        }
        out.push(b'=');
        let safe = |&b: &u8| {
            if (32..127).contains(&b) || b > 127 {
                b
            } else {
                b'?'
            }
        };
        out.extend(value.iter().map(safe));
    }
    out.truncate(SHOWN_LIMIT);
    out
}

/// The short name of a part of a name.
fn short(kind: &[u8]) -> Option<&'static str> {
    Some(match kind {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x05] => "serialNumber",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => "emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        _ => return None,
    })
}

/// Bytes as hexadecimal digits, upper case.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        let _ = write!(out, "{byte:02X}");
    }
    out
}

/// The next time: `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time(parts: &mut Der<'_>) -> Option<i64> {
    let (tag, text) = parts.next()?;
    let text = text.strip_suffix(b"Z")?;
    let digits: Vec<i64> = text
        .iter()
        .map(|b| b.is_ascii_digit().then(|| i64::from(b - b'0')))
        .collect::<Option<_>>()?;
    let mut pairs = digits.chunks_exact(2).map(|pair| match pair {
        [tens, ones] => tens * 10 + ones,
        _ => 0,
    });
    let mut number = || pairs.next();
    let year = match tag {
        // RFC 5280 4.1.2.5.1: 50 and above is the last century.
        UTC_TIME => {
            let short = number()?;
            if short < 50 {
                2000 + short
            } else {
                1900 + short
            }
        }
        GENERAL_TIME => number()? * 100 + number()?,
        _ => return None,
    };
    let (month, day) = (number()?, number()?);
    let (hour, minute, second) = (number()?, number()?, number()?);
    Some(((days(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // A year that begins in March has its leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let leaps = year / 4 - year / 100 + year / 400;
    Some(year * 365 + leaps + (from_march * 306 + 5) / 10 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for (date, want) in [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 26), 20_783),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(date.0, date.1, date.2), Some(want), "{date:?}");
        }
        assert_eq!(days(2026, 13, 1), None);
    }

    #[test]
    fn times_have_two_forms() {
        let read = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            let all = [&[tag, length], text.as_bytes()].concat();
            time(&mut Der(&all))
        };
        assert_eq!(read(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(GENERAL_TIME, "20500101000000Z"), Some(2_524_608_000));
        for wrong in ["", "Z", "7001010000", "70010100000xZ", "701301000000Z"] {
            assert_eq!(read(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_length_is_believed() {
        for wrong in [
            &b""[..],
            b"\x30",
            b"\x30\x01",
            b"\x30\x80\x00\x00",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x85\x00\x00\x00\x00\x01\x00",
            b"\x30\x03\x30\x7f\x00",
        ] {
            assert_eq!(Certificate::read(wrong), None);
        }
    }
}
