//! Waiting for many descriptors from several threads (epoll): each event goes to one thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// How a descriptor is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// until it was reported once; then `again` is needed
    Once,
    /// each time that something new comes, for one thread
    News,
    /// as long as it is readable, for every thread
    Always,
    /// each time that reading or writing has become possible: who does both until neither goes on
    Both,
}

impl Watch {
    fn bits(self) -> u32 {
        let more = match self {
            Watch::Once => libc::EPOLLONESHOT,
            Watch::News => libc::EPOLLET,
            Watch::Always => 0,
            Watch::Both => libc::EPOLLET | libc::EPOLLOUT | libc::EPOLLRDHUP,
        };
        (libc::EPOLLIN | more) as u32
    }
}

/// A set of descriptors, each with a key of its own.
#[derive(Debug)]
pub struct Ready {
    fd: OwnedFd,
}

impl Ready {
    /// An empty set.
    pub fn new() -> io::Result<Ready> {
        // SAFETY: makes a descriptor, or answers -1.
        let number = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: epoll_create1 has just made this descriptor and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Ready { fd })
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: &impl AsRawFd,
        key: u64,
        watch: Watch,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: watch.bits(),
            u64: key,
        };
        // SAFETY: `event` outlives the call; bad numbers are EBADF.
        let done = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                operation,
                fd.as_raw_fd(),
                &raw mut event,
            )
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Adds a descriptor. It leaves the set when it is closed.
    pub fn add(&self, fd: &impl AsRawFd, key: u64, watch: Watch) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, key, watch)
    }

    /// Watches a descriptor again that was reported `Once`.
    pub fn again(&self, fd: &impl AsRawFd, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, key, Watch::Once)
    }

    /// Waits for one event: the key of a descriptor that can be read or whose other side has gone. `None`: `timeout`
    /// (`None`: no limit) is over, or a signal came.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Option<u64>> {
        let limit = timeout.map_or(-1, |t| i32::try_from(t.as_millis()).unwrap_or(i32::MAX));
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: room for one event, which outlives the call.
        let count = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), &raw mut event, 1, limit) };
        match count {
            1 => Ok(Some(event.u64)),
            0 => Ok(None),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(None),
                e => Err(e),
            },
        }
    }
}

/// The most events that one call of `wait_some` takes.
const SOME: libc::c_int = 64;

impl Ready {
    /// Waits for events, and adds their keys to `found`, some of them perhaps twice. None: `timeout` (`None`: no limit) is
    /// over, or a signal came.
    pub fn wait_some(&self, found: &mut Vec<u64>, timeout: Option<Duration>) -> io::Result<()> {
        // Rounded up: a wait that ends a moment too early would only begin again.
        let limit = timeout.map_or(-1, |t| {
            i32::try_from(t.as_millis().saturating_add(1)).unwrap_or(i32::MAX)
        });
        let mut events = [const { libc::epoll_event { events: 0, u64: 0 } }; SOME as usize];
        // SAFETY: room for `SOME` events, which outlive the call.
        let count =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), SOME, limit) };
        match usize::try_from(count) {
            Ok(count) => {
                found.extend(events.iter().take(count).map(|e| e.u64));
                Ok(())
            }
            Err(_) => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(()),
                e => Err(e),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_report_until_asked_again() {
        let ready = Ready::new().unwrap();
        let (reader, writer) = crate::fd::pipe().unwrap();
        let soon = Some(Duration::from_millis(5));
        ready.add(&reader, 7, Watch::Once).unwrap();
        assert_eq!(ready.wait(soon).unwrap(), None);
        crate::fd::write_all(&writer, b"x").unwrap();
        assert_eq!(ready.wait(None).unwrap(), Some(7));
        assert_eq!(ready.wait(soon).unwrap(), None);
        ready.again(&reader, 8).unwrap();
        assert_eq!(ready.wait(None).unwrap(), Some(8));
    }

    #[test]
    fn news_of_both_directions() {
        let ready = Ready::new().unwrap();
        let (ours, theirs) = crate::local::pair().unwrap();
        let mut found = Vec::new();
        let soon = Some(Duration::from_millis(5));
        ready.add(&ours, 3, Watch::Both).unwrap();
        ready.wait_some(&mut found, soon).unwrap();
        assert_eq!(found, [3], "there is room");
        ready.wait_some(&mut found, soon).unwrap();
        assert_eq!(found, [3], "no news");
        crate::local::send(&theirs, b"x").unwrap();
        ready.wait_some(&mut found, None).unwrap();
        assert_eq!(found, [3, 3]);
    }
}
