//! Looking through a maildir for deliveries that may have been made before: their names carry their identities.
//!
//! `new` comes before `cur`, so that a message which a reader moves meanwhile is seen in one of them. A name at a time: a
//! maildir may hold millions.

use std::collections::BTreeMap;

use sys::Dir;

use super::batch::{Room, Used};
use crate::Trouble;
use crate::limit::Limit;

/// Digits of an identity.
const DIGITS: usize = 16;
/// What is before them.
const LETTER: u8 = b'D';

/// An identity as part of a name.
pub(super) fn mark(identity: u64) -> String {
    format!("{}{identity:016x}", char::from(LETTER))
}

/// The identity in a name: at the end of its second part. What readers add comes behind the host.
fn identity(name: &[u8]) -> Option<u64> {
    let middle = name.split(|&b| b == b'.').nth(1)?;
    let (rest, digits) = middle.split_at_checked(middle.len().checked_sub(DIGITS)?)?;
    let is_lower_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    if rest.last() != Some(&LETTER) || !digits.iter().all(is_lower_hex) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// What is looked for, and what was found.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// by the place of the maildir and the identity: whether it is there
    found: BTreeMap<(usize, u64), bool>,
    /// maildirs that could not be read to their ends
    failed: BTreeMap<usize, Trouble>,
}

impl Search {
    /// One more to look for.
    pub(super) fn want(&mut self, room: usize, identity: u64) {
        self.found.insert((room, identity), false);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether there is something left to find in a maildir.
    fn is_wanted(&self, room: usize) -> bool {
        let mut all = self.found.range((room, 0)..=(room, u64::MAX));
        all.any(|(_, is_found)| !is_found)
    }

    /// Looks through one maildir, unless nothing in it is wanted.
    pub(super) fn go_through(&mut self, at: usize, room: &mut Room, limit: &Limit) {
        let mut dirs = vec![(&room.new, Used::New)];
        dirs.extend(room.cur.iter().map(|cur| (cur, Used::NewAndCur)));
        for (dir, used) in dirs {
            if !self.is_wanted(at) {
                return;
            }
            match self.read(at, dir, limit) {
                Ok(true) => room.used = used,
                Ok(false) => {}
                Err(trouble) => {
                    self.failed.insert(at, trouble);
                    return;
                }
            }
        }
    }

    /// Looks at all names of a directory. Whether one of them was wanted.
    fn read(&mut self, at: usize, dir: &Dir, limit: &Limit) -> Result<bool, Trouble> {
        let mut is_found = false;
        for name in dir.entries().map_err(Trouble::Write)? {
            if limit.is_over() {
                return Err(Trouble::Slow);
            }
            let identity = identity(&name.map_err(Trouble::Write)?);
            if let Some(found) = identity.and_then(|i| self.found.get_mut(&(at, i))) {
                *found = true;
                is_found = true;
            }
        }
        Ok(is_found)
    }

    /// Whether a delivery is there. When that could not be found out, it must not be made.
    pub(super) fn result(&self, room: usize, identity: u64) -> Result<bool, Trouble> {
        match (self.found.get(&(room, identity)), self.failed.get(&room)) {
            (Some(true), _) => Ok(true),
            (_, Some(trouble)) => Err(trouble.again()),
            (found, None) => Ok(found.is_some_and(|found| *found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_ends_the_second_part_of_a_name() {
        let found = |name: &str| identity(name.as_bytes());
        let mark = mark(0xabc);
        assert_eq!(mark, "D0000000000000abc");
        for name in [
            format!("1.M2P3Q4R5{mark}.host"),
            format!("1.M2P3Q4R5{mark}.host.test:2,S"),
            format!("1.M2P3Q4R5{mark}.host,S=123:2,FS"),
            format!("1.{mark}.host"),
            format!("1.{mark}"),
        ] {
            assert_eq!(found(&name), Some(0xabc), "{name}");
        }
        for name in [
            "",
            "1",
            "1.M2P3Q4R5.host",
            "1.D0000000000000AbC.host",
            "1.D000000000000abc.host",
            "1.x0000000000000abc.host",
            "1.D+000000000000abc.host",
            "1.D0000000000000abc5.host",
            "1.M2.D0000000000000abc",
            "D0000000000000abc.M2.host",
        ] {
            assert_eq!(found(name), None, "{name}");
        }
    }
}
