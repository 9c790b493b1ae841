//! Which address literals are this host: `box@[192.0.2.1]` becomes `box@localiphost`.
//!
//! Source  RFC 5321 4.1.3; qmail-smtpd(8)

use std::io;
use std::net::IpAddr;

use base::Bytes;

use crate::address::Mailbox;

/// What this host is called by number, and what it is called then.
#[derive(Clone, Debug)]
pub struct Own {
    /// `localiphost`; `None`: literals stay as they are
    pub name: Option<Bytes>,
    /// the address that the client has connected to
    pub address: Option<IpAddr>,
    /// lists the addresses of the interfaces
    pub interfaces: fn() -> io::Result<Vec<IpAddr>>,
}

impl Own {
    /// Replaces a literal of ours by our name. `true`: it was one. Only to a `trusted` client loopback addresses are
    /// ours.
    ///
    /// # Errors
    /// The interfaces cannot be listed.
    pub fn replace(&self, mailbox: &mut Mailbox, trusted: bool) -> io::Result<bool> {
        let (Some(name), Some(domain)) = (&self.name, &mailbox.domain) else {
            return Ok(false);
        };
        let Some(address) = literal(domain) else {
            return Ok(false);
        };
        let ours = self.is_ours(address, trusted)?;
        if ours {
            mailbox.domain = Some(name.clone());
        }
        Ok(ours)
    }

    fn is_ours(&self, address: IpAddr, trusted: bool) -> io::Result<bool> {
        if address.is_loopback() || address.is_unspecified() {
            return Ok(trusted);
        }
        Ok(self.address == Some(address)
            || (self.interfaces)()?
                .into_iter()
                .any(|own| sys::socket::unmapped(own) == address))
    }
}

/// The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]`. IPv4 inside IPv6 counts as IPv4.
fn literal(domain: &[u8]) -> Option<IpAddr> {
    let inside = domain.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let text = std::str::from_utf8(inside).ok()?;
    let tag = text.get(..5).filter(|t| t.eq_ignore_ascii_case("IPv6:"));
    if tag.is_some() {
        let v6 = text.get(5..)?.parse().ok()?;
        return Some(sys::socket::unmapped(IpAddr::V6(v6)));
    }
    text.parse().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(own: &Own, domain: &str, trusted: bool) -> String {
        let mut mailbox = Mailbox {
            local: b"v".to_vec(),
            domain: Some(domain.as_bytes().to_vec()),
        };
        own.replace(&mut mailbox, trusted).unwrap();
        String::from_utf8(mailbox.domain.unwrap()).unwrap()
    }

    #[test]
    fn only_our_own_literals_are_replaced() {
        let mut own = Own {
            name: Some(b"me.test".to_vec()),
            address: "192.0.2.5".parse().ok(),
            interfaces: || {
                Ok(vec![
                    "192.0.2.1".parse().unwrap(),
                    "2001:db8::1".parse().unwrap(),
                    "127.0.0.1".parse().unwrap(),
                ])
            },
        };
        for ours in [
            "[192.0.2.1]",
            "[192.0.2.5]",
            "[IPv6:2001:DB8:0::1]",
            "[ipv6:::ffff:192.0.2.1]",
        ] {
            assert_eq!(replaced(&own, ours, false), "me.test", "{ours}");
        }
        for other in [
            "[192.0.2.2]",
            "[127.0.0.1]",
            "[0.0.0.0]",
            "[IPv6:::1]",
            "[::1]",
            "[2001:db8::1]",
            "[192.0.2.1x]",
            "[192.0.2.01]",
            "192.0.2.1",
        ] {
            assert_eq!(replaced(&own, other, false), other);
        }
        assert_eq!(replaced(&own, "[127.0.0.1]", true), "me.test");
        own.name = None;
        assert_eq!(replaced(&own, "[192.0.2.1]", false), "[192.0.2.1]");
    }
}
