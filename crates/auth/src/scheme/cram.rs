//! HMAC-MD5 begun with the secret: enough for CRAM-MD5, without the secret itself. Good for nothing else, but who has
//! it can answer every CRAM-MD5 challenge.
//!
//! Source  Dovecot's CRAM-MD5 scheme: the state of the outer hash after one block, then of the inner one

use base::Bytes;
use md5::block_api::compress;

use super::Unusable;
use crate::digest::same;
use crate::encoding::unhex;

const BLOCK: usize = 64;

type State = [u32; 4];

/// What MD5 starts with (RFC 1321 3.3).
const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Both hashes after their first block.
#[derive(Debug)]
pub(super) struct Context {
    outer: State,
    inner: State,
}

impl Context {
    /// From 64 hexadecimal digits.
    pub(super) fn parse(text: &[u8]) -> Result<Context, Unusable> {
        let bytes = unhex(text)
            .filter(|b| b.len() == 32)
            .ok_or(Unusable::Form)?;
        let (outer, inner) = bytes.split_at(16);
        Ok(Context {
            outer: state(outer),
            inner: state(inner),
        })
    }

    /// From the secret.
    pub(super) fn of(secret: &[u8]) -> Context {
        let key = if secret.len() > BLOCK {
            crate::digest::Hash::Md5.digest(&[secret])
        } else {
            secret.to_vec()
        };
        let begun = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (to, from) in block.iter_mut().zip(&key) {
                *to ^= from;
            }
            let mut state = START;
            compress(&mut state, &[block]);
            state
        };
        Context {
            outer: begun(0x5c),
            inner: begun(0x36),
        }
    }

    /// HMAC-MD5 of a message.
    pub(super) fn hmac(&self, message: &[u8]) -> Bytes {
        finish(self.outer, &finish(self.inner, message))
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        same(&self.bytes(), &Context::of(password).bytes())
    }

    /// As it is stored, before it is written in digits.
    pub(super) fn bytes(&self) -> Bytes {
        [bytes(self.outer), bytes(self.inner)].concat()
    }
}

fn state(bytes: &[u8]) -> State {
    let mut state = START;
    for (word, four) in state.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = four.iter().rev().fold(0, |sum, &b| sum << 8 | u32::from(b));
    }
    state
}

fn bytes(state: State) -> Bytes {
    state.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Goes on after one block, to the end (RFC 1321 3.1 and 3.2).
fn finish(mut state: State, message: &[u8]) -> Bytes {
    let bits = (message.len() as u64 + BLOCK as u64).wrapping_mul(8);
    let mut text = [message, &[0x80]].concat();
    while text.len() % BLOCK != BLOCK - 8 {
        text.push(0);
    }
    text.extend_from_slice(&bits.to_le_bytes());
    for chunk in text.chunks_exact(BLOCK) {
        if let Ok(block) = <[u8; BLOCK]>::try_from(chunk) {
            compress(&mut state, &[block]);
        }
    }
    bytes(state)
}
