//! What a server agrees to.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::Store;
use super::tickets::Tickets;
use crate::agreed;

/// The oldest version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// with forward secrecy and authenticated encryption only
    #[default]
    Tls12,
    /// nothing older
    Tls13,
}

/// What is wanted of certificates of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Clients {
    /// nobody is asked for one
    #[default]
    Ignore,
    /// a client may have one; a bad one is refused
    Ask(Authorities),
    /// no client without
    Require(Authorities),
}

/// Whose word counts about clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities {
    /// their certificates, PEM
    pub roots: Vec<u8>,
    /// lists of what they have taken back, PEM
    pub revoked: Vec<u8>,
}

/// What a server agrees to, besides its certificates.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// the oldest version
    pub oldest: Version,
    /// names of ciphers as OpenSSL has them, the best first; empty: all that are good
    pub ciphers: Vec<&'static str>,
    /// the application protocols that a client may name; empty: whatever it names is not looked at
    pub protocols: Vec<Vec<u8>>,
    /// certificates of clients
    pub clients: Clients,
}

/// A server, ready for sessions. Copies share everything.
#[derive(Clone, Debug)]
pub struct Config(pub(super) Arc<ServerConfig>);

/// The ciphers named in a list like OpenSSL's, and the words that name none of ours.
pub fn ciphers(list: &str) -> (Vec<&'static str>, Vec<&str>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let words = list.split([':', ',', ' ']).filter(|word| !word.is_empty());
    for word in words {
        let found = suites()
            .into_iter()
            .filter_map(|s| agreed::name(&s))
            .find(|name| *name == word);
        match found {
            Some(name) => known.push(name),
            None => unknown.push(word),
        }
    }
    (known, unknown)
}

fn suites() -> Vec<SupportedCipherSuite> {
    rustls::crypto::ring::default_provider().cipher_suites
}

impl Config {
    /// # Errors
    /// What is wrong, for the log: no usable authority, or no cipher for any version.
    pub fn new(
        settings: &Settings,
        store: Arc<Store>,
        tickets: Arc<Tickets>,
    ) -> Result<Config, String> {
        let mut provider = rustls::crypto::ring::default_provider();
        if !settings.ciphers.is_empty() {
            let named = |name| suites().into_iter().find(|s| agreed::name(s) == Some(name));
            provider.cipher_suites = settings.ciphers.iter().filter_map(|n| named(*n)).collect();
        }
        let provider = Arc::new(provider);
        let versions: &[&SupportedProtocolVersion] = match settings.oldest {
            Version::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
            Version::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| e.to_string())?;
        let verifier = |authorities: &Authorities, required: bool| {
            let (roots, revoked) = read(authorities)?;
            let builder =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .with_crls(revoked);
            let builder = if required {
                builder
            } else {
                builder.allow_unauthenticated()
            };
            builder.build().map_err(|e| e.to_string())
        };
        let builder = match &settings.clients {
            Clients::Ignore => builder.with_no_client_auth(),
            Clients::Ask(list) => builder.with_client_cert_verifier(verifier(list, false)?),
            Clients::Require(list) => builder.with_client_cert_verifier(verifier(list, true)?),
        };
        let mut config = builder.with_cert_resolver(store);
        // Tickets hold sessions, so that any process can go on with them; nothing is kept here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = tickets;
        // All are good: a client without an engine for AES knows best. An order that somebody wrote down counts.
        config.ignore_client_order = !settings.ciphers.is_empty();
        // One is enough: a mail client comes back one connection at a time.
        config.send_tls13_tickets = 1;
        config.alpn_protocols.clone_from(&settings.protocols);
        Ok(Config(Arc::new(config)))
    }
}

fn read(
    authorities: &Authorities,
) -> Result<(RootCertStore, Vec<CertificateRevocationListDer<'static>>), String> {
    let mut roots = RootCertStore::empty();
    let list: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&authorities.roots)
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    if roots.add_parsable_certificates(list).0 == 0 {
        return Err("no usable certificate of an authority".into());
    }
    let revoked = CertificateRevocationListDer::pem_slice_iter(&authorities.revoked)
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    Ok((roots, revoked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphers_have_the_names_of_openssl() {
        let list = "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256:HIGH:!aNULL";
        let (known, unknown) = ciphers(list);
        let want = ["TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"];
        assert_eq!(known, want);
        assert_eq!(unknown, ["HIGH", "!aNULL"]);
    }

    #[test]
    fn a_version_without_a_cipher_is_refused() {
        let settings = Settings {
            oldest: Version::Tls13,
            ciphers: vec!["ECDHE-RSA-AES128-GCM-SHA256"],
            ..Settings::default()
        };
        let tickets = Arc::new(Tickets::new(b"1").unwrap());
        assert!(Config::new(&settings, Arc::default(), tickets).is_err());
    }
}
