//! Delivery into a maildir: a new file under a name that nobody else uses, so without a lock.
//!
//! Source  maildir(5)

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::Bytes;
use sys::Dir;

use crate::limit::Limit;
use crate::{Trouble, Writer, copy, sync_entries};

/// How long a delivery may take, seconds. A reader may remove files in tmp that are older than 36 hours.
pub const LIMIT: u32 = 86_400;
/// How many names are tried. Another one with the same random bits in the same microsecond is next to impossible.
const TRIES: u32 = 3;
/// The longest host name that goes into a file name, bytes.
const HOST_LIMIT: usize = 64;

/// Deliveries of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Delivers `prefix` (whole header lines) and then `message` into the maildir at `dir`. Returns the name in `new`.
///
/// Success means durable: content, and the name in `new`. After a crash at any point there is either nothing in `new`
/// or the whole message; litter in `tmp` is left to its readers.
///
/// Waits   at most `LIMIT` seconds, with SIGALRM taken for itself meanwhile.
///
/// # Errors
/// `Open` when the maildir itself cannot be entered; the others as `Trouble` says. The file in `tmp` is gone then.
pub fn deliver(dir: &[u8], prefix: &[u8], message: &mut impl Read) -> Result<Bytes, Trouble> {
    let limit = Limit::start(LIMIT).map_err(Trouble::Write)?;
    let maildir = Dir::open(sys::dir::path(dir)).map_err(Trouble::Open)?;
    let tmp = maildir.open_dir(b"tmp").map_err(Trouble::Write)?;
    let new = maildir.open_dir(b"new").map_err(Trouble::Write)?;

    let (name, file) = create(&tmp)?;
    let done =
        write(&file, &limit, prefix, message).and_then(|()| publish(&tmp, &new, &name, &file));
    let removed = tmp.unlink(&name);
    done?;
    // The message is in `new` already; a second name in `tmp` is litter, not a loss.
    drop(removed);
    sync_entries(&new)?;
    Ok(name)
}

/// A new file in tmp.
fn create(tmp: &Dir) -> Result<(Bytes, std::fs::File), Trouble> {
    let mut tries = 0;
    loop {
        let name = unique()?;
        match tmp.create_new(&name, 0o600) {
            Ok(file) => return Ok((name, file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
            Err(e) => return Err(Trouble::Write(e)),
        }
    }
}

fn write(
    file: &std::fs::File,
    limit: &Limit,
    prefix: &[u8],
    message: &mut impl Read,
) -> Result<(), Trouble> {
    let mut writer = Writer::new(file, limit);
    writer.put(prefix)?;
    copy(message, limit, |piece| writer.put(piece))?;
    writer.flush()?;
    sys::dir::sync(file).map_err(Trouble::Write)
}

/// Gives the file its name in new.
fn publish(tmp: &Dir, new: &Dir, name: &[u8], file: &std::fs::File) -> Result<(), Trouble> {
    let Err(error) = tmp.link(name, new, name) else {
        return Ok(());
    };
    // Over NFS the answer to a link that worked may get lost: the name is there then, and is ours.
    let ours = sys::dir::stat_fd(file).ok();
    match (ours, new.stat_link(name).ok()) {
        (Some(ours), Some(there)) if ours.is_same_file(&there) => Ok(()),
        _ => Err(Trouble::Write(error)),
    }
}

/// A name that no other delivery uses: seconds; microseconds, process, count and random bits; host.
fn unique() -> Result<Bytes, Trouble> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let random = sys::random::number().map_err(Trouble::Write)?;
    let middle = format!(
        "{}.M{}P{}Q{}R{random:08x}.",
        since.as_secs(),
        since.subsec_micros(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
    );
    Ok([middle.as_bytes(), &host(&sys::process::hostname())].concat())
}

/// A host name as part of a file name: a slash would be a directory, a colon would begin the flags.
fn host(name: &[u8]) -> Bytes {
    let name = name.get(..HOST_LIMIT).unwrap_or(name);
    if name.is_empty() {
        return b"localhost".to_vec();
    }
    let mut safe = Bytes::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'/' => safe.extend_from_slice(br"\057"),
            b':' => safe.extend_from_slice(br"\072"),
            33..=126 => safe.push(byte),
            _ => safe.push(b'_'),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
