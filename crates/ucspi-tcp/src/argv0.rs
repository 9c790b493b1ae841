//! argv0: run a program under another name.

use base::{Call, Die};
use sys::spawn::Spawn;

/// Becomes a program that sees a zeroth argument of the caller's choice. See argv0(1).
///
/// # Errors
/// Misuse (100), or the program could not be run (111).
pub fn argv0(call: &Call) -> Result<(), Die> {
    let [program, name, args @ ..] = call.args.as_slice() else {
        return Err(Die::usage("argv0 realname program [ arg ... ]"));
    };

    Err(crate::adapter::run_error(
        program,
        &Spawn::new(program).arg0(name).args(args).exec(),
    ))
}
