//! cafile: TLS to a server, by the authorities in a file.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      the file
//! Writes     nothing
//! May use    nothing of ours
//! Source     rustls
//!
//! The only crate of this workspace that names rustls.

use std::path::Path;
use std::sync::Arc;

pub use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// How to speak TLS with a server whose certificate one of the authorities in `file` (PEM) has signed.
///
/// # Errors
/// A sentence: the file cannot be read, or there is no usable certificate in it.
pub fn client(file: &Path) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| e.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
