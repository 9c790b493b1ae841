//! Where an address of the envelope goes: here, under which local name, or to another host.
//!
//! Source  qmail-send(8), "locals", "percenthack", "virtualdomains", "envnoathost"

use std::fmt;
use std::io::{self, ErrorKind};

use base::Bytes;
use base::bytes::{rsplit_once, trim_end};
use control::Map;

/// What becomes of a recipient. The address is the one that the spawner gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// delivered on this machine; the prefix of a virtual domain is in front already
    Local(Bytes),
    /// goes to another host
    Remote(Bytes),
}

/// A control file that could not be read again; the old content stays in force.
#[derive(Debug)]
pub struct Unread {
    /// `control/locals` or `control/virtualdomains`
    pub file: &'static str,
    /// why
    pub error: io::Error,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unable to reread {}", self.file)
    }
}

/// The rules of rewriting, as read from the control files.
#[derive(Clone, Debug)]
pub struct Rewrite {
    me: Option<Bytes>,
    envnoathost: Bytes,
    percenthack: Map,
    locals: Map,
    virtualdomains: Map,
}

fn locals(me: Option<&Bytes>) -> io::Result<Map> {
    let lines = match (control::list("locals")?, me) {
        (Some(lines), _) => lines,
        (None, Some(me)) => vec![me.clone()],
        (None, None) => {
            return Err(io::Error::new(
                ErrorKind::NotFound,
                "neither control/locals nor control/me",
            ));
        }
    };
    Ok(Map::keys(&lines))
}

fn virtualdomains() -> io::Result<Map> {
    Ok(Map::pairs(
        &control::list("virtualdomains")?.unwrap_or_default(),
    ))
}

impl Rewrite {
    /// Reads locals, virtualdomains, percenthack, envnoathost and me.
    ///
    /// # Errors
    /// A file is there and cannot be read, or there is neither locals nor me.
    pub fn load() -> io::Result<Rewrite> {
        let me = control::line("me")?;
        Ok(Rewrite {
            envnoathost: control::line_or_me("envnoathost")?,
            percenthack: Map::keys(&control::list("percenthack")?.unwrap_or_default()),
            locals: locals(me.as_ref())?,
            virtualdomains: virtualdomains()?,
            me,
        })
    }

    /// Rules made of texts in the form of the control files, without reading anything.
    pub fn from_texts(
        envnoathost: &[u8],
        percenthack: &[u8],
        locals: &[u8],
        virtualdomains: &[u8],
    ) -> Rewrite {
        let lines = |text| control::file::lines(text);
        Rewrite {
            me: None,
            envnoathost: trim_end(envnoathost).to_vec(),
            percenthack: Map::keys(&lines(percenthack)),
            locals: Map::keys(&lines(locals)),
            virtualdomains: Map::pairs(&lines(virtualdomains)),
        }
    }

    /// Reads locals and virtualdomains again (SIGHUP). Both change, or neither.
    ///
    /// # Errors
    /// The file that could not be read; everything stays as it was.
    pub fn reload(&mut self) -> Result<(), Unread> {
        let unread = |file| move |error| Unread { file, error };
        let new_locals = locals(self.me.as_ref()).map_err(unread("control/locals"))?;
        let new_domains = virtualdomains().map_err(unread("control/virtualdomains"))?;
        self.locals = new_locals;
        self.virtualdomains = new_domains;
        Ok(())
    }

    /// Where `recipient`, an address as it stands in the envelope, goes.
    pub fn route(&self, recipient: &[u8]) -> Route {
        let address = self.without_percents(self.with_host(recipient));
        let (at, domain) = cut(&address);
        if self.locals.has(domain) {
            return Route::Local(address);
        }
        match self.prefix(&address, at) {
            Some(prefix) if !prefix.is_empty() => {
                Route::Local([prefix, b"-".as_slice(), &address].concat())
            }
            // An empty prefix is an exception from a wider rule.
            _ => Route::Remote(address),
        }
    }

    /// A local address without the prefix of its virtual domain: the form that a bounce names.
    ///
    /// Rules for single addresses (`user@domain:prefix`) are not taken back, as in the original.
    pub fn strip(&self, address: &[u8]) -> Bytes {
        self.stripped(address).unwrap_or(address).to_vec()
    }

    fn stripped<'a>(&self, address: &'a [u8]) -> Option<&'a [u8]> {
        let (_, domain) = rsplit_once(address, b'@')?;
        let prefix = suffixes(domain, 0).find_map(|key| self.virtualdomains.get(key))?;
        if prefix.is_empty() {
            return None;
        }
        address.strip_prefix(prefix)?.strip_prefix(b"-")
    }

    fn with_host(&self, recipient: &[u8]) -> Bytes {
        if recipient.contains(&b'@') {
            recipient.to_vec()
        } else {
            [recipient, b"@", &self.envnoathost].concat()
        }
    }

    /// `user%host@hack` becomes `user@host` as long as the domain is listed in percenthack. Gets shorter each time.
    fn without_percents(&self, mut address: Bytes) -> Bytes {
        let mut at = cut(&address).0;
        while self
            .percenthack
            .has(address.get(at + 1..).unwrap_or_default())
        {
            let name = address.get(..at).unwrap_or_default();
            let Some(percent) = name.iter().rposition(|&b| b == b'%') else {
                break;
            };
            address.truncate(at);
            if let Some(byte) = address.get_mut(percent) {
                *byte = b'@';
            }
            at = percent;
        }
        address
    }

    /// The first virtual domain that matches: the whole address, the domain, each end of it that begins with a dot,
    /// and last the empty key.
    fn prefix(&self, address: &[u8], at: usize) -> Option<&[u8]> {
        std::iter::once(address)
            .chain(suffixes(address, at + 1))
            .find_map(|key| self.virtualdomains.get(key))
    }
}

/// Position of the last `@` and what follows it. Without one: the end, and nothing.
fn cut(address: &[u8]) -> (usize, &[u8]) {
    let at = address
        .iter()
        .rposition(|&b| b == b'@')
        .unwrap_or(address.len());
    (at, address.get(at + 1..).unwrap_or_default())
}

/// `text` from `start`, from each later dot, and the empty end.
fn suffixes(text: &[u8], start: usize) -> impl Iterator<Item = &[u8]> {
    (start..=text.len())
        .filter(move |&i| i == start || i == text.len() || text.get(i) == Some(&b'.'))
        .filter_map(move |i| text.get(i..))
}

#[cfg(test)]
mod tests;
