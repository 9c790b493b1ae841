//! The counters file: what happened so far, for those who draw it.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use base::Bytes;
use base::die::system_text;

/// The least time between two versions of the file.
const PAUSE: Duration = Duration::from_secs(1);
/// Mode of the file, before the umask.
const MODE: u32 = 0o644;

/// What is counted; without a file nobody asks.
#[derive(Debug)]
pub(super) struct Counters {
    path: Option<Bytes>,
    /// connections taken from the kernel
    pub(super) connections: u64,
    /// of these, above a limit
    pub(super) refused: u64,
    /// of these, denied by a rule
    pub(super) denied: u64,
    /// children write one byte when a rule denies
    denials: Option<(OwnedFd, OwnedFd)>,
    shown: Bytes,
    next: Instant,
    failed: bool,
}

impl Counters {
    /// # Errors
    /// There are no descriptors.
    pub(super) fn new(path: Option<Bytes>) -> io::Result<Counters> {
        let denials = match path {
            Some(_) => {
                let (reader, writer) = sys::fd::pipe()?;
                sys::fd::nonblocking(&reader, true)?;
                sys::fd::nonblocking(&writer, true)?;
                Some((reader, writer))
            }
            None => None,
        };
        Ok(Counters {
            path,
            connections: 0,
            refused: 0,
            denied: 0,
            denials,
            shown: Bytes::new(),
            next: Instant::now(),
            failed: false,
        })
    }

    /// Told by a child whose client is denied.
    pub(super) fn tell_denied(&self) {
        if let Some((_, writer)) = &self.denials {
            let _ = sys::fd::write(writer, b"d");
        }
    }

    /// Counts what children told.
    pub(super) fn collect(&mut self) {
        let Some((reader, _)) = &self.denials else {
            return;
        };
        let mut bytes = [0; 256];
        while let Ok(count @ 1..) = sys::fd::read(reader, &mut bytes) {
            self.denied += u64::try_from(count).unwrap_or(0);
        }
    }

    /// Writes the file if there is something new and it is time. Returns how long to wait until it is, and what went
    /// wrong for the first time.
    pub(super) fn show(&mut self, current: u64) -> (Option<Duration>, Option<String>) {
        if self.path.is_none() {
            return (None, None);
        }
        let text = self.text(current);
        if text == self.shown {
            return (None, None);
        }
        let now = Instant::now();
        let left = self.next.saturating_duration_since(now);
        if !left.is_zero() {
            return (Some(left), None);
        }
        self.next = now.checked_add(PAUSE).unwrap_or(now);
        self.write(text)
    }

    /// The last version.
    pub(super) fn close(&mut self, current: u64) {
        self.collect();
        let text = self.text(current);
        let _ = self.write(text);
    }

    fn write(&mut self, text: Bytes) -> (Option<Duration>, Option<String>) {
        let Some(path) = &self.path else {
            return (None, None);
        };
        let done = replace(path, &text);
        // What cannot be written now is not tried again before there is more to say.
        self.shown = text;
        let first = !std::mem::replace(&mut self.failed, done.is_err());
        let trouble = done.err().filter(|_| first);
        (None, trouble.map(|e| system_text(&e)))
    }

    fn text(&self, current: u64) -> Bytes {
        let Counters {
            connections,
            refused,
            denied,
            ..
        } = self;
        format!(
            "connections {connections}\nrefused {refused}\ndenied {denied}\ncurrent {current}\n"
        )
        .into_bytes()
    }
}

/// Readers see the old file or the new one. It need not outlive the machine.
fn replace(path: &[u8], text: &[u8]) -> io::Result<()> {
    let aside = [path, b".tmp"].concat();
    let _ = std::fs::remove_file(sys::dir::path(&aside));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(sys::dir::path(&aside))?;
    file.write_all(text)?;
    std::fs::rename(sys::dir::path(&aside), sys::dir::path(path))
}
