//! Stored passwords, in the forms that people bring along: crypt(3), and Dovecot's names in braces.
//!
//! Everything is compared in a time that depends on lengths only. Costs that a stored text asks for have limits: who
//! can write such a text must not be able to stop the machine with it.
//!
//! Source  crypt(5); Dovecot's password schemes; RFC 5802 (the form `rounds,salt,stored key,server key`)

mod costly;
mod cram;
mod des;
mod md5crypt;

use std::io;

use base::Bytes;
use base::bytes::{number, split_once};

use crate::digest::{Hash, same};
use crate::encoding::{decode, encode, hex, unhex};
use crate::sasl;
use crate::scram::{ROUNDS, ROUNDS_LIMIT, SALT, Stored, salt_of};

/// What a text without a name in braces is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// what crypt(3) makes
    Crypt,
    /// the password itself
    Plain,
}

/// Why a stored text says nothing about any password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// a scheme that we do not know
    Scheme,
    /// a known scheme, but not in its form, or asking for more work than we are willing to do
    Form,
}

/// Bytes of a salt in a salted hash, at most.
const SALT_LIMIT: usize = 64;

/// A stored password, understood as far as its name.
struct Named<'a> {
    scheme: Bytes,
    coding: Coding,
    text: &'a [u8],
}

enum Coding {
    Own,
    Hex,
    Base64,
}

/// Takes `{SCHEME}` or `{SCHEME.hex}` off.
fn named(stored: &[u8], bare: Bare) -> Named<'_> {
    let found = stored
        .strip_prefix(b"{")
        .and_then(|rest| split_once(rest, b'}'));
    let Some((name, text)) = found else {
        let scheme = match bare {
            Bare::Crypt => b"CRYPT".to_vec(),
            Bare::Plain => b"PLAIN".to_vec(),
        };
        return Named {
            scheme,
            coding: Coding::Own,
            text: stored,
        };
    };
    let name = name.to_ascii_uppercase();
    let (scheme, coding) = match split_once(&name, b'.') {
        Some((scheme, b"HEX")) => (scheme.to_vec(), Coding::Hex),
        Some((scheme, b"B64" | b"BASE64")) => (scheme.to_vec(), Coding::Base64),
        _ => (name, Coding::Own),
    };
    Named {
        scheme,
        coding,
        text,
    }
}

/// Whether `password` is the one that `stored` was made of.
///
/// Waits   as long as the stored text asks for: up to some seconds of work.
///
/// # Errors
/// The stored text cannot be used. Nobody gets in by it; an administrator should hear of it.
pub fn verify(stored: &[u8], password: &[u8], bare: Bare) -> Result<bool, Unusable> {
    if stored.is_empty() || password.contains(&0) {
        return Ok(false);
    }
    let named = named(stored, bare);
    let text = named.text;
    match named.scheme.as_slice() {
        b"PLAIN" | b"CLEARTEXT" | b"CLEAR" => Ok(same(&clear(&named)?, password)),
        b"CRYPT" | b"MD5-CRYPT" | b"DES-CRYPT" | b"SHA256-CRYPT" | b"SHA512-CRYPT"
        | b"BLF-CRYPT" | b"ARGON2I" | b"ARGON2ID" => crypt(text, password),
        // Dovecot's MD5 is the crypt form; LDAP's is a digest.
        b"MD5" if text.starts_with(b"$1$") => crypt(text, password),
        b"MD5" | b"PLAIN-MD5" | b"LDAP-MD5" => digest(&named, Hash::Md5, password, Salted::No),
        b"SMD5" => digest(&named, Hash::Md5, password, Salted::Yes),
        b"SHA" | b"SHA1" => digest(&named, Hash::Sha1, password, Salted::No),
        b"SSHA" => digest(&named, Hash::Sha1, password, Salted::Yes),
        b"SHA256" => digest(&named, Hash::Sha256, password, Salted::No),
        b"SSHA256" => digest(&named, Hash::Sha256, password, Salted::Yes),
        b"SHA512" => digest(&named, Hash::Sha512, password, Salted::No),
        b"SSHA512" => digest(&named, Hash::Sha512, password, Salted::Yes),
        b"SCRAM-SHA-1" | b"SCRAM-SHA-256" => Ok(scram(stored)?.verify(password)),
        b"CRAM-MD5" | b"HMAC-MD5" => Ok(cram::Context::parse(text)?.verify(password)),
        _ => Err(Unusable::Scheme),
    }
}

/// Whether a crypt is one that no password makes: the account is locked, or has none.
pub fn is_locked(text: &[u8]) -> bool {
    text.is_empty() || text.starts_with(b"!") || text.starts_with(b"*") || text == b"x"
}

/// What crypt(3) does. A text that no password makes, such as `!` or `*`, is right for nobody.
fn crypt(text: &[u8], password: &[u8]) -> Result<bool, Unusable> {
    if is_locked(text) {
        return Ok(false);
    }
    let id = text
        .strip_prefix(b"$")
        .map(|rest| rest.split(|&b| b == b'$').next().unwrap_or_default());
    match id {
        Some(b"1") => md5crypt::verify(text, password),
        Some(b"5" | b"6") => costly::sha(text, password),
        Some(b"2a" | b"2b" | b"2y") => costly::blowfish(text, password),
        Some(b"y") => costly::yescrypt(text, password),
        Some(b"argon2i" | b"argon2id" | b"argon2d") => costly::argon2(text, password),
        Some(_) => Err(Unusable::Scheme),
        None => des::verify(text, password),
    }
}

enum Salted {
    No,
    Yes,
}

/// A digest of the password, or of the password and a salt that stands behind it.
fn digest(
    named: &Named<'_>,
    hash: Hash,
    password: &[u8],
    salted: Salted,
) -> Result<bool, Unusable> {
    let bytes = match named.coding {
        Coding::Hex => unhex(named.text),
        Coding::Base64 => decode(named.text),
        // Dovecot's PLAIN-MD5 is in hexadecimal by itself.
        Coding::Own if named.text.len() == 2 * hash.size() => unhex(named.text),
        Coding::Own => decode(named.text),
    };
    let bytes = bytes.ok_or(Unusable::Form)?;
    let (sum, salt) = bytes.split_at_checked(hash.size()).ok_or(Unusable::Form)?;
    let fits = match salted {
        Salted::No => salt.is_empty(),
        Salted::Yes => salt.len() <= SALT_LIMIT,
    };
    if !fits {
        return Err(Unusable::Form);
    }
    Ok(same(sum, &hash.digest(&[password, salt])))
}

fn clear(named: &Named<'_>) -> Result<Bytes, Unusable> {
    match named.coding {
        Coding::Own => Some(named.text.to_vec()),
        Coding::Hex => unhex(named.text),
        Coding::Base64 => decode(named.text),
    }
    .ok_or(Unusable::Form)
}

/// Whether `response` is what somebody who knows the secret answers to `challenge`, by CRAM-MD5 or by APOP. Only a
/// clear text, or for CRAM-MD5 its prepared form, can tell: `Ok(None)` for the others.
///
/// # Errors
/// As `verify`.
pub fn answers(
    stored: &[u8],
    challenge: &[u8],
    response: &[u8],
    bare: Bare,
) -> Result<Option<bool>, Unusable> {
    if stored.is_empty() {
        return Ok(None);
    }
    let named = named(stored, bare);
    match named.scheme.as_slice() {
        b"PLAIN" | b"CLEARTEXT" | b"CLEAR" => {
            let secret = clear(&named)?;
            let right = same(&sasl::cram_digest(&secret, challenge), response)
                | same(&sasl::apop_digest(&secret, challenge), response);
            Ok(Some(right && !secret.is_empty()))
        }
        b"CRAM-MD5" | b"HMAC-MD5" => {
            let context = cram::Context::parse(named.text)?;
            Ok(Some(same(&hex(&context.hmac(challenge)), response)))
        }
        _ => Ok(None),
    }
}

/// The keys of SCRAM in `stored`, if it is such, or if it is clear text: then they are made, with the salt that `seed`
/// gives (`scram::seed`).
///
/// # Errors
/// As `verify`.
pub fn scram_keys(
    stored: &[u8],
    hash: Hash,
    seed: &[u8],
    bare: Bare,
) -> Result<Option<Stored>, Unusable> {
    if stored.is_empty() {
        return Ok(None);
    }
    let named = named(stored, bare);
    match named.scheme.as_slice() {
        b"SCRAM-SHA-1" | b"SCRAM-SHA-256" => Ok(Some(scram(stored)?).filter(|s| s.hash == hash)),
        b"PLAIN" | b"CLEARTEXT" | b"CLEAR" => {
            let secret = clear(&named)?;
            Ok(Some(Stored::make(hash, &secret, salt_of(seed), ROUNDS)))
        }
        _ => Ok(None),
    }
}

/// `{SCRAM-SHA-256}rounds,salt,stored key,server key`, the last three in base64.
fn scram(stored: &[u8]) -> Result<Stored, Unusable> {
    let named = named(stored, Bare::Plain);
    let hash = match named.scheme.as_slice() {
        b"SCRAM-SHA-1" => Hash::Sha1,
        b"SCRAM-SHA-256" => Hash::Sha256,
        _ => return Err(Unusable::Scheme),
    };
    let [rounds, salt, stored_key, server_key] =
        named.text.split(|&b| b == b',').collect::<Vec<_>>()[..]
    else {
        return Err(Unusable::Form);
    };
    let rounds = number(rounds).and_then(|n| u32::try_from(n).ok());
    let rounds = rounds.filter(|n| (1..=ROUNDS_LIMIT).contains(n));
    let key = |text| decode(text).filter(|k| k.len() == hash.size());
    match (rounds, decode(salt), key(stored_key), key(server_key)) {
        (Some(rounds), Some(salt), Some(stored_key), Some(server_key)) if !salt.is_empty() => {
            Ok(Stored {
                hash,
                rounds,
                salt,
                stored_key,
                server_key,
            })
        }
        _ => Err(Unusable::Form),
    }
}

/// The text of SCRAM keys, as it is stored.
pub fn scram_text(stored: &Stored) -> Bytes {
    let name: &[u8] = match stored.hash {
        Hash::Sha1 => b"{SCRAM-SHA-1}",
        _ => b"{SCRAM-SHA-256}",
    };
    let rounds = stored.rounds.to_string();
    let fields = [
        rounds.into_bytes(),
        encode(&stored.salt),
        encode(&stored.stored_key),
        encode(&stored.server_key),
    ];
    [name, &fields.join(&b',')].concat()
}

/// New SCRAM-SHA-256 keys of a password, with a fresh salt.
///
/// # Errors
/// The kernel has no random numbers.
pub fn new_scram(password: &[u8]) -> io::Result<Bytes> {
    let mut salt = [0; SALT];
    sys::random::fill(&mut salt)?;
    let stored = Stored::make(Hash::Sha256, password, &salt, ROUNDS);
    Ok(scram_text(&stored))
}

/// A new SHA-512 crypt of a password, with a fresh salt: what every other program can read.
///
/// # Errors
/// The kernel has no random numbers.
pub fn new_crypt(password: &[u8]) -> io::Result<Bytes> {
    let mut salt = [0; 12];
    sys::random::fill(&mut salt)?;
    costly::new_sha512(password, &salt).ok_or(io::ErrorKind::InvalidInput.into())
}

/// What CRAM-MD5 needs of a password, and no more: `{CRAM-MD5}` and 64 digits.
pub fn cram_text(password: &[u8]) -> Bytes {
    [
        b"{CRAM-MD5}",
        hex(&cram::Context::of(password).bytes()).as_slice(),
    ]
    .concat()
}

/// Does the work of a check and finds it wrong: for names that do not exist, so that they take as long as others.
/// `model` is a stored text like those of existing names; without one, or if it is of no use, a SHA-512 crypt is.
pub fn nobody(model: Option<&[u8]>, password: &[u8]) -> bool {
    const MODEL: &[u8] = b"$6$nobodynobody$qRXzo/IQghh5KnRi5e5Snr0.w.pJftlt67SIcg/NWYIEHEapgJmDARfY9WVjwu2zEZIBoec5IXhX5RzT.MvXN.";
    let model = model.filter(|m| !is_locked(m));
    if model.is_none_or(|m| verify(m, password, Bare::Crypt).is_err()) {
        let _ = std::hint::black_box(verify(MODEL, password, Bare::Crypt));
    }
    false
}

#[cfg(test)]
mod tests;
