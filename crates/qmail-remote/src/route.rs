//! Where control/smtproutes sends mail.
//!
//! Source  qmail-remote(8): lines `host:relay`, `host:relay:port`, perhaps with a login behind; host may be a suffix with
//!         its dot, or empty

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use base::Bytes;
use base::bytes::{number, split_once};
use control::Map;

use crate::login::{self, Login, Secrets};

/// The port of SMTP.
const SMTP: u16 = 25;
/// The port where TLS comes before the first word (RFC 8314).
pub(crate) const SMTPS: u16 = 465;

/// The routes of the administrator.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    map: Map,
    /// by sender: a relay and a login of his own
    senders: Map,
    secrets: Secrets,
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
    /// who we are there
    pub(crate) login: Option<Login>,
    /// it is that of all hosts without a route of their own, and the same for all of them
    pub(crate) shared: bool,
}

impl Routes {
    /// Reads control/smtproutes, control/authsenders and control/remotesecrets; missing ones are empty.
    pub(crate) fn read() -> io::Result<Routes> {
        let list = |file| Ok::<_, io::Error>(control::list(file)?.unwrap_or_default());
        Ok(Routes::new(
            &list("smtproutes")?,
            &list("authsenders")?,
            Secrets::read()?,
        ))
    }

    fn new(lines: &[Bytes], senders: &[Bytes], secrets: Secrets) -> Routes {
        let both = lines.iter().chain(senders);
        let relays = both.filter_map(|line| split_once(line, b':'));
        let ports = relays.filter_map(|(_, relay)| Some(split(login::cut(relay).0)?.1));
        let mut ports: Vec<u16> = ports.chain([SMTP]).collect();
        ports.sort_unstable();
        ports.dedup();
        Routes {
            map: Map::pairs(lines),
            senders: Map::pairs(senders),
            secrets,
            ports,
        }
    }

    /// Every port that a route can lead to.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The route of a message from `sender` to `host`: that of the sender, of his host or of all senders; else that of
    /// the host's own name, of its longest suffix that begins with a dot, or of the empty name. `None`: the route makes no
    /// sense.
    pub(crate) fn find(&self, host: &[u8], sender: &[u8]) -> Option<Route> {
        if let Some(relay) = self.by_sender(sender) {
            return self.follow(relay, host);
        }
        for suffix in suffixes(host) {
            if let Some(relay) = self.map.get(suffix) {
                let route = self.follow(relay, host)?;
                let shared = suffix.is_empty() && route.way == Way::Direct;
                return Some(Route { shared, ..route });
            }
        }
        self.follow(b"", host)
    }

    fn by_sender(&self, sender: &[u8]) -> Option<&[u8]> {
        if self.senders.is_empty() || sender.is_empty() {
            return None;
        }
        let at = sender.iter().rposition(|&b| b == b'@');
        let host = at.and_then(|at| sender.get(at..));
        [Some(sender), host, Some(b"")]
            .into_iter()
            .flatten()
            .find_map(|key| self.senders.get(key))
    }

    fn follow(&self, value: &[u8], host: &[u8]) -> Option<Route> {
        let (relay, written) = login::cut(value);
        let route = follow(relay, host)?;
        // Where anybody could be the exchanger, only a login that the administrator wrote to it is used.
        let login = match route.way {
            Way::Direct => self.secrets.login(&route.host, written),
            Way::Exchangers => written.and_then(|w| self.secrets.login(b"", Some(w))),
        };
        Some(Route { login, ..route })
    }
}

/// A host, its suffixes that begin with a dot, longest first, and the empty name.
pub(crate) fn suffixes(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..=host.len())
        .filter(|&at| at == 0 || host.get(at).is_none_or(|&b| b == b'.'))
        .filter_map(|at| host.get(at..))
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
        login: None,
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

/// A host without the brackets of an address.
pub(crate) fn bare(host: &[u8]) -> &[u8] {
    host.strip_prefix(b"[")
        .and_then(|h| h.strip_suffix(b"]"))
        .unwrap_or(host)
}

/// An address written as a host: `1.2.3.4`, `[1.2.3.4]`, `[IPv6:...]` and, for routes, a plain IPv6 address with or
/// without brackets.
pub(crate) fn literal(host: &[u8]) -> Option<IpAddr> {
    const TAG: &[u8] = b"ipv6:";
    let bare = bare(host);
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
        let route = Routes::new(&lines, &[], Secrets::new(&[])).find(host.as_bytes(), b"")?;
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
    fn a_sender_may_have_a_relay_and_a_login() {
        let lines =
            |list: &[&str]| -> Vec<Bytes> { list.iter().map(|l| l.as_bytes().to_vec()).collect() };
        let routes = Routes::new(
            &lines(&[":smart.test:587|all|pw", "b.test:"]),
            &lines(&["joe@a.test:own.test|joe|x", "@a.test:theirs.test:465"]),
            Secrets::new(&lines(&["theirs.test:us:y"])),
        );
        for (sender, wanted) in [
            ("joe@a.test", ("own.test", 25, "joe")),
            ("JOE@A.test", ("own.test", 25, "joe")),
            ("ann@a.test", ("theirs.test", 465, "us")),
            ("ann@c.test", ("smart.test", 587, "all")),
            ("", ("smart.test", 587, "all")),
        ] {
            let route = routes.find(b"far.test", sender.as_bytes()).unwrap();
            let name = route.login.map(|l| l.name).unwrap_or_default();
            assert_eq!(
                (route.host.as_slice(), route.port, name.as_slice()),
                (wanted.0.as_bytes(), wanted.1, wanted.2.as_bytes()),
                "{sender}"
            );
        }
        let usual = routes.find(b"b.test", b"ann@c.test").unwrap();
        assert_eq!((usual.way, usual.login), (Way::Exchangers, None));
        assert_eq!(routes.ports(), [25, 465, 587]);
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
