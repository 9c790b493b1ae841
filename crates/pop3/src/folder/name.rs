//! What the name of a message tells.
//!
//! Source  maildir(5); Maildir++: `,S=` bytes of the file

use base::bytes::{number, scan_number, split_once};

/// The part that stays the same for the life of a message: what stands before the flags.
pub fn base(name: &[u8]) -> &[u8] {
    split_once(name, b':').map_or(name, |(base, _)| base)
}

/// The size that a name tells.
pub fn size(name: &[u8]) -> Option<u64> {
    let mut fields = base(name).split(|&b| b == b',').skip(1);
    fields.find_map(|field| number(field.strip_prefix(b"S=")?))
}

/// The time of arrival that a name tells, Unix seconds.
pub(crate) fn arrival(name: &[u8]) -> Option<i64> {
    let (seconds, digits) = scan_number(name);
    let ends = name.get(digits) == Some(&b'.');
    (digits > 0 && ends)
        .then(|| i64::try_from(seconds).ok())
        .flatten()
}
