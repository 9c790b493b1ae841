//! Names of addresses, from the DNS.

use std::net::Ipv6Addr;

use base::Bytes;
use dns::Resolver;
use sys::socket::{mapped, unmapped};

/// How far a name is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Belief {
    /// the owner of the address says so
    #[default]
    Any,
    /// and the owner of the name says so too
    Paranoid,
}

/// Looks names up; without a resolver there are none.
pub(crate) struct Names {
    resolver: Option<Resolver>,
}

impl Names {
    /// Asks the resolvers of this machine.
    pub(crate) fn new() -> Names {
        Names {
            resolver: Resolver::from_system().ok(),
        }
    }

    /// The first name of `ip`; `None` if there is none or nobody can tell.
    ///
    /// Waits   at most the time of one question, or three with `Paranoid`.
    pub(crate) fn of(&self, ip: Ipv6Addr, belief: Belief) -> Option<Bytes> {
        let resolver = self.resolver.as_ref()?;
        let names = resolver.ptr(unmapped(ip.into())).ok()?;
        let name = names.into_iter().next().filter(|n| !n.is_empty())?;
        (belief == Belief::Any || agrees(resolver, &name, ip)).then_some(name)
    }
}

/// Whether `ip` is among the addresses of `name`.
fn agrees(resolver: &Resolver, name: &[u8], ip: Ipv6Addr) -> bool {
    resolver
        .addresses(name)
        .is_ok_and(|list| list.into_iter().any(|a| mapped(a) == ip))
}
