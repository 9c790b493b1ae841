//! Whose password decides: a login name, as the mail to it would go.

use base::bytes::rsplit_once;
use base::{Bytes, Die};
use recipient::passwd::Trouble;
use recipient::{Judge, Route, User};
use sys::ids::Ids;

/// The longest login name, bytes: one that fits beside a password.
const LIMIT: usize = 320;

/// The user whose home the mail for `login` goes to, and the extension that is left. Without a domain it is a local
/// name. `None`: such mail goes nowhere here.
///
/// Works in the home of qmail.
///
/// # Errors
/// Nobody can tell now.
pub(crate) fn find(login: &[u8]) -> Result<Option<User>, Die> {
    let is_odd = |b: &u8| b.is_ascii_control() || *b == b' ';
    if login.is_empty() || login.len() > LIMIT || login.iter().any(is_odd) {
        return Ok(None);
    }
    let judge = Judge::load().map_err(|e| Die::unable("read control files", &e))?;
    let local: Bytes = if login.contains(&b'@') {
        match judge.rewrite().route(login) {
            Route::Remote(_) => return Ok(None),
            Route::Local(address) => match rsplit_once(&address, b'@') {
                Some((local, _)) => local.to_vec(),
                None => return Ok(None),
            },
        }
    } else {
        login.to_vec()
    };
    let user = match judge.user(&local) {
        Ok(user) => user,
        Err(Trouble::NoAlias) => return Ok(None),
        Err(_) => {
            let text = "unable to find the user of a login name";
            return Err(Die::fatal(base::die::TEMPORARY, text));
        }
    };
    Ok(Some(user).filter(|u| u.uid != 0))
}

/// The ids of a user.
pub(crate) fn ids(user: &User) -> Ids {
    Ids::new(user.uid, user.gid)
}
