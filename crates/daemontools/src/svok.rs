//! svok: ask whether supervise is running.

use std::io::ErrorKind;

use base::{Call, Die};

/// Runs `svok dir`: 0 if a supervise runs there, 100 if none does. Further arguments are ignored.
pub fn run(call: &Call) -> Result<(), Die> {
    let service = call.args.first().ok_or_else(|| Die::usage("svok dir"))?;

    std::env::set_current_dir(sys::dir::path(service))
        .map_err(|e| Die::unable([b"chdir to ", service.as_slice()].concat(), &e))?;

    match sys::dir::open_write(b"supervise/ok") {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound || sys::dir::is_without_reader(&e) => {
            Err(Die::silent(base::die::PERMANENT))
        }
        Err(e) => Err(Die::unable(
            [b"open ", service.as_slice(), b"/supervise/ok"].concat(),
            &e,
        )),
    }
}
