//! Byte strings: making them safe to print, numbers in and out, searching.

use crate::Bytes;

/// `bytes` with every control byte, DEL and byte above 126 made a question mark; safe for terminals and logs.
pub fn printable(bytes: &[u8]) -> Bytes {
    bytes
        .iter()
        .map(|&b| {
            if (32..127).contains(&b) || b == b'\t' {
                b
            } else {
                b'?'
            }
        })
        .collect()
}

/// A whole string of decimal digits as a number; `None` if empty, with other bytes, or too large.
pub fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |sum, &b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Decimal digits at the start (djb's `scan_ulong`): the number, and how many bytes it took (0: none).
///
/// A number too large stays at the largest one: it can only be refused by what it is compared with.
pub fn scan_number(bytes: &[u8]) -> (u64, usize) {
    let count = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = bytes.iter().take(count).fold(0u64, |sum, &b| {
        sum.saturating_mul(10).saturating_add(u64::from(b - b'0'))
    });
    (value, count)
}

/// `bytes` without blanks and tabs at the end.
pub fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|b| !matches!(b, b' ' | b'\t'))
        .map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

/// ASCII lower case.
pub fn lower(bytes: &[u8]) -> Bytes {
    bytes.to_ascii_lowercase()
}

/// The parts before and after the first `separator`.
pub fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// The parts before and after the last `separator`.
pub fn rsplit_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().rposition(|&b| b == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Where `needle` begins in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    bytes.windows(needle.len()).position(|w| w == needle)
}

/// Where `byte` first stands in `bytes`, at the speed of the system's memchr.
pub fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    use std::io::BufRead;
    let mut rest = bytes;
    // Reading a slice does not fail.
    let last = rest.skip_until(byte).unwrap_or(0).checked_sub(1)?;
    (bytes.get(last) == Some(&byte)).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_or_nothing() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        assert_eq!(number(b""), None);
        assert_eq!(number(b"1x"), None);
        assert_eq!(scan_number(b"12x"), (12, 2));
        assert_eq!(scan_number(b"x"), (0, 0));
        assert_eq!(scan_number(b"99999999999999999999"), (u64::MAX, 20));
    }

    #[test]
    fn printable_leaves_no_control_byte() {
        assert_eq!(printable(b"a\x1b[1m\n\xff"), b"a?[1m??");
    }

    #[test]
    fn finds_the_first_of_a_byte() {
        assert_eq!(find_byte(b"abca", b'a'), Some(0));
        assert_eq!(find_byte(b"abca", b'c'), Some(2));
        assert_eq!(find_byte(b"abca", b'x'), None);
        assert_eq!(find_byte(b"", b'x'), None);
    }

    #[test]
    fn trims_only_the_end() {
        assert_eq!(trim_end(b" a \t "), b" a");
        assert_eq!(trim_end(b" \t"), b"");
    }
}
