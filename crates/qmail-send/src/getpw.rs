//! qmail-getpw(8): which account of the system gets the mail of a local name.

use std::io::Write;

use base::{Call, Die};
use recipient::passwd::{self, Trouble};

/// The program: prints six fields, each ended by NUL.
pub fn getpw(call: &Call) -> Result<(), Die> {
    let Some(local) = call.args.first() else {
        return Err(Die::silent(base::die::PERMANENT));
    };

    let user = passwd::find(local)
        .map_err(Trouble::code)
        .map_err(Die::silent)?;

    // Who does not read the answer does not miss it: a cut answer is refused by its reader.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(&user.fields()).and_then(|()| out.flush());
    Ok(())
}
