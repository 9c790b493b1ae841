//! The last words of qmail-local: one line for the bounce or the log, without the name of the program.

use std::io;

use base::Die;
use base::bytes::printable;

/// A permanent failure: the message bounces.
pub(crate) fn permanent(text: &str) -> Die {
    plain(base::die::PERMANENT, text.as_bytes())
}

/// A temporary failure: the message stays in the queue.
pub(crate) fn temporary(text: &str) -> Die {
    plain(base::die::TEMPORARY, text.as_bytes())
}

/// `Unable to WHAT: SYSTEM TEXT. (CODE)`, temporary.
pub(crate) fn unable(what: &[u8], error: &io::Error, code: &str) -> Die {
    let system = base::die::system_text(error);
    let text = [
        b"Unable to ",
        what,
        b": ",
        system.as_bytes(),
        b". (",
        code.as_bytes(),
        b")",
    ]
    .concat();
    plain(base::die::TEMPORARY, &text)
}

/// The text with a code of one's own.
pub(crate) fn plain(code: u8, text: &[u8]) -> Die {
    Die::plain(code, [&printable(text), b"\n".as_slice()].concat())
}
