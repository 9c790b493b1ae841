//! What two sides agreed on, in the words that logs, header fields and the environment have for it.

use rustls::{CipherSuite, CommonState, ProtocolVersion, SupportedCipherSuite};

/// Protocol and cipher of a session after its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// `TLSv1.3` or `TLSv1.2`
    pub protocol: &'static str,
    /// the name that OpenSSL has for the cipher suite
    pub cipher: &'static str,
    /// key of the cipher, bits
    pub bits: u16,
}

impl Agreed {
    /// `None` before the end of the handshake.
    pub fn of(session: &CommonState) -> Option<Agreed> {
        let protocol = match session.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => return None,
        };
        let (cipher, bits) = suite(session.negotiated_cipher_suite()?.suite())?;
        Some(Agreed {
            protocol,
            cipher,
            bits,
        })
    }
}

/// The name of a suite that is offered.
pub(crate) fn name(known: &SupportedCipherSuite) -> Option<&'static str> {
    suite(known.suite()).map(|(name, _)| name)
}

/// Every suite that ring has in rustls.
fn suite(suite: CipherSuite) -> Option<(&'static str, u16)> {
    Some(match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => ("TLS_AES_128_GCM_SHA256", 128),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => ("TLS_AES_256_GCM_SHA384", 256),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => ("TLS_CHACHA20_POLY1305_SHA256", 256),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            ("ECDHE-ECDSA-AES128-GCM-SHA256", 128)
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            ("ECDHE-ECDSA-AES256-GCM-SHA384", 256)
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ECDHE-ECDSA-CHACHA20-POLY1305", 256)
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => ("ECDHE-RSA-AES128-GCM-SHA256", 128),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => ("ECDHE-RSA-AES256-GCM-SHA384", 256),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            ("ECDHE-RSA-CHACHA20-POLY1305", 256)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_a_name() {
        for known in rustls::crypto::ring::default_provider().cipher_suites {
            assert!(suite(known.suite()).is_some(), "{known:?}");
        }
        assert_eq!(
            suite(CipherSuite::TLS_RSA_WITH_AES_128_GCM_SHA256),
            None,
            "no forward secrecy"
        );
    }
}
