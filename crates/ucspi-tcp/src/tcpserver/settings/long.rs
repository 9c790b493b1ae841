//! The options of our own, which have names.

use std::time::Duration;

use base::Bytes;
use base::bytes::{number, split_once};

use crate::tcpserver::limits::Rate;

/// The time of a rate that names none.
const MINUTE: u64 = 60;

/// What only this tcpserver has. The default is that of the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::tcpserver) struct Extras {
    /// `--per-address=N`: programs at once for one client
    pub(in crate::tcpserver) per_address: Option<u32>,
    /// `--rate=N/SECONDS`: connections of one client
    pub(in crate::tcpserver) rate: Option<Rate>,
    /// `--refusal=TEXT`: said to clients above a limit
    pub(in crate::tcpserver) refusal: Option<Bytes>,
}

/// An option that is not known, or whose value is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Extras {
    /// Takes the option `--name=value`.
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unknown> {
        match name {
            b"per-address" => self.per_address = Some(count(value)?),
            b"rate" => self.rate = Some(rate(value)?),
            b"refusal" => self.refusal = Some([value, b"\r\n"].concat()),
            _ => return Err(Unknown),
        }
        Ok(())
    }
}

fn count(value: &[u8]) -> Result<u32, Unknown> {
    number(value)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or(Unknown)
}

/// `N`, for a minute, or `N/SECONDS`.
fn rate(value: &[u8]) -> Result<Rate, Unknown> {
    let (connections, seconds) = match split_once(value, b'/') {
        Some((connections, seconds)) => (connections, u64::from(count(seconds)?)),
        None => (value, MINUTE),
    };
    Ok(Rate {
        count: count(connections)?,
        time: Duration::from_secs(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let rate_of = |count, seconds| {
            let time = Duration::from_secs(seconds);
            Ok(Rate { count, time })
        };
        assert_eq!(rate(b"10"), rate_of(10, 60));
        assert_eq!(rate(b"10/3600"), rate_of(10, 3600));
        for wrong in ["", "x", "1/", "/1", "1/2/3", "-1", "99999999999"] {
            assert_eq!(rate(wrong.as_bytes()), Err(Unknown), "{wrong}");
        }
    }
}
