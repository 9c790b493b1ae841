//! mconnect-io: a person's side of a connection on descriptors 6 and 7.

use base::{Call, Die};
use sys::signal::{self, Signal};

use crate::adapter::{Way, copy};
use crate::filter::{AddCr, Plain};

/// Copies descriptor 0 to 7 with a CR before every LF, and 6 to 1, until 6 ends. See mconnect-io(1).
///
/// # Errors
/// None: whatever ends the connection ends the program with 0, as in the original.
pub fn mconnect_io(_: &Call) -> Result<(), Die> {
    let _ = signal::ignore(Signal::SIGPIPE);

    let there = Way::new(sys::fd::take(0), sys::fd::take(7), AddCr);
    let back = Way::new(sys::fd::take(6), sys::fd::take(1), Plain);
    copy(there, back);
    Ok(())
}
