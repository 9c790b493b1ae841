//! Networks: addresses that begin with the same bits, `192.0.2.0/24` or `2001:db8::/32`. Pure.

use std::net::{IpAddr, Ipv6Addr};

use base::Bytes;
use base::bytes::{number, split_once};
use net::ucspi::{Form, text};
use sys::socket::mapped;

use crate::host::literal;

/// Bits that stand before an IPv4 address in its mapped form.
const MAPPED: u8 = 96;

/// The family of a network and the number of its bits: what must be known to look for the networks of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size {
    /// `4` or `6`
    pub(crate) family: u8,
    pub(crate) bits: u8,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// its first address
    first: Ipv6Addr,
    size: Size,
}

/// More bits than an address has, or no number at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSize;

impl Network {
    /// The network of `size` that `ip` is in; `None` if it is of the other family.
    pub(crate) fn around(ip: Ipv6Addr, size: Size) -> Option<Network> {
        if family(ip) != size.family || size.bits > width(size.family) {
            return None;
        }
        let kept = 128 - width(size.family) + size.bits;
        let mask = u128::MAX
            .checked_shl(u32::from(128 - kept))
            .unwrap_or_default();
        let first = (u128::from(ip) & mask).into();
        Some(Network { first, size })
    }

    /// Reads `ADDRESS/BITS`; the other bits of the address do not count. `Ok(None)`: it is something else.
    ///
    /// # Errors
    /// An address and a slash, but no such number of bits.
    pub(crate) fn read(word: &[u8]) -> Result<Option<Network>, BadSize> {
        let Some((address, bits)) = split_once(word, b'/') else {
            return Ok(None);
        };
        let Some(ip) = literal(address) else {
            return Ok(None);
        };
        let limit = if ip.is_ipv4() { 32 } else { 128 };
        let bits = number(bits)
            .filter(|n| *n <= limit)
            .and_then(|n| u8::try_from(n).ok())
            .ok_or(BadSize)?;
        Ok(network(ip, bits))
    }

    /// Reads a network, or an address, which is one alone. `None`: it is neither.
    pub(crate) fn or_address(word: &[u8]) -> Option<Network> {
        match literal(word) {
            Some(ip) => network(ip, if ip.is_ipv4() { 32 } else { 128 }),
            None => Network::read(word).ok().flatten(),
        }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    pub(crate) fn holds(&self, ip: Ipv6Addr) -> bool {
        Network::around(ip, self.size) == Some(*self)
    }

    /// `ADDRESS/BITS`, with the address as tcpserver shows it.
    pub(crate) fn name(&self) -> Bytes {
        let Size { bits, .. } = self.size;
        format!("{}/{bits}", text(self.first, Form::Own)).into_bytes()
    }
}

/// A mapped network of IPv6 is one of IPv4.
fn network(ip: IpAddr, bits: u8) -> Option<Network> {
    let ip6 = mapped(ip);
    let (family, bits) = match (ip, ip6.to_ipv4_mapped()) {
        (IpAddr::V6(_), Some(_)) => (b'4', bits.checked_sub(MAPPED)?),
        (IpAddr::V6(_), None) => (b'6', bits),
        (IpAddr::V4(_), _) => (b'4', bits),
    };
    Network::around(ip6, Size { family, bits })
}

fn family(ip: Ipv6Addr) -> u8 {
    if ip.to_ipv4_mapped().is_some() {
        b'4'
    } else {
        b'6'
    }
}

fn width(family: u8) -> u8 {
    if family == b'4' { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(word: &str) -> Option<String> {
        let network = Network::read(word.as_bytes()).unwrap();
        network.map(|n| String::from_utf8(n.name()).unwrap())
    }

    #[test]
    fn names_have_one_form() {
        for (word, want) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77/32", "192.0.2.77/32"),
            ("192.0.2.77/0", "0.0.0.0/0"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("2001:db8:ffff::/33", "2001:db8:8000::/33"),
            ("::1/128", "::1/128"),
            ("::/0", "::/0"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ] {
            assert_eq!(name(word).unwrap(), want);
        }
        for word in ["192.0.2.0", "192.0.2./24", "x/24", "/", "", "a/b"] {
            assert_eq!(name(word), None, "{word}");
        }
        for word in ["192.0.2.0/33", "::/129", "::/", "1.2.3.4/x", "1.2.3.4/999"] {
            assert_eq!(Network::read(word.as_bytes()), Err(BadSize), "{word}");
        }
    }

    #[test]
    fn families_do_not_mix() {
        let holds = |word: &[u8], ip: &str| {
            let network = Network::or_address(word).unwrap();
            network.holds(mapped(ip.parse().unwrap()))
        };
        assert!(holds(b"10.0.0.0/8", "10.255.0.1"));
        assert!(!holds(b"10.0.0.0/8", "11.0.0.1"));
        assert!(holds(b"::/0", "2001:db8::1"));
        assert!(!holds(b"::/0", "10.0.0.1"));
        assert!(!holds(b"0.0.0.0/0", "::1"));
        assert!(holds(b"10.0.0.1", "10.0.0.1"));
        assert!(!holds(b"10.0.0.1", "10.0.0.2"));
        assert!(holds(b"fe80::/10", "febf::1"));
        assert_eq!(Network::or_address(b"10.0.0.0/33"), None);
    }
}
