//! Our names and passwords at other hosts: in control/smtproutes, control/authsenders and control/remotesecrets.
//!
//! Source  qmail-remote(8)

use std::fmt;
use std::io;

use auth::client::{self, Client, Credentials, Line};
use auth::sasl::{self, Binding};
use auth::{Mechanism, encoding};
use base::Bytes;
use base::bytes::split_once;
use control::Map;
use wire::reply::{Reply, Trouble};

use crate::peer::Peer;

/// The most steps of one exchange: no mechanism has more than three.
const STEPS: usize = 8;
/// A name that begins so may be used in clear.
const IN_CLEAR: u8 = b'-';

/// Who we are at a relay.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) name: Bytes,
    pub(crate) password: Bytes,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.name.escape_ascii())
    }
}

/// A name, perhaps with its password, behind a relay.
pub(crate) type Written<'a> = Option<(&'a [u8], &'a [u8])>;

/// Cuts `relay`, `relay|name|password` or `relay name password`.
pub(crate) fn cut(value: &[u8]) -> (&[u8], Written<'_>) {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let Some(at) = value.iter().position(|b| *b == b'|' || blank(b)) else {
        return (value, None);
    };
    let (relay, login) = value.split_at_checked(at).unwrap_or((value, b""));
    if let Some(login) = login.strip_prefix(b"|") {
        return (relay, Some(split_once(login, b'|').unwrap_or((login, b""))));
    }
    let login = login.trim_ascii_start();
    if login.is_empty() {
        return (relay, None);
    }
    let at = login.iter().position(blank).unwrap_or(login.len());
    let (name, password) = login.split_at_checked(at).unwrap_or((login, b""));
    (relay, Some((name, password.trim_ascii_start())))
}

/// Secrets in a file of their own: lines `relay:name:password`.
#[derive(Clone, Debug)]
pub(crate) struct Secrets(Map);

impl Secrets {
    /// Reads control/remotesecrets; a missing one has none.
    pub(crate) fn read() -> io::Result<Secrets> {
        let lines = control::list("remotesecrets")?.unwrap_or_default();
        Ok(Secrets(Map::pairs(&lines)))
    }

    #[cfg(test)]
    pub(crate) fn new(lines: &[Bytes]) -> Secrets {
        Secrets(Map::pairs(lines))
    }

    /// Who we are at `relay`: as written in the route, as far as that goes, else as written here.
    pub(crate) fn login(&self, relay: &[u8], written: Written<'_>) -> Option<Login> {
        let mine = |(name, password): (&[u8], &[u8])| Login {
            name: name.to_vec(),
            password: password.to_vec(),
        };
        match written {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                Some(mine((name, password)))
            }
            written => {
                let found = split_once(self.0.get(relay)?, b':')?;
                match written {
                    Some((name, _)) if !name.is_empty() && name != found.0 => None,
                    _ => Some(mine(found)),
                }
            }
        }
    }
}

/// Why we are not logged in.
pub(crate) enum Failure {
    /// no mechanism that we may use
    NoWay,
    /// the other side refused, or did not keep to the mechanism
    Refused(Option<Reply>),
    /// the connection is of no use any more
    Lost(Trouble),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure::Lost(trouble)
    }
}

/// The mechanisms that a server offers, in the modern form or the one of old servers, `AUTH=LOGIN`.
fn offered(hello: &Reply) -> Vec<Mechanism> {
    let mut words: Vec<&[u8]> = hello.extension("AUTH").unwrap_or_default();
    let old = hello
        .text
        .split(|&b| b == b'\n')
        .skip(1)
        .filter_map(|line| {
            let line = line.get(4..)?;
            let (keyword, rest) = line.split_at_checked(5)?;
            keyword.eq_ignore_ascii_case(b"AUTH=").then_some(rest)
        });
    words.extend(old.flat_map(|rest| rest.split(u8::is_ascii_whitespace)));
    words.into_iter().filter_map(Mechanism::parse).collect()
}

/// Logs in. Without TLS, to another machine, only so that nobody on the way learns the password, unless the name begins
/// with a minus sign, which is not part of it.
pub(crate) fn log_in(peer: &mut Peer, hello: &Reply, login: &Login) -> Result<(), Failure> {
    let (name, clear) = match login.name.split_first() {
        Some((&IN_CLEAR, name)) => (name, true),
        _ => (login.name.as_slice(), false),
    };
    let binding = peer.binding().map(|data| Binding {
        kind: b"tls-exporter".to_vec(),
        data: data.to_vec(),
    });
    let is_safe = clear || peer.is_secure() || peer.address.is_loopback();
    let line = if is_safe {
        Line::Encrypted
    } else {
        Line::Clear
    };
    let mechanism =
        client::choose(&offered(hello), line, binding.as_ref()).ok_or(Failure::NoWay)?;

    let nonce = sasl::nonce().map_err(|e| Failure::Lost(Trouble::Lost(e)))?;
    let credentials = Credentials {
        name: name.to_vec(),
        password: login.password.clone(),
    };
    let (mut client, initial) = Client::begin(mechanism, credentials, binding, &nonce);
    let mut command = format!("AUTH {}", mechanism.name()).into_bytes();
    if let Some(initial) = initial {
        command.push(b' ');
        match initial.as_slice() {
            b"" => command.push(b'='),
            text => command.extend_from_slice(&encoding::encode(text)),
        }
    }
    for _ in 0..STEPS {
        command.extend_from_slice(b"\r\n");
        peer.send(&command)
            .map_err(|e| Failure::Lost(Trouble::Lost(e)))?;
        let reply = peer.reply()?;
        match reply.code {
            235 if client.is_complete() => return Ok(()),
            334 => {
                let words = reply.text.get(4..).unwrap_or_default().trim_ascii();
                let answer = encoding::decode(words).and_then(|text| client.answer(&text));
                command = match answer {
                    Some(answer) => encoding::encode(&answer),
                    None => b"*".to_vec(),
                };
            }
            _ => return Err(Failure::Refused(Some(reply))),
        }
    }
    Err(Failure::Refused(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_may_have_a_login_behind_it() {
        for (value, wanted) in [
            ("r.test", ("r.test", None)),
            (
                "r.test:26 joe secret",
                ("r.test:26", Some(("joe", "secret"))),
            ),
            ("r.test\tjoe \t a b|c", ("r.test", Some(("joe", "a b|c")))),
            ("r.test  joe  a b", ("r.test", Some(("joe", "a b")))),
            ("r.test joe", ("r.test", Some(("joe", "")))),
            ("r.test ", ("r.test", None)),
            ("[::1]:26|joe|a|b c", ("[::1]:26", Some(("joe", "a|b c")))),
            ("|joe|x", ("", Some(("joe", "x")))),
            ("r.test|joe", ("r.test", Some(("joe", "")))),
        ] {
            let (relay, login) = cut(value.as_bytes());
            let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
            let got = (text(relay), login.map(|(n, p)| (text(n), text(p))));
            let wanted = (
                wanted.0.to_owned(),
                wanted.1.map(|(n, p)| (n.to_owned(), p.to_owned())),
            );
            assert_eq!(got, wanted, "{value}");
        }
    }

    #[test]
    fn secrets_may_stand_elsewhere() {
        let secrets = Secrets::new(&[b"r.test:joe:pa:ss".to_vec()]);
        let find = |relay: &str, written| {
            let login = secrets.login(relay.as_bytes(), written)?;
            Some((login.name, login.password))
        };
        let joe = Some((b"joe".to_vec(), b"pa:ss".to_vec()));
        assert_eq!(find("R.test", None), joe);
        assert_eq!(find("r.test", Some((&b"joe"[..], &b""[..]))), joe);
        assert_eq!(find("r.test", Some((&b"ann"[..], &b""[..]))), None);
        assert_eq!(find("other.test", None), None);
        let own = Some((b"ann".to_vec(), b"x".to_vec()));
        assert_eq!(find("r.test", Some((&b"ann"[..], &b"x"[..]))), own);
    }

    #[test]
    fn a_password_is_never_shown() {
        let login = Login {
            name: b"joe".to_vec(),
            password: b"secret".to_vec(),
        };
        assert_eq!(format!("{login:?}"), "Login(joe)");
    }

    #[test]
    fn both_forms_of_the_list_are_read() {
        let hello = |line: &str| Reply {
            code: 250,
            text: format!("250-x\n{line}\n250 HELP\n").into_bytes(),
        };
        assert_eq!(
            offered(&hello("250-AUTH PLAIN X-OTHER LOGIN")),
            [Mechanism::Plain, Mechanism::Login]
        );
        assert_eq!(offered(&hello("250-auth=LOGIN")), [Mechanism::Login]);
        assert_eq!(offered(&hello("250-SIZE")), []);
    }
}
