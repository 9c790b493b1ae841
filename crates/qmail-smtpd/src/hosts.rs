//! Who may be written to, and who may not write: rcpthosts, morercpthosts.cdb, badmailfrom.
//!
//! The lists stay in memory as they stand in their files and are searched from top to bottom: a process serves one
//! client, and a table would cost more than the few searches do.

use std::io;

use base::Bytes;
use base::bytes::{rsplit_once, trim_end};
use control::Table;

/// The text of a control file that is a list.
#[derive(Clone, Debug, Default)]
pub struct List(Bytes);

impl List {
    /// A list from the text of its file.
    pub fn new(text: Bytes) -> List {
        List(text)
    }

    /// Lines without blanks at their ends; not empty ones, not comments.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0
            .split(|&b| b == b'\n')
            .map(trim_end)
            .filter(|line| !line.is_empty() && line.first() != Some(&b'#'))
    }

    /// Whether `domain` is a line, or ends with a line that begins with a dot.
    fn has_domain(&self, domain: &[u8]) -> bool {
        self.lines().any(|line| {
            line.eq_ignore_ascii_case(domain)
                || (line.first() == Some(&b'.')
                    && domain
                        .len()
                        .checked_sub(line.len())
                        .and_then(|at| domain.get(at..))
                        .is_some_and(|end| end.eq_ignore_ascii_case(line)))
        })
    }

    /// Whether `domain` is a line.
    pub fn has(&self, domain: &[u8]) -> bool {
        self.lines().any(|line| line.eq_ignore_ascii_case(domain))
    }

    /// Whether `address` or its `@domain` is a line.
    pub fn has_sender(&self, address: &[u8]) -> bool {
        let at_domain = rsplit_once(address, b'@')
            .and_then(|(local, _)| address.get(local.len()..))
            .filter(|part| !part.is_empty());
        self.lines().any(|line| {
            line.eq_ignore_ascii_case(address)
                || at_domain.is_some_and(|part| line.eq_ignore_ascii_case(part))
        })
    }
}

/// The domains that strangers may write to.
#[derive(Debug, Default)]
pub struct Hosts {
    list: List,
    more: Option<Table>,
}

impl Hosts {
    /// From rcpthosts, and morercpthosts.cdb if there is one.
    pub fn new(list: List, more: Option<Table>) -> Hosts {
        Hosts { list, more }
    }

    /// Whether a stranger may write to `domain`.
    ///
    /// # Errors
    /// The table is damaged.
    pub fn allow(&self, domain: &[u8]) -> io::Result<bool> {
        if self.list.has_domain(domain) {
            return Ok(true);
        }
        let Some(more) = &self.more else {
            return Ok(false);
        };
        let lower = domain.to_ascii_lowercase();
        for (at, &byte) in lower.iter().enumerate() {
            if (at == 0 || byte == b'.')
                && let Some(key) = lower.get(at..)
                && more.get(key)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_match_whole_or_behind_a_dot() {
        let hosts = Hosts::new(
            List::new(b"# mine\nHost.test \n.sub.test\n\n.\n".to_vec()),
            None,
        );
        for (domain, allowed) in [
            ("host.test", true),
            ("HOST.TEST", true),
            ("a.host.test", false),
            ("ost.test", false),
            ("sub.test", false),
            ("a.sub.test", true),
            ("b.a.SUB.test", true),
            ("asub.test", false),
            ("# mine", false),
            ("", false),
            ("a.", true),
        ] {
            assert_eq!(hosts.allow(domain.as_bytes()).unwrap(), allowed, "{domain}");
        }
    }

    #[test]
    fn senders_match_whole_or_by_domain() {
        let list = List::new(b"joe@bad.test\n@worse.test\nnoat\n@\n".to_vec());
        for (address, listed) in [
            ("joe@bad.test", true),
            ("JOE@BAD.TEST", true),
            ("jim@bad.test", false),
            ("any@worse.test", true),
            ("a@b@worse.test", true),
            ("worse.test", false),
            ("noat", true),
            ("", false),
        ] {
            assert_eq!(list.has_sender(address.as_bytes()), listed, "{address}");
        }
    }
}
