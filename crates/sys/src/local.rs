//! Stream sockets of this machine, named by a path, whose other side the kernel vouches for.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, accept4, bind,
    getsockopt, listen as kernel_listen, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

/// Who connected, as the kernel noted it at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// effective user id
    pub uid: u32,
    /// effective group id
    pub gid: u32,
    /// process id; 0 where the kernel does not tell
    pub pid: u32,
}

fn stream(flags: SockFlag) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(crate::error)
}

/// A socket listening at `path`, which must not exist; non-blocking, close-on-exec. The umask decides its mode: who may
/// write to it may connect.
///
/// Units   a path has at most 107 bytes; `backlog` counts connections that the kernel may hold for us.
pub fn listen(path: &[u8], backlog: u32) -> io::Result<OwnedFd> {
    let fd = stream(SockFlag::SOCK_NONBLOCK)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path).map_err(crate::error)?).map_err(crate::error)?;
    let count = i32::try_from(backlog)
        .unwrap_or(i32::MAX)
        .min(libc::SOMAXCONN);
    kernel_listen(&fd, Backlog::new(count).map_err(crate::error)?).map_err(crate::error)?;
    Ok(fd)
}

/// Takes the next connection; non-blocking, close-on-exec.
///
/// # Errors
/// `WouldBlock`: there is none.
pub fn accept(listener: &impl AsRawFd) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let number = accept4(listener.as_raw_fd(), flags).map_err(crate::error)?;
    // SAFETY: accept4 has just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Who is on the other side.
pub fn peer(fd: &OwnedFd) -> io::Result<Peer> {
    let found = getsockopt(fd, sockopt::PeerCredentials).map_err(crate::error)?;
    Ok(Peer {
        uid: found.uid(),
        gid: found.gid(),
        pid: u32::try_from(found.pid()).unwrap_or(0),
    })
}

fn time(limit: Duration) -> TimeVal {
    TimeVal::new(
        libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        limit.subsec_micros().into(),
    )
}

/// Two ends of a connection inside this machine; blocking, close-on-exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(crate::error)
}

/// Connects to the socket at `path`. It is blocking, close-on-exec.
///
/// Waits   connecting and every `send` at most `writing`, every read at most `reading`; then `WouldBlock`.
///
/// # Errors
/// `NotFound`: no such name; `ConnectionRefused`: nobody listens there.
pub fn connect(path: &[u8], writing: Duration, reading: Duration) -> io::Result<OwnedFd> {
    let fd = stream(SockFlag::empty())?;
    setsockopt(&fd, sockopt::SendTimeout, &time(writing)).map_err(crate::error)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &time(reading)).map_err(crate::error)?;
    let address = UnixAddr::new(path).map_err(crate::error)?;
    nix::sys::socket::connect(fd.as_raw_fd(), &address).map_err(crate::error)?;
    Ok(fd)
}

/// Whether a process holds the stream socket at `path`, and this one may connect to it. Nobody notices, and nothing
/// waits: a packet socket cannot be connected to it, and the kernel names a hurdle that comes before that one first.
pub fn is_served(path: &[u8]) -> bool {
    let (Ok(fd), Ok(address)) = (
        socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        ),
        UnixAddr::new(path),
    ) else {
        return false;
    };
    nix::sys::socket::connect(fd.as_raw_fd(), &address) == Err(nix::errno::Errno::EPROTOTYPE)
}

/// Sends once, as much as goes; a peer that has gone is an error, never a SIGPIPE.
pub fn send(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    nix::sys::socket::send(fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).map_err(crate::error)
}

/// As `send`, but never waits: `WouldBlock`, when there is no room.
///
/// # Errors
/// `is_no_socket` tells of other descriptors.
pub fn send_now(fd: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    nix::sys::socket::send(fd.as_raw_fd(), bytes, flags).map_err(crate::error)
}

/// Whether a call failed because its descriptor is no socket.
pub fn is_no_socket(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOTSOCK)
}

/// Ends one direction: the other side reads the end of file, and may go on talking.
pub fn hush(fd: &impl AsRawFd) {
    // Trouble means that the other side was faster.
    let _ = nix::sys::socket::shutdown(fd.as_raw_fd(), Shutdown::Write);
}

/// Ends a connection in both directions; the descriptor stays, and whoever waits for it wakes up.
pub fn hang_up(fd: &impl AsRawFd) {
    // Trouble means that the other side was faster.
    let _ = nix::sys::socket::shutdown(fd.as_raw_fd(), Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for what holds when a descriptor is closed everywhere: a process that another test makes meanwhile has a
    /// copy of it for a moment.
    fn soon(what: &str, mut holds: impl FnMut() -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(std::time::Instant::now() < end, "never: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_kernel_names_the_other_side() {
        let path = std::env::temp_dir().join(format!("qmail-rs-local-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let name = path.as_os_str().as_encoded_bytes();
        let second = Duration::from_secs(1);
        assert_eq!(
            connect(name, second, second).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(!is_served(name), "no such name");
        let listener = listen(name, 5).unwrap();
        assert!(is_served(name));
        assert_eq!(
            accept(&listener).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        let client = connect(name, second, Duration::from_millis(10)).unwrap();
        let server = accept(&listener).unwrap();
        assert_eq!(peer(&server).unwrap().uid, crate::ids::euid());
        assert_eq!(peer(&server).unwrap().pid, std::process::id());
        let silent = crate::fd::read(&client, &mut [0; 1]).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(send(&client, b"x").unwrap(), 1);
        drop(server);
        soon("no reader, and no signal", || send(&client, b"x").is_err());
        drop(listener);
        soon("nobody holds it", || !is_served(name));
        assert_eq!(
            connect(name, second, second).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        std::fs::remove_file(&path).unwrap();
    }
}
