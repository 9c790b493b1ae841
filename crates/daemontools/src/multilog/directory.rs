//! One log directory: the lines on their way, and the file `current`.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use base::{Bytes, Die};
use sys::Dir;

use crate::filter::newline;
use crate::multilog::pause::{self, insist};
use crate::multilog::restart;
use crate::multilog::script::Manner;
use crate::multilog::unsafe_files::UnsafeFiles;

/// Bytes before the full size at which a line end ends the file.
const MARGIN: u64 = 2000;
/// Bytes of memory for lines on their way, shared by all logs of a script. One log gets room for a block with labels.
const BUFFERS: usize = 128 * 1024;
/// The least that a log gets.
const LEAST: usize = 1024;

/// Mode of `current` while lines may be on their way to it.
pub(crate) const LIVE: u32 = 0o644;
/// Mode of a file that is whole and safe.
pub(crate) const SAFE: u32 = 0o744;

/// One log directory. Its lock is held as long as it lives.
#[derive(Debug)]
pub(crate) struct Directory {
    /// as the script names it
    pub(crate) name: Bytes,
    pub(crate) dir: Arc<Dir>,
    pub(crate) current: File,
    /// bytes in `current`
    pub(crate) bytes: u64,
    pub(crate) manner: Manner,
    /// whether the line at hand goes here
    pub(crate) selected: bool,
    /// full files that are not on the disk yet
    pub(crate) on_their_way: UnsafeFiles,
    buffer: Bytes,
    room: usize,
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is missing, locks it, and puts in order what an earlier run left. `logs` is how many
    /// logs the script has.
    pub(crate) fn open(
        start: &Dir,
        name: &[u8],
        manner: Manner,
        logs: usize,
    ) -> Result<Directory, Die> {
        // Made before: the next step tells what is there.
        let _ = start.make_dir(name, 0o700);
        let dir = start
            .open_dir(name)
            .map_err(|e| Die::unable([b"open directory ", name].concat(), &e))?;
        let locked = |e| Die::unable([b"lock directory ", name].concat(), &e);
        let lock = dir.open_append_now(b"lock", 0o600).map_err(locked)?;
        sys::lock::exclusive_now(&lock).map_err(locked)?;

        let (current, bytes) = restart::tidy(&dir, name, manner.number)?;
        let room = BUFFERS.checked_div(logs).unwrap_or(BUFFERS).max(LEAST);
        Ok(Directory {
            name: name.to_vec(),
            dir: Arc::new(dir),
            current,
            bytes,
            on_their_way: UnsafeFiles::new(manner.size, manner.number, logs),
            manner,
            selected: false,
            buffer: Bytes::with_capacity(room),
            room,
            _lock: lock,
        })
    }

    /// Adds bytes of lines.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > self.room {
            self.flush();
        }
        if bytes.len() > self.room {
            self.write(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Writes what is on its way.
    pub(crate) fn flush(&mut self) {
        if !self.buffer.is_empty() {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.write(&buffer);
            buffer.clear();
            self.buffer = buffer;
        }
    }

    /// Begins a new file if there is something in this one.
    pub(crate) fn rotate_if_used(&mut self) {
        if self.bytes > 0 {
            self.rotate();
        }
    }

    /// Makes `current` safe and says so by its mode, and waits until the older files are safe.
    pub(crate) fn close(&mut self) {
        self.flush();
        self.sync();
        self.on_their_way.settle();
        insist(
            || self.about(b"set mode of ", b"/current"),
            || self.current.set_permissions(Permissions::from_mode(SAFE)),
        );
    }

    pub(crate) fn sync(&self) {
        insist(
            || self.about(b"write ", b"/current to disk"),
            || sys::dir::sync(&self.current),
        );
    }

    /// What a warning says: a verb, this directory, and a file in it.
    pub(crate) fn about(&self, verb: &[u8], file: &[u8]) -> Bytes {
        [verb, &self.name, file].concat()
    }

    /// Writes bytes, however long it takes, and begins new files on the way.
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.bytes >= self.manner.size {
                self.rotate();
            }
            let piece = self.piece(rest);
            match self.current.write(piece) {
                Ok(0) => pause::unable(
                    &self.about(b"write to ", b"/current"),
                    &ErrorKind::WriteZero.into(),
                ),
                Ok(count) => {
                    self.bytes += count as u64;
                    let (done, after) = rest.split_at_checked(count).unwrap_or_default();
                    rest = after;
                    if self.bytes >= self.threshold() && done.last() == Some(&b'\n') {
                        self.rotate();
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A limit on the size of files: waiting would not help, another file does.
                Err(e) if e.kind() == ErrorKind::FileTooLarge && self.bytes > 0 => self.rotate(),
                Err(e) => pause::unable(&self.about(b"write to ", b"/current"), &e),
            }
        }
    }

    /// The size from which on the file ends with a line.
    fn threshold(&self) -> u64 {
        self.manner.size.saturating_sub(MARGIN)
    }

    /// As much of `bytes` as may go into this file: to the first line end beyond the threshold, or to the full size.
    fn piece<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let left =
            |limit: u64| usize::try_from(limit.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let window = bytes.get(..left(self.manner.size)).unwrap_or(bytes);
        let sure = left(self.threshold()).saturating_sub(1);
        match window.get(sure..).and_then(newline) {
            Some(at) => window.get(..=sure + at).unwrap_or(window),
            None => window,
        }
    }
}
