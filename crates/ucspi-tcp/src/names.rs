//! Names of addresses, from the DNS.

use std::cell::OnceCell;
use std::net::Ipv6Addr;

use base::Bytes;
use dns::Resolver;
use sys::socket::{mapped, unmapped};

/// How far a name is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Belief {
    /// the owner of the address says so
    #[default]
    Any,
    /// and the owner of the name says so too
    Paranoid,
}

/// Looks names up in the resolvers of this machine; without any there are no names. Nothing is read before the first
/// question.
#[derive(Debug, Default)]
pub(crate) struct Names {
    resolver: OnceCell<Option<Resolver>>,
}

impl Names {
    /// The first name of `ip`; `None` if there is none or nobody can tell.
    ///
    /// Waits   at most the time of one question, or three with `Paranoid`.
    pub(crate) fn of(&self, ip: Ipv6Addr, belief: Belief) -> Option<Bytes> {
        let resolver = self
            .resolver
            .get_or_init(|| Resolver::from_system().ok())
            .as_ref()?;
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
