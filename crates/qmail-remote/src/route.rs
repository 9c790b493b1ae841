//! Where control/smtproutes sends mail.
//!
//! Source  qmail-remote(8): lines `host:relay`, `host:relay:port`; host may be a suffix with its dot, or empty

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use base::Bytes;
use base::bytes::{number, split_once};
use control::Map;

/// The port of SMTP.
const SMTP: u16 = 25;

/// The routes of the administrator.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    map: Map,
    /// those that a route may name
    ports: Vec<u16>,
}

/// How the addresses of a host are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// by its MX records
    Exchangers,
    /// by its own addresses: the administrator named it
    Direct,
}

/// Where one message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) host: Bytes,
    pub(crate) way: Way,
    pub(crate) port: u16,
    /// it is that of all hosts without a route of their own, and the same for all of them
    pub(crate) shared: bool,
}

impl Routes {
    /// Reads control/smtproutes; a missing one has no routes.
    pub(crate) fn read() -> io::Result<Routes> {
        Ok(Routes::new(
            &control::list("smtproutes")?.unwrap_or_default(),
        ))
    }

    fn new(lines: &[Bytes]) -> Routes {
        let relays = lines.iter().filter_map(|line| split_once(line, b':'));
        let ports = relays.filter_map(|(_, relay)| Some(split(relay)?.1));
        let mut ports: Vec<u16> = ports.chain([SMTP]).collect();
        ports.sort_unstable();
        ports.dedup();
        Routes {
            map: Map::pairs(lines),
            ports,
        }
    }

    /// Every port that a route can lead to.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The route of `host`: that of its own name, else of its longest suffix that begins with a dot, else of the empty
    /// name. `None`: the route makes no sense.
    pub(crate) fn find(&self, host: &[u8]) -> Option<Route> {
        let suffixes = (0..=host.len())
            .filter(|&at| at == 0 || host.get(at).is_none_or(|&b| b == b'.'))
            .filter_map(|at| host.get(at..));
        for suffix in suffixes {
            if let Some(relay) = self.map.get(suffix) {
                let route = follow(relay, host)?;
                let shared = suffix.is_empty() && route.way == Way::Direct;
                return Some(Route { shared, ..route });
            }
        }
        follow(b"", host)
    }
}

/// Reads `relay`, `relay:port`, `[IPv6]:port`, a bare IPv6 address, or `:port`, which changes the port alone.
fn follow(relay: &[u8], host: &[u8]) -> Option<Route> {
    let (name, port) = split(relay)?;
    let (host, way) = if name.is_empty() {
        (host, Way::Exchangers)
    } else {
        (name, Way::Direct)
    };
    Some(Route {
        host: host.to_vec(),
        way,
        port,
        shared: false,
    })
}

fn split(relay: &[u8]) -> Option<(&[u8], u16)> {
    if std::str::from_utf8(relay).is_ok_and(|t| t.parse::<Ipv6Addr>().is_ok()) {
        return Some((relay, SMTP));
    }
    if relay.first() == Some(&b'[')
        && let Some(end) = relay.iter().position(|&b| b == b']')
    {
        let (name, after) = relay.split_at_checked(end + 1)?;
        return match after.split_first() {
            None => Some((name, SMTP)),
            Some((b':', digits)) => Some((name, port(digits)?)),
            Some(_) => None,
        };
    }
    match split_once(relay, b':') {
        Some((name, digits)) => Some((name, port(digits)?)),
        None => Some((relay, SMTP)),
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    let port = u16::try_from(number(digits)?).ok()?;
    (port > 0).then_some(port)
}

/// An address written as a host: `1.2.3.4`, `[1.2.3.4]`, `[IPv6:...]` and, for routes, a plain IPv6 address with or
/// without brackets.
pub(crate) fn literal(host: &[u8]) -> Option<IpAddr> {
    const TAG: &[u8] = b"ipv6:";
    let bare = host
        .strip_prefix(b"[")
        .and_then(|h| h.strip_suffix(b"]"))
        .unwrap_or(host);
    let bare = match bare.split_at_checked(TAG.len()) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case(TAG) => rest,
        _ => bare,
    };
    std::str::from_utf8(bare).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str], host: &str) -> Option<(String, Way, u16)> {
        let lines: Vec<Bytes> = lines.iter().map(|l| l.as_bytes().to_vec()).collect();
        let route = Routes::new(&lines).find(host.as_bytes())?;
        Some((
            String::from_utf8(route.host).unwrap(),
            route.way,
            route.port,
        ))
    }

    #[test]
    fn the_longest_key_wins() {
        let lines = ["a.b.test:one", ".b.test:two", ".test:three", ":four:26"];
        let relay = |host| found(&lines, host).unwrap().0;
        assert_eq!(relay("A.b.Test"), "one");
        assert_eq!(relay("x.a.b.test"), "two");
        assert_eq!(relay("b.test"), "three");
        assert_eq!(relay("test"), "four");
        assert_eq!(found(&lines, "").unwrap(), ("four".into(), Way::Direct, 26));
        assert_eq!(
            found(&[], "a.test").unwrap(),
            ("a.test".into(), Way::Exchangers, 25)
        );
    }

    #[test]
    fn an_empty_relay_means_the_usual_way() {
        let lines = ["a.test:", ":relay", "b.test::2525"];
        assert_eq!(
            found(&lines, "a.test").unwrap(),
            ("a.test".into(), Way::Exchangers, 25)
        );
        assert_eq!(
            found(&lines, "b.test").unwrap(),
            ("b.test".into(), Way::Exchangers, 2525)
        );
    }

    #[test]
    fn relays_have_many_forms() {
        for (relay, wanted) in [
            ("r.test", Some(("r.test", 25))),
            ("r.test:2525", Some(("r.test", 2525))),
            ("192.0.2.1:26", Some(("192.0.2.1", 26))),
            ("[2001:db8::1]:26", Some(("[2001:db8::1]", 26))),
            ("[2001:db8::1]", Some(("[2001:db8::1]", 25))),
            ("2001:db8::1", Some(("2001:db8::1", 25))),
            ("r.test:", None),
            ("r.test:0", None),
            ("r.test:65536", None),
            ("r.test:25x", None),
            ("[::1]x", None),
        ] {
            let got = found(&[&format!("h:{relay}")], "h").map(|(h, _, p)| (h, p));
            assert_eq!(got, wanted.map(|(h, p)| (h.to_owned(), p)), "{relay}");
        }
    }

    #[test]
    fn literals_are_addresses() {
        for (text, wanted) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("[192.0.2.1]", Some("192.0.2.1")),
            ("[IPv6:2001:db8::1]", Some("2001:db8::1")),
            ("[ipv6:::1]", Some("::1")),
            ("[::1]", Some("::1")),
            ("[192.0.2.1", None),
            ("a.test", None),
            ("[]", None),
            ("", None),
        ] {
            let wanted: Option<IpAddr> = wanted.map(|w| w.parse().unwrap());
            assert_eq!(literal(text.as_bytes()), wanted, "{text}");
        }
    }
}
