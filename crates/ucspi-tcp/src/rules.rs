//! Which rule applies to a client: the order of search, and what a record says. Pure.
//!
//! The keys of a client in order; the first that has a record ends the search:
//!
//! 1. `info@ip`
//! 2. `info@=host`
//! 3. `ip`
//! 4. `=host`
//! 5. the beginnings of the address that end in a dot or a colon, longest first
//! 6. `=.suffix` for the rests of the host name from each dot on, longest first
//! 7. `=`
//! 8. the empty key
//!
//! Steps 1 and 2 need the info, steps 2, 4, 6 and 7 need the host name.

use base::Bytes;

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

/// The keys of a client in the order of search.
pub(crate) fn keys<'a>(client: &Client<'a>) -> impl Iterator<Item = Bytes> + use<'a> {
    let Client { ip, host, info } = *client;
    let with_info = info.into_iter().flat_map(move |info| {
        let by_host = host.map(|host| [info, b"@=", host].concat());
        std::iter::once([info, b"@", ip].concat()).chain(by_host)
    });
    let by_host = host.map(|host| [b"=", host].concat());
    let suffixes = host.into_iter().flat_map(|host| {
        suffixes(host)
            .map(|rest| [b"=", rest].concat())
            .chain(std::iter::once(b"=".to_vec()))
    });
    with_info
        .chain(std::iter::once(ip.to_vec()))
        .chain(by_host)
        .chain(prefixes(ip).map(<[u8]>::to_vec))
        .chain(suffixes)
        .chain(std::iter::once(Bytes::new()))
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

/// The rule of `client`; `lookup` gives the first record of a key.
///
/// # Errors
/// The first error of `lookup`.
pub(crate) fn find<E>(
    client: &Client<'_>,
    mut lookup: impl FnMut(&[u8]) -> Result<Option<Bytes>, E>,
) -> Result<Option<Rule>, E> {
    for key in keys(client) {
        if let Some(data) = lookup(&key)? {
            return Ok(Some(Rule { key, data }));
        }
    }
    Ok(None)
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
