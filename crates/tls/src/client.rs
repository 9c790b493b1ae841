//! The client's side of TLS.

mod session;
mod trust;

pub use session::{Binding, Session};
pub use trust::{Pin, Trust, pin};

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use trust::Verifier;

/// What is said to every server, ready for sessions. Copies share everything, sessions that can be taken up again too.
#[derive(Clone)]
pub struct Config(Arc<ClientConfig>);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Config")
    }
}

impl Config {
    /// A client that believes `trust`.
    ///
    /// Shape   `identity` is a certificate with its chain and its key, PEM, shown to servers that ask for one.
    ///
    /// # Errors
    /// A sentence: an identity or authorities that are of no use.
    pub fn new(trust: Trust, identity: Option<&[u8]>) -> Result<Config, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(trust, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
                    .collect::<Result<_, _>>()
                    .map_err(|e| e.to_string())?;
                let key = PrivateKeyDer::from_pem_slice(pem).map_err(|e| e.to_string())?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| e.to_string())?
            }
        };
        Ok(Config(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests;
