//! Waiting for descriptors, always with an end.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

/// One descriptor to wait for.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Wait(libc::pollfd);

impl Wait {
    fn new(fd: RawFd, events: libc::c_short) -> Wait {
        Wait(libc::pollfd {
            fd,
            events,
            revents: 0,
        })
    }

    /// Waits until a read would not block: data, end of file or an error.
    pub fn readable(fd: &impl AsRawFd) -> Wait {
        Wait::new(fd.as_raw_fd(), libc::POLLIN)
    }

    /// Waits until a write would not block.
    pub fn writable(fd: &impl AsRawFd) -> Wait {
        Wait::new(fd.as_raw_fd(), libc::POLLOUT)
    }

    /// Waits until the other side is gone, and for nothing else.
    pub fn hung_up(fd: &impl AsRawFd) -> Wait {
        Wait::new(fd.as_raw_fd(), 0)
    }

    /// Whether the last `wait` found it ready (an error or a hang-up counts: the next call will tell).
    pub fn is_ready(&self) -> bool {
        self.0.revents != 0
    }
}

/// Waits until one of `list` is ready, or `timeout` is over (`None`: no limit). Returns how many are ready.
///
/// # Errors
/// `Interrupted` when a signal came; the caller looks at its signals.
pub fn wait(list: &mut [Wait], timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    let limit_pointer = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // A descriptor borrowed in `Wait` may have been closed since: poll reports POLLNVAL, which counts as ready.
    // SAFETY: a `Wait` is a pollfd and nothing else, so `list` is an array of `list.len()` of them; `limit_pointer` is null
    // or points at `limit`; both outlive the call.
    let count = unsafe {
        libc::ppoll(
            list.as_mut_ptr().cast(),
            list.len() as libc::nfds_t,
            limit_pointer,
            std::ptr::null(),
        )
    };
    if count < 0 {
        for w in list.iter_mut() {
            w.0.revents = 0;
        }
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Waits until `fd` can be read, going on after signals. `false`: `timeout` is over.
pub fn readable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    one(Wait::readable(fd), timeout)
}

/// Waits until `fd` can be written, going on after signals. `false`: `timeout` is over.
pub fn writable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    one(Wait::writable(fd), timeout)
}

fn one(what: Wait, timeout: Duration) -> io::Result<bool> {
    let end = Instant::now().checked_add(timeout);
    let mut list = [what];
    loop {
        let left = end.map(|e| e.saturating_duration_since(Instant::now()));
        match wait(&mut list, left) {
            Ok(count) => return Ok(count > 0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
