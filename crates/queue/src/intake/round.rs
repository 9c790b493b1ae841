//! One flush for many messages: those that are written, and those that are linked.
//!
//! fsync of one file after the other costs a flush of the disk for each of them, though the first has made a journal
//! commit all of it. syncfs is one. It also waits for what others have written on that file system, so it is taken only
//! while that is little; and only where it is known to reach the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;

use sys::Dir;

use super::{Durable, Fault, Intake, Published, Written};

/// Where the kernel says how much is not yet written.
const MEMINFO: &str = "/proc/meminfo";
/// Kilobytes that everybody on the machine may have unwritten for syncfs to be the quicker way.
const DIRTY_LIMIT: u64 = 64 * 1024;
/// Bytes of that file that are looked at: the line is among the first twenty.
const LOOKED_AT: usize = 2048;

/// The file system that holds all of the queue, if it can be flushed at once.
#[derive(Debug)]
pub(super) struct Whole {
    meminfo: File,
}

impl Whole {
    /// `None`: the parts lie on several file systems, or it is none whose syncfs is known to keep the promise.
    pub(super) fn of<'d>(queue: &Dir, parts: impl Iterator<Item = &'d Dir>) -> Option<Whole> {
        let dev = sys::dir::stat_fd(queue).ok()?.dev;
        for part in parts {
            if sys::dir::stat_fd(part).ok()?.dev != dev {
                return None;
            }
        }
        let meminfo = File::open(MEMINFO).ok()?;
        queue.can_sync_whole().then_some(Whole { meminfo })
    }

    /// Whether little enough is unwritten, everywhere.
    fn is_quick(&self) -> bool {
        let mut text = [0; LOOKED_AT];
        let Ok(count) = self.meminfo.read_at(&mut text, 0) else {
            return false;
        };
        dirty(text.get(..count).unwrap_or_default()).is_some_and(|kb| kb <= DIRTY_LIMIT)
    }
}

/// Kilobytes on the lines `Dirty:` and `Writeback:`.
fn dirty(meminfo: &[u8]) -> Option<u64> {
    let value = |name: &[u8]| {
        let line = meminfo
            .split(|&b| b == b'\n')
            .find_map(|line| line.strip_prefix(name))?;
        let digits: Vec<u8> = line.iter().copied().filter(u8::is_ascii_digit).collect();
        base::bytes::number(&digits)
    };
    Some(value(b"Dirty:")?.saturating_add(value(b"Writeback:")?))
}

/// What came of `Intake::round`.
#[derive(Debug)]
pub struct Round<'a> {
    /// of each that was written, in their order
    pub durable: Vec<Result<Durable<'a>, Fault>>,
    /// of all that were published
    pub settled: Result<(), Fault>,
}

impl Intake {
    /// Makes messages that were written durable, and others, published before, durably visible; with one flush for all
    /// of them where that is possible and cheaper.
    ///
    /// Waits   for the disk.
    pub fn round<'a>(&self, written: Vec<Written<'a>>, published: &[Published<'_>]) -> Round<'a> {
        if written.len() > 1 && self.flush_whole(published) {
            return Round {
                durable: written.into_iter().map(|w| Ok(Durable(w.0))).collect(),
                settled: Ok(()),
            };
        }
        Round {
            durable: written.into_iter().map(Written::sync).collect(),
            settled: self.settle(published),
        }
    }

    /// Whether everything is durable now. If not, each has to look for itself, and will see its own error.
    fn flush_whole(&self, published: &[Published<'_>]) -> bool {
        let Some(whole) = &self.whole else {
            return false;
        };
        if !whole.is_quick() || self.queue.sync_whole().is_err() {
            return false;
        }
        // Without a journal, ext4 writes names after its last flush; an fsync flushes once more.
        match published.first() {
            Some(one) => one.todo.sync().is_ok(),
            None => self.queue.sync().is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_is_unwritten() {
        let text = b"MemTotal:  5 kB\nDirty:       120 kB\nWriteback:     3 kB\nAnonPages: 9 kB\n";
        assert_eq!(dirty(text), Some(123));
        assert_eq!(dirty(b"MemTotal: 5 kB\nDirty: 1 kB\n"), None);
        let real = std::fs::read(MEMINFO).unwrap();
        assert!(dirty(&real[..LOOKED_AT.min(real.len())]).is_some());
    }
}
