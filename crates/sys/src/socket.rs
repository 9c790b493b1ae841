//! TCP sockets and the addresses of this machine.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike,
    SockaddrStorage, accept4, bind, getpeername, getsockname, getsockopt, listen as kernel_listen,
    setsockopt, socket, sockopt,
};

/// What a listening socket accepts besides its own family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// an IPv6 socket takes IPv4 clients too, as mapped addresses
    Both,
    /// only the family of the address
    One,
}

fn storage(address: &SocketAddr) -> Box<dyn SockaddrLike> {
    match address {
        SocketAddr::V4(v4) => Box::new(SockaddrIn::from(*v4)),
        SocketAddr::V6(v6) => Box::new(SockaddrIn6::from(*v6)),
    }
}

fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn standard(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4(SocketAddrV4::from(*v4)));
    }
    address
        .as_sockaddr_in6()
        .map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)))
}

/// A stream socket listening at `address`; address reuse on, close-on-exec.
///
/// Units   `backlog` is the number of connections that the kernel may hold for us.
pub fn listen(address: &SocketAddr, backlog: u32, families: Families) -> io::Result<OwnedFd> {
    let fd = socket(
        family(address),
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(crate::error)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(crate::error)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &(families == Families::One)).map_err(crate::error)?;
    }
    bind(fd.as_raw_fd(), storage(address).as_ref()).map_err(crate::error)?;
    // The kernel cuts a backlog that is too large by itself; nix checks against SOMAXCONN, so it is cut here.
    let count = i32::try_from(backlog)
        .unwrap_or(i32::MAX)
        .min(libc::SOMAXCONN);
    kernel_listen(&fd, Backlog::new(count).map_err(crate::error)?).map_err(crate::error)?;
    Ok(fd)
}

/// Takes the next connection: its socket (blocking, close-on-exec) and the address of the peer.
pub fn accept(listener: &impl AsRawFd) -> io::Result<(OwnedFd, SocketAddr)> {
    use std::os::fd::FromRawFd;
    let number = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC).map_err(crate::error)?;
    // SAFETY: accept4 has just made this descriptor and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    let peer = peer(&fd)?;
    Ok((fd, peer))
}

/// Connects to `address`, from `local` if given, waiting at most `timeout`. The socket is blocking afterwards.
///
/// # Errors
/// `TimedOut` when the time was over; otherwise what the kernel says.
pub fn connect(
    address: &SocketAddr,
    local: Option<&SocketAddr>,
    timeout: Duration,
) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family(address), SockType::Stream, flags, None).map_err(crate::error)?;
    if let Some(local) = local {
        bind(fd.as_raw_fd(), storage(local).as_ref()).map_err(crate::error)?;
    }
    connect_on(&fd, address, timeout)?;
    Ok(fd)
}

/// A stream socket bound to `local` (port 0: any), not connected yet; close-on-exec, for `connect_on`. An IPv6 socket
/// takes mapped addresses too.
pub fn bound(local: &SocketAddr) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family(local), SockType::Stream, flags, None).map_err(crate::error)?;
    if local.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &false).map_err(crate::error)?;
    }
    bind(fd.as_raw_fd(), storage(local).as_ref()).map_err(crate::error)?;
    Ok(fd)
}

/// Connects a non-blocking socket, as `bound` makes them, to `address`, waiting at most `timeout`. The socket is blocking afterwards.
///
/// # Errors
/// `TimedOut` when the time was over; otherwise what the kernel says.
pub fn connect_on(fd: &OwnedFd, address: &SocketAddr, timeout: Duration) -> io::Result<()> {
    match nix::sys::socket::connect(fd.as_raw_fd(), storage(address).as_ref()) {
        Ok(()) => {}
        Err(nix::errno::Errno::EINPROGRESS | nix::errno::Errno::EINTR) => {
            if !crate::poll::writable(fd, timeout)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let error = getsockopt(fd, sockopt::SocketError).map_err(crate::error)?;
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
        }
        Err(e) => return Err(crate::error(e)),
    }
    crate::fd::nonblocking(fd, false)
}

/// Whether `error` says that this machine has no sockets of the family that was asked for.
pub fn is_unknown_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// The address of the other side.
///
/// # Errors
/// `ENOTSOCK`, `ENOTCONN`; a socket that is not of the internet is `Unsupported`.
pub fn peer(fd: &impl AsRawFd) -> io::Result<SocketAddr> {
    let address: SockaddrStorage = getpeername(fd.as_raw_fd()).map_err(crate::error)?;
    standard(&address).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Our own address on this socket.
pub fn local(fd: &impl AsRawFd) -> io::Result<SocketAddr> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd()).map_err(crate::error)?;
    standard(&address).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Whether `fd` is a stream socket that listens.
pub fn is_listening(fd: &OwnedFd) -> bool {
    getsockopt(fd, sockopt::SockType).is_ok_and(|kind| kind == SockType::Stream)
        && getsockopt(fd, sockopt::AcceptConn).is_ok_and(|listens| listens)
}

/// Sends small writes at once.
pub fn no_delay(fd: &OwnedFd) -> io::Result<()> {
    setsockopt(fd, sockopt::TcpNoDelay, &true).map_err(crate::error)
}

/// Lets the kernel find peers that vanished without a word.
pub fn keep_alive(fd: &OwnedFd) -> io::Result<()> {
    setsockopt(fd, sockopt::KeepAlive, &true).map_err(crate::error)
}

/// Takes the IP options (source routes) of an IPv4 connection away.
pub fn drop_ip_options(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: an option of length 0; the kernel reads nothing.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_OPTIONS,
            std::ptr::null(),
            0,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Every address of every interface of this machine, each once.
pub fn interfaces() -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().map_err(crate::error)? {
        let Some(address) = interface.address.as_ref().and_then(standard) else {
            continue;
        };
        if !found.contains(&address.ip()) {
            found.push(address.ip());
        }
    }
    Ok(found)
}

/// The number of an interface name, for link-local addresses.
pub fn interface_index(name: &str) -> io::Result<u32> {
    nix::net::if_::if_nametoindex(name).map_err(crate::error)
}

/// The name of an interface number; `None` if there is none.
pub fn interface_name(index: u32) -> Option<Vec<u8>> {
    nix::net::if_::if_indextoname(index)
        .ok()
        .map(std::ffi::CString::into_bytes)
}

/// The IPv4 address inside an IPv4-mapped IPv6 address; other addresses as they are.
pub fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The IPv6 form of an address: IPv4 becomes mapped.
pub fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
    }
}

/// Whether `connect` failed because this machine has no way to such an address: a family or a network that it is not
/// part of. Such a failure comes at once.
pub fn is_no_way(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENETUNREACH
                | libc::ENETDOWN
                | libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::EINVAL
        )
    )
}
