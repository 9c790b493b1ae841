//! Which rule applies to a client: the order of search, and what a record says. Pure.
//!
//! The keys of a client in order; the first that has a record ends the search:
//!
//! 1. `info@ip`
//! 2. `info@=host`
//! 3. `ip`
//! 4. `=host`
//! 5. the beginnings of the address that end in a dot or a colon, and the networks that it is in, longest first
//! 6. `=.suffix` for the rests of the host name from each dot on, longest first
//! 7. `=`
//! 8. the empty key
//!
//! Steps 1 and 2 need the info, steps 2, 4, 6 and 7 need the host name. Or the client is judged from both sides, and
//! there may be two rules: the first of steps 1, 3 and 5, and the first of steps 2, 4, 6 and 7; step 8 if there is none.
//!
//! Networks are ours: the record of the key `/` tells which sizes occur in the table.

use std::net::IpAddr;

use base::Bytes;
use sys::socket::mapped;

use crate::network::{Network, Size};

/// The key of the sizes of networks. No client has it: its keys begin with an address, or have an `@` or a `=`.
pub(crate) const SIZES: &[u8] = b"/";

/// Which rules count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// the first of all
    #[default]
    First,
    /// the first for the address and the first for the name
    Both,
}

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    /// its address as text
    pub(crate) ip: &'a [u8],
    /// its name
    pub(crate) host: Option<&'a [u8]>,
    /// what its host says of the user
    pub(crate) info: Option<&'a [u8]>,
}

/// The rule of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// the address part of the rule
    pub(crate) key: Bytes,
    /// its record, for `instructions`
    pub(crate) data: Bytes,
}

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction<'a> {
    /// do not serve
    Deny,
    /// set a variable: `NAME=value`
    Set(&'a [u8]),
}

/// The keys of one step.
type Step = Vec<Bytes>;

/// The steps of `client` that begin with its address: 1, 3 and 5.
fn by_address(client: &Client<'_>, sizes: &[Size]) -> [Step; 3] {
    let user = client.info.map(|info| [info, b"@", client.ip].concat());
    [
        user.into_iter().collect(),
        vec![client.ip.to_vec()],
        around(client.ip, sizes),
    ]
}

/// The steps of `client` that begin with its name: 2, 4, and 6 with 7.
fn by_name(client: &Client<'_>) -> [Step; 3] {
    let Some(host) = client.host else {
        return [Step::new(), Step::new(), Step::new()];
    };
    let user = client.info.map(|info| [info, b"@=", host].concat());
    let named = |rest: &[u8]| [b"=", rest].concat();
    [
        user.into_iter().collect(),
        vec![named(host)],
        suffixes(host).map(named).chain([named(b"")]).collect(),
    ]
}

/// The beginnings of `ip` and the networks of `sizes` that it is in, longest first. A beginning has 8 bits for each
/// number of IPv4 and 16 for each of IPv6; of two that are as long, the network comes first.
fn around(ip: &[u8], sizes: &[Size]) -> Step {
    let address = std::str::from_utf8(ip)
        .ok()
        .and_then(|text| text.parse::<IpAddr>().ok());
    let networks = sizes.iter().filter_map(|&size| {
        let network = Network::around(mapped(address?), size)?;
        Some((u32::from(size.bits), network.name()))
    });
    let mut all: Vec<(u32, Bytes)> = networks.collect();
    if all.is_empty() {
        return prefixes(ip).map(<[u8]>::to_vec).collect();
    }
    all.extend(prefixes(ip).map(|prefix| (length(prefix), prefix.to_vec())));
    all.sort_by_key(|(bits, _)| std::cmp::Reverse(*bits));
    all.into_iter().map(|(_, key)| key).collect()
}

fn length(prefix: &[u8]) -> u32 {
    let numbers = prefix.split_inclusive(|b| matches!(b, b'.' | b':'));
    numbers
        .map(|number| match number {
            [_, .., b'.'] => 8,
            [_, .., b':'] => 16,
            _ => 0,
        })
        .sum()
}

/// The beginnings of `ip` that end in a dot or a colon, longest first. They are text: `2001:db8:` is one of every
/// address that is written so.
fn prefixes(ip: &[u8]) -> impl Iterator<Item = &[u8]> {
    (1..=ip.len())
        .rev()
        .filter_map(|length| ip.get(..length))
        .filter(|prefix| matches!(prefix.last(), Some(b'.' | b':')))
}

/// The rests of `host` from each of its dots on, longest first.
fn suffixes(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..host.len())
        .filter_map(|at| host.get(at..))
        .filter(|rest| rest.first() == Some(&b'.'))
}

/// The rules of `client`, none or one, or two with `Order::Both`: first that of the address. `lookup` gives the first
/// record of a key.
///
/// # Errors
/// The first error of `lookup`.
pub(crate) fn find<E>(
    order: Order,
    client: &Client<'_>,
    mut lookup: impl FnMut(&[u8]) -> Result<Option<Bytes>, E>,
) -> Result<Vec<Rule>, E> {
    let sizes = sizes(&lookup(SIZES)?.unwrap_or_default());
    let ([user, exact, around], [named_user, name, names]) =
        (by_address(client, &sizes), by_name(client));
    let phases: Vec<Vec<Step>> = match order {
        Order::First => vec![vec![user, named_user, exact, name, around, names]],
        Order::Both => vec![vec![user, exact, around], vec![named_user, name, names]],
    };
    let mut found = Vec::new();
    for phase in phases {
        found.extend(first(phase.concat(), &mut lookup)?);
    }
    if found.is_empty() {
        found.extend(first(vec![Bytes::new()], &mut lookup)?);
    }
    Ok(found)
}

fn first<E>(
    keys: Vec<Bytes>,
    lookup: &mut impl FnMut(&[u8]) -> Result<Option<Bytes>, E>,
) -> Result<Option<Rule>, E> {
    for key in keys {
        if let Some(data) = lookup(&key)? {
            return Ok(Some(Rule { key, data }));
        }
    }
    Ok(None)
}

/// The record of `SIZES`: a family and a number of bits each, both one byte.
fn sizes(data: &[u8]) -> Vec<Size> {
    data.chunks_exact(2)
        .filter_map(|pair| match pair {
            &[family, bits] => Some(Size { family, bits }),
            _ => None,
        })
        .collect()
}

/// What the rules say together: the variables to set, `NAME=value`, where the last of one name counts. `None`: a rule
/// denies.
pub(crate) fn verdict(rules: &[Rule]) -> Option<Vec<&[u8]>> {
    let mut set = Vec::new();
    // An address is harder to forge than a name: its variables come last.
    for rule in rules.iter().rev() {
        for instruction in instructions(&rule.data) {
            match instruction {
                Instruction::Deny => return None,
                Instruction::Set(variable) => set.push(variable),
            }
        }
    }
    Some(set)
}

/// What a record says, in its order. Unknown fields, and a last one without its NUL, say nothing.
pub(crate) fn instructions(data: &[u8]) -> impl Iterator<Item = Instruction<'_>> {
    data.split_inclusive(|&b| b == 0)
        .filter_map(|field| field.strip_suffix(b"\0"))
        .filter_map(|field| match field {
            [b'D', ..] => Some(Instruction::Deny),
            [b'+', set @ ..] => Some(Instruction::Set(set)),
            _ => None,
        })
}

#[cfg(test)]
mod tests;
