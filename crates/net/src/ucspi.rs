//! The UCSPI environment: what a TCP server or client tells the program that it runs.
//!
//! Pure functions. Plain TCP has the TCP* names; the IPv6 version of ucspi-tcp added the protocol TCP6 and, for servers,
//! a second set TCP6* that always shows addresses in their IPv6 form.

use std::fmt::Write;
use std::net::Ipv6Addr;

use base::Bytes;

/// A variable, and its value; `None` takes the variable away.
pub type Change = (Bytes, Option<Bytes>);

/// How IPv4 peers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// as IPv4: PROTO=TCP, dotted addresses
    #[default]
    Own,
    /// as IPv6: PROTO=TCP6, mapped addresses
    Six,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// its address; IPv4 is mapped
    pub ip: Ipv6Addr,
    /// its port
    pub port: u16,
    /// its name, if known
    pub host: Option<Bytes>,
}

/// A TCP connection, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// our end
    pub local: Side,
    /// the other end
    pub remote: Side,
    /// what the other host says about the connection's user (RFC 1413)
    pub info: Option<Bytes>,
    /// name of the interface of a link-local address
    pub interface: Option<Bytes>,
}

/// An IPv6 address as text: lower case, no leading zeros, the first of the longest runs of zero groups as `::`, the
/// tail of a mapped IPv4 address dotted.
///
/// Unlike RFC 5952, a single zero group is shortened too. Rule files hold this text.
///
/// Source  ip6_fmt in the IPv6 version of ucspi-tcp
pub fn text6(ip: Ipv6Addr) -> String {
    let groups = ip.segments();
    let (start, length) = longest_zeros(&groups);
    let mapped = ip.to_ipv4_mapped();
    let shown = if mapped.is_some() { 6 } else { 8 };
    let mut out = String::new();
    let mut at = 0;
    for (n, group) in groups.iter().enumerate().take(shown) {
        if n < at {
            continue;
        }
        if length > 0 && n == start {
            out.push_str(if n == 0 { "::" } else { ":" });
            at = n + length;
            continue;
        }
        let _ = write!(out, "{group:x}");
        if n < 7 {
            out.push(':');
        }
    }
    if let Some(v4) = mapped {
        out.push_str(&v4.to_string());
    }
    out
}

fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = 0;
    for (n, &group) in groups.iter().enumerate() {
        run = if group == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (n + 1 - run, run);
        }
    }
    best
}

/// An address as text: dotted if it is a mapped IPv4 address and `form` shows those as IPv4.
pub fn text(ip: Ipv6Addr, form: Form) -> String {
    match ip.to_ipv4_mapped() {
        Some(v4) if form == Form::Own => v4.to_string(),
        _ => text6(ip),
    }
}

/// Whether `ip` is shown as IPv4.
fn is_four(ip: Ipv6Addr, form: Form) -> bool {
    form == Form::Own && ip.to_ipv4_mapped().is_some()
}

/// What tcpserver changes in the environment of its program. Every variable of the protocol is set or taken away.
pub fn of_server(connection: &Connection, form: Form) -> Vec<Change> {
    let four = is_four(connection.remote.ip, form);
    // Both ends are shown as the remote one: a connection has one protocol.
    let form = if four { Form::Own } else { Form::Six };
    let mut changes = vec![set("PROTO", if four { "TCP" } else { "TCP6" })];
    changes.extend(ends(connection, "TCP", form));
    changes.extend(ends(connection, "TCP6", Form::Six));
    let interface = connection.interface.clone().filter(|_| !four);
    changes.push((b"TCP6INTERFACE".to_vec(), interface));
    changes
}

/// What sslserver changes in the environment of its program, for the connection below TLS.
///
/// Source  sslserver(1) of ucspi-ssl
pub fn of_tls_server(connection: &Connection, form: Form) -> Vec<Change> {
    let four = is_four(connection.remote.ip, form);
    let form = if four { Form::Own } else { Form::Six };
    let mut changes = vec![set("PROTO", "SSL")];
    changes.extend(ends(connection, "SSL", form));
    changes
}

/// What tcpclient changes in the environment of its program.
pub fn of_client(connection: &Connection, form: Form) -> Vec<Change> {
    let four = is_four(connection.local.ip, form);
    let form = if four { Form::Own } else { Form::Six };
    let mut changes = vec![set("PROTO", if four { "TCP" } else { "TCP6" })];
    changes.extend(ends(connection, "TCP", form));
    changes
}

/// What sslclient changes in the environment of its program, for the connection below TLS.
pub fn of_tls_client(connection: &Connection, form: Form) -> Vec<Change> {
    let four = is_four(connection.local.ip, form);
    let form = if four { Form::Own } else { Form::Six };
    let mut changes = vec![set("PROTO", "SSL")];
    changes.extend(ends(connection, "SSL", form));
    changes
}

fn set(name: &str, value: &str) -> Change {
    (name.into(), Some(value.into()))
}

fn ends(connection: &Connection, prefix: &str, form: Form) -> Vec<Change> {
    let name = |rest: &str| Bytes::from([prefix, rest].concat());
    let (local, remote) = (&connection.local, &connection.remote);
    vec![
        (name("LOCALIP"), Some(text(local.ip, form).into())),
        (name("LOCALPORT"), Some(local.port.to_string().into())),
        (name("LOCALHOST"), local.host.clone()),
        (name("REMOTEIP"), Some(text(remote.ip, form).into())),
        (name("REMOTEPORT"), Some(remote.port.to_string().into())),
        (name("REMOTEHOST"), remote.host.clone()),
        (name("REMOTEINFO"), connection.info.clone()),
    ]
}

/// `environment` with `changes` made, in order: as `changed`, without a copy.
pub fn merged<'a>(environment: &'a [(Bytes, Bytes)], changes: &'a [Change]) -> Vec<Variable<'a>> {
    let all = changes.iter();
    // The last word on a name is the one that counts.
    let last = |n: &[u8], rest: &[Change]| rest.iter().all(|(other, _)| other != n);
    let mut merged: Vec<Variable<'a>> = environment
        .iter()
        .filter(|(name, _)| last(name, changes))
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect();
    for (at, (name, value)) in all.enumerate() {
        if let (Some(value), true) = (value, last(name, changes.get(at + 1..).unwrap_or_default()))
        {
            merged.push((name, value));
        }
    }
    merged
}

/// A variable's name and value.
pub type Variable<'a> = (&'a [u8], &'a [u8]);

/// `environment` with `changes` made, in order.
pub fn changed(
    mut environment: Vec<(Bytes, Bytes)>,
    changes: impl IntoIterator<Item = Change>,
) -> Vec<(Bytes, Bytes)> {
    for (name, value) in changes {
        environment.retain(|(n, _)| *n != name);
        if let Some(value) = value {
            environment.push((name, value));
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_change_an_environment_agree() {
        let pair = |n: &str, v: &str| (Bytes::from(n), Bytes::from(v));
        let old = vec![
            pair("A", "1"),
            pair("B", "2"),
            pair("C", "3"),
            pair("A", "4"),
        ];
        let set = |n: &str, v: Option<&str>| (Bytes::from(n), v.map(Bytes::from));
        let changes = vec![
            set("B", None),
            set("D", Some("5")),
            set("A", Some("6")),
            set("D", None),
            set("E", None),
            set("A", Some("7")),
            set("E", Some("")),
        ];
        let copied: Vec<Variable<'_>> = merged(&old, &changes);
        let whole = changed(old.clone(), changes.clone());
        let whole: Vec<Variable<'_>> = whole.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        assert_eq!(copied, whole);
    }

    #[test]
    fn addresses_have_the_text_of_the_original() {
        for (ip, want) in [
            ("::", "::"),
            ("::1", "::1"),
            ("1::", "1::"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8::1:1:1:1:1"),
            ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7::"),
            ("0:2:3:4:5:6:7:8", "::2:3:4:5:6:7:8"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::1.2.3.4", "::102:304"),
            ("fe80::1", "fe80::1"),
        ] {
            assert_eq!(text6(ip.parse().unwrap()), want, "{ip}");
        }
    }

    fn side(ip: &str, port: u16, host: Option<&str>) -> Side {
        Side {
            ip: ip.parse().unwrap(),
            port,
            host: host.map(Bytes::from),
        }
    }

    fn shown(changes: Vec<Change>) -> Vec<String> {
        changed(Vec::new(), changes)
            .into_iter()
            .map(|(n, v)| String::from_utf8([n, b"=".to_vec(), v].concat()).unwrap())
            .collect()
    }

    #[test]
    fn a_server_tells_of_ipv4_twice() {
        let connection = Connection {
            local: side("::ffff:127.0.0.1", 25, Some("me")),
            remote: side("::ffff:127.0.0.2", 4000, None),
            info: None,
            interface: Some(b"lo".to_vec()),
        };
        let own = [
            "PROTO=TCP",
            "TCPLOCALIP=127.0.0.1",
            "TCPLOCALPORT=25",
            "TCPLOCALHOST=me",
            "TCPREMOTEIP=127.0.0.2",
            "TCPREMOTEPORT=4000",
            "TCP6LOCALIP=::ffff:127.0.0.1",
            "TCP6LOCALPORT=25",
            "TCP6LOCALHOST=me",
            "TCP6REMOTEIP=::ffff:127.0.0.2",
            "TCP6REMOTEPORT=4000",
        ];
        assert_eq!(shown(of_server(&connection, Form::Own)), own);
        let six = shown(of_server(&connection, Form::Six));
        assert!(six.contains(&"PROTO=TCP6".into()));
        assert!(six.contains(&"TCPREMOTEIP=::ffff:127.0.0.2".into()));
        assert!(six.contains(&"TCP6INTERFACE=lo".into()));
    }

    #[test]
    fn a_client_has_no_second_set() {
        let connection = Connection {
            local: side("::1", 4000, None),
            remote: side("::1", 25, Some("other")),
            info: Some(b"joe".to_vec()),
            interface: None,
        };
        assert_eq!(
            shown(of_client(&connection, Form::Own)),
            [
                "PROTO=TCP6",
                "TCPLOCALIP=::1",
                "TCPLOCALPORT=4000",
                "TCPREMOTEIP=::1",
                "TCPREMOTEPORT=25",
                "TCPREMOTEHOST=other",
                "TCPREMOTEINFO=joe",
            ]
        );
    }

    #[test]
    fn unknown_names_are_taken_away() {
        let old = vec![
            (b"TCPREMOTEHOST".to_vec(), b"old".to_vec()),
            (b"PATH".to_vec(), b"/bin".to_vec()),
        ];
        let changes = [(b"TCPREMOTEHOST".to_vec(), None)];
        assert_eq!(
            changed(old, changes),
            [(b"PATH".to_vec(), b"/bin".to_vec())]
        );
    }
}
