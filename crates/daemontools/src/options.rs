//! What getopt says on descriptor 2 about options that it does not know.

use base::opt::Opt;
use base::{Bytes, Call};

/// The line about an unknown letter or a missing value; empty for good options.
///
/// The name in front is the last part of the zeroth argument, as the caller wrote it.
pub(crate) fn complaint(call: &Call, opt: &Opt) -> Bytes {
    let (text, letter) = match opt {
        Opt::Unknown(letter) => ("illegal option", *letter),
        Opt::Missing(letter) => ("option requires an argument", *letter),
        Opt::Flag(_) | Opt::Value(..) => return Bytes::new(),
    };
    let name = call
        .program
        .rsplit(|&b| b == b'/')
        .next()
        .unwrap_or_default();
    let safe = base::bytes::printable(&[name, b": ", text.as_bytes(), b" -- ", &[letter]].concat());
    [safe.as_slice(), b"\n"].concat()
}
