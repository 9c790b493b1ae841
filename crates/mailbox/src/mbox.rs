//! Delivery into an mbox: appended under a lock, taken back whole if it fails.
//!
//! Source  mbox(5)

mod quote;

use std::fs::{self, File};
use std::io::{ErrorKind, Read};

use sys::Dir;

use crate::limit::Limit;
use crate::maildir;
use crate::{Trouble, Writer, copy, sync_entries};
use quote::Quote;

/// How long to wait for the lock, seconds.
pub const LOCK_WAIT: u32 = 30;

/// The lines that the delivery puts in front of a message.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// the `From ` line, with its line end
    pub from: &'a [u8],
    /// header lines, with their line ends
    pub header: &'a [u8],
}

/// Appends a message to the mbox at `path`, which is made if it is missing.
///
/// Shape   the lines, the message with `>` before lines that look like a `From ` line, a line end if the last is
///         missing, an empty line.
/// Waits   `LOCK_WAIT` seconds for the lock, with SIGALRM taken for itself meanwhile.
///
/// Success means durable. A file system without locks is written without one, as the original does.
///
/// # Errors
/// As `Trouble` says; what was appended has been cut off again, if the lock was held. Something other than a regular
/// file is refused (`Write`, invalid argument): it could not be made durable.
pub fn deliver(path: &[u8], lines: Lines<'_>, message: &mut impl Read) -> Result<(), Trouble> {
    deliver_within(path, lines, message, LOCK_WAIT)
}

/// As `deliver`, waiting `seconds` for the lock.
pub fn deliver_within(
    path: &[u8],
    lines: Lines<'_>,
    message: &mut impl Read,
    seconds: u32,
) -> Result<(), Trouble> {
    let file = sys::dir::open_append(path, 0o600).map_err(Trouble::Open)?;
    if !sys::dir::stat_fd(&file).map_err(Trouble::Write)?.is_file() {
        // The kernel's own answer to the step that could not be done.
        let refused = sys::dir::sync(&file).err();
        return Err(Trouble::Write(
            refused.unwrap_or(ErrorKind::InvalidInput.into()),
        ));
    }
    let locked = lock(&file, seconds)?;
    let end = file.metadata().map_err(Trouble::Write)?.len();
    let done = append(&file, lines, message).and_then(|()| {
        if end == 0 {
            sync_parent(path)?;
        }
        Ok(())
    });
    if done.is_err() && locked {
        // Nothing better can be done than to try; the first trouble is the one that counts.
        let _ = file.set_len(end);
    }
    done
}

/// Whether the lock was taken.
fn lock(file: &File, seconds: u32) -> Result<bool, Trouble> {
    let limit = Limit::start(seconds).map_err(Trouble::Write)?;
    loop {
        match sys::lock::exclusive(file) {
            Ok(()) => return Ok(true),
            Err(_) if limit.is_over() => return Err(Trouble::Slow),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Ok(false),
        }
    }
}

fn append(file: &File, lines: Lines<'_>, message: &mut impl Read) -> Result<(), Trouble> {
    let limit = Limit::start(maildir::LIMIT).map_err(Trouble::Write)?;
    let mut writer = Writer::new(file, &limit);
    writer.put(lines.from)?;
    writer.put(lines.header)?;
    let mut quote = Quote::default();
    let mut quoted = Vec::new();
    copy(message, &limit, |piece| {
        quoted.clear();
        quote.feed(piece, &mut quoted);
        writer.put(&quoted)
    })?;
    quoted.clear();
    quote.finish(&mut quoted);
    writer.put(&quoted)?;
    writer.flush()?;
    sys::dir::sync(file).map_err(Trouble::Write)
}

/// Makes the name of a new mbox durable, in the directory where it really is. One that may be entered but not read
/// cannot be asked.
fn sync_parent(path: &[u8]) -> Result<(), Trouble> {
    let real = fs::canonicalize(sys::dir::path(path)).map_err(Trouble::Write)?;
    let Some(parent) = real.parent() else {
        return Ok(());
    };
    match Dir::open(parent) {
        Ok(dir) => sync_entries(&dir),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(e) => Err(Trouble::Write(e)),
    }
}

#[cfg(test)]
mod tests;
