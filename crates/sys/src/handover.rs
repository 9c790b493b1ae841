//! A pair of sockets between a process and its child: whole messages, some of which carry an open descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt,
    recvmsg, sendmsg, socketpair, sockopt,
};

/// Two ends of a connection that keeps the borders of messages. Both close-on-exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(crate::error)
}

/// Sends one message, whole or not at all, with a copy of `fd` if there is one. Never waits, raises no SIGPIPE.
///
/// # Errors
/// `WouldBlock`: the other side has to read first. `BrokenPipe`, `ConnectionReset`: it is gone.
pub fn send(to: &impl AsRawFd, message: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    send_with(to, message, fd.as_slice(), flags)
}

/// As `send`, with copies of several descriptors.
pub fn send_several(to: &impl AsRawFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    send_with(to, message, fds, flags)
}

/// As `send`, but waits for room.
pub fn send_waiting(
    to: &impl AsRawFd,
    message: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    loop {
        match send_with(to, message, fd.as_slice(), MsgFlags::MSG_NOSIGNAL) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn send_with(
    to: &impl AsRawFd,
    message: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: MsgFlags,
) -> io::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() {
        &[]
    } else {
        rights.as_slice()
    };
    let sent = sendmsg::<()>(
        to.as_raw_fd(),
        &[IoSlice::new(message)],
        control,
        flags,
        None,
    )
    .map_err(crate::error)?;
    if sent == message.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Whether `receive` waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// until a message comes, the other side is gone, or a signal comes
    Wait,
    /// not at all: `WouldBlock`
    Now,
}

/// Takes one message into `buffer`: its length, and the descriptor that came with it (close-on-exec). Length 0: the
/// other side is gone.
///
/// # Errors
/// `InvalidData`: the message was longer than `buffer`, or carried more than one descriptor; it is lost, and nothing
/// of it stays open.
pub fn receive(
    from: &impl AsRawFd,
    buffer: &mut [u8],
    patience: Patience,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let (count, mut fds) = receive_several::<1>(from, buffer, patience)?;
    Ok((count, fds.pop()))
}

/// As `receive`, with at most `N` descriptors, in their order; more than 4 are never taken.
pub fn receive_several<const N: usize>(
    from: &impl AsRawFd,
    buffer: &mut [u8],
    patience: Patience,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    // Room for one more than may come, so that it is seen and closed.
    let mut space = nix::cmsg_space!([RawFd; 5]);
    let mut flags = MsgFlags::MSG_CMSG_CLOEXEC;
    if patience == Patience::Now {
        flags |= MsgFlags::MSG_DONTWAIT;
    }
    let mut pieces = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut pieces, Some(&mut space), flags)
        .map_err(crate::error)?;
    let mut fds = Vec::new();
    if let Ok(list) = message.cmsgs() {
        for control in list {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                // SAFETY: the kernel has just made these descriptors for us, and nobody else knows them.
                fds.extend(
                    numbers
                        .into_iter()
                        .map(|n| unsafe { OwnedFd::from_raw_fd(n) }),
                );
            }
        }
    }
    let cut = message
        .flags
        .intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    if cut || fds.len() > N {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((message.bytes, fds))
}

/// Whether descriptor `fd` is an end of a `pair` that our parent has made, for us and nobody else.
pub fn is_from_parent(fd: &impl AsFd) -> bool {
    let kind = getsockopt(fd, sockopt::SockType);
    let maker = getsockopt(fd, sockopt::PeerCredentials);
    kind.is_ok_and(|kind| kind == SockType::SeqPacket)
        && maker.is_ok_and(|maker| maker.pid() == nix::unistd::getppid().as_raw())
}

/// Puts `fd` in the place of the descriptors 0 and 1, whatever they were.
pub fn put_as_standard(fd: &OwnedFd) -> io::Result<()> {
    for number in 0..2 {
        // SAFETY: numbers only. 0 and 1 belong to nobody: who borrows them finds `fd` there from now on.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Makes a copy of this process that holds on to nothing but `keep`, which it gets under a new number: every other
/// descriptor is closed, 0, 1 and 2 are `null`; caught signals have their default action, and none is held back.
///
/// The body of `child` runs in the copy, and its result is the exit code.
///
/// # Errors
/// No process could be made.
pub fn fork_with_only(
    keep: &OwnedFd,
    null: &impl AsRawFd,
    child: impl FnOnce(OwnedFd) -> u8,
) -> io::Result<u32> {
    // No handler of ours may run in the copy while its descriptors change.
    let old = signals(None);
    let made = crate::process::fork(|| match alone(keep, null) {
        Ok(kept) => {
            crate::signal::forget_wake();
            crate::spawn::default_signals();
            child(kept)
        }
        Err(_) => 111,
    });
    signals(Some(old));
    made
}

/// Sets the signals that are held back: all of them, or those of `set`. Returns the former ones.
fn signals(set: Option<libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: both sets are plain C structs on our stack.
    unsafe {
        let mut old: libc::sigset_t = std::mem::zeroed();
        let mut new: libc::sigset_t = std::mem::zeroed();
        match set {
            Some(set) => new = set,
            None => {
                libc::sigfillset(&raw mut new);
            }
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const new, &raw mut old);
        old
    }
}

/// In the copy: all descriptors but the two are gone.
fn alone(keep: &OwnedFd, null: &impl AsRawFd) -> io::Result<OwnedFd> {
    /// Where the copy finds what it keeps.
    const KEPT: RawFd = 3;
    /// Above the numbers that are given new meanings.
    const ABOVE: RawFd = 8;
    let check = |result: libc::c_int| match result {
        -1 => Err(io::Error::last_os_error()),
        number => Ok(number),
    };
    // SAFETY: numbers only. What held the closed descriptors lies in memory that the copy never drops: it ends by
    // _exit, and its body is given `keep` alone.
    unsafe {
        let kept = check(libc::fcntl(keep.as_raw_fd(), libc::F_DUPFD_CLOEXEC, ABOVE))?;
        let null = check(libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, ABOVE))?;
        for number in 0..KEPT {
            check(libc::dup2(null, number))?;
        }
        check(libc::dup3(kept, KEPT, libc::O_CLOEXEC))?;
        close_from(KEPT + 1)?;
        Ok(OwnedFd::from_raw_fd(KEPT))
    }
}

fn close_from(first: RawFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let first = libc::c_uint::try_from(first).unwrap_or(0);
        // SAFETY: see `alone`.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
        if done == 0 {
            return Ok(());
        }
    }
    let (limit, _) = crate::limit::read(crate::limit::Resource::RLIMIT_NOFILE)?;
    for number in first..RawFd::try_from(limit.min(1 << 20)).unwrap_or(1 << 20) {
        // SAFETY: see `alone`.
        unsafe {
            libc::close(number);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn messages_keep_their_borders_and_bring_descriptors() {
        let (ours, theirs) = pair().unwrap();
        let (reader, writer) = crate::fd::pipe().unwrap();
        send(&ours, b"one", None).unwrap();
        send(&ours, b"two", Some(writer.as_fd())).unwrap();
        drop(writer);
        let mut buffer = [0; 8];
        let (count, fd) = receive(&theirs, &mut buffer, Patience::Now).unwrap();
        assert_eq!((&buffer[..count], fd.is_none()), (&b"one"[..], true));
        let (count, fd) = receive(&theirs, &mut buffer, Patience::Wait).unwrap();
        assert_eq!(&buffer[..count], b"two");
        let fd = fd.unwrap();
        crate::fd::write_all(&fd, b"through").unwrap();
        drop(fd);
        let mut text = String::new();
        std::fs::File::from(reader)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "through");
        let none = receive(&theirs, &mut buffer, Patience::Now).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        send(&ours, b"too long for it", None).unwrap();
        let cut = receive(&theirs, &mut buffer, Patience::Now).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::InvalidData);
        drop(ours);
        // Waits: a process that another test makes meanwhile holds a copy of that end until it has closed it.
        let (count, _) = receive(&theirs, &mut buffer, Patience::Wait).unwrap();
        assert_eq!(count, 0);
        assert_eq!(
            send(&theirs, b"x", None).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn a_copy_holds_on_to_one_descriptor() {
        let (ours, theirs) = pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let (_reader, _writer) = crate::fd::pipe().unwrap();
        let pid = fork_with_only(&theirs, &null, |socket| {
            // SAFETY: asks about a number. Only calls of the kernel here: the test program has threads.
            let is_open = |n: &RawFd| unsafe { libc::fcntl(*n, libc::F_GETFD) } >= 0;
            let open = (0..256).filter(is_open).count();
            let message = [u8::try_from(open).unwrap_or(255)];
            u8::from(send_waiting(&socket, &message, None).is_err())
        })
        .unwrap();
        drop(theirs);
        let mut buffer = [0; 8];
        let (count, _) = receive(&ours, &mut buffer, Patience::Wait).unwrap();
        assert_eq!(&buffer[..count], [4]);
        assert_eq!(
            crate::process::wait_for(pid).unwrap(),
            crate::process::End::Exit(0)
        );
        let (count, _) = receive(&ours, &mut buffer, Patience::Wait).unwrap();
        assert_eq!(count, 0);
    }
}
