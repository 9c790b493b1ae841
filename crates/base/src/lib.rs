//! base: how a program starts and ends, and the small things every program needs.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      argv
//! Writes     one sentence on descriptor 2
//! May use    sys
//! Source     docs/architecture.md

pub mod bytes;
pub mod die;
pub mod io;
pub mod opt;
pub mod tai;

pub use die::Die;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

/// A byte string: mail, paths, environment and protocol lines are bytes until proven text.
pub type Bytes = Vec<u8>;

/// What a program was called with.
#[derive(Clone, Debug)]
pub struct Call {
    /// the zeroth argument, as given
    pub program: Bytes,
    /// the others
    pub args: Vec<Bytes>,
}

/// Runs a program: `body` does the work, and its result becomes one sentence and one exit code.
///
/// `name` stands in front of every sentence; it does not depend on the zeroth argument.
pub fn run(name: &str, body: impl FnOnce(&Call) -> Result<(), Die>) -> ExitCode {
    sys::fd::restore_sigpipe();
    let mut words = std::env::args_os().map(OsString::into_vec);
    let call = Call {
        program: words.next().unwrap_or_default(),
        args: words.collect(),
    };
    let code = match body(&call) {
        Ok(()) => 0,
        Err(die) => {
            die.report(name);
            die.code
        }
    };
    sys::process::end_copy(code);
    ExitCode::from(code)
}

/// A variable of the environment, as bytes.
pub fn env(name: &str) -> Option<Bytes> {
    std::env::var_os(name).map(OsString::into_vec)
}

/// Writes one warning line `name: warning: text` on descriptor 2.
pub fn warn(name: &str, text: impl AsRef<[u8]>) {
    let line = [
        name.as_bytes(),
        b": warning: ",
        &bytes::printable(text.as_ref()),
        b"\n",
    ]
    .concat();
    die::stderr(&line);
}
