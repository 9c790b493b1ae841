//! A lock beside a file: NAME.lock, made by whoever writes NAME. Dovecot has the same custom.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use sys::Dir;

/// How long a session waits for another one.
const WAIT: Duration = Duration::from_secs(10);
/// Time between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// A lock that is older was left behind by a program that is no more, seconds. As Dovecot sees it.
const STALE: i64 = 120;

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock<'a> {
    dir: &'a Dir,
    name: Vec<u8>,
}

impl<'a> Lock<'a> {
    /// Locks `file`.
    ///
    /// Waits   at most 10 seconds.
    ///
    /// # Errors
    /// `TimedOut`: another program has it. Others: the lock cannot be made.
    pub(super) fn take(dir: &'a Dir, file: &[u8]) -> io::Result<Lock<'a>> {
        let name = [file, b".lock"].concat();
        let begun = Instant::now();
        loop {
            match dir.create_new(&name, 0o600) {
                Ok(mut made) => {
                    let host = sys::process::hostname();
                    let pid = std::process::id();
                    let text = [pid.to_string().as_bytes(), b":", &host].concat();
                    // For others to see who it is; the name is the lock.
                    let _ = made.write_all(&text);
                    return Ok(Lock { dir, name });
                }
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                Err(_) => {}
            }
            let old = dir.stat_link(&name).is_ok_and(|stat| {
                let now = base::tai::unix_now();
                now.saturating_sub(stat.mtime) > STALE
            });
            if old {
                let _ = dir.unlink(&name);
            } else if begun.elapsed() >= WAIT {
                return Err(ErrorKind::TimedOut.into());
            } else {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _ = self.dir.unlink(&self.name);
    }
}
