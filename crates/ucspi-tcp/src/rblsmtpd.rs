//! rblsmtpd: refuse mail from addresses that lists in the DNS name; let the others through to a program.
//!
//! `settings` reads the words, `source` knows what to ask a list and what its answer says, `verdict` puts the answers
//! together, `dialogue` talks to a client that is refused.

mod dialogue;
mod settings;
mod source;
mod verdict;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use base::{Bytes, Call, Die};
use sys::poll;
use sys::spawn::Spawn;

use crate::adapter::run_error;
use settings::Settings;
use verdict::{Refusal, Verdict};

/// What a client reads that speaks before it is greeted.
const HASTY: &[u8] = b"wait for the greeting before you speak";

/// Refuses a client, or becomes a program that serves it. See rblsmtpd(1).
///
/// # Errors
/// Misuse (100), or the program could not be run (111).
pub fn rblsmtpd(call: &Call) -> Result<(), Die> {
    let settings = Settings::read(&call.args)?;
    let client = base::env("TCPREMOTEIP").unwrap_or_default();
    let start = Instant::now();

    let mut early = Bytes::new();
    let refusal = match judge(&settings, &client, start) {
        Verdict::Refuse(refusal) => Some(refusal),
        Verdict::Welcome => None,
        Verdict::Unknown => match greet_later(&settings, start) {
            Patience::Kept => None,
            Patience::Left => return Ok(()),
            Patience::Lost(bytes) => {
                early = bytes;
                Some(Refusal::new(HASTY, settings.bounce))
            }
        },
    };

    match refusal {
        Some(refusal) => {
            refuse(&settings, &client, &refusal.message(), &early);
            Ok(())
        }
        None => Err(become_program(&settings)),
    }
}

/// The variable RBLSMTPD decides if it is set, else the lists do.
fn judge(settings: &Settings, client: &[u8], start: Instant) -> Verdict {
    match base::env("RBLSMTPD").as_deref() {
        Some([]) => Verdict::Welcome,
        Some([b'-', text @ ..]) => Verdict::Refuse(Refusal::new(text, true)),
        Some(text) => Verdict::Refuse(Refusal::new(text, false)),
        None => verdict::of_lists(settings, client, start),
    }
}

enum Patience {
    /// the client kept silent, as it should
    Kept,
    /// it went away
    Left,
    /// it said this
    Lost(Bytes),
}

/// Lets the client wait for the rest of the delay, and looks whether it does. Look-ups count as waiting.
fn greet_later(settings: &Settings, start: Instant) -> Patience {
    let left = settings.greet_delay.saturating_sub(start.elapsed());
    if settings.greet_delay.is_zero() {
        return Patience::Kept;
    }
    let Ok(input) = sys::fd::inherited(0) else {
        return Patience::Kept;
    };
    if !poll::readable(&input, left).unwrap_or(false) {
        return Patience::Kept;
    }
    let mut bytes = [0; 512];
    match sys::fd::read(&input, &mut bytes) {
        Ok(0) => Patience::Left,
        Ok(count) => Patience::Lost(bytes.get(..count).unwrap_or_default().to_vec()),
        Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
            Patience::Kept
        }
        Err(_) => Patience::Left,
    }
}

/// One line in the log, then the dialogue. `early` is what the client has said already.
fn refuse(settings: &Settings, client: &[u8], message: &[u8], early: &[u8]) {
    let pid = std::process::id().to_string();
    let line = [
        b"rblsmtpd: ".as_slice(),
        &base::bytes::printable(client),
        b" pid ",
        pid.as_bytes(),
        b": ",
        message,
        b"\n",
    ]
    .concat();
    if let Ok(log) = sys::fd::inherited(2) {
        let _ = sys::fd::write_all(&log, &line);
    }
    dialogue::hold(message, early, Duration::from_secs(settings.timeout));
}

/// Returns only if the program could not be run.
fn become_program(settings: &Settings) -> Die {
    let Some((program, args)) = settings.program.split_first() else {
        return Die::silent(111);
    };
    run_error(program, &Spawn::new(program).args(args).exec())
}
