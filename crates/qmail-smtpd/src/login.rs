//! What AUTH means on this service: who is offered what, and what may not be done without it.
//!
//! Source  RFC 4954; docs/compat/qmail-smtpd.md

use auth::Mechanism;
use auth::checker::Order;
use auth::sasl::Bound;
use base::Bytes;

use crate::words::{Unclear, Words};

/// Whether AUTH is a word here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// nobody checks passwords: the word is unknown
    Unknown,
    /// somebody should, but it is switched off or unclear
    Off,
    /// it is
    On,
}

/// The rules of logging in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// whether there is AUTH
    pub state: State,
    /// what can be used, in the order of the offer
    pub mechanisms: Vec<Mechanism>,
    /// SMTPAUTH with `!`: no mail without it
    pub required: bool,
    /// AUTHTLS: none of them without TLS
    pub under_tls: bool,
    /// INTRANET or ALLOWPLAIN: those that show the password may be used without TLS
    pub in_clear: bool,
    /// the host in our challenges
    pub host: Bytes,
    /// failures in one session before it ends; 0: no limit
    pub max_failures: u64,
}

impl Rules {
    /// From the arguments and any environment. `knows` is what the checker knows beyond the classic mechanisms, `local`
    /// the name for challenges if the arguments have none.
    pub fn new(
        words: &Result<Option<Words>, Unclear>,
        env: impl Fn(&str) -> Option<Bytes>,
        knows: &[Mechanism],
        local: &[u8],
    ) -> Rules {
        let (required, mechanisms) = switch(env("SMTPAUTH").as_deref(), knows);
        let state = match words {
            Ok(None) => State::Unknown,
            Ok(Some(_)) if !mechanisms.is_empty() => State::On,
            Ok(Some(_)) | Err(_) => State::Off,
        };
        let host = match words {
            Ok(Some(words)) => words.host.clone(),
            _ => None,
        };
        Rules {
            state,
            mechanisms,
            required,
            under_tls: env("AUTHTLS").is_some_and(|v| v != b"0"),
            in_clear: env("INTRANET").is_some() || env("ALLOWPLAIN").is_some(),
            host: host.unwrap_or_else(|| local.to_vec()),
            max_failures: 0,
        }
    }

    /// Whether AUTH can lead to something, with or without TLS.
    pub fn is_open(&self, tls: bool) -> bool {
        self.state == State::On && (tls || !self.under_tls)
    }

    /// Whether a mechanism may be used.
    pub fn allows(&self, mechanism: Mechanism, tls: bool) -> bool {
        self.is_open(tls) && (tls || self.in_clear || !mechanism.is_plain())
    }

    /// All that there is: bound to TLS as well, if that can be.
    fn all(&self, bound: bool) -> impl Iterator<Item = Mechanism> {
        let with_plus = move |m: &Mechanism| {
            let plus = match m {
                Mechanism::Scram(hash, Bound::Free) if bound => {
                    Some(Mechanism::Scram(*hash, Bound::ToTls))
                }
                _ => None,
            };
            plus.into_iter().chain([*m])
        };
        self.mechanisms.iter().flat_map(with_plus)
    }

    /// The mechanism of this name.
    pub fn find(&self, name: &[u8], bound: bool) -> Option<Mechanism> {
        let wanted = Mechanism::parse(name)?;
        self.all(bound).find(|m| *m == wanted)
    }

    /// The list for EHLO; `None`: nothing is offered.
    pub fn offer(&self, tls: bool, bound: bool) -> Option<String> {
        let names: Vec<&str> = self
            .all(bound)
            .filter(|m| self.allows(*m, tls))
            .map(Mechanism::name)
            .collect();
        (!names.is_empty()).then(|| names.join(" "))
    }
}

/// SMTPAUTH: whether AUTH is required, and what there is.
///
/// A leading `!` requires it. Then `-` or `0` is nothing, `cram...` CRAM-MD5 alone, `+cram...` that as well, and all else,
/// nothing included, LOGIN and PLAIN. Without the variable there is everything, as in the first patch. SCRAM does not
/// show the password, so it joins whatever there is.
fn switch(value: Option<&[u8]>, knows: &[Mechanism]) -> (bool, Vec<Mechanism>) {
    use Mechanism::{CramMd5, Login, Plain};
    let value = value.unwrap_or(b"+cram").to_ascii_lowercase();
    let (required, word) = match value.strip_prefix(b"!") {
        Some(rest) => (true, rest),
        None => (false, value.as_slice()),
    };
    let mut list = match word {
        [b'-' | b'0', ..] => return (required, Vec::new()),
        w if w.starts_with(b"cram") => vec![CramMd5],
        w if w.starts_with(b"+cram") => vec![Login, CramMd5, Plain],
        _ => vec![Login, Plain],
    };
    let plain = list.contains(&Plain);
    let more = knows.iter().filter(|m| plain || !m.is_plain());
    // Binding to TLS is none of the checker's business.
    list.extend(more.filter(|m| !matches!(m, Mechanism::Scram(_, Bound::ToTls))));
    (required, list)
}

/// CRAMORDER, else the custom that the arguments follow.
pub fn order(words: &Words, value: Option<&[u8]>) -> Order {
    match value {
        Some(b"challenge") => Order::ChallengeFirst,
        Some(b"response") => Order::ResponseFirst,
        _ if words.host.is_some() => Order::ChallengeFirst,
        _ => Order::ResponseFirst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::digest::Hash;

    const SCRAM: Mechanism = Mechanism::Scram(Hash::Sha256, Bound::Free);

    fn rules(list: &[(&str, &str)], knows: &[Mechanism]) -> Rules {
        let words = Words {
            host: None,
            command: vec![b"checker".to_vec(), b"true".to_vec()],
            by_place: false,
        };
        let env = |name: &str| {
            list.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_bytes().to_vec())
        };
        Rules::new(&Ok(Some(words)), env, knows, b"mx.test")
    }

    #[test]
    fn smtpauth_has_its_words() {
        for (value, required, clear, tls) in [
            (None, false, Some("CRAM-MD5"), Some("LOGIN CRAM-MD5 PLAIN")),
            (Some(""), false, None, Some("LOGIN PLAIN")),
            (Some("yes"), false, None, Some("LOGIN PLAIN")),
            (
                Some("+cram"),
                false,
                Some("CRAM-MD5"),
                Some("LOGIN CRAM-MD5 PLAIN"),
            ),
            (Some("cram"), false, Some("CRAM-MD5"), Some("CRAM-MD5")),
            (Some("CRAM-MD5"), false, Some("CRAM-MD5"), Some("CRAM-MD5")),
            (Some("!"), true, None, Some("LOGIN PLAIN")),
            (Some("!cram"), true, Some("CRAM-MD5"), Some("CRAM-MD5")),
            (
                Some("!+cram"),
                true,
                Some("CRAM-MD5"),
                Some("LOGIN CRAM-MD5 PLAIN"),
            ),
            (Some("-"), false, None, None),
            (Some("-cram"), false, None, None),
            (Some("0"), false, None, None),
            (Some("!-"), true, None, None),
        ] {
            let list: Vec<_> = value.map(|v| ("SMTPAUTH", v)).into_iter().collect();
            let found = rules(&list, &[]);
            assert_eq!(found.required, required, "{value:?}");
            assert_eq!(found.offer(false, false).as_deref(), clear, "{value:?}");
            assert_eq!(found.offer(true, false).as_deref(), tls, "{value:?}");
        }
    }

    #[test]
    fn passwords_in_clear_need_a_rule() {
        for name in ["INTRANET", "ALLOWPLAIN"] {
            let found = rules(&[("SMTPAUTH", ""), (name, "")], &[]);
            assert_eq!(found.offer(false, false).as_deref(), Some("LOGIN PLAIN"));
        }
        let found = rules(&[("AUTHTLS", "1"), ("INTRANET", "")], &[]);
        assert_eq!(found.offer(false, false), None);
        assert!(found.offer(true, false).is_some());
        assert!(
            rules(&[("AUTHTLS", "0")], &[])
                .offer(false, false)
                .is_some()
        );
    }

    #[test]
    fn what_the_checker_knows_joins() {
        let plus = Mechanism::Scram(Hash::Sha256, Bound::ToTls);
        let knows = [SCRAM, plus, Mechanism::Xoauth2];
        let found = rules(&[], &knows);
        assert_eq!(
            found.offer(false, false).as_deref(),
            Some("CRAM-MD5 SCRAM-SHA-256")
        );
        let all = "LOGIN CRAM-MD5 PLAIN SCRAM-SHA-256 XOAUTH2";
        assert_eq!(found.offer(true, false).as_deref(), Some(all));
        let found = rules(&[("SMTPAUTH", "cram")], &knows);
        assert_eq!(
            found.offer(true, false).as_deref(),
            Some("CRAM-MD5 SCRAM-SHA-256")
        );
        assert_eq!(rules(&[("SMTPAUTH", "-")], &knows).offer(true, true), None);
        let found = rules(&[("SMTPAUTH", "cram")], &knows);
        assert_eq!(
            found.offer(true, true).as_deref(),
            Some("CRAM-MD5 SCRAM-SHA-256-PLUS SCRAM-SHA-256")
        );
        assert_eq!(found.find(b"scram-sha-256-plus", true), Some(plus));
        assert_eq!(found.find(b"SCRAM-SHA-256-PLUS", false), None);
        assert_eq!(found.find(b"SCRAM-SHA-1-PLUS", true), None);
    }

    #[test]
    fn unclear_arguments_offer_nothing() {
        let none = |_: &str| None;
        let unclear = Rules::new(&Err(Unclear::SaysYes), none, &[], b"x");
        assert_eq!(
            (unclear.state, unclear.offer(true, false)),
            (State::Off, None)
        );
        let absent = Rules::new(&Ok(None), none, &[], b"x");
        assert_eq!(
            (absent.state, absent.offer(true, false)),
            (State::Unknown, None)
        );
    }
}
