//! One flush for many messages: those that are written, and those that are linked.
//!
//! fsync of one file after the other costs a flush of the disk for each of them, though the first has made a journal
//! commit all of it. syncfs is one. It also waits for what others have written on that file system, so it is left for a
//! while when it was slow, or when much is unwritten on the machine; and it is taken only where it is known to reach the
//! disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sys::Dir;
use sys::volume::Reach;

use super::{Durable, Fault, Intake, Published, Written};

/// Where the kernel says how much is not yet written.
const MEMINFO: &str = "/proc/meminfo";
/// Kilobytes that everybody on the machine may have unwritten for syncfs to be tried.
const DIRTY_LIMIT: u64 = 1 << 20;
/// A syncfs that takes longer has waited for others.
const SLOW: Duration = Duration::from_millis(250);
/// It is not tried then for so many times what it took: at most a twentieth of the time goes into slow ones.
const PAUSE: u32 = 20;
/// Bytes of that file that are looked at: the line is among the first twenty.
const LOOKED_AT: usize = 2048;

/// The file system that holds all of the queue, if it can be flushed at once.
#[derive(Debug)]
pub(super) struct Whole {
    meminfo: File,
    reach: Reach,
    since: Instant,
    /// milliseconds after `since` before which it is not tried
    not_before: AtomicU64,
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
        let reach = sys::volume::reach(queue);
        (reach != Reach::Unknown).then(|| Whole {
            meminfo,
            reach,
            since: Instant::now(),
            not_before: AtomicU64::new(0),
        })
    }

    /// Whether it may be tried: it was not slow of late, and little enough is unwritten.
    fn is_quick(&self) -> bool {
        if millis(self.since.elapsed()) < self.not_before.load(Ordering::Relaxed) {
            return false;
        }
        let mut text = [0; LOOKED_AT];
        let Ok(count) = self.meminfo.read_at(&mut text, 0) else {
            return false;
        };
        dirty(text.get(..count).unwrap_or_default()).is_some_and(|kb| kb <= DIRTY_LIMIT)
    }

    /// Notes how long one has taken.
    fn took(&self, time: Duration) {
        if time > SLOW {
            let until = millis(self.since.elapsed() + time.saturating_mul(PAUSE));
            self.not_before.store(until, Ordering::Relaxed);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
    ///
    /// One call at a time: the kernel tells an error of writing once to each open directory, so of two calls one could
    /// hear of the other's.
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
        if !whole.is_quick() {
            return false;
        }
        let start = Instant::now();
        let done = sys::volume::sync_whole(&self.queue);
        whole.took(start.elapsed());
        if done.is_err() {
            return false;
        }
        // An fsync flushes the disk once more.
        match published.first() {
            _ if whole.reach == Reach::Everything => true,
            Some(one) => one.todo.sync().is_ok(),
            None => self.queue.sync().is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_slow_one_it_is_left_for_a_while() {
        let whole = Whole {
            meminfo: File::open("/dev/null").unwrap(),
            reach: Reach::Everything,
            since: Instant::now(),
            not_before: AtomicU64::new(0),
        };
        whole.took(SLOW);
        assert_eq!(whole.not_before.load(Ordering::Relaxed), 0);
        whole.took(SLOW * 2);
        assert!(whole.not_before.load(Ordering::Relaxed) >= millis(SLOW * 2 * PAUSE));
        assert!(!whole.is_quick());
    }

    #[test]
    fn the_kernel_says_how_much_is_unwritten() {
        let text = b"MemTotal:  5 kB\nDirty:       120 kB\nWriteback:     3 kB\nAnonPages: 9 kB\n";
        assert_eq!(dirty(text), Some(123));
        assert_eq!(dirty(b"MemTotal: 5 kB\nDirty: 1 kB\n"), None);
        let real = std::fs::read(MEMINFO).unwrap();
        assert!(dirty(&real[..LOOKED_AT.min(real.len())]).is_some());
    }
}
