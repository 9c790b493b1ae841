//! The hashes that are made to be slow, each in the hands of its own crate.

use argon2::{Algorithm, Argon2, Params, Version};
use base::Bytes;
use base::bytes::number;
use password_hash::{PasswordHasher, PasswordVerifier};
use sha_crypt::ShaCrypt;

use super::Unusable;
use crate::digest::same;
use crate::encoding::decode;

/// The largest rounds of SHA crypt: about ten seconds.
const SHA_ROUNDS_LIMIT: u64 = 10_000_000;
/// The largest cost of bcrypt: some seconds.
const BCRYPT_COST_LIMIT: u64 = 17;
/// The largest memory of Argon2, KB.
const ARGON_MEMORY_LIMIT: u32 = 1 << 20;
/// Passes over the memory, times KB.
const ARGON_WORK_LIMIT: u64 = 8 << 20;
/// The largest digest of Argon2, bytes.
const ARGON_DIGEST_LIMIT: usize = 128;

/// What a crate's check found.
fn found(result: password_hash::Result<()>) -> Result<bool, Unusable> {
    match result {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(Unusable::Form),
    }
}

fn utf8(text: &[u8]) -> Result<&str, Unusable> {
    std::str::from_utf8(text).map_err(|_| Unusable::Form)
}

/// `$5$` and `$6$`.
pub(super) fn sha(text: &[u8], password: &[u8]) -> Result<bool, Unusable> {
    let rounds = text
        .split(|&b| b == b'$')
        .find_map(|f| f.strip_prefix(b"rounds="));
    if rounds.is_some_and(|r| number(r).is_none_or(|n| n > SHA_ROUNDS_LIMIT)) {
        return Err(Unusable::Form);
    }
    let hash = mcf::PasswordHashRef::new(utf8(text)?).map_err(|_| Unusable::Form)?;
    found(ShaCrypt::SHA512.verify_password(password, hash))
}

/// A `$6$` with `salt` and the usual 5000 rounds.
pub(super) fn new_sha512(password: &[u8], salt: &[u8]) -> Option<Bytes> {
    let made = ShaCrypt::SHA512.hash_password_with_salt(password, salt);
    made.ok().map(|hash| hash.to_string().into_bytes())
}

/// `$y$`.
pub(super) fn yescrypt(text: &[u8], password: &[u8]) -> Result<bool, Unusable> {
    let params = text.split(|&b| b == b'$').nth(2).unwrap_or_default();
    // Parameters grow with their text; the usual ones have three letters (`j9T`, 16 MB). `jF` and up would be 1 GB.
    let memory = params.get(1).copied().unwrap_or(b'z');
    if !(b'.'..=b'E').contains(&memory) || params.len() > 4 {
        return Err(Unusable::Form);
    }
    found(yescrypt::Yescrypt::default().verify_password(password, utf8(text)?))
}

/// `$2a$`, `$2b$`, `$2y$`. Bytes beyond 72 do not count there.
pub(super) fn blowfish(text: &[u8], password: &[u8]) -> Result<bool, Unusable> {
    let [b"", _, cost, rest] = text.split(|&b| b == b'$').collect::<Vec<_>>()[..] else {
        return Err(Unusable::Form);
    };
    let cost = number(cost).filter(|n| (4..=BCRYPT_COST_LIMIT).contains(n));
    let cost = cost.and_then(|n| u32::try_from(n).ok());
    let (salt, sum) = rest.split_at_checked(22).ok_or(Unusable::Form)?;
    let salt = letters(salt)
        .and_then(|s| <[u8; 16]>::try_from(s).ok())
        .ok_or(Unusable::Form)?;
    let sum = letters(sum)
        .filter(|s| s.len() == 23)
        .ok_or(Unusable::Form)?;
    let key: Bytes = password.iter().copied().chain([0]).take(72).collect();
    let made = bcrypt::bcrypt(cost.ok_or(Unusable::Form)?, salt, &key);
    Ok(same(made.get(..23).unwrap_or_default(), &sum))
}

/// bcrypt's own base64: six bits a letter, the first letter on top.
fn letters(text: &[u8]) -> Option<Bytes> {
    let mut bytes = Bytes::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text {
        let value = match letter {
            b'.' => 0,
            b'/' => 1,
            b'A'..=b'Z' => letter - b'A' + 2,
            b'a'..=b'z' => letter - b'a' + 28,
            b'0'..=b'9' => letter - b'0' + 54,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// `$argon2id$v=19$m=65536,t=3,p=4$SALT$DIGEST`.
pub(super) fn argon2(text: &[u8], password: &[u8]) -> Result<bool, Unusable> {
    let fields: Vec<&[u8]> = text.split(|&b| b == b'$').collect();
    let (name, version, costs, salt, sum) = match fields[..] {
        [b"", name, version, costs, salt, sum] => (name, version, costs, salt, sum),
        // The oldest form names no version.
        [b"", name, costs, salt, sum] => (name, &b"v=16"[..], costs, salt, sum),
        _ => return Err(Unusable::Form),
    };
    let algorithm = match name {
        b"argon2i" => Algorithm::Argon2i,
        b"argon2d" => Algorithm::Argon2d,
        _ => Algorithm::Argon2id,
    };
    let version = match version {
        b"v=19" => Version::V0x13,
        b"v=16" => Version::V0x10,
        _ => return Err(Unusable::Form),
    };
    let [memory, passes, lanes] = costs.split(|&b| b == b',').collect::<Vec<_>>()[..] else {
        return Err(Unusable::Form);
    };
    let cost = |field: &[u8], name: &[u8]| {
        let value = field.strip_prefix(name).and_then(number);
        value
            .and_then(|n| u32::try_from(n).ok())
            .ok_or(Unusable::Form)
    };
    let (memory, passes, lanes) = (
        cost(memory, b"m=")?,
        cost(passes, b"t=")?,
        cost(lanes, b"p=")?,
    );
    let salt = decode(salt).ok_or(Unusable::Form)?;
    let sum = decode(sum)
        .filter(|s| s.len() <= ARGON_DIGEST_LIMIT)
        .ok_or(Unusable::Form)?;
    if memory > ARGON_MEMORY_LIMIT || u64::from(memory) * u64::from(passes) > ARGON_WORK_LIMIT {
        return Err(Unusable::Form);
    }
    let params = Params::new(memory, passes, lanes, Some(sum.len())).map_err(|_| Unusable::Form)?;
    let mut made = vec![0; sum.len()];
    Argon2::new(algorithm, version, params)
        .hash_password_into(password, &salt, &mut made)
        .map_err(|_| Unusable::Form)?;
    Ok(same(&made, &sum))
}
