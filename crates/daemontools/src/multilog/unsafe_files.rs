//! Full files on their way to the disk while lines go on: each in a thread of its own, so that a journal can take
//! several of them in one go. Until a file is safe its name ends in `.u`; then it gets its mode and its `.s`.

use std::collections::VecDeque;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use base::Bytes;
use sys::Dir;

use crate::multilog::directory::SAFE;
use crate::multilog::pause::insist;
use crate::multilog::rotate::gone;

/// Bytes of one log that may be full and not safe: what a power cut may take besides `current`. One file in any case.
const BYTES: u64 = 1024 * 1024;
/// Files of one log on their way at once.
const FILES: usize = 8;
/// Stack of a thread, bytes. It holds a name or two and a warning.
const STACK: usize = 64 * 1024;

/// The files of one log that are not safe yet, oldest first.
#[derive(Debug)]
pub(crate) struct UnsafeFiles {
    threads: VecDeque<JoinHandle<()>>,
    most: usize,
}

impl UnsafeFiles {
    /// For files of at most `size` bytes, of which `number` are kept, `current` among them: a file is never so old that
    /// it is removed before it is safe.
    pub(crate) fn new(size: u64, number: usize) -> UnsafeFiles {
        let most = usize::try_from(BYTES / size.max(1)).unwrap_or(FILES);
        UnsafeFiles {
            threads: VecDeque::new(),
            most: most.min(FILES).min(number.saturating_sub(1)).max(1),
        }
    }

    /// Waits until there is room for one more.
    pub(crate) fn make_room(&mut self) {
        while self.threads.len() >= self.most {
            self.join();
        }
    }

    /// Waits until all are safe.
    pub(crate) fn settle(&mut self) {
        while !self.threads.is_empty() {
            self.join();
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.threads.pop_front() {
            // It returns nothing, and a panic ends the program.
            let _ = thread.join();
        }
    }

    /// Takes the full file `MOMENT.u` of the log `name`. Without a thread to spare it is made safe before this returns.
    pub(crate) fn add(&mut self, file: File, dir: &Arc<Dir>, name: &[u8], moment: Bytes) {
        let full = Arc::new(Full {
            file,
            dir: Arc::clone(dir),
            log: name.to_vec(),
            moment,
        });
        let other = Arc::clone(&full);
        match Builder::new()
            .stack_size(STACK)
            .spawn(move || other.make_safe())
        {
            Ok(thread) => self.threads.push_back(thread),
            Err(_) => full.make_safe(),
        }
    }
}

/// A full file.
#[derive(Debug)]
struct Full {
    file: File,
    dir: Arc<Dir>,
    log: Bytes,
    moment: Bytes,
}

impl Full {
    /// Tries until it works, as everything does here. Whoever removes the file meanwhile has his will.
    fn make_safe(&self) {
        let [now, safe] = [b".u", b".s"].map(|ending| [self.moment.as_slice(), ending].concat());
        let about = |verb: &[u8], after: &[u8]| [verb, &self.log, b"/", &now, after].concat();
        insist(
            || about(b"write ", b" to disk"),
            || sys::dir::sync(&self.file),
        );
        insist(
            || about(b"set mode of ", b""),
            || self.file.set_permissions(Permissions::from_mode(SAFE)),
        );
        insist(
            || about(b"rename ", b""),
            || gone(self.dir.rename(&now, &self.dir, &safe)),
        );
    }
}
