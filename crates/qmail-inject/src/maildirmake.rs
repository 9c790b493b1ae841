//! maildirmake: an empty maildir, for its owner only.

use std::io;

use base::{Bytes, Call, Die};
use sys::Dir;

const MODE: u32 = 0o700;

/// Makes a maildir: the directory and tmp, new and cur in it, all with mode 0700.
///
/// # Errors
/// 100 without a name; 111 when a directory cannot be made, an existing one among them.
pub fn maildirmake(call: &Call) -> Result<(), Die> {
    let [name, ..] = call.args.as_slice() else {
        return Err(Die::usage("maildirmake name"));
    };

    sys::process::umask(0o077);

    let here = Dir::open(".").map_err(|e| unable("open ", b".", &e))?;
    here.make_dir(name, MODE)
        .map_err(|e| unable("mkdir ", name, &e))?;
    let maildir = here
        .open_dir(name)
        .map_err(|e| unable("chdir to ", name, &e))?;
    for part in ["tmp", "new", "cur"] {
        maildir.make_dir(part.as_bytes(), MODE).map_err(|e| {
            unable(
                "mkdir ",
                &[name, b"/".as_slice(), part.as_bytes()].concat(),
                &e,
            )
        })?;
    }
    Ok(())
}

fn unable(what: &str, object: &[u8], error: &io::Error) -> Die {
    let what: Bytes = [what.as_bytes(), object].concat();
    Die::unable(what, error)
}
