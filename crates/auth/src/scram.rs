//! The keys of SCRAM: what is stored, and how a proof is checked and made.
//!
//! Source  RFC 5802 3, RFC 7677

use base::Bytes;

use crate::digest::{Hash, same};

/// Rounds of new secrets (RFC 7677 4 asks for 4096 at least): a few milliseconds for a client too.
pub const ROUNDS: u32 = 10_000;
/// More rounds than this are refused, by a client too: they would only burn time.
pub const ROUNDS_LIMIT: u32 = 1_000_000;
/// Bytes of a new salt.
pub const SALT: usize = 16;

/// What is stored of a password. It cannot be used to log in, but to try passwords at leisure: keep it as secret as a
/// crypt hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// which hash it was made with
    pub hash: Hash,
    /// rounds of PBKDF2
    pub rounds: u32,
    /// random bytes
    pub salt: Bytes,
    /// the hash of the client's key
    pub stored_key: Bytes,
    /// the key of our own signature
    pub server_key: Bytes,
}

/// The client's key and the server's, from a password.
fn keys(hash: Hash, password: &[u8], salt: &[u8], rounds: u32) -> (Bytes, Bytes) {
    let salted = hash.pbkdf2(password, salt, rounds);
    (
        hash.hmac(&salted, b"Client Key"),
        hash.hmac(&salted, b"Server Key"),
    )
}

fn xor(a: &[u8], b: &[u8]) -> Bytes {
    a.iter().zip(b).map(|(x, y)| x ^ y).collect()
}

impl Stored {
    /// Makes it from a password.
    pub fn make(hash: Hash, password: &[u8], salt: &[u8], rounds: u32) -> Stored {
        let (client, server_key) = keys(hash, password, salt, rounds);
        Stored {
            hash,
            rounds,
            salt: salt.to_vec(),
            stored_key: hash.digest(&[&client]),
            server_key,
        }
    }

    /// Checks the client's proof of knowing the password. `Some`: it is right, and this is our signature.
    pub fn prove(&self, message: &[u8], proof: &[u8]) -> Option<Bytes> {
        let signature = self.hash.hmac(&self.stored_key, message);
        let client = xor(proof, &signature);
        let right = same(&self.hash.digest(&[&client]), &self.stored_key)
            && proof.len() == self.hash.size();
        right.then(|| self.hash.hmac(&self.server_key, message))
    }

    /// Whether `password` is the one.
    pub fn verify(&self, password: &[u8]) -> bool {
        let (client, _) = keys(self.hash, password, &self.salt, self.rounds);
        same(&self.hash.digest(&[&client]), &self.stored_key)
    }

    /// What a server says of somebody who does not exist, so that he looks like everybody else. No proof is right for
    /// it.
    pub fn imaginary(hash: Hash, seed: &[u8]) -> Stored {
        Stored {
            hash,
            rounds: ROUNDS,
            salt: salt_of(seed).to_vec(),
            stored_key: hash.hmac(seed, b"nobody"),
            server_key: hash.hmac(seed, b"nobody's server"),
        }
    }
}

/// Bytes that are always the same for one name, and that nobody can tell who does not know the `secret` of this site.
pub fn seed(secret: &[u8], name: &[u8]) -> Bytes {
    Hash::Sha512.hmac(secret, name)
}

/// The salt in a seed.
pub fn salt_of(seed: &[u8]) -> &[u8] {
    seed.get(..SALT).unwrap_or(seed)
}

/// The client's side: the proof of `password`, and the signature that the server must answer with.
pub fn proof(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    message: &[u8],
) -> (Bytes, Bytes) {
    let (client, server) = keys(hash, password, salt, rounds);
    let signature = hash.hmac(&hash.digest(&[&client]), message);
    (xor(&client, &signature), hash.hmac(&server, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{decode, encode};

    #[test]
    fn the_conversation_of_rfc_7677() {
        let salt = decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let stored = Stored::make(Hash::Sha256, b"pencil", &salt, 4096);
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let (sent, expected) = proof(Hash::Sha256, b"pencil", &salt, 4096, message);
        assert_eq!(
            encode(&sent),
            b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let signature = stored.prove(message, &sent).unwrap();
        assert_eq!(
            encode(&signature),
            b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert_eq!(signature, expected);
        assert!(stored.prove(b"another", &sent).is_none());
        assert!(stored.prove(message, &sent[..31]).is_none());
        assert!(stored.prove(message, &[&sent[..], b"x"].concat()).is_none());
        assert!(stored.verify(b"pencil") && !stored.verify(b"pencils"));
    }

    #[test]
    fn the_conversation_of_rfc_5802() {
        let salt = decode(b"QSXCR+Q6sek8bf92").unwrap();
        let stored = Stored::make(Hash::Sha1, b"pencil", &salt, 4096);
        let message = b"n=user,r=fyko+d2lbbFgONRv9qkxdawL,\
            r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,\
            c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
        let (sent, expected) = proof(Hash::Sha1, b"pencil", &salt, 4096, message);
        assert_eq!(encode(&sent), b"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
        assert_eq!(encode(&expected), b"rmF9pqV8S7suAoZWja4dJRkFsKQ=");
        assert_eq!(stored.prove(message, &sent), Some(expected));
    }

    #[test]
    fn nobody_looks_like_somebody_and_cannot_get_in() {
        let imaginary = |name| Stored::imaginary(Hash::Sha256, &seed(b"site", name));
        let nobody = imaginary(b"eve");
        assert_eq!(nobody, imaginary(b"eve"));
        assert_ne!(nobody.salt, imaginary(b"eva").salt);
        assert_eq!((nobody.salt.len(), nobody.rounds), (SALT, ROUNDS));
        assert!(nobody.prove(b"", &[0; 32]).is_none());
        assert!(!nobody.verify(b""));
    }
}
