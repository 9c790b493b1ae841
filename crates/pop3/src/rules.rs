//! What a client may do before it is known: from the environment.
//!
//! Source  qmail-popup(8)

use auth::Mechanism;
use auth::checker::Order;
use base::Bytes;

/// The rules of logging in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `<pid.time@host>`: the greeting, and the challenge of APOP
    pub stamp: Bytes,
    /// the host in other challenges
    pub host: Bytes,
    /// TLS is on
    pub tls: bool,
    /// a TLS server stands ready
    pub offered: bool,
    /// nothing but STLS without TLS
    pub required: bool,
    /// words that show a password may be used without TLS
    pub in_clear: bool,
    /// USER and PASS exist at all
    pub passwords: bool,
    /// those of AUTH, in the order of the offer
    pub mechanisms: Vec<Mechanism>,
    /// of a challenge and its response, for the checker
    pub order: Order,
}

impl Rules {
    /// From any environment. `knows` is what the checker knows beyond the classic ways.
    pub fn new(
        env: impl Fn(&str) -> Option<Bytes>,
        knows: &[Mechanism],
        host: &[u8],
        stamp: Bytes,
    ) -> Rules {
        let word = env("POP3AUTH").unwrap_or_default().to_ascii_lowercase();
        let (passwords, mechanisms) = switch(&word, knows);
        let plain = env("POP3PLAIN").is_none_or(|word| word != b"0");
        Rules {
            stamp,
            host: host.to_vec(),
            tls: false,
            offered: false,
            required: env("UCSPITLS").is_some_and(|word| word == b"!"),
            in_clear: plain || env("INTRANET").is_some(),
            passwords,
            mechanisms,
            order: match env("CRAMORDER").as_deref() {
                Some(b"challenge") => Order::ChallengeFirst,
                _ => Order::ResponseFirst,
            },
        }
    }

    /// Whether anything but STLS is of use now.
    pub fn is_open(&self) -> bool {
        self.tls || !self.required
    }

    /// Whether words that show a password may be used now.
    pub fn allows_passwords(&self) -> bool {
        self.is_open() && (self.tls || self.in_clear)
    }

    /// Whether a mechanism may be used now.
    pub fn allows(&self, mechanism: Mechanism) -> bool {
        let listed = self.mechanisms.contains(&mechanism);
        listed && self.is_open() && (self.allows_passwords() || !mechanism.is_plain())
    }

    /// The mechanisms that may be used now.
    pub fn offer(&self) -> Vec<&'static str> {
        let all = self.mechanisms.iter();
        all.filter(|m| self.allows(**m)).map(|m| m.name()).collect()
    }
}

/// POP3AUTH: whether there is USER, and what there is for AUTH.
///
/// `-` or `0` is no AUTH; `cram` or `apop` nothing that shows a password; `+cram` CRAM-MD5 as well; all else, and nothing,
/// PLAIN and LOGIN. CRAM-MD5 must be asked for: a checker that has no passwords in clear cannot do it, and a client that is
/// offered it tries nothing else.
fn switch(word: &[u8], knows: &[Mechanism]) -> (bool, Vec<Mechanism>) {
    use Mechanism::{CramMd5, Login, Plain};
    let mut list = match word {
        [b'-' | b'0', ..] => return (true, Vec::new()),
        w if w.starts_with(b"cram") => vec![CramMd5],
        w if w.starts_with(b"apop") => Vec::new(),
        w if w.starts_with(b"+cram") => vec![Plain, Login, CramMd5],
        _ => vec![Plain, Login],
    };
    let plain = list.contains(&Plain);
    let more = knows.iter().filter(|m| plain || !m.is_plain());
    // Binding to TLS is between the client and the TLS server; we have no part of its data.
    list.extend(more.filter(|m| !m.name().ends_with("-PLUS")));
    (plain, list)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use auth::digest::Hash;
    use auth::sasl::Bound;

    pub(crate) const SCRAM: Mechanism = Mechanism::Scram(Hash::Sha256, Bound::Free);

    pub(crate) fn rules(list: &[(&str, &str)]) -> Rules {
        let env = |name: &str| {
            let found = list.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| value.as_bytes().to_vec())
        };
        Rules::new(env, &[SCRAM], b"h.test", b"<7.1700000000@h.test>".to_vec())
    }

    #[test]
    fn an_old_script_goes_on_as_ever() {
        let rules = rules(&[]);
        assert!(rules.passwords && rules.allows_passwords());
        assert_eq!(rules.offer(), ["PLAIN", "LOGIN", "SCRAM-SHA-256"]);
    }

    #[test]
    fn passwords_go_under_tls_or_inside_only_when_said_so() {
        let mut outside = rules(&[("POP3PLAIN", "0")]);
        assert!(outside.is_open() && !outside.allows_passwords());
        assert_eq!(outside.offer(), ["SCRAM-SHA-256"]);
        outside.tls = true;
        assert!(outside.allows_passwords());
        // Set, not filled.
        assert!(rules(&[("POP3PLAIN", "0"), ("INTRANET", "")]).allows_passwords());
        assert!(rules(&[("POP3PLAIN", "")]).allows_passwords());

        let mut strict = rules(&[("UCSPITLS", "!"), ("INTRANET", "")]);
        assert!(!strict.is_open() && !strict.allows_passwords() && strict.offer().is_empty());
        strict.tls = true;
        assert_eq!(strict.offer().len(), 3);
        assert!(rules(&[("UCSPITLS", "")]).allows_passwords());
    }

    #[test]
    fn what_is_offered() {
        for (word, passwords, want) in [
            ("-", true, &[][..]),
            ("0", true, &[]),
            ("cram", false, &["CRAM-MD5", "SCRAM-SHA-256"]),
            ("APOP", false, &["SCRAM-SHA-256"]),
            (
                "+cram",
                true,
                &["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"],
            ),
            ("+apop", true, &["PLAIN", "LOGIN", "SCRAM-SHA-256"]),
        ] {
            let rules = rules(&[("POP3AUTH", word)]);
            assert_eq!(rules.passwords, passwords, "{word}");
            assert_eq!(rules.offer(), want, "{word}");
        }
    }
}
