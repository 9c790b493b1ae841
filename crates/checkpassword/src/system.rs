//! checkpassword: the accounts of the system, through its name service.

use auth::accept::{Backend, Entry, Identity, check};
use auth::scheme::{Bare, is_locked};
use base::{Bytes, Call, Die};
use sys::ids::Ids;

use crate::files;

/// The longest name of an account that is looked up, bytes.
const NAME_LIMIT: usize = 256;

const SHADOW: &[u8] = b"/etc/shadow";
const SHADOW_LIMIT: u64 = 64 << 20;
/// What takes as long as new passwords of Debian, where there is no other to go by.
const MODEL: &[u8] = b"$y$j9T$E8yQChTxA544e6uwXoSY7.$Z4uPDlxWnxz1wbGCpZemx9aKSuMgBOGYH8gP4HEH9hB";

struct System;

/// Whether the system may be asked for this name at all: name services make odd things of odd bytes.
fn is_plausible(name: &[u8]) -> bool {
    name.len() <= NAME_LIMIT
        && !name.starts_with(b"-")
        && name
            .iter()
            .all(|b| b.is_ascii_graphic() && !b":/,".contains(b))
}

impl Backend for System {
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        if !is_plausible(name) {
            return Ok(None);
        }
        let trouble = |e| Die::unable("look up the account", &e);
        let Some(account) = sys::users::any(name).map_err(trouble)? else {
            return Ok(None);
        };
        let password = sys::users::password(name).map_err(trouble)?;
        let groups = sys::users::groups_of(&account).map_err(trouble)?;
        Ok(Some(Entry {
            secrets: password.into_iter().collect(),
            bare: Bare::Crypt,
            identity: Identity {
                user: account.name,
                home: account.home,
                shell: account.shell,
                ids: Some(Ids {
                    groups,
                    ..Ids::new(account.uid, account.gid)
                }),
                environment: Vec::new(),
            },
        }))
    }

    fn model(&self) -> Option<Bytes> {
        Some(first_stored().unwrap_or_else(|| MODEL.to_vec()))
    }
}

/// The first password of the shadow file that is one: those of others are like it, most of the time.
fn first_stored() -> Option<Bytes> {
    let text = files::whole(SHADOW, SHADOW_LIMIT).ok()?;
    let mut stored = text
        .split(|&b| b == b'\n')
        .filter_map(|line| line.split(|&b| b == b':').nth(1));
    stored.find(|s| !is_locked(s)).map(<[u8]>::to_vec)
}

/// The program: see checkpassword(8).
pub fn checkpassword(call: &Call) -> Result<(), Die> {
    check(call, &System)
}
