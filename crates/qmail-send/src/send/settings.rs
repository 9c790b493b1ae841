//! The control files of qmail-send, read at its start.

use std::io;

use base::Bytes;

use super::channel::Pair;

/// What the administrator wrote. The rules of rewriting stand apart (crate `recipient`).
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// queuelifetime, seconds: after that a deferral becomes a failure
    pub(crate) lifetime: i64,
    /// bouncefrom: local part of the From line of bounces
    pub(crate) bounce_from: Bytes,
    /// bouncehost: its domain, and the name in the first line
    pub(crate) bounce_host: Bytes,
    /// where double bounces go; `None`: nowhere, because doublebounceto is empty
    pub(crate) double_bounce_to: Option<Bytes>,
}

/// The defaults of the original.
const LIFETIME: u64 = 604_800;
const CONCURRENCY_LOCAL: u64 = 10;
const CONCURRENCY_REMOTE: u64 = 20;

impl Settings {
    /// Reads all of them.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(crate) fn load() -> io::Result<Settings> {
        let host = control::line_or_me("doublebouncehost")?;
        let to = control::file::line_or("doublebounceto", "postmaster")?;
        Ok(Settings {
            lifetime: i64::try_from(control::int("queuelifetime", LIFETIME)?).unwrap_or(i64::MAX),
            bounce_from: control::file::line_or("bouncefrom", "MAILER-DAEMON")?,
            bounce_host: control::line_or_me("bouncehost")?,
            double_bounce_to: (!to.is_empty()).then(|| [&to, b"@".as_slice(), &host].concat()),
        })
    }
}

/// Reads concurrencylocal and concurrencyremote: how many deliveries may run at a time.
///
/// # Errors
/// A file is there and cannot be read.
pub(crate) fn concurrency() -> io::Result<Pair<u64>> {
    Ok(Pair::new(
        control::int("concurrencylocal", CONCURRENCY_LOCAL)?,
        control::int("concurrencyremote", CONCURRENCY_REMOTE)?,
    ))
}
