//! Asking a program a question by its exit code: 0 yes, 111 not now, anything else no.

use std::io;

use base::{Bytes, Die};
use sys::process::End;
use sys::spawn::Spawn;

/// Runs a program (looked up in PATH) on our own descriptors. `words` is the program and its arguments.
pub(crate) fn ask(words: &[Bytes]) -> Result<bool, Die> {
    let Some((program, args)) = words.split_first() else {
        return Ok(false);
    };
    match Spawn::new(program).args(args).spawn() {
        Ok(pid) => answer(sys::process::wait_for(pid)),
        Err(e) if sys::is_temporary(&e) => Err(not_now()),
        // A program that cannot be run says no, as the original has it.
        Err(_) => Ok(false),
    }
}

fn answer(end: io::Result<End>) -> Result<bool, Die> {
    match end {
        Ok(End::Exit(0)) => Ok(true),
        Ok(End::Exit(base::die::TEMPORARY)) => Err(not_now()),
        Ok(End::Exit(_)) => Ok(false),
        Ok(End::Signal(_)) => Err(Die::fatal(base::die::TEMPORARY, "child crashed")),
        Err(_) => Err(Die::fatal(base::die::TEMPORARY, "wait failed")),
    }
}

fn not_now() -> Die {
    Die::fatal(base::die::TEMPORARY, "temporary child error")
}
