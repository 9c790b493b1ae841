//! pgrphack: run a program in a new session, so in a process group of its own.

use base::{Call, Die};

use crate::child::Child;

/// Runs `pgrphack child`; returns only if the child could not be run.
pub fn run(call: &Call) -> Result<(), Die> {
    let child = Child::new(&call.args).ok_or_else(|| Die::usage("pgrphack child"))?;

    sys::process::new_session();
    Err(child.exec())
}
