//! Session tickets: what a client brings back so that the next handshake is short.
//!
//! A ticket is sealed with a key that every process of one service has, and no other service. The key belongs to a span
//! of time; the next one is made from it by a function that nobody can turn back, and it is forgotten when the next but
//! one begins. Who steals the memory of a server learns nothing about what was sealed before.
//!
//! Source  RFC 5077 section 4, RFC 8446 section 2.2; RFC 5869

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

/// How long one key seals. It opens for as long again.
pub const SPAN: Duration = Duration::from_hours(12);
/// The first span of keys that come from a file: all processes and machines that read it count from there.
const ORIGIN: u64 = 41_000;
/// The most spans between the origin of the keys and now, 54 years: a clock beyond it means no tickets.
const SPANS_LIMIT: u64 = 40_000;
/// What a ticket begins with: the number of its span.
const SPAN_LEN: usize = 8;

/// A secret from which the keys of services are made.
pub type Master = [u8; 32];

/// The keys of one service.
pub struct Tickets {
    keys: Mutex<Keys>,
    random: SystemRandom,
    clock: fn() -> u64,
}

struct Keys {
    span: u64,
    current: Key,
    /// `None` in the first span
    previous: Option<Key>,
}

type Key = [u8; 32];

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// The span of time that the clock shows.
fn span_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |time| time.as_secs() / SPAN.as_secs())
}

/// 32 bytes that follow from `secret`, for one purpose. `None` cannot happen with this length.
fn derive(secret: &Key, purpose: &[&[u8]]) -> Option<Key> {
    let prk: Prk = Salt::new(HKDF_SHA256, b"qmail-rs tickets").extract(secret);
    let mut key = [0; 32];
    prk.expand(purpose, HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(key)
}

impl Tickets {
    /// Keys of the service `name`, from a secret of this process and its copies alone. `None`: the machine has no random
    /// numbers.
    pub fn new(name: &[u8]) -> Option<Tickets> {
        let random = SystemRandom::new();
        let mut master = [0; 32];
        random.fill(&mut master).ok()?;
        Tickets::with(&master, name, span_now(), span_now)
    }

    /// Keys of the service `name`, from a secret that other processes and other machines have too, now and after a
    /// restart. They are as secret as `master` is.
    pub fn shared(master: &Master, name: &[u8]) -> Option<Tickets> {
        Tickets::with(master, name, ORIGIN, span_now)
    }

    fn with(master: &Master, name: &[u8], span: u64, clock: fn() -> u64) -> Option<Tickets> {
        Some(Tickets {
            keys: Mutex::new(Keys {
                span,
                current: derive(master, &[b"service ", name])?,
                previous: None,
            }),
            random: SystemRandom::new(),
            clock,
        })
    }

    /// What `use_keys` finds in the keys of this moment. `None`, too, when the clock is out of reach.
    fn now<T>(&self, use_keys: impl FnOnce(&Keys) -> Option<T>) -> Option<T> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let span = (self.clock)();
        if span.saturating_sub(keys.span) > SPANS_LIMIT {
            return None;
        }
        // A clock that was set back changes nothing.
        while keys.span < span {
            let next = derive(&keys.current, &[b"next"])?;
            keys.previous = Some(std::mem::replace(&mut keys.current, next));
            keys.span += 1;
        }
        use_keys(&keys)
    }
}

impl Keys {
    fn of(&self, span: u64) -> Option<&Key> {
        match self.span.checked_sub(span)? {
            0 => Some(&self.current),
            1 => self.previous.as_ref(),
            _ => None,
        }
    }
}

fn sealer(key: &Key) -> Option<LessSafeKey> {
    let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
    Some(LessSafeKey::new(key))
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(SPAN.as_secs()).unwrap_or(u32::MAX)
    }

    /// Span, nonce, and the sealed session; the span is sealed with it.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let (span, key) = self.now(|keys| Some((keys.span, sealer(&keys.current)?)))?;
        let span = span.to_be_bytes();
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(span),
            &mut sealed,
        )
        .ok()?;
        Some([&span[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (span, rest) = ticket.split_first_chunk::<SPAN_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.now(|keys| sealer(keys.of(u64::from_be_bytes(*span))?))?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.open_in_place(nonce, Aad::from(*span), &mut sealed);
        plain.ok().map(|plain| plain.to_vec())
    }
}

#[cfg(test)]
mod tests;
