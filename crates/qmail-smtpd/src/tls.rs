//! TLS as a session sees it: offered, asked for, or there from the start. The bytes are another process's business.
//!
//! Source  RFC 3207; sslserver(1): UCSPI-TLS, and the variables SSL_PROTOCOL and SSL_CIPHER

use auth::encoding::unhex;
use base::Bytes;
use net::starttls::{Told, value};

/// Bytes of a version or a cipher that go into headers and logs.
const NAME_LIMIT: usize = 64;

/// The variable with the keying material that a TLS server exports, hexadecimal.
pub const EXPORTER: &str = "SSL_TLS_EXPORTER";
/// Bytes of it.
const BINDING: usize = 32;

/// Whether STARTTLS is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// there is nobody to do it
    No,
    /// the client may
    May,
    /// the client must, before it sends mail or a password
    Must,
}

/// TLS around the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// as the server says it, such as `TLSv1.3`
    pub version: Option<Bytes>,
    /// such as `TLS_AES_256_GCM_SHA384`
    pub cipher: Option<Bytes>,
    /// what only the two ends of this TLS session know (RFC 9266): SCRAM can be bound to it
    pub binding: Option<Bytes>,
    /// all that the server told, for the environment of a queue program; empty if it stands in ours
    pub told: Told,
}

/// What is known before the first command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// STARTTLS
    pub offer: Offer,
    /// TLS from the start, as on port 465
    pub cover: Option<Cover>,
}

impl Tls {
    /// Reads any environment.
    ///
    /// SSL_PROTOCOL tells of TLS from the start, and so does SMTPS, unless they are empty. UCSPITLS offers STARTTLS: `-`
    /// withdraws the offer, `!` and `@` make it a condition. So does REQUIRETLS.
    pub fn from(env: impl Fn(&str) -> Option<Bytes>) -> Tls {
        let says = |name| env(name).is_some_and(|v| !v.is_empty());
        let covered = says("SSL_PROTOCOL") || says("SMTPS");
        let cover = covered.then(|| Cover::from(&env));
        let offer = match env("UCSPITLS") {
            None => Offer::No,
            Some(_) if cover.is_some() => Offer::No,
            Some(word) => match word.first() {
                Some(b'-') => Offer::No,
                Some(b'!' | b'@') => Offer::Must,
                _ if env("REQUIRETLS").is_some() => Offer::Must,
                _ => Offer::May,
            },
        };
        Tls { offer, cover }
    }

    /// Reads the environment of this process. Nothing is offered that nobody can do.
    pub fn from_env() -> Tls {
        let tls = Tls::from(base::env);
        let idle = tls.offer == Offer::May && net::starttls::offered().is_none();
        Tls {
            offer: if idle { Offer::No } else { tls.offer },
            ..tls
        }
    }
}

impl Cover {
    /// Reads any environment.
    pub fn from(env: impl Fn(&str) -> Option<Bytes>) -> Cover {
        Cover {
            version: env("SSL_PROTOCOL").and_then(clean),
            cipher: env("SSL_CIPHER").and_then(clean),
            binding: env(EXPORTER)
                .and_then(|digits| unhex(&digits))
                .filter(|data| data.len() == BINDING),
            told: Told::new(),
        }
    }

    /// From what a TLS process told.
    pub fn told(told: Told) -> Cover {
        Cover {
            told: told.clone(),
            ..Cover::from(|name| value(&told, name.as_bytes()).map(<[u8]>::to_vec))
        }
    }

    /// The version for the log.
    pub fn name(&self) -> &[u8] {
        self.version.as_deref().unwrap_or(b"yes")
    }

    /// The remark for the Received line: ` (TLSv1.3 TLS_AES_256_GCM_SHA384 encrypted)`; empty if nothing is known.
    pub fn remark(&self) -> String {
        let words: Vec<&[u8]> = [&self.version, &self.cipher]
            .into_iter()
            .flatten()
            .map(Vec::as_slice)
            .collect();
        match String::from_utf8(words.join(&b' ')) {
            Ok(text) if !text.is_empty() => format!(" ({text} encrypted)"),
            _ => String::new(),
        }
    }
}

/// A name without anything that has a meaning in a header.
fn clean(name: Bytes) -> Option<Bytes> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    let sound = !name.is_empty() && name.len() <= NAME_LIMIT && name.iter().all(plain);
    sound.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(list: &[(&str, &str)]) -> Tls {
        Tls::from(|name| {
            list.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_bytes().to_vec())
        })
    }

    #[test]
    fn the_environment_says_who_does_tls() {
        for (list, offer, covered) in [
            (&[][..], Offer::No, false),
            (&[("UCSPITLS", "")], Offer::May, false),
            (&[("UCSPITLS", "?")], Offer::May, false),
            (&[("UCSPITLS", "-")], Offer::No, false),
            (&[("UCSPITLS", "!")], Offer::Must, false),
            (&[("UCSPITLS", "@")], Offer::Must, false),
            (&[("UCSPITLS", ""), ("REQUIRETLS", "")], Offer::Must, false),
            (&[("REQUIRETLS", "")], Offer::No, false),
            (&[("SMTPS", "1")], Offer::No, true),
            (&[("SMTPS", "")], Offer::No, false),
            (&[("SSL_PROTOCOL", "")], Offer::No, false),
            (&[("SSL_PROTOCOL", "TLSv1.3")], Offer::No, true),
            (
                &[("SSL_PROTOCOL", "TLSv1.3"), ("UCSPITLS", "!")],
                Offer::No,
                true,
            ),
        ] {
            let found = tls(list);
            assert_eq!(
                (found.offer, found.cover.is_some()),
                (offer, covered),
                "{list:?}"
            );
        }
    }

    #[test]
    fn a_binding_is_whole_or_none() {
        let binding = |digits: &str| {
            let list = [("SSL_PROTOCOL", "TLSv1.3"), (EXPORTER, digits)];
            tls(&list).cover.unwrap().binding
        };
        assert_eq!(binding(&"0a".repeat(32)), Some(vec![10; 32]));
        for wrong in ["", "0a", &"0a".repeat(33), &"0x".repeat(32)] {
            assert_eq!(binding(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_remark_cannot_leave_its_comment() {
        let remark = |version, cipher| {
            let cover = tls(&[("SSL_PROTOCOL", version), ("SSL_CIPHER", cipher)]).cover;
            cover.unwrap().remark()
        };
        assert_eq!(
            remark("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
            " (TLSv1.3 TLS_AES_256_GCM_SHA384 encrypted)"
        );
        assert_eq!(remark("TLSv1.2", "x) by evil ("), " (TLSv1.2 encrypted)");
        assert_eq!(remark("(", &"x".repeat(65)), "");
    }
}
