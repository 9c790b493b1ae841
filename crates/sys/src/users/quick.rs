//! An account that the name service would find in /etc/passwd, before it looks anywhere else: found without it.
//!
//! A process that asks the name service once touches many pages of memory that it needs for nothing else. Whatever is
//! not plain is left to the service: another order of sources, large files, lines that it might read in another way.
//!
//! Source  nsswitch.conf(5), passwd(5)

use std::cell::Cell;
use std::fs::File;
use std::io::Read;

use super::Account;
use crate::dir::{Stamp, stamp_path};

const ORDER: &str = "/etc/nsswitch.conf";
const ACCOUNTS: &str = "/etc/passwd";
/// The largest file that is looked through, bytes.
const LIMIT: u64 = 256 * 1024;
/// Room that is enough for most of them.
const USUAL: usize = 8 * 1024;

thread_local! {
    /// Whether /etc/passwd comes first, as of this state of nsswitch.conf.
    static KNOWN: Cell<Option<(Stamp, bool)>> = const { Cell::new(None) };
}

/// Looks `name` up. `None`: ask the service.
pub(super) fn find(name: &[u8]) -> Option<Account> {
    let stamp = stamp_path(ORDER.as_bytes()).ok()?;
    let known = KNOWN.get().filter(|(of, _)| *of == stamp);
    let comes_first = known.map_or_else(
        || read(ORDER).is_some_and(|text| is_first(&text)),
        |(_, comes_first)| comes_first,
    );
    KNOWN.set(Some((stamp, comes_first)));
    if !comes_first {
        return None;
    }
    account(&read(ACCOUNTS)?, name)
}

fn read(path: &str) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(USUAL);
    let file = File::open(path).ok()?;
    file.take(LIMIT + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= LIMIT).then_some(text)
}

/// Whether the accounts of `files` come first, and what is found there is the answer.
fn is_first(text: &[u8]) -> bool {
    let mut orders = text.split(|&b| b == b'\n').filter_map(|line| {
        let line = line.split(|&b| b == b'#').next()?.trim_ascii();
        line.strip_prefix(b"passwd")?
            .trim_ascii_start()
            .strip_prefix(b":")
    });
    let (Some(order), None) = (orders.next(), orders.next()) else {
        return false;
    };
    let mut words = order
        .split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty());
    // Words in brackets would say what an answer means.
    words.next() == Some(b"files") && words.next().is_none_or(|word| !word.starts_with(b"["))
}

/// The account of the first line that may be about `name`, if that line is plain.
fn account(text: &[u8], name: &[u8]) -> Option<Account> {
    let line = text
        .split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii_start)
        .find(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with(b":")))?;
    let fields = || line.split(|&b| b == b':');
    let begins = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let is_plain = fields().count() == 7
        && fields().skip(2).take(2).flatten().all(u8::is_ascii_digit)
        && name.first().is_some_and(begins)
        && !line.contains(&0);
    super::account(line).filter(|found| is_plain && found.name == name)
}

#[cfg(test)]
mod tests;
