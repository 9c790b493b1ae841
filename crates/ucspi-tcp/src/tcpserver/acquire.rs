//! From the arguments to a bound port without privileges.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;

use base::Die;
use sys::socket::Families;

use super::handed;
use super::settings::{Settings, Sockets};
use crate::host::{self, NoAddress, no_address};

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// every address of this machine
    Everywhere,
    /// one address
    One(Ipv6Addr),
}

/// Where to listen, as the host argument says.
///
/// # Errors
/// The name has no address, or nobody can tell now.
pub fn place(settings: &Settings) -> Result<Place, Die> {
    let host = settings.host.as_slice();
    if matches!(host, b"" | b"0") {
        return Ok(Place::Everywhere);
    }
    let list = host::addresses(host).map_err(|e| no_address(host, e))?;
    let usable = |ip: &&Ipv6Addr| {
        settings.sockets == Sockets::Both || ip.to_ipv4_mapped().is_some() || list.len() == 1
    };
    list.iter()
        .find(usable)
        .map(|ip| Place::One(*ip))
        .ok_or_else(|| no_address(host, NoAddress::None))
}

/// Listens at `place`, unless a socket for `port` was handed over. Without IPv6 in this machine, everywhere means every IPv4 address.
pub fn listen(settings: &Settings, place: &Place, port: u16) -> Result<OwnedFd, Die> {
    let four = |ip: Ipv4Addr| SocketAddr::from((ip, port));
    let six = |ip| SocketAddr::V6(SocketAddrV6::new(ip, port, 0, settings.interface));
    if let Some(socket) = handed::listener(port) {
        return patient(socket);
    }
    let made = match place {
        Place::Everywhere if settings.sockets == Sockets::Four => {
            bind(settings, &four(Ipv4Addr::UNSPECIFIED))
        }
        Place::Everywhere => bind(settings, &six(Ipv6Addr::UNSPECIFIED)).or_else(|e| {
            if sys::socket::is_unknown_family(&e) {
                bind(settings, &four(Ipv4Addr::UNSPECIFIED))
            } else {
                Err(e)
            }
        }),
        Place::One(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => bind(settings, &four(ip)),
            None if settings.sockets == Sockets::Four => Err(ErrorKind::AddrNotAvailable.into()),
            None => bind(settings, &six(*ip)),
        },
    };
    patient(made.map_err(|e| Die::unable("bind", &e))?)
}

fn patient(listener: OwnedFd) -> Result<OwnedFd, Die> {
    // A client may vanish between poll and accept: accept must not wait then.
    sys::fd::nonblocking(&listener, true).map_err(|e| Die::unable("listen", &e))?;
    Ok(listener)
}

fn bind(settings: &Settings, address: &SocketAddr) -> io::Result<OwnedFd> {
    sys::socket::listen(address, settings.backlog, Families::Both)
}

/// The port that was bound.
///
/// # Errors
/// What the kernel says.
pub fn bound_port(listener: &OwnedFd) -> Result<u16, Die> {
    sys::socket::local(listener)
        .map(|address| address.port())
        .map_err(|e| Die::unable("get local address", &e))
}

/// Group, with no others beside it, then user, each if asked for; there is no way back.
pub fn drop_privileges(settings: &Settings) -> Result<(), Die> {
    let (uid, gid) = (settings.uid, settings.gid);
    if gid != 0 {
        sys::ids::set_group(gid).map_err(|e| Die::unable("set gid", &e))?;
    }
    if uid != 0 {
        sys::ids::set_user(uid).map_err(|e| Die::unable("set uid", &e))?;
        if sys::ids::uid() != uid || sys::ids::euid() != uid || sys::ids::set_user(0).is_ok() {
            return Err(Die::fatal(111, "unable to set uid: permission denied"));
        }
    }
    Ok(())
}
