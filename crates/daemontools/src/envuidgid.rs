//! envuidgid: run a program with an account's numbers in UID and GID.

use base::{Call, Die};

use crate::child::Child;
use crate::envdir::assign;
use crate::setuidgid::look_up;

/// Runs `envuidgid account child`; returns only if the child could not be run.
pub fn run(call: &Call) -> Result<(), Die> {
    let usage = || Die::usage("envuidgid account child");
    let (name, rest) = call.args.split_first().ok_or_else(usage)?;
    let child = Child::new(rest).ok_or_else(usage)?;

    let account = look_up(name)?;

    let mut env = sys::spawn::environment();
    assign(&mut env, b"GID", Some(account.gid.to_string().as_bytes()));
    assign(&mut env, b"UID", Some(account.uid.to_string().as_bytes()));
    Err(child.with_env(env).exec())
}
