//! Whom a client believes.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::certificate::Certificate;

/// The fingerprint of a certificate: SHA-256 over its DER.
pub type Pin = [u8; 32];

/// Whom a client believes to be the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// anybody: the line is encrypted, to whom is unknown
    Anybody,
    /// who has a certificate that an authority signed, for one of these names
    Authorities {
        /// the authorities' certificates, PEM
        roots: Arc<Vec<u8>>,
        /// host names; one that begins with a dot stands for everything below it
        names: Vec<Vec<u8>>,
    },
    /// who has one of these certificates, whatever it says
    Pins(Vec<Pin>),
}

/// The fingerprint of a certificate in DER.
pub fn pin(der: &[u8]) -> Pin {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let mut pin = [0; 32];
    for (to, from) in pin.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    pin
}

#[derive(Debug)]
enum Rule {
    Anybody,
    Authorities {
        roots: RootCertStore,
        names: Vec<Vec<u8>>,
    },
    Pins(Vec<Pin>),
}

/// The rule at work.
#[derive(Debug)]
pub(super) struct Verifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) fn new(trust: Trust, provider: &CryptoProvider) -> Result<Verifier, String> {
        let rule = match trust {
            Trust::Anybody => Rule::Anybody,
            Trust::Pins(pins) => Rule::Pins(pins),
            Trust::Authorities { roots, names } => Rule::Authorities {
                roots: read(&roots)?,
                names,
            },
        };
        Ok(Verifier {
            rule,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

fn read(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    // Some systems have authorities in their bundle that nobody can read.
    let list = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    if store.add_parsable_certificates(list).0 == 0 {
        return Err("no usable certificate of an authority".into());
    }
    Ok(store)
}

/// Whether a certificate is for a name, or for something below one that begins with a dot.
fn is_for(leaf: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>, wanted: &[u8]) -> bool {
    let Ok(wanted) = std::str::from_utf8(wanted) else {
        return false;
    };
    if wanted.starts_with('.') {
        let wanted = wanted.to_ascii_lowercase();
        let about = Certificate::read(leaf).unwrap_or_default();
        return about.hosts.iter().any(|host| host.ends_with(&wanted));
    }
    ServerName::try_from(wanted).is_ok_and(|name| verify_server_name(parsed, &name).is_ok())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.rule {
            Rule::Anybody => Ok(ServerCertVerified::assertion()),
            Rule::Pins(pins) if pins.contains(&pin(leaf)) => Ok(ServerCertVerified::assertion()),
            Rule::Pins(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Rule::Authorities { roots, names } => {
                let parsed = ParsedCertificate::try_from(leaf)?;
                verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    roots,
                    intermediates,
                    now,
                    self.algorithms.all,
                )?;
                if names.iter().any(|name| is_for(leaf, &parsed, name)) {
                    Ok(ServerCertVerified::assertion())
                } else {
                    Err(CertificateError::NotValidForName.into())
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
