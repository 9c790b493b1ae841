//! Whose mail is it, by the accounts of the system: the rule of qmail-getpw(8).

use std::io;

use base::Bytes;
use base::bytes::lower;
use sys::users::Account;

use crate::User;

/// Account names of this many bytes and more are not looked up.
pub const NAME_LIMIT: usize = 32;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// the account service is in trouble
    Service,
    /// a home directory could not be looked at, for now
    Home,
    /// there is no user for aliases
    NoAlias,
}

impl Trouble {
    /// The exit code of qmail-getpw that says so.
    pub fn code(self) -> u8 {
        match self {
            Trouble::Home => 115,
            Trouble::NoAlias => 116,
            Trouble::Service => 118,
        }
    }
}

/// The user for `local`: the longest account name that ends where the name or a part of it (before `-`) ends, whose
/// home is there and his own, and who is not root. Else the user for aliases, with the whole name as extension.
pub fn find(local: &[u8]) -> Result<User, Trouble> {
    find_among(local, &sys::users::any)
}

/// As `find`, among other accounts.
pub fn find_among(
    local: &[u8],
    accounts: &dyn Fn(&[u8]) -> io::Result<Option<Account>>,
) -> Result<User, Trouble> {
    for end in ends(local) {
        let Some(account) = look(&lower(local.get(..end).unwrap_or_default()), accounts)? else {
            continue;
        };
        if account.uid == 0 || !owns_home(&account)? {
            continue;
        }
        return Ok(match local.get(end + 1..) {
            Some(ext) => user(account, b"-", ext),
            None => user(account, b"", b""),
        });
    }
    let [alias, ..] = control::owners::user_names();
    match look(alias.as_bytes(), accounts)? {
        Some(account) => Ok(user(account, b"-", local)),
        None => Err(Trouble::NoAlias),
    }
}

/// Where an account name may end, the longest first: at the end of `local`, and before each break character.
fn ends(local: &[u8]) -> impl Iterator<Item = usize> {
    let separator = control::home::user_break();
    (0..=local.len().min(NAME_LIMIT - 1))
        .rev()
        .filter(move |&end| end == local.len() || local.get(end) == Some(&separator))
}

/// Only trouble that may pass stops the search: name services say "unknown" in many ways.
fn look(
    name: &[u8],
    accounts: &dyn Fn(&[u8]) -> io::Result<Option<Account>>,
) -> Result<Option<Account>, Trouble> {
    match accounts(name) {
        Ok(found) => Ok(found),
        Err(e) if sys::is_temporary(&e) => Err(Trouble::Service),
        Err(_) => Ok(None),
    }
}

fn owns_home(account: &Account) -> Result<bool, Trouble> {
    match sys::dir::stat_path(&account.home) {
        Ok(stat) => Ok(stat.uid == account.uid),
        Err(e) if sys::is_temporary(&e) => Err(Trouble::Home),
        Err(_) => Ok(false),
    }
}

fn user(account: Account, dash: &[u8], ext: &[u8]) -> User {
    User {
        name: account.name,
        uid: account.uid,
        gid: account.gid,
        home: account.home,
        dash: Bytes::from(dash),
        ext: Bytes::from(ext),
    }
}

#[cfg(test)]
mod tests;
