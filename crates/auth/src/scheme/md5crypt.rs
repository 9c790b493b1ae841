//! `$1$`: MD5 a thousand times.
//!
//! Source  what crypt(3) of FreeBSD 2 does, as described in many places

use base::Bytes;

use super::Unusable;
use crate::digest::{Hash, same};

/// Longer salts are cut.
const SALT_LIMIT: usize = 8;
const ROUNDS: usize = 1000;
/// Letters for six bits each.
pub(super) const LETTERS: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The letter for the lowest six bits.
pub(super) fn letter(bits: u32) -> u8 {
    LETTERS.get((bits & 63) as usize).copied().unwrap_or(b'.')
}

pub(super) fn verify(text: &[u8], password: &[u8]) -> Result<bool, Unusable> {
    let [b"", b"1", salt, sum] = text.split(|&b| b == b'$').collect::<Vec<_>>()[..] else {
        return Err(Unusable::Form);
    };
    let salt = salt.get(..SALT_LIMIT).unwrap_or(salt);
    Ok(same(&crypt(password, salt), sum))
}

/// The 22 letters behind the salt.
fn crypt(password: &[u8], salt: &[u8]) -> Bytes {
    let md5 = |parts: &[&[u8]]| Hash::Md5.digest(parts);
    let inner = md5(&[password, salt, password]);
    let mut text = [password, b"$1$", salt].concat();
    text.extend(inner.iter().cycle().take(password.len()));
    // One byte for each bit of the length: NUL for ones, the first letter for zeros. It was meant otherwise.
    let mut length = password.len();
    while length > 0 {
        let byte = if length & 1 == 1 {
            0
        } else {
            password.first().copied().unwrap_or(0)
        };
        text.push(byte);
        length >>= 1;
    }
    let mut sum = md5(&[&text]);
    for round in 0..ROUNDS {
        let odd = round & 1 == 1;
        let (first, last) = if odd {
            (password, sum.as_slice())
        } else {
            (sum.as_slice(), password)
        };
        let salted = if round % 3 == 0 { &[][..] } else { salt };
        let again = if round % 7 == 0 { &[][..] } else { password };
        sum = md5(&[first, salted, again, last]);
    }
    letters(&sum)
}

/// Bytes in an order of its own, four letters for three.
fn letters(sum: &[u8]) -> Bytes {
    let byte = |at: usize| u32::from(sum.get(at).copied().unwrap_or(0));
    let mut text = Bytes::new();
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        let bits = byte(a) << 16 | byte(b) << 8 | byte(c);
        text.extend([0, 6, 12, 18].map(|shift| letter(bits >> shift)));
    }
    text.extend([0, 6].map(|shift| letter(byte(11) >> shift)));
    text
}
