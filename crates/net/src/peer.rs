//! Who is at the other end: the environment that a UCSPI server gives to its programs.
//!
//! `TCP...` variables count, whatever carries the bytes: TLS servers set them too. Where they are missing, those of the
//! protocol that PROTO names are taken.
//!
//! Source  tcp-environ(5), UCSPI-1996

use std::net::IpAddr;

use base::Bytes;

/// The two ends of a connection, as far as the server said. All are bytes that a stranger may have chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// address of the client, in text
    pub remote_ip: Option<Bytes>,
    /// name of the client, if looked up
    pub remote_host: Option<Bytes>,
    /// what the client's ident server said
    pub remote_info: Option<Bytes>,
    /// port of the client
    pub remote_port: Option<Bytes>,
    /// our address on this connection
    pub local_ip: Option<Bytes>,
    /// our name
    pub local_host: Option<Bytes>,
    /// our port
    pub local_port: Option<Bytes>,
}

/// What stands for an unknown address or name in replies, headers and logs.
const UNKNOWN: &[u8] = b"unknown";

impl Peer {
    /// Reads the environment.
    pub fn from_env() -> Peer {
        Peer::from(base::env)
    }

    /// Reads any environment.
    pub fn from(env: impl Fn(&str) -> Option<Bytes>) -> Peer {
        let proto = env("PROTO")
            .and_then(|p| String::from_utf8(p).ok())
            .filter(|p| p != "TCP" && p.bytes().all(|b| b.is_ascii_alphanumeric()));
        let value = |name: &str| {
            env(&format!("TCP{name}"))
                .or_else(|| proto.as_ref().and_then(|p| env(&format!("{p}{name}"))))
        };
        Peer {
            remote_ip: value("REMOTEIP"),
            remote_host: value("REMOTEHOST"),
            remote_info: value("REMOTEINFO"),
            remote_port: value("REMOTEPORT"),
            local_ip: value("LOCALIP"),
            local_host: value("LOCALHOST"),
            local_port: value("LOCALPORT"),
        }
    }

    /// The client's address, or `unknown`.
    pub fn ip(&self) -> &[u8] {
        self.remote_ip.as_deref().unwrap_or(UNKNOWN)
    }

    /// The client's name, or `unknown`.
    pub fn host(&self) -> &[u8] {
        self.remote_host.as_deref().unwrap_or(UNKNOWN)
    }

    /// Our name, else our address, else `unknown`.
    pub fn local(&self) -> &[u8] {
        self.local_host
            .as_deref()
            .or(self.local_ip.as_deref())
            .unwrap_or(UNKNOWN)
    }

    /// Our address as a number; IPv4 inside IPv6 counts as IPv4.
    pub fn local_address(&self) -> Option<IpAddr> {
        address(self.local_ip.as_deref()?)
    }

    /// The client's address as a number; IPv4 inside IPv6 counts as IPv4.
    pub fn remote_address(&self) -> Option<IpAddr> {
        address(self.remote_ip.as_deref()?)
    }
}

/// Reads an address in text, without the zone of a link-local one.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.split('%').next()?;
    text.parse().ok().map(sys::socket::unmapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(list: &[(&str, &str)]) -> Peer {
        Peer::from(|name| {
            list.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_bytes().to_vec())
        })
    }

    #[test]
    fn nothing_set_is_unknown() {
        let peer = peer(&[]);
        assert_eq!(peer.ip(), b"unknown");
        assert_eq!(peer.host(), b"unknown");
        assert_eq!(peer.local(), b"unknown");
        assert_eq!(peer.remote_info, None);
    }

    #[test]
    fn the_tcp_variables_win_over_those_of_the_protocol() {
        let both = peer(&[
            ("PROTO", "SSL"),
            ("TCPREMOTEIP", "192.0.2.1"),
            ("SSLREMOTEIP", "192.0.2.2"),
            ("SSLREMOTEHOST", "client.test"),
            ("TCPLOCALIP", "::ffff:192.0.2.9"),
        ]);
        assert_eq!(both.ip(), b"192.0.2.1");
        assert_eq!(both.host(), b"client.test");
        assert_eq!(both.local(), b"::ffff:192.0.2.9");
        assert_eq!(both.local_address(), "192.0.2.9".parse().ok());
        assert_eq!(both.remote_address(), "192.0.2.1".parse().ok());
    }

    #[test]
    fn a_strange_address_is_no_number() {
        assert_eq!(peer(&[("TCPLOCALIP", "0")]).local_address(), None);
        assert_eq!(
            peer(&[("TCPLOCALIP", "fe80::1%eth0")]).local_address(),
            "fe80::1".parse().ok()
        );
    }
}
