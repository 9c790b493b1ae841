//! From a host name to a connection.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::Duration;

use base::Die;
use base::die::system_text;
use net::ucspi::{self, Form};

use super::settings::{Families, Settings};
use crate::host::{self, NoAddress, no_address};
use crate::options::Verbosity;

/// Writes `NAME: TEXT` on descriptor 2.
pub fn say(settings: &Settings, text: &str) {
    let line = format!("{}: {text}\n", settings.name);
    // Nobody is left to hear of trouble with the log.
    let _ = sys::fd::inherited(2).and_then(|err| sys::fd::write_all(&err, line.as_bytes()));
}

/// The addresses of the host; this machine for `0` and the empty name.
pub fn addresses(settings: &Settings) -> Result<Vec<Ipv6Addr>, Die> {
    let host = settings.host.as_slice();
    if matches!(host, b"" | b"0") {
        return Ok(vec![match settings.families {
            Families::Both => Ipv6Addr::LOCALHOST,
            Families::Four => Ipv4Addr::LOCALHOST.to_ipv6_mapped(),
        }]);
    }
    let mut list = host::addresses(host).map_err(|e| no_address(host, e))?;
    if settings.families == Families::Four {
        list.retain(|ip| ip.to_ipv4_mapped().is_some());
    }
    if list.is_empty() {
        return Err(no_address(host, NoAddress::None));
    }
    Ok(list)
}

/// Tries every address for the first time span, then those that timed out for the second. A single address gets both
/// spans at once. The first connection wins.
///
/// # Errors
/// Silent, 111: every address failed, and a line about each has been written. Or there is no socket to try with.
pub fn dial(settings: &Settings, list: &[Ipv6Addr], port: u16) -> Result<OwnedFd, Die> {
    let [first, second] = match (list.len(), settings.patience) {
        (1, [first, second]) => [first.saturating_add(second), Duration::ZERO],
        (_, spans) => spans,
    };
    let mut late = Vec::new();
    for &ip in list {
        match attempt(settings, ip, port, first)? {
            Ok(socket) => return Ok(socket),
            Err(e) if e.kind() == ErrorKind::TimedOut && second > Duration::ZERO => late.push(ip),
            Err(e) => complain(settings, ip, port, &e),
        }
    }
    for ip in late {
        match attempt(settings, ip, port, second)? {
            Ok(socket) => return Ok(socket),
            Err(e) => complain(settings, ip, port, &e),
        }
    }
    Err(Die::silent(111))
}

fn complain(settings: &Settings, ip: Ipv6Addr, port: u16, error: &io::Error) {
    if settings.verbosity >= Verbosity::Trouble {
        let ip = ucspi::text(ip, Form::Own);
        let why = system_text(error);
        say(
            settings,
            &format!("unable to connect to {ip} port {port}: {why}"),
        );
    }
}

/// One try. The inner error is the address's own; the outer one would meet every address.
fn attempt(
    settings: &Settings,
    ip: Ipv6Addr,
    port: u16,
    time: Duration,
) -> Result<io::Result<OwnedFd>, Die> {
    let (mut local, mut remote) = ends(settings, ip, port);
    let socket = match sys::socket::bound(&local) {
        // This machine has no IPv6, but its own address has an IPv4 twin.
        Err(e) if sys::socket::is_unknown_family(&e) => {
            if settings.local_ip.is_none() && ip == Ipv6Addr::LOCALHOST {
                local = (Ipv4Addr::UNSPECIFIED, settings.local_port).into();
                remote = (Ipv4Addr::LOCALHOST, port).into();
                sys::socket::bound(&local)
            } else {
                return Ok(Err(e));
            }
        }
        other => other,
    }
    .map_err(|e| Die::unable("bind socket", &e))?;
    Ok(sys::socket::connect_on(&socket, &remote, time).map(|()| socket))
}

/// Our end and theirs, in one family: IPv4 if both may be, else IPv6 with mapped addresses.
fn ends(settings: &Settings, ip: Ipv6Addr, port: u16) -> (SocketAddr, SocketAddr) {
    let here = match settings.local_ip {
        None => Some(Ipv4Addr::UNSPECIFIED),
        Some(local) => local.to_ipv4_mapped(),
    };
    if let (Some(here), Some(there)) = (here, ip.to_ipv4_mapped()) {
        return ((here, settings.local_port).into(), (there, port).into());
    }
    let six = |ip, port| SocketAddr::V6(SocketAddrV6::new(ip, port, 0, settings.interface));
    let here = settings.local_ip.unwrap_or(Ipv6Addr::UNSPECIFIED);
    (six(here, settings.local_port), six(ip, port))
}
