//! Hashes with a key and without, and the comparison that tells nothing by its time.

use base::Bytes;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD5, for CRAM-MD5, APOP and old files only
    Md5,
    /// SHA-1, for SCRAM-SHA-1 and old files
    Sha1,
    /// SHA-256
    Sha256,
    /// SHA-512
    Sha512,
}

/// Runs one expression with the type of a hash.
macro_rules! with {
    ($hash:expr, $type:ident => $body:expr) => {
        match $hash {
            Hash::Md5 => {
                type $type = Md5;
                $body
            }
            Hash::Sha1 => {
                type $type = Sha1;
                $body
            }
            Hash::Sha256 => {
                type $type = Sha256;
                $body
            }
            Hash::Sha512 => {
                type $type = Sha512;
                $body
            }
        }
    };
}

impl Hash {
    /// Bytes of a digest.
    pub fn size(self) -> usize {
        match self {
            Hash::Md5 => 16,
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }

    /// The digest of `parts`, one after the other.
    pub fn digest(self, parts: &[&[u8]]) -> Bytes {
        with!(self, H => {
            let mut state = H::new();
            for part in parts {
                Digest::update(&mut state, part);
            }
            state.finalize().to_vec()
        })
    }

    /// HMAC of `message` (RFC 2104). Any length of key is a key.
    pub fn hmac(self, key: &[u8], message: &[u8]) -> Bytes {
        with!(self, H => match Hmac::<H>::new_from_slice(key) {
            Ok(mut state) => {
                state.update(message);
                state.finalize().into_bytes().to_vec()
            }
            // Does not happen: HMAC takes every length.
            Err(_) => Bytes::new(),
        })
    }

    /// PBKDF2 with HMAC (RFC 8018 5.2), as long as a digest: the `Hi` of SCRAM.
    pub fn pbkdf2(self, password: &[u8], salt: &[u8], rounds: u32) -> Bytes {
        let mut key = vec![0; self.size()];
        with!(self, H => pbkdf2::pbkdf2_hmac::<H>(password, salt, rounds, &mut key));
        key
    }
}

/// Whether `a` and `b` are equal. The time depends on their lengths only.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    std::hint::black_box(differing) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::hex;

    #[test]
    fn known_digests() {
        assert_eq!(
            hex(&Hash::Md5.digest(&[b"ab", b"c"])),
            b"900150983cd24fb0d6963f7d28e17f72"
        );
        // RFC 2195 2
        let mac = Hash::Md5.hmac(
            b"tanstaaftanstaaf",
            b"<1896.697170952@postoffice.reston.mci.net>",
        );
        assert_eq!(hex(&mac), b"b913a602c7eda7a495b4e6e7334d3890");
        // RFC 6070 2
        let key = Hash::Sha1.pbkdf2(b"password", b"salt", 4096);
        assert_eq!(hex(&key), b"4b007901b765489abead49d926f721d065a429c1");
    }

    #[test]
    fn equal_is_equal() {
        assert!(same(b"", b"") && same(b"ab", b"ab"));
        assert!(!same(b"ab", b"ac") && !same(b"ab", b"a") && !same(b"", b"a"));
    }
}
