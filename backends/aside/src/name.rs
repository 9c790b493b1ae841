//! A login name that may be put to a server.

use base::bytes::rsplit_once;

/// The longest login name, bytes: one that fits beside a password.
const LIMIT: usize = 320;

/// A login name in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// as it was typed
    pub login: String,
    /// before the last `@`
    pub user: String,
    /// behind it, in lower case; empty if there is no `@`
    pub domain: String,
}

impl Name {
    /// `None`: no server is asked for such a name. It has control bytes or blanks, which databases compare in ways of
    /// their own, is no UTF-8, or too long.
    pub fn parse(login: &[u8]) -> Option<Name> {
        let text = std::str::from_utf8(login).ok()?;
        let is_odd = |c: char| c.is_control() || c.is_whitespace();
        if text.is_empty() || login.len() > LIMIT || text.chars().any(is_odd) {
            return None;
        }
        let (user, domain) = rsplit_once(login, b'@').unwrap_or((login, b""));
        // What stands around an ASCII byte in UTF-8 is UTF-8.
        let part = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
        Some(Name {
            login: text.to_owned(),
            user: part(user)?,
            domain: part(domain)?.to_ascii_lowercase(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_parts() {
        let name = Name::parse(b"Tim@x@A.Test").unwrap();
        assert_eq!(
            (name.user.as_str(), name.domain.as_str()),
            ("Tim@x", "a.test")
        );
        let name = Name::parse(b"tim").unwrap();
        assert_eq!((name.user.as_str(), name.domain.as_str()), ("tim", ""));
        assert_eq!(Name::parse("müller".as_bytes()).unwrap().user, "müller");
    }

    #[test]
    fn odd_names_are_nobody() {
        for odd in [
            &b""[..],
            b"tim ",
            b" tim",
            b"tim\0",
            b"tim\n",
            b"tim\x7f",
            b"t\xfcm",
            "tim\u{a0}".as_bytes(),
            "tim\u{85}".as_bytes(),
            &[b'x'; LIMIT + 1],
        ] {
            assert_eq!(Name::parse(odd), None, "{odd:?}");
        }
    }
}
