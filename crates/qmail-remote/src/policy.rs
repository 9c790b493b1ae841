//! What control/tlspolicy wants of a connection.
//!
//! Source  qmail-remote(8): lines `host:level` or `host:level:words`; host may be a suffix with its dot, or empty

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use base::Bytes;
use base::bytes::split_once;
use control::Map;
use tls::client::{Config, Pin, Trust};

use crate::route::{self, Route, Way, suffixes};

/// Where certificates of authorities are looked for when control/tlsroots.pem is missing.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// The most that is read of certificates, bytes.
const PEM_LIMIT: u64 = 8 * 1024 * 1024;

/// What a destination must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// no TLS
    None,
    /// TLS where it works, with anybody
    May,
    /// TLS, with anybody
    Encrypt,
    /// TLS, with a certificate for one of these names, or for the host if there are none
    Verify(Vec<Bytes>),
    /// TLS, with one of these certificates
    Pin(Vec<Pin>),
}

/// What is kept ready for TLS.
#[derive(Debug)]
pub(crate) struct Policies {
    map: Map,
    /// our own certificate and key
    identity: Option<Bytes>,
    /// read when the promises are not made yet, if some policy needs it
    roots: Option<Arc<Vec<u8>>>,
    /// those that were used, with what they were made for: reading authorities takes milliseconds
    ready: RefCell<Vec<(Level, Bytes, Config)>>,
}

/// What one destination wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) level: Level,
    pub(crate) config: Option<Config>,
}

impl Wanted {
    /// No TLS at all.
    pub(crate) const PLAIN: Wanted = Wanted {
        level: Level::None,
        config: None,
    };

    /// Whether nothing may be said in clear.
    pub(crate) fn is_strict(&self) -> bool {
        !matches!(self.level, Level::None | Level::May)
    }
}

impl Policies {
    /// Reads control/tlspolicy, control/clientcert.pem, and the authorities if some line needs them.
    pub(crate) fn read() -> io::Result<Policies> {
        let lines = control::list("tlspolicy")?.unwrap_or_default();
        let identity = pem("control/clientcert.pem")?;
        let verifies = |line: &Bytes| {
            split_once(line, b':').is_some_and(|(_, value)| value.starts_with(b"verify"))
        };
        let roots = if lines.iter().any(verifies) {
            Some(Arc::new(authorities()?))
        } else {
            None
        };
        Ok(Policies {
            map: Map::pairs(&lines),
            identity,
            roots,
            ready: RefCell::default(),
        })
    }

    /// What is wanted on a route: the line of the relay, or of the host whose exchangers are asked. `None`: the line
    /// makes no sense.
    pub(crate) fn find(&self, route: &Route) -> Option<Wanted> {
        let name = route::bare(&route.host);
        let line = suffixes(name).find_map(|suffix| self.map.get(suffix));
        let level = match line {
            Some(line) => level(line)?,
            None => Level::May,
        };
        let config = match level {
            Level::None => None,
            _ => Some(self.config(&level, name, route.way)?),
        };
        Some(Wanted { level, config })
    }

    fn config(&self, level: &Level, host: &[u8], way: Way) -> Option<Config> {
        // Only the names of a policy without names depend on the host.
        let host: &[u8] = match level {
            Level::Verify(names) if names.is_empty() => host,
            _ => b"",
        };
        let known = |ready: &[(Level, Bytes, Config)]| {
            let found = ready.iter().find(|(l, h, _)| l == level && h == host);
            found.map(|(_, _, config)| config.clone())
        };
        if let Some(config) = known(&self.ready.borrow()) {
            return Some(config);
        }
        let trust = match level {
            Level::None | Level::May | Level::Encrypt => Trust::Anybody,
            Level::Pin(pins) => Trust::Pins(pins.clone()),
            Level::Verify(names) => Trust::Authorities {
                roots: self.roots.clone()?,
                names: if names.is_empty() {
                    own_names(host, way)
                } else {
                    names.clone()
                },
            },
        };
        let config = Config::new(trust, self.identity.as_deref()).ok()?;
        let made = (level.clone(), host.to_vec(), config.clone());
        self.ready.borrow_mut().push(made);
        Some(config)
    }
}

/// The names that a certificate may have when the policy names none: the relay; or the domain and what is below it,
/// because which exchangers it has is only what DNS says.
fn own_names(host: &[u8], way: Way) -> Vec<Bytes> {
    match way {
        Way::Direct => vec![host.to_vec()],
        Way::Exchangers => vec![host.to_vec(), [b".", host].concat()],
    }
}

fn level(line: &[u8]) -> Option<Level> {
    let (word, rest) = split_once(line, b':').unwrap_or((line, b""));
    let words = || {
        rest.split(|b| matches!(b, b',' | b' '))
            .filter(|w| !w.is_empty())
    };
    Some(match (word, rest.is_empty()) {
        (b"none", true) => Level::None,
        (b"may", true) => Level::May,
        (b"encrypt", true) => Level::Encrypt,
        (b"verify", _) => Level::Verify(words().map(<[u8]>::to_vec).collect()),
        (b"pin", false) => Level::Pin(words().map(pin).collect::<Option<Vec<_>>>()?),
        _ => return None,
    })
}

/// 64 hexadecimal digits, perhaps with colons between.
fn pin(word: &[u8]) -> Option<Pin> {
    let digits: Bytes = word.iter().copied().filter(|b| *b != b':').collect();
    auth::encoding::unhex(&digits.to_ascii_lowercase())?
        .try_into()
        .ok()
}

/// A file of certificates, if it is there.
fn pem(path: &str) -> io::Result<Option<Bytes>> {
    let file = match std::fs::File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = Bytes::new();
    io::Read::read_to_end(&mut io::Read::take(file, PEM_LIMIT), &mut text)?;
    Ok(Some(text))
}

fn authorities() -> io::Result<Bytes> {
    for path in ["control/tlsroots.pem"].iter().chain(&BUNDLES) {
        if let Some(text) = pem(path)? {
            return Ok(text);
        }
    }
    Err(ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read() {
        let names = |list: &[&str]| list.iter().map(|n| n.as_bytes().to_vec()).collect();
        for (line, wanted) in [
            ("none", Some(Level::None)),
            ("may", Some(Level::May)),
            ("encrypt", Some(Level::Encrypt)),
            ("verify", Some(Level::Verify(vec![]))),
            (
                "verify:mx.a.test, .b.test",
                Some(Level::Verify(names(&["mx.a.test", ".b.test"]))),
            ),
            ("none:x", None),
            ("pin", None),
            ("pin:00", None),
            ("sometimes", None),
            ("", None),
        ] {
            assert_eq!(level(line.as_bytes()), wanted, "{line}");
        }
        let with_colons = format!("pin:{}", ["aB"; 32].join(":"));
        assert_eq!(
            level(with_colons.as_bytes()),
            Some(Level::Pin(vec![[0xab; 32]]))
        );
    }
}
