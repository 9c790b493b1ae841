//! Which addresses to try, in which order.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use dns::{Mx, Resolver, Trouble};

use crate::report::{self, Verdict};
use crate::route::{self, Route, Way};

/// The most exchangers whose addresses are looked up: the best ones.
const LOOKUP_LIMIT: usize = 32;
/// The most addresses of one exchanger that are used.
const ADDRESS_LIMIT: usize = 8;
/// No further exchanger is looked up after this time.
const LOOKUP_TIME: Duration = Duration::from_mins(2);
/// The port where our own server would be met.
const SMTP: u16 = 25;

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) address: IpAddr,
    /// the host that has it
    pub(crate) name: Rc<[u8]>,
    preference: u16,
}

/// What must be known of this machine before promises are made.
#[derive(Debug)]
pub(crate) struct Machine {
    /// unless the route is an address
    resolver: Option<Resolver>,
    /// our own addresses; `None`: they are not known, and matter only where mail could come back
    interfaces: Option<Vec<IpAddr>>,
}

impl Machine {
    /// Reads what `find` will need for this route.
    pub(crate) fn look(route: &Route) -> Result<Machine, Verdict> {
        let resolver = match route::literal(&route.host) {
            Some(_) => None,
            None => Some(Resolver::from_system().map_err(|_| report::system())?),
        };
        // The administrator may send mail anywhere, even to ourselves.
        let interfaces = match route.way {
            Way::Direct => None,
            Way::Exchangers => Some(sys::socket::interfaces().map_err(|_| report::system())?),
        };
        Ok(Machine {
            resolver,
            interfaces,
        })
    }

    /// Reads what `find` may need for any route. What cannot be read is missing then.
    pub(crate) fn look_all() -> Machine {
        let resolver = Resolver::from_system().ok();
        Machine {
            resolver: resolver.map(Resolver::with_memory),
            interfaces: sys::socket::interfaces().ok(),
        }
    }

    /// The ports of the resolvers, which take questions over TCP too.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        let servers = self.resolver.iter().flat_map(|r| r.servers());
        servers.map(SocketAddr::port)
    }
}

/// The addresses of a route, best first, none of them our own.
///
/// # Errors
/// The verdict when there is none.
pub(crate) fn find(route: &Route, machine: &Machine) -> Result<Vec<Candidate>, Verdict> {
    let all = match route::literal(&route.host) {
        Some(address) => vec![Candidate {
            address,
            name: Rc::from(route::bare(&route.host)),
            preference: 0,
        }],
        None => look_up(route, machine.resolver.as_ref())?,
    };
    if all.is_empty() {
        return Err(report::no_exchanger());
    }
    if route.way == Way::Direct {
        return Ok(all);
    }
    let own = machine.interfaces.as_ref().ok_or_else(report::system)?;
    let foreign = before_me(all, |address| is_mine(own, address, route.port));
    if foreign.is_empty() {
        return Err(report::best_is_me());
    }
    Ok(foreign)
}

/// Drops our own addresses and everything that is not better than the best of them: mail would come back.
fn before_me(all: Vec<Candidate>, is_mine: impl Fn(IpAddr) -> bool) -> Vec<Candidate> {
    let own = all
        .iter()
        .filter(|c| is_mine(c.address))
        .map(|c| c.preference)
        .min();
    let mut list = all;
    list.retain(|c| own.is_none_or(|limit| c.preference < limit));
    list
}

/// Whether a connection to `address` would end at this machine.
fn is_mine(interfaces: &[IpAddr], address: IpAddr, port: u16) -> bool {
    let address = sys::socket::unmapped(address);
    // All of 127/8 is this machine, but our server is there only on its own port.
    let is_loopback = address.is_loopback() && port == SMTP;
    address.is_unspecified() || is_loopback || interfaces.contains(&address)
}

fn look_up(route: &Route, resolver: Option<&Resolver>) -> Result<Vec<Candidate>, Verdict> {
    let resolver = resolver.ok_or_else(report::system)?;
    if route.way == Way::Exchangers {
        match resolver.mx(&route.host) {
            Ok(list) => return exchangers(resolver, list),
            Err(Trouble::NoData) => {}
            Err(trouble) => return Err(not_found(&trouble, &route.host)),
        }
    }
    let found = resolver
        .addresses(&route.host)
        .map_err(|trouble| not_found(&trouble, &route.host))?;
    Ok(candidates(found, &route.host, 0).collect())
}

fn not_found(trouble: &Trouble, host: &[u8]) -> Verdict {
    if trouble.is_temporary() {
        report::dns_temporary()
    } else {
        report::no_host(host)
    }
}

/// The addresses of exchangers, best first, equal ones in random order. `list` is sorted.
fn exchangers(resolver: &Resolver, mut list: Vec<Mx>) -> Result<Vec<Candidate>, Verdict> {
    if list.iter().all(|mx| mx.host.is_empty()) {
        return Err(report::null_mx());
    }
    list.retain(|mx| !mx.host.is_empty());
    shuffle_equals(&mut list, || sys::random::number().unwrap_or(0));

    let end = Instant::now() + LOOKUP_TIME;
    let mut found: Vec<Candidate> = Vec::new();
    let mut is_temporary = false;
    for mx in list.iter().take(LOOKUP_LIMIT) {
        if Instant::now() > end {
            is_temporary = true;
            break;
        }
        match resolver.addresses(&mx.host) {
            Ok(addresses) => {
                for candidate in candidates(addresses, &mx.host, mx.preference) {
                    if !found.iter().any(|f| f.address == candidate.address) {
                        found.push(candidate);
                    }
                }
            }
            Err(trouble) => is_temporary |= trouble.is_temporary(),
        }
    }
    if found.is_empty() && is_temporary {
        return Err(report::dns_temporary());
    }
    Ok(found)
}

/// Puts exchangers of the same preference into random order.
fn shuffle_equals(list: &mut [Mx], mut random: impl FnMut() -> u32) {
    for group in list.chunk_by_mut(|a, b| a.preference == b.preference) {
        for last in (1..group.len()).rev() {
            let other = usize::try_from(random()).unwrap_or(0) % (last + 1);
            group.swap(last, other);
        }
    }
}

/// IPv6 and IPv4 in turn, IPv6 first: a family that does not work costs one try at most before the other.
fn candidates(
    addresses: Vec<IpAddr>,
    name: &[u8],
    preference: u16,
) -> impl Iterator<Item = Candidate> + use<> {
    let name: Rc<[u8]> = Rc::from(name);
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let length = v6.len().max(v4.len());
    (0..length)
        .flat_map(move |n| [v6.get(n).copied(), v4.get(n).copied()])
        .flatten()
        .take(ADDRESS_LIMIT)
        .map(move |address| Candidate {
            address,
            name: name.clone(),
            preference,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let list = ["::1", "::2", "::3", "192.0.2.1"].map(ip).to_vec();
        let order: Vec<IpAddr> = candidates(list, b"h", 5).map(|c| c.address).collect();
        assert_eq!(order, ["::1", "192.0.2.1", "::2", "::3"].map(ip));
    }

    #[test]
    fn equals_are_shuffled_and_others_stay() {
        let mx = |preference, host: &str| Mx {
            preference,
            host: host.into(),
        };
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..60u32 {
            let mut list = vec![mx(1, "a"), mx(5, "b"), mx(5, "c"), mx(5, "d"), mx(9, "e")];
            let mut n = seed;
            shuffle_equals(&mut list, || {
                n = n.wrapping_mul(69069).wrapping_add(1);
                n >> 8
            });
            assert_eq!((list[0].host[0], list[4].host[0]), (b'a', b'e'));
            assert!(list.is_sorted_by_key(|m| m.preference));
            firsts.insert(list[1].host.clone());
        }
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn own_addresses_cut_the_list() {
        let list = |preferences: &[u16]| -> Vec<Candidate> {
            let address = |n: usize| ip(&format!("192.0.2.{n}"));
            preferences
                .iter()
                .enumerate()
                .map(|(n, &preference)| Candidate {
                    address: address(n),
                    name: Rc::from(&b"h"[..]),
                    preference,
                })
                .collect()
        };
        let left =
            |preferences: &[u16], own: &str| before_me(list(preferences), |a| a == ip(own)).len();
        assert_eq!(left(&[10, 20, 30], "192.0.2.1"), 1);
        assert_eq!(left(&[10, 10, 30], "192.0.2.1"), 0);
        assert_eq!(left(&[10, 20, 30], "192.0.2.9"), 3);
    }

    #[test]
    fn this_machine_has_many_addresses() {
        let interfaces = [ip("192.0.2.1"), ip("::1"), ip("127.0.0.1")];
        for own in [
            "192.0.2.1",
            "::ffff:192.0.2.1",
            "0.0.0.0",
            "::",
            "127.9.9.9",
            "::1",
        ] {
            assert!(is_mine(&interfaces, ip(own), 25), "{own}");
        }
        assert!(!is_mine(&interfaces, ip("192.0.2.2"), 25));
        assert!(!is_mine(&interfaces, ip("127.9.9.9"), 2525));
        assert!(is_mine(&interfaces, ip("127.0.0.1"), 2525));
    }
}
