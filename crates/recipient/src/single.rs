//! Single-uid mode: a post office without root. There are no other users, and the aliases are the caller's own.

use base::Bytes;

use crate::User;
use crate::passwd::Trouble;

/// Whether this home is one user's own, and he is us: we are not root, own the queue, and are not the queue's user
/// of a full installation.
pub fn is_ours() -> bool {
    let me = sys::ids::euid();
    if me == 0 || sys::dir::stat_path(b"queue").map(|s| s.uid).ok() != Some(me) {
        return false;
    }
    let [_, _, _, _, _, queue_owner, ..] = control::owners::user_names();
    !matches!(sys::users::local(queue_owner.as_bytes()), Ok(Some(account)) if account.uid == me)
}

/// The user for aliases is the caller, at home in alias/ below the home of qmail, whether or not the system has an
/// account of that name. `found` is the answer of qmail-getpw for `local`.
pub fn adapt(found: Result<User, Trouble>, local: &[u8]) -> Result<User, Trouble> {
    let [alias, ..] = control::owners::user_names();
    match found {
        Err(Trouble::NoAlias) => Ok(aliases(alias, local)),
        Ok(user) if user.name == alias.as_bytes() && user.dash == b"-" && user.ext == local => {
            Ok(aliases(alias, local))
        }
        other => other,
    }
}

fn aliases(name: &str, local: &[u8]) -> User {
    // The working directory is home; its path may be longer than what QMAILHOME or conf-home say.
    let home = std::env::current_dir().unwrap_or_else(|_| control::home::home());
    let home = home.join("alias").into_os_string().into_encoded_bytes();
    User {
        name: Bytes::from(name),
        uid: sys::ids::euid(),
        gid: sys::ids::gid(),
        home,
        dash: b"-".to_vec(),
        ext: local.to_vec(),
    }
}
