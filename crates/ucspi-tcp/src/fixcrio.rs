//! fixcrio: put CR before the LF of clients and programs that leave it out.

use base::{Call, Die};

use crate::adapter;
use crate::filter::FixCr;

/// Runs a program whose lines, both ways, get a CR if they have none. See fixcrio(1).
///
/// # Errors
/// Misuse (100), or the program could not be run (111).
pub fn fixcrio(call: &Call) -> Result<(), Die> {
    adapter::run("fixcrio", &call.args, FixCr::default(), FixCr::default())
}
