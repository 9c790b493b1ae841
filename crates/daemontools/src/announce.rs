//! Lines on descriptor 2 from programs that go on after trouble.

use std::io;

use base::Die;

/// Writes `NAME: warning: unable to WHAT: SYSTEM TEXT`.
pub(crate) fn unable(name: &str, what: impl AsRef<[u8]>, error: &io::Error) {
    let text = base::die::system_text(error);
    base::warn(
        name,
        [b"unable to ", what.as_ref(), b": ", text.as_bytes()].concat(),
    );
}

/// Writes the last word of a child that could not even be started, on its behalf.
pub(crate) fn stillborn(name: &str, die: &Die) {
    if let Ok(stderr) = sys::fd::inherited(2) {
        // Nobody is left to tell when this fails.
        let _ = sys::fd::write_all(&stderr, &die.line(name));
    }
}
