//! One message into a maildir with a quota.

use std::fs::File;
use std::io::{self, ErrorKind, Seek};

use base::{Bytes, Die};
use mailbox::Trouble;
use sys::Dir;

use crate::files;
use crate::quota::{self, Quota};

/// The largest text of a warning, bytes.
const WARNING_LIMIT: u64 = 64 * 1024;
/// A mailbox is warned once in this time, seconds.
const WARNING_EVERY: u64 = 86_400;
/// The time of the last warning, as Courier keeps it.
const WARNED: &[u8] = b"quotawarn";

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// it is there, durably
    Delivered {
        /// part of the quota that is used now, of a hundred
        percent: u64,
    },
    /// it does not fit
    OverQuota,
}

/// The header lines that a delivery adds, from the environment of qmail-command(8).
pub(crate) fn lines() -> Bytes {
    let line = |name| base::env(name).unwrap_or_default();
    [line("RPLINE"), line("DTLINE")].concat()
}

/// Delivers `message`, from its start, into `maildir`.
///
/// # Errors
/// Temporary, exit 111.
pub(crate) fn store(maildir: &[u8], quota: Quota, message: &mut File) -> Result<Stored, Die> {
    let unable =
        |what: &str, e: &io::Error| Die::unable([what.as_bytes(), b" ", maildir].concat(), e);
    message
        .rewind()
        .map_err(|e| unable("rewind message for", &e))?;
    let prefix = lines();
    let mut percent = 0;
    let mut counted = None;
    if !quota.is_none() {
        let stat = sys::dir::stat_fd(message).map_err(|e| unable("look at message for", &e))?;
        let bytes = stat.size.saturating_add(prefix.len() as u64);
        let dir = Dir::open(sys::dir::path(maildir)).map_err(|e| unable("open", &e))?;
        let usage = quota::usage(&dir, quota, bytes).map_err(|e| unable("count", &e))?;
        if !quota.has_room(usage, bytes) {
            return Ok(Stored::OverQuota);
        }
        percent = quota.percent(quota::Usage {
            bytes: usage.bytes + bytes,
            messages: usage.messages + 1,
        });
        counted = Some((dir, bytes));
    }
    mailbox::maildir::deliver(maildir, &prefix, message).map_err(|trouble| match trouble {
        Trouble::Open(e) => unable("open", &e),
        Trouble::Read(e) => unable("read message for", &e),
        Trouble::Write(e) => unable("write", &e),
        Trouble::Slow => Die::fatal(base::die::TEMPORARY, "delivery took too long"),
    })?;
    if let Some((dir, bytes)) = counted {
        // The message is there; a sum that could not be written is made anew some time.
        let _ = quota::add(&dir, bytes);
    }
    Ok(Stored::Delivered { percent })
}

/// Puts a warning, whose text is in `file`, into the mailbox, once a day. Trouble with it is no trouble of the message
/// that came.
pub(crate) fn warn(maildir: &[u8], file: &[u8]) {
    let _ = try_warn(maildir, file);
}

fn try_warn(maildir: &[u8], file: &[u8]) -> io::Result<()> {
    let dir = Dir::open(sys::dir::path(maildir))?;
    match dir.open_read(WARNED) {
        Ok(last) => {
            let modified = last.metadata()?.modified()?;
            let age = modified.elapsed().unwrap_or_default();
            if age.as_secs() < WARNING_EVERY {
                return Ok(());
            }
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let text = files::whole(file, WARNING_LIMIT)?;
    files::replace(&dir, WARNED, quota::now().to_string().as_bytes(), 0o600)?;
    mailbox::maildir::deliver(maildir, b"", &mut text.as_slice())
        .map(|_| ())
        .map_err(|_| ErrorKind::Other.into())
}

/// Makes a maildir, and the directories above it that are missing, as the current user.
///
/// # Errors
/// The kernel's.
pub(crate) fn make_maildir(path: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let path = sys::dir::path(path);
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for place in ["tmp", "new", "cur"] {
        builder.create(path.join(place))?;
    }
    Ok(())
}
