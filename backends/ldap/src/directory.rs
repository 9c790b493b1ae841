//! Where the directory is, and how a name becomes an entry in it.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use aside::{Name, Settings};
use base::Die;
use ldap3::Scope;

/// The words of the control file, besides those that all checkers know.
pub(crate) const WORDS: [&str; 17] = [
    "server",
    "starttls",
    "tls",
    "cafile",
    "binddn",
    "password",
    "dn",
    "base",
    "scope",
    "filter",
    "check",
    "passwordattribute",
    "userattribute",
    "homeattribute",
    "uidattribute",
    "gidattribute",
    "attribute",
];

/// Who compares the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// the directory: somebody binds as the user
    Bind,
    /// we: the stored password is read
    Read,
}

/// Where the entry of a name is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// its distinguished name, with words in it
    Known(String),
    /// what a search finds
    Searched {
        /// below which entry
        base: String,
        /// how deep
        scope: Scope,
        /// with words in it
        filter: String,
    },
}

/// A directory.
#[derive(Clone)]
pub(crate) struct Directory {
    /// URLs, tried in their order
    pub(crate) servers: Vec<String>,
    pub(crate) starttls: bool,
    pub(crate) cafile: Option<PathBuf>,
    /// who searches, and his password; nobody in particular if empty
    pub(crate) bind: (String, String),
    pub(crate) place: Place,
    pub(crate) check: Check,
    /// our words, and the attributes that have their values
    pub(crate) attributes: Vec<(&'static str, String)>,
    pub(crate) timeout: Duration,
}

impl Directory {
    /// # Errors
    /// Temporary: the settings make no sense, or would send passwords over a network in clear without saying so.
    pub(crate) fn of(settings: &Settings) -> Result<Directory, Die> {
        let wrong = |text: &str| settings.wrong(text);
        let text = |word: &str, default: &str| {
            let found = settings.text(word)?;
            Ok::<_, Die>(found.unwrap_or_else(|| default.to_owned()))
        };
        let servers = settings
            .all("server")
            .map(|s| String::from_utf8(s.to_vec()));
        let servers: Result<Vec<_>, _> = servers.collect();
        let servers = servers.map_err(|_| wrong("server is no UTF-8"))?;
        if servers.is_empty() {
            return Err(wrong("there is no server"));
        }
        let check = match settings.get("check") {
            None | Some(b"bind") => Check::Bind,
            Some(b"read") => Check::Read,
            Some(_) => return Err(wrong("check is neither bind nor read")),
        };
        let bind = (text("binddn", "")?, text("password", "")?);
        if bind.0.is_empty() != bind.1.is_empty() {
            return Err(wrong("binddn and password go together"));
        }
        let place = match (settings.text("dn")?, settings.text("base")?) {
            (Some(dn), None) => Place::Known(dn),
            (None, Some(base)) => Place::Searched {
                base,
                scope: match settings.get("scope") {
                    None | Some(b"sub") => Scope::Subtree,
                    Some(b"one") => Scope::OneLevel,
                    Some(_) => return Err(wrong("scope is neither sub nor one")),
                },
                filter: text("filter", "(uid=:user)")?,
            },
            _ => return Err(wrong("there must be one of dn and base")),
        };
        let pattern = match &place {
            Place::Known(pattern) => pattern,
            Place::Searched { filter, .. } => filter,
        };
        if !has_word(pattern) {
            return Err(wrong("dn or filter asks for nobody: no :login, no :user"));
        }
        let mut attributes = vec![
            ("home", text("homeattribute", "homeDirectory")?),
            ("uid", text("uidattribute", "uidNumber")?),
            ("gid", text("gidattribute", "gidNumber")?),
        ];
        if let Some(name) = settings.text("userattribute")? {
            attributes.push(("user", name));
        }
        // `attribute maildir NAME`, `attribute quota NAME`
        for line in settings.all("attribute") {
            let line = std::str::from_utf8(line).unwrap_or_default();
            match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                ["maildir", name] => attributes.push(("maildir", name.to_owned())),
                ["quota", name] => attributes.push(("quota", name.to_owned())),
                _ => {
                    return Err(wrong(
                        "attribute is neither `maildir NAME` nor `quota NAME`",
                    ));
                }
            }
        }
        if check == Check::Read {
            attributes.push(("password", text("passwordattribute", "userPassword")?));
        }
        let found = Directory {
            servers,
            starttls: settings.get("starttls") == Some(b"yes"),
            cafile: settings.text("cafile")?.map(PathBuf::from),
            bind,
            place,
            check,
            attributes,
            timeout: settings.timeout()?,
        };
        found.safe(settings).map(|()| found)
    }

    fn safe(&self, settings: &Settings) -> Result<(), Die> {
        for server in &self.servers {
            let is_tls = self.starttls || server.starts_with("ldaps:");
            if !["ldap:", "ldaps:", "ldapi:"]
                .iter()
                .any(|s| server.starts_with(s))
            {
                return Err(settings.wrong("server is no URL of LDAP"));
            }
            if is_tls && self.cafile.is_none() {
                return Err(settings.wrong("TLS needs a cafile"));
            }
            if !is_tls && !is_here(server) && settings.get("tls") != Some(b"no") {
                return Err(settings.wrong(
                    "a server is another machine: use ldaps: or starttls, or say `tls no`",
                ));
            }
        }
        Ok(())
    }
}

/// Whether a server is this machine.
fn is_here(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("ldap://") else {
        return url.starts_with("ldapi:");
    };
    let host = rest.split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// The words of a pattern.
const PARTS: [&str; 3] = [":login", ":user", ":domain"];

fn has_word(pattern: &str) -> bool {
    PARTS.iter().take(2).any(|word| pattern.contains(word))
}

/// The pattern with the parts of a name in the places of its words, each escaped for where it goes.
pub(crate) fn fill(pattern: &str, name: &Name, escape: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(':') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let values = [&name.login, &name.user, &name.domain];
        let mut each = PARTS.iter().zip(values);
        match each.find_map(|(word, value)| Some((from.strip_prefix(word)?, value))) {
            Some((after, value)) => {
                text.push_str(&escape(value));
                rest = after;
            }
            None => {
                text.push(':');
                rest = from.strip_prefix(':').unwrap_or_default();
            }
        }
    }
    text.push_str(rest);
    text
}

/// For a filter (RFC 4515 3): what is not plain becomes `\XX`.
pub(crate) fn for_filter(text: &str) -> String {
    escape(text, b"@._+=-")
}

/// For a distinguished name (RFC 4514 2.4).
pub(crate) fn for_name(text: &str) -> String {
    escape(text, b"@._-")
}

fn escape(text: &str, plain: &[u8]) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || plain.contains(&b) {
            out.push(char::from(b));
        } else {
            // A String takes everything.
            let _ = write!(out, "\\{b:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Directory, Die> {
        Directory::of(&Settings::parse(b"control/ldapcheck", text.as_bytes()))
    }

    #[test]
    fn nothing_of_a_name_is_syntax() {
        let name = Name::parse(b"*)(uid=\\,+\"<>#;@a.test").unwrap();
        let filter = fill("(&(uid=:user)(dc=:domain)(x:dn:=y))", &name, for_filter);
        assert_eq!(
            filter,
            "(&(uid=\\2a\\29\\28uid=\\5c\\2c+\\22\\3c\\3e\\23\\3b)(dc=a.test)(x:dn:=y))"
        );
        assert_eq!(
            fill("uid=:login,dc=x", &name, for_name),
            "uid=\\2a\\29\\28uid\\3d\\5c\\2c\\2b\\22\\3c\\3e\\23\\3b@a.test,dc=x"
        );
        let name = Name::parse("mü:user".as_bytes()).unwrap();
        assert_eq!(for_filter("mü"), "m\\c3\\bc");
        assert_eq!(
            fill("(uid=:user)", &name, |t| t.to_owned()),
            "(uid=mü:user)"
        );
    }

    #[test]
    fn settings_that_make_no_sense_are_temporary() {
        let ok = "server ldap://localhost:389\nbase dc=x\n";
        for more in [
            "filter (uid=tim)",
            "filter (d=:domain)",
            "scope all",
            "check trust",
            "binddn cn=x",
            "dn uid=:user",
            "starttls yes",
            "server ldap://192.0.2.1",
            "server ldaps://a.test",
            "server http://localhost",
            "attribute shell x",
        ] {
            assert_eq!(
                of(&format!("{ok}{more}")).err().map(|d| d.code),
                Some(111),
                "{more}"
            );
        }
        for text in [
            ok,
            "server ldapi://%2frun%2fldapi\nbase x",
            "server ldap://[::1]:389\nbase x",
            "server ldap://a.test\ntls no\nbase x",
            "server ldap://a.test\nstarttls yes\ncafile /x\ndn uid=:user,dc=x",
        ] {
            assert!(of(text).is_ok(), "{text}");
        }
    }
}
