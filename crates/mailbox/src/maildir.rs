//! Delivery into a maildir: a new file under a name that nobody else uses, so without a lock.
//!
//! Source  maildir(5); docs/decisions/0016-delivered-once.md

mod batch;
mod look;

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::Bytes;

use crate::Trouble;
pub use batch::{Batch, Remains};

/// How long a delivery may take, seconds. A reader may remove files in tmp that are older than 36 hours.
pub const LIMIT: u32 = 86_400;
/// The longest host name that goes into a file name, bytes.
const HOST_LIMIT: usize = 64;

/// A delivery that can be known again: the name in `new` carries its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// the same for all attempts at this delivery, and for no other delivery
    pub identity: u64,
    /// whether it may be there already
    pub past: Past,
}

/// What is known of earlier attempts at a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// none has put anything into the maildir
    Clean,
    /// one may have: the maildir is looked through
    Unknown,
}

/// A message that is in the maildir, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// it has just been put there, under this name in `new`
    Now(Bytes),
    /// an earlier attempt at the same delivery had put it there
    Before,
}

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
    match deliver_once(dir, prefix, message, None)? {
        Arrival::Now(name) => Ok(name),
        // Without an identity nothing is looked for.
        Arrival::Before => Err(Trouble::Slow),
    }
}

/// As `deliver`, but a delivery that may be there already is looked for, and not made again.
///
/// # Errors
/// As `deliver`.
pub fn deliver_once(
    dir: &[u8],
    prefix: &[u8],
    message: &mut impl Read,
    once: Option<Once>,
) -> Result<Arrival, Trouble> {
    let mut batch = Batch::start()?;
    batch.add(dir, prefix, message, once)?;
    let (mut done, _remains) = batch.finish();
    // One went in, one comes out.
    done.pop().unwrap_or(Err(Trouble::Slow))
}

/// A name that no other delivery uses: seconds; microseconds, process, count, random bits and identity; host.
fn unique(once: Option<Once>) -> Result<Bytes, Trouble> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let random = sys::random::number().map_err(Trouble::Write)?;
    let middle = format!(
        "{}.M{}P{}Q{}R{random:08x}{}.",
        since.as_secs(),
        since.subsec_micros(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
        once.map_or(String::new(), |once| look::mark(once.identity)),
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
