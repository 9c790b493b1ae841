//! The words of rblsmtpd. Options about lists hold for the lists after them, as in the original.

use std::time::Duration;

use base::bytes::split_once;
use base::opt::{Opt, Options};
use base::{Bytes, Die};

use super::source::{Kind, Source};
use crate::options::{leading, misuse};

const LETTERS: &str = "bBcCt:r:a:A:p:m:T:w:W";
const USAGE: &str = "[ -b ] [ -R ] [ -t timeout ] [ -r base ] [ -a base ] smtpd [ arg ... ]";
/// The limit of `-t`, seconds: what the timer of the original holds.
const TIMEOUT_LIMIT: u64 = u32::MAX as u64;
/// How long look-ups take at most without `-T`, seconds: all of them together.
const LOOKUP_SECONDS: u64 = 60;

#[derive(Debug)]
pub(super) struct Settings {
    /// `-b` as it was at the end: for refusals that no list decides
    pub(super) bounce: bool,
    /// seconds of the dialogue; 0: no dialogue
    pub(super) timeout: u64,
    pub(super) lookup_time: Duration,
    pub(super) greet_delay: Duration,
    /// points at which a client is refused
    pub(super) minimum: i64,
    pub(super) sources: Vec<Source>,
    pub(super) program: Vec<Bytes>,
}

impl Settings {
    pub(super) fn read(words: &[Bytes]) -> Result<Settings, Die> {
        let mut found = Settings {
            bounce: false,
            timeout: 60,
            lookup_time: Duration::from_secs(LOOKUP_SECONDS),
            greet_delay: Duration::ZERO,
            minimum: 1,
            sources: Vec::new(),
            program: Vec::new(),
        };
        let (mut fail_closed, mut points) = (false, 1);
        let mut options = Options::new(words, LETTERS);
        for option in options.by_ref() {
            let wrong = || misuse("rblsmtpd", Some(&option), USAGE);
            match &option {
                Opt::Flag(b'b') => found.bounce = true,
                Opt::Flag(b'B') => found.bounce = false,
                Opt::Flag(b'c') => fail_closed = true,
                Opt::Flag(b'C') => fail_closed = false,
                Opt::Flag(b'W') => {
                    let delay = base::env("GREETDELAY").unwrap_or_default();
                    found.greet_delay = seconds(&delay);
                }
                Opt::Value(b't', value) => found.timeout = leading(value).min(TIMEOUT_LIMIT),
                Opt::Value(b'T', value) => found.lookup_time = seconds(value),
                Opt::Value(b'w', value) => found.greet_delay = seconds(value),
                Opt::Value(b'p', value) => points = number(value).ok_or_else(wrong)?,
                Opt::Value(b'm', value) => found.minimum = number(value).ok_or_else(wrong)?,
                Opt::Value(letter, base) => found.sources.push(Source {
                    base: base_of(*letter, base).to_vec(),
                    kind: kind_of(*letter, base),
                    bounce: found.bounce,
                    fail_closed,
                    points,
                }),
                _ => return Err(wrong()),
            }
        }
        found.program = options.rest().to_vec();
        if found.program.is_empty() {
            return Err(misuse("rblsmtpd", None, USAGE));
        }
        Ok(found)
    }
}

/// `-r base:text` asks for addresses and has the text of the reply; other bases stand alone.
fn base_of(letter: u8, value: &[u8]) -> &[u8] {
    match split_once(value, b':') {
        Some((base, _)) if letter == b'r' => base,
        _ => value,
    }
}

fn kind_of(letter: u8, value: &[u8]) -> Kind {
    match (letter, split_once(value, b':')) {
        (b'a', _) => Kind::Anti,
        (b'A', _) => Kind::Address,
        (_, Some((_, text))) => Kind::Reply(text.to_vec()),
        _ => Kind::Text,
    }
}

/// The number that the value begins with, in seconds; at most a day.
fn seconds(value: &[u8]) -> Duration {
    Duration::from_secs(leading(value).min(86_400))
}

/// A whole number with or without a minus sign; its size is limited so that sums have room.
fn number(value: &[u8]) -> Option<i64> {
    let (sign, digits) = match value {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let size = i64::from(u32::try_from(base::bytes::number(digits)?).ok()?);
    Some(sign * size)
}
