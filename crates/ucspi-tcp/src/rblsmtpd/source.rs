//! One list in the DNS: what to ask it about an address, and what its answers say.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use base::Bytes;
use dns::{Answer, Trouble};

/// What a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `-r`: listed if there is a TXT record, which is the text of the reply
    Text,
    /// `-r base:text`: listed if there is an address; `%IP%` in the text stands for the client's address
    Reply(Bytes),
    /// `-A`: listed if there is an address; a TXT record gives the text of the reply
    Address,
    /// `-a`: an address makes the client welcome
    Anti,
}

#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) base: Bytes,
    pub(super) kind: Kind,
    /// `-b`
    pub(super) bounce: bool,
    /// `-c`
    pub(super) fail_closed: bool,
    /// what a listing counts; below 0: it speaks for the client
    pub(super) points: i64,
}

impl Source {
    /// The record types to ask for. The first decides; a second one has the text.
    pub(super) fn types(&self) -> &'static [dns::Kind] {
        match self.kind {
            Kind::Text => &[dns::Kind::TXT],
            Kind::Reply(_) | Kind::Anti => &[dns::Kind::A],
            Kind::Address => &[dns::Kind::A, dns::Kind::TXT],
        }
    }

    /// The name that this list has for an address. A dot too many in the base does no harm, as in the original.
    pub(super) fn name(&self, reversed: &[u8]) -> Bytes {
        let labels: Vec<&[u8]> = self
            .base
            .split(|&b| b == b'.')
            .filter(|label| !label.is_empty())
            .collect();
        [reversed, &labels.join(&b'.')].concat()
    }

    /// What the answer to the first question says: the text of the reply if the client is listed. An empty text for
    /// what needs none.
    pub(super) fn listing(
        &self,
        answer: Result<Answer, Trouble>,
        client: &[u8],
    ) -> Result<Option<Bytes>, Trouble> {
        let found = match &self.kind {
            Kind::Text => texts(answer),
            Kind::Anti => addresses(answer).map(|a| (!a.is_empty()).then(Bytes::new)),
            Kind::Address => addresses(answer).map(|a| a.iter().any(is_listing).then(Bytes::new)),
            Kind::Reply(text) => addresses(answer).map(|a| {
                let listed = a.iter().any(is_listing);
                listed.then(|| expand(text, client))
            }),
        };
        match found {
            Err(Trouble::NoName | Trouble::NoData) => Ok(None),
            found => found,
        }
    }

    /// The text of the reply for a list that has told of an address; `answer` is that to the second question.
    pub(super) fn text(&self, answer: Result<Answer, Trouble>, client: &[u8]) -> Bytes {
        match texts(answer) {
            Ok(Some(text)) => text,
            _ => [client, b" is listed by ", &self.base].concat(),
        }
    }
}

/// All texts together; none at all if they are empty, as in the original.
fn texts(answer: Result<Answer, Trouble>) -> Result<Option<Bytes>, Trouble> {
    let text = answer?.txt()?.concat();
    Ok((!text.is_empty()).then_some(text))
}

fn addresses(answer: Result<Answer, Trouble>) -> Result<Vec<IpAddr>, Trouble> {
    answer?.addresses()
}

/// Lists answer with 127.x.y.z (RFC 5782). Anything else is a domain that has lost its list, and 127.255.255.x is how
/// lists tell of trouble of their own: neither speaks of the client.
fn is_listing(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() && v4.octets().get(..3) != Some(&[127, 255, 255]),
        IpAddr::V6(_) => false,
    }
}

/// `text` with the client's address for each `%IP%`.
fn expand(text: &[u8], client: &[u8]) -> Bytes {
    let mut out = Bytes::new();
    let mut rest = text;
    while let Some((before, after)) =
        base::bytes::find(rest, b"%IP%").and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(before);
        out.extend_from_slice(client);
        rest = after.get(4..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// An address as lists have it, with a dot at the end: numbers of IPv4, nibbles of IPv6 (RFC 5782), last one first.
pub(super) fn reversed(client: &[u8]) -> Option<Bytes> {
    let bare = base::bytes::split_once(client, b'%').map_or(client, |(address, _)| address);
    let address: IpAddr = std::str::from_utf8(bare).ok()?.parse().ok()?;
    let mut out = String::new();
    // Writing into a String cannot fail.
    match sys::socket::unmapped(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let _ = write!(out, "{}.", Ipv4Addr::new(d, c, b, a));
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(out, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
        }
    }
    Some(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_turned_round() {
        for (client, want) in [
            ("192.0.2.10", Some("10.2.0.192.")),
            ("::ffff:192.0.2.10", Some("10.2.0.192.")),
            (
                "2001:db8::f1",
                Some("1.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."),
            ),
            (
                "fe80::1%eth0",
                Some("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f."),
            ),
            ("", None),
            ("1.2.3", None),
            ("unknown", None),
            ("1.2.3.4.5", None),
        ] {
            assert_eq!(
                reversed(client.as_bytes()),
                want.map(Bytes::from),
                "{client}"
            );
        }
    }

    #[test]
    fn replies_name_the_client() {
        for (text, want) in [
            ("see %IP%", "see 192.0.2.1"),
            ("%IP%%IP% %IP %x%", "192.0.2.1192.0.2.1 %IP %x%"),
            ("", ""),
        ] {
            assert_eq!(expand(text.as_bytes(), b"192.0.2.1"), want.as_bytes());
        }
    }

    #[test]
    fn only_answers_of_lists_count() {
        for (address, want) in [
            ("127.0.0.2", true),
            ("127.0.1.255", true),
            ("127.255.255.254", false),
            ("192.0.2.1", false),
            ("::1", false),
        ] {
            assert_eq!(is_listing(&address.parse().unwrap()), want, "{address}");
        }
    }
}
