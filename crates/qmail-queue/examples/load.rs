//! Load for the way into the queue: `load CLIENTS MESSAGES [PID [BYTES]]`, in a home of qmail.
//!
//! So many threads hand over so many messages of 4 KB in all, through `queue::submit` as every program does: to the
//! service when it listens (then PID is its process), else to a qmail-queue for each. Prints messages per second, CPU
//! of the queue's side (of process PID, or of the children) and flushes of the disk, each for one message.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a tool for measuring"
)]

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use queue::submit::{Outcome, Submission};

/// Clock ticks of user and system time: of a process, or of our children that ended.
fn ticks(pid: Option<&str>) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.unwrap_or("self"))).unwrap();
    let fields: Vec<u64> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(|f| f.parse().unwrap_or(0))
        .collect();
    if pid.is_some() {
        fields[11] + fields[12]
    } else {
        fields[13] + fields[14]
    }
}

/// Flushes of the block device that holds the queue; 0 if it cannot be told.
fn flushes() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata("queue").unwrap().dev();
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xff_ff00),
    );
    let path = format!("/sys/dev/block/{major}:{minor}/stat");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .nth(15)
        .and_then(|f| f.parse().ok())
        .unwrap_or(0)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let clients: usize = args[0].parse().unwrap();
    let messages: usize = args[1].parse().unwrap();
    let pid = args.get(2).map(String::as_str).filter(|p| *p != "-");
    let bytes: usize = args.get(3).map_or(4096, |b| b.parse().unwrap());
    let line = b"Just a line of text that is neither long nor short, for the load.\n";
    let body: Vec<u8> = line.iter().copied().cycle().take(bytes).collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let before = (ticks(pid), flushes(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < messages {
                    let mut submission = Submission::open().unwrap();
                    submission.write(&body);
                    submission.sender(b"joe@a.test");
                    submission.recipient(b"sue@b.test");
                    let outcome = submission.close();
                    if outcome != Outcome::Queued && failed.fetch_add(1, Ordering::Relaxed) == 0 {
                        eprintln!("{outcome:?}");
                    }
                }
            });
        }
    });
    let seconds = before.2.elapsed().as_secs_f64();
    let count = messages as f64;
    println!(
        "{clients} clients: {:.0} msg/s, {:.2} CPU-ms and {:.2} flushes a message, {} failed",
        count / seconds,
        (ticks(pid) - before.0) as f64 * 10.0 / count,
        (flushes() - before.1) as f64 / count,
        failed.load(Ordering::Relaxed)
    );
}
