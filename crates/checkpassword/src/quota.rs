//! Quotas of Maildir++: how much is there, and whether one more message fits.
//!
//! maildirsize holds the quota on its first line, then a line `bytes messages` for each change; the sum counts. It is
//! made anew, by looking at every message, when it is missing, longer than 5120 bytes, of another quota, or when it says
//! that a message does not fit and is older than 15 minutes.
//!
//! Source  Maildir++ by Courier

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::Bytes;
use base::bytes::{number, split_once};
use sys::Dir;

use crate::files;

const FILE: &[u8] = b"maildirsize";
/// A longer file is made anew.
const FILE_LIMIT: u64 = 5120;
/// A file that is older is not believed when it says that there is no room.
const FRESH: Duration = Duration::from_mins(15);

/// What may be in a mailbox; 0: as much as you like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
}

/// What is in a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
}

impl Quota {
    /// `10000000S,1000C`; `1000000`, `10MB`, `500KB`; `NOQUOTA` and nothing for none.
    pub(crate) fn parse(text: &[u8]) -> Option<Quota> {
        if text.is_empty() || text.eq_ignore_ascii_case(b"NOQUOTA") {
            return Some(Quota::default());
        }
        let mut quota = Quota::default();
        for part in text.split(|&b| b == b',').filter(|p| !p.is_empty()) {
            let digits = part.iter().take_while(|b| b.is_ascii_digit()).count();
            let (digits, unit) = part.split_at(digits);
            let value = number(digits)?;
            let scale = match unit.to_ascii_uppercase().as_slice() {
                b"C" => {
                    quota.messages = value;
                    continue;
                }
                b"" | b"S" | b"B" => 1,
                b"K" | b"KB" => 1 << 10,
                b"M" | b"MB" => 1 << 20,
                b"G" | b"GB" => 1 << 30,
                _ => return None,
            };
            quota.bytes = value.checked_mul(scale)?;
        }
        Some(quota)
    }

    /// As it stands in maildirsize.
    pub(crate) fn text(self) -> Bytes {
        let mut parts = Vec::new();
        if self.bytes > 0 {
            parts.push(format!("{}S", self.bytes));
        }
        if self.messages > 0 {
            parts.push(format!("{}C", self.messages));
        }
        parts.join(",").into_bytes()
    }

    pub(crate) fn is_none(self) -> bool {
        self == Quota::default()
    }

    /// Whether a message of `bytes` fits beside `usage`.
    pub(crate) fn has_room(self, usage: Usage, bytes: u64) -> bool {
        (self.bytes == 0 || usage.bytes.saturating_add(bytes) <= self.bytes)
            && (self.messages == 0 || usage.messages < self.messages)
    }

    /// Used parts of a hundred, the larger of the two.
    pub(crate) fn percent(self, usage: Usage) -> u64 {
        let part = |used: u64, all: u64| used.saturating_mul(100).checked_div(all).unwrap_or(0);
        part(usage.bytes, self.bytes).max(part(usage.messages, self.messages))
    }
}

/// The usage of a maildir, for a message of `bytes` that wants in.
///
/// # Errors
/// The maildir cannot be read.
pub(crate) fn usage(maildir: &Dir, quota: Quota, bytes: u64) -> io::Result<Usage> {
    let told = told(maildir, quota)?;
    match told {
        Some((usage, is_fresh)) if is_fresh || quota.has_room(usage, bytes) => Ok(usage),
        _ => count(maildir, quota),
    }
}

/// Notes one more message.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn add(maildir: &Dir, bytes: u64) -> io::Result<()> {
    let mut file = maildir.open_append_old(FILE)?;
    file.write_all(format!("{bytes} 1\n").as_bytes())
}

/// What maildirsize says, and whether it is fresh. `None`: make it anew.
fn told(maildir: &Dir, quota: Quota) -> io::Result<Option<(Usage, bool)>> {
    let file = match maildir.open_read(FILE) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let modified = file.metadata()?.modified()?;
    let text = match files::content(file, FILE_LIMIT) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::FileTooLarge => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut lines = text.split(|&b| b == b'\n');
    if lines.next().and_then(Quota::parse) != Some(quota) {
        return Ok(None);
    }
    let (mut bytes, mut messages) = (0i64, 0i64);
    for line in lines.filter(|l| !l.is_empty()) {
        let Some((b, m)) = pair(line) else {
            return Ok(None);
        };
        bytes = bytes.saturating_add(b);
        messages = messages.saturating_add(m);
    }
    let usage = match (u64::try_from(bytes), u64::try_from(messages)) {
        (Ok(bytes), Ok(messages)) => Usage { bytes, messages },
        // Somebody counted twice.
        _ => return Ok(None),
    };
    let age = SystemTime::now().duration_since(modified);
    Ok(Some((usage, age.is_ok_and(|a| a < FRESH))))
}

/// Two signed numbers with blanks around.
fn pair(line: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    let both = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(both)
}

/// Looks at every message, of folders too but not of the trash, and makes the file anew.
fn count(maildir: &Dir, quota: Quota) -> io::Result<Usage> {
    let mut usage = Usage::default();
    add_messages(maildir, &mut usage)?;
    for entry in maildir.entries()? {
        let name = entry?;
        let is_folder =
            name.starts_with(b".") && name != b"." && name != b".." && name != b".Trash";
        if is_folder && maildir.stat_link(&name).is_ok_and(|s| s.is_dir()) {
            add_messages(&maildir.open_dir(&name)?, &mut usage)?;
        }
    }
    let counted = format!("\n{} {}\n", usage.bytes, usage.messages);
    let text = [quota.text(), counted.into_bytes()];
    files::replace(maildir, FILE, &text.concat(), 0o644)?;
    Ok(usage)
}

fn add_messages(folder: &Dir, usage: &mut Usage) -> io::Result<()> {
    for place in [&b"new"[..], b"cur"] {
        let dir = match folder.open_dir(place) {
            Ok(dir) => dir,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in dir.entries()? {
            let name = entry?;
            if name.starts_with(b".") || is_trashed(&name) {
                continue;
            }
            let size = match told_size(&name) {
                Some(size) => size,
                None => match dir.stat(&name) {
                    Ok(stat) if stat.is_file() => stat.size,
                    _ => continue,
                },
            };
            usage.bytes = usage.bytes.saturating_add(size);
            usage.messages = usage.messages.saturating_add(1);
        }
    }
    Ok(())
}

/// The size in a name like `1700000000.unique,S=1234:2,S`.
fn told_size(name: &[u8]) -> Option<u64> {
    let at = base::bytes::find(name, b",S=")?;
    let rest = name.get(at + 3..)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    number(rest.get(..digits)?)
}

/// Whether the flags say that it is in the trash.
fn is_trashed(name: &[u8]) -> bool {
    split_once(name, b':').is_some_and(|(_, flags)| flags.contains(&b'T'))
}

/// Seconds since 1970, for times of warnings.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |t| t.as_secs())
}

#[cfg(test)]
mod tests;
