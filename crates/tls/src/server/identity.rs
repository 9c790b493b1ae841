//! Certificates with their keys, and which of them a client gets to see.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, SignatureAlgorithm, SignatureScheme};

use crate::certificate::Certificate;

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// there is no certificate in the file, or it is damaged
    Certificate,
    /// there is no key in the file, or of a kind that is not known, or it needs a password
    Key,
    /// the key belongs to another certificate
    Mismatch,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::Certificate => "no usable certificate",
            Unusable::Key => "no usable key",
            Unusable::Mismatch => "key does not match certificate",
        })
    }
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    about: Certificate,
}

impl Identity {
    /// Reads a chain of certificates and a key, both PEM; the server's own certificate comes first. `ocsp` is an answer
    /// of the authority in DER, passed on as it is.
    ///
    /// # Errors
    /// See `Unusable`.
    pub fn read(chain: &[u8], key: &[u8], ocsp: Option<Vec<u8>>) -> Result<Identity, Unusable> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| Unusable::Certificate)?;
        let about = chain
            .first()
            .and_then(|first| Certificate::read(first))
            .ok_or(Unusable::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Unusable::Key)?;
        let key =
            rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| Unusable::Key)?;
        let mut key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(Unusable::Mismatch),
            Err(_) => return Err(Unusable::Certificate),
        }
        key.ocsp = ocsp;
        Ok(Identity {
            key: Arc::new(key),
            about,
        })
    }

    /// What the certificate says of itself.
    pub fn about(&self) -> &Certificate {
        &self.about
    }

    fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }
}

/// The certificates of a server, by the names of hosts in them.
#[derive(Debug, Default)]
pub struct Store {
    /// for clients that name no host, or one that nobody has
    default: Vec<Identity>,
    named: HashMap<String, Vec<Identity>>,
}

impl Store {
    /// Adds a certificate for every name in it.
    pub fn add(&mut self, identity: &Identity) {
        for name in &identity.about.hosts {
            insert(self.named.entry(name.clone()).or_default(), identity);
        }
    }

    /// Adds a certificate for its names, and for clients that ask for none of ours.
    pub fn add_default(&mut self, identity: &Identity) {
        self.add(identity);
        insert(&mut self.default, identity);
    }

    /// Whether there is one for everybody.
    pub fn has_default(&self) -> bool {
        !self.default.is_empty()
    }

    /// Those for a host; a wildcard stands for one label.
    fn of(&self, host: Option<&str>) -> &[Identity] {
        let named = host.and_then(|host| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            self.named.get(&host).or_else(|| {
                let (_, parent) = host.split_once('.')?;
                self.named.get(&format!("*.{parent}"))
            })
        });
        named.unwrap_or(&self.default)
    }

    fn pick(&self, host: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Identity> {
        let all = self.of(host);
        let fits = |identity: &&Identity| identity.key.key.choose_scheme(schemes).is_some();
        all.iter().find(fits).or_else(|| all.first())
    }
}

/// Small keys first: they cost the server a fifth. RSA is for clients that know nothing else.
fn insert(list: &mut Vec<Identity>, identity: &Identity) {
    let at = if identity.is_rsa() {
        list.len()
    } else {
        list.iter().position(Identity::is_rsa).unwrap_or(list.len())
    };
    list.insert(at, identity.clone());
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes())
            .map(|identity| identity.key.clone())
    }
}

#[cfg(test)]
pub(crate) mod tests;
