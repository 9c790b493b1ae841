//! Which resolvers to ask.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// Where resolvers listen.
const PORT: u16 = 53;
/// The most resolvers that are used, as in djbdns.
const SERVER_LIMIT: usize = 16;
/// The most bytes of resolv.conf that are read.
const FILE_LIMIT: u64 = 64 * 1024;

/// Resolvers, and whether the AD bit of all of them is worth something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Servers {
    pub(crate) list: Vec<SocketAddr>,
    pub(crate) trusted: bool,
}

/// See `Resolver::from_system`.
pub(crate) fn of_system() -> io::Result<Servers> {
    let named = base::env("DNSCACHEIP")
        .filter(|_| !sys::ids::privileged_over_caller())
        .map(|value| of_variable(&value))
        .unwrap_or_default();
    if !named.is_empty() {
        return Ok(finish(named, false));
    }
    let mut text = Vec::new();
    match std::fs::File::open("/etc/resolv.conf") {
        Ok(file) => {
            file.take(FILE_LIMIT).read_to_end(&mut text)?;
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let (list, trust_ad) = of_file(&text);
    Ok(finish(list, trust_ad))
}

/// The loopback resolver when there is no other; trust only in what cannot be changed on its way.
fn finish(mut list: Vec<SocketAddr>, trust_ad: bool) -> Servers {
    if list.is_empty() {
        list.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    list.truncate(SERVER_LIMIT);
    let trusted = trust_ad
        || list
            .iter()
            .all(|s| sys::socket::unmapped(s.ip()).is_loopback());
    Servers { list, trusted }
}

/// The addresses of DNSCACHEIP. Words that are no address are left out.
fn of_variable(value: &[u8]) -> Vec<SocketAddr> {
    value
        .split(|b| b.is_ascii_whitespace() || *b == b',')
        .filter(|w| !w.is_empty())
        .flat_map(|word| match socket(word) {
            Some(one) => vec![one],
            None => joined(word),
        })
        .collect()
}

/// djb's form: IPv4 addresses joined by dots.
fn joined(word: &[u8]) -> Vec<SocketAddr> {
    let numbers: Option<Vec<u8>> = std::str::from_utf8(word)
        .ok()
        .map(|t| t.split('.').map(str::parse).collect::<Result<_, _>>())
        .and_then(Result::ok);
    numbers
        .unwrap_or_default()
        .chunks_exact(4)
        .filter_map(|four| <[u8; 4]>::try_from(four).ok())
        .map(|four| (Ipv4Addr::from(four), PORT).into())
        .collect()
}

/// `IP`, `IP:port`, `[IPv6]` or `[IPv6]:port`, with a scope if it is link-local.
fn socket(word: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(word).ok()?;
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some((ip, PORT).into());
    }
    let (ip, scope) = bare.split_once('%')?;
    let number = match scope.parse() {
        Ok(number) => number,
        Err(_) => sys::socket::interface_index(scope).ok()?,
    };
    Some(SocketAddrV6::new(ip.parse().ok()?, PORT, 0, number).into())
}

/// The resolvers of a resolv.conf, and whether `options trust-ad` is set.
fn of_file(text: &[u8]) -> (Vec<SocketAddr>, bool) {
    let mut list = Vec::new();
    let mut trust_ad = false;
    for line in text.split(|&b| b == b'\n') {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|w| !w.is_empty());
        match words.next() {
            Some(b"nameserver") => list.extend(words.next().and_then(socket)),
            Some(b"options") => trust_ad |= words.any(|w| w == b"trust-ad"),
            _ => {}
        }
    }
    (list, trust_ad)
}

/// An address in text.
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|s| s.parse().unwrap()).collect()
    }

    #[test]
    fn the_variable_takes_many_forms() {
        for (value, wanted) in [
            ("127.0.0.1", &["127.0.0.1:53"][..]),
            ("127.0.0.1:5353", &["127.0.0.1:5353"]),
            ("::1 [::1]:54,[::2]", &["[::1]:53", "[::1]:54", "[::2]:53"]),
            ("1.2.3.4.5.6.7.8", &["1.2.3.4:53", "5.6.7.8:53"]),
            ("rubbish", &[]),
            ("", &[]),
        ] {
            assert_eq!(of_variable(value.as_bytes()), sockets(wanted), "{value}");
        }
    }

    #[test]
    fn resolv_conf_gives_servers_and_trust() {
        let text = b"# c\nnameserver 127.0.0.1\n\tnameserver ::1 # x\noptions edns0 trust-ad\nnameserver bad\nsearch a.b";
        let (list, trust_ad) = of_file(text);
        assert_eq!(list, sockets(&["127.0.0.1:53", "[::1]:53"]));
        assert!(trust_ad);
        assert_eq!(of_file(b"\xff\0nameserver"), (vec![], false));
        assert_eq!(
            of_file(b"nameserver fe80::1%1").0,
            sockets(&["[fe80::1%1]:53"])
        );
    }

    #[test]
    fn only_loopback_or_an_explicit_word_is_trusted() {
        assert!(finish(sockets(&["127.0.0.1:53", "[::1]:53"]), false).trusted);
        assert!(!finish(sockets(&["127.0.0.1:53", "192.0.2.1:53"]), false).trusted);
        assert!(finish(sockets(&["192.0.2.1:53"]), true).trusted);
        assert_eq!(finish(vec![], false).list, sockets(&["127.0.0.1:53"]));
        assert_eq!(finish(sockets(&["[::1]:53"; 40]), false).list.len(), 16);
    }
}
