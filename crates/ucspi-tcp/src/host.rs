//! The host argument: an address, or a name that the DNS knows.

mod qualify;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base::Die;
use base::bytes::number;
use dns::{Resolver, Trouble};
use sys::socket::mapped;

/// Why a host has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAddress {
    /// nobody could tell now: why
    Temporary(String),
    /// there is none
    None,
}

/// The addresses of `host`, IPv4 mapped.
///
/// `localhost` needs no DNS (RFC 6761); other names are completed as djb's resolver does it.
///
/// # Errors
/// See `NoAddress`.
pub(crate) fn addresses(host: &[u8]) -> Result<Vec<Ipv6Addr>, NoAddress> {
    if let Some(ip) = literal(host) {
        return Ok(vec![mapped(ip)]);
    }
    if host.eq_ignore_ascii_case(b"localhost") || host.eq_ignore_ascii_case(b"localhost.") {
        return Ok(vec![
            Ipv4Addr::LOCALHOST.to_ipv6_mapped(),
            Ipv6Addr::LOCALHOST,
        ]);
    }
    let temporary = |e: io::Error| NoAddress::Temporary(base::die::system_text(&e));
    let resolver = Resolver::from_system().map_err(temporary)?;
    for name in qualify::names(host, &qualify::rules().map_err(temporary)?) {
        if let Some(ip) = literal(&name) {
            return Ok(vec![mapped(ip)]);
        }
        match resolver.addresses(&name) {
            Ok(list) if !list.is_empty() => return Ok(list.into_iter().map(mapped).collect()),
            Err(Trouble::Temporary(why)) => return Err(NoAddress::Temporary(why)),
            Ok(_) | Err(_) => {}
        }
    }
    Err(NoAddress::None)
}

/// An address in text, with or without brackets; numbers of IPv4 may have leading zeros.
pub(crate) fn literal(text: &[u8]) -> Option<IpAddr> {
    let bare = text
        .strip_prefix(b"[")
        .and_then(|t| t.strip_suffix(b"]"))
        .unwrap_or(text);
    four(bare)
        .map(IpAddr::V4)
        .or_else(|| std::str::from_utf8(bare).ok()?.parse().ok())
}

fn four(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split(|&b| b == b'.');
    for octet in &mut octets {
        let part = parts.next()?;
        *octet = u8::try_from(number(part)?).ok()?;
    }
    parts.next().is_none().then_some(octets.into())
}

/// The last word about a host without an address.
pub(crate) fn no_address(host: &[u8], why: NoAddress) -> Die {
    let text = match why {
        NoAddress::Temporary(why) => [
            b"temporarily unable to figure out IP address for ",
            host,
            b": ",
            why.as_bytes(),
        ]
        .concat(),
        NoAddress::None => [b"no IP address for ", host].concat(),
    };
    Die::fatal(111, text)
}

/// The number of an interface; 0, none, if it is not there.
pub(crate) fn interface(name: &[u8]) -> u32 {
    std::str::from_utf8(name)
        .ok()
        .and_then(|name| sys::socket::interface_index(name).ok())
        .unwrap_or(0)
}

/// A mapped address of an IPv6 socket as the IPv4 address that it is.
pub(crate) fn plain(address: &SocketAddr) -> SocketAddr {
    let ip = sys::socket::unmapped(address.ip());
    if ip == address.ip() {
        *address
    } else {
        (ip, address.port()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_text() {
        let v4 = |t: &str| Some(IpAddr::V4(t.parse().unwrap()));
        assert_eq!(literal(b"127.0.0.1"), v4("127.0.0.1"));
        assert_eq!(literal(b"127.000.000.001"), v4("127.0.0.1"));
        assert_eq!(literal(b"[127.0.0.1]"), v4("127.0.0.1"));
        assert_eq!(literal(b"010.0.0.8"), v4("10.0.0.8"));
        assert_eq!(literal(b"[::1]"), Some(Ipv6Addr::LOCALHOST.into()));
        for text in ["1.2.3", "1.2.3.4.5", "1.2.3.256", "", "a.b.c.d", "cafe"] {
            assert_eq!(literal(text.as_bytes()), None, "{text}");
        }
    }
}
