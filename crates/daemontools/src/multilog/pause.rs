//! A log waits for better times: it never gives up, and never loses a line.

use std::io::{self, ErrorKind};
use std::time::Duration;

use base::Bytes;

use crate::multilog::NAME;

/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(5);

/// Tries until it works. After each failure, writes `unable to WHAT, pausing: SYSTEM TEXT` and waits.
pub(crate) fn insist<T>(what: impl Fn() -> Bytes, mut attempt: impl FnMut() -> io::Result<T>) -> T {
    loop {
        match attempt() {
            Ok(done) => return done,
            // Our own signals; the loop of the program looks at them when this is done.
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => unable(&what(), &e),
        }
    }
}

/// Writes the warning and waits.
pub(crate) fn unable(what: &[u8], error: &io::Error) {
    let text = base::die::system_text(error);
    warn([b"unable to ", what, b", pausing: ", text.as_bytes()].concat());
}

/// Writes any warning and waits.
pub(crate) fn warn(text: impl AsRef<[u8]>) {
    base::warn(NAME, text);
    std::thread::sleep(PAUSE);
}
