//! setuidgid: run a program as an account.

use base::{Bytes, Call, Die};
use sys::ids::Ids;
use sys::users::Account;

use crate::child::Child;

/// Runs `setuidgid account child`; returns only if the child could not be run.
///
/// The child has the account's primary group and no other.
pub fn run(call: &Call) -> Result<(), Die> {
    let usage = || Die::usage("setuidgid account child");
    let (name, rest) = call.args.split_first().ok_or_else(usage)?;
    let child = Child::new(rest).ok_or_else(usage)?;

    let account = look_up(name)?;

    become_account(&account)?;

    Err(child.exec())
}

/// The account called `name`.
pub(crate) fn look_up(name: &Bytes) -> Result<Account, Die> {
    match sys::users::any(name) {
        Ok(Some(account)) => Ok(account),
        // The original cannot tell a name service in trouble from a name that nobody has, and its text is known.
        Ok(None) | Err(_) => Err(Die::fatal(
            base::die::TEMPORARY,
            [b"unknown account ", name.as_slice()].concat(),
        )),
    }
}

fn become_account(account: &Account) -> Result<(), Die> {
    let setgid = |e| Die::unable("setgid", &e);
    // Also for a caller who already is that account: without the right to drop groups this is not the account.
    sys::ids::set_groups(&[account.gid]).map_err(setgid)?;
    sys::ids::set_group(account.gid).map_err(setgid)?;
    sys::ids::become_for_good(&Ids::new(account.uid, account.gid))
        .map_err(|e| Die::unable("setuid", &e))
}
