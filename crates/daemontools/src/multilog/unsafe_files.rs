//! Full files on their way to the disk while lines go on: each in a thread of its own, so that a journal can take
//! several of them in one go. Until a file is safe its name ends in `.u`; then it gets its mode and its `.s`.

use std::collections::VecDeque;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use base::Bytes;
use sys::Dir;
use sys::limit::Resource;

use crate::multilog::directory::SAFE;
use crate::multilog::pause::insist;
use crate::multilog::rotate::gone;

/// Bytes of one log that may be full and not safe: what a power cut may take besides `current`. One file in any case.
const BYTES: u64 = 1024 * 1024;
/// Files on their way at once, in all logs.
const FILES: usize = 8;
/// Stack of a thread, bytes. It holds a name or two and a warning.
const STACK: usize = 64 * 1024;
/// Data that a thread may cost, bytes: its stack, one for signals, and what the C library sets aside for it. Without them
/// the program would end, so where a limit is near nothing is left to a thread.
const DATA: u64 = 512 * 1024;
/// Data of the program without threads, bytes.
const OWN_DATA: u64 = 1024 * 1024;
/// Addresses that a thread may reserve, bytes; most of them are never used.
const ADDRESSES: u64 = 256 * 1024 * 1024;

/// How many threads the limits of this process bear.
fn bearable() -> usize {
    let bears = |resource, own: u64, each: u64| {
        let limit = sys::limit::read(resource).map_or(0, |(soft, _)| soft);
        usize::try_from(limit.saturating_sub(own) / each).unwrap_or(FILES)
    };
    FILES
        .min(bears(Resource::RLIMIT_DATA, OWN_DATA, DATA))
        .min(bears(Resource::RLIMIT_AS, 0, ADDRESSES))
}

/// The files of one log that are not safe yet, oldest first.
#[derive(Debug)]
pub(crate) struct UnsafeFiles {
    threads: VecDeque<JoinHandle<()>>,
    most: usize,
}

impl UnsafeFiles {
    /// For files of at most `size` bytes, of which `number` are kept, `current` among them: a file is never so old that
    /// it is removed before it is safe. `logs` is how many logs the script has.
    pub(crate) fn new(size: u64, number: usize, logs: usize) -> UnsafeFiles {
        let most = usize::try_from(BYTES / size.max(1)).unwrap_or(FILES);
        let wanted = most.min(number.saturating_sub(1)).max(1);
        let share = bearable().checked_div(logs).unwrap_or(0);
        UnsafeFiles {
            threads: VecDeque::new(),
            most: wanted.min(share),
        }
    }

    /// Waits until there is room for one more.
    pub(crate) fn make_room(&mut self) {
        while !self.threads.is_empty() && self.threads.len() >= self.most {
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
        if self.most == 0 {
            return full.make_safe();
        }
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
