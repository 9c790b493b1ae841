//! TAI64N labels as djb's tools write them: Unix seconds plus 10, without a table of leap seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// TAI64 second of the Unix epoch in djb's convention.
const EPOCH: u64 = (1 << 62) + 10;

/// A moment as TAI64N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tai64N {
    /// TAI64 seconds
    pub seconds: u64,
    /// nanoseconds, below 1,000,000,000
    pub nanoseconds: u32,
}

impl Tai64N {
    /// Now, by the system's clock.
    pub fn now() -> Tai64N {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Tai64N {
            seconds: EPOCH.wrapping_add(since.as_secs()),
            nanoseconds: since.subsec_nanos(),
        }
    }

    /// From Unix seconds.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Tai64N {
        Tai64N {
            seconds: EPOCH.wrapping_add_signed(seconds),
            nanoseconds,
        }
    }

    /// Unix seconds.
    pub fn unix(self) -> i64 {
        self.seconds.wrapping_sub(EPOCH) as i64
    }

    /// 12 bytes, big-endian: the form in files.
    pub fn pack(self) -> [u8; 12] {
        let mut packed = [0; 12];
        for (to, from) in packed.iter_mut().zip(
            self.seconds
                .to_be_bytes()
                .into_iter()
                .chain(self.nanoseconds.to_be_bytes()),
        ) {
            *to = from;
        }
        packed
    }

    /// From 12 bytes.
    pub fn unpack(packed: [u8; 12]) -> Tai64N {
        let (seconds, nanoseconds) = packed.split_at(8);
        let seconds = seconds.iter().fold(0u64, |sum, &b| sum << 8 | u64::from(b));
        let nanoseconds = nanoseconds
            .iter()
            .fold(0u32, |sum, &b| sum << 8 | u32::from(b));
        Tai64N {
            seconds,
            nanoseconds,
        }
    }

    /// `@` and 24 hexadecimal digits.
    pub fn label(self) -> [u8; 25] {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut label = [b'@'; 25];
        let halves = self.pack().into_iter().flat_map(|b| [b >> 4, b & 15]);
        for (to, half) in label.iter_mut().skip(1).zip(halves) {
            *to = DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
        }
        label
    }
}

/// Unix seconds now, by the system's clock.
pub fn unix_now() -> i64 {
    Tai64N::now().unix()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_djb() {
        let moment = Tai64N::from_unix(0, 5);
        assert_eq!(&moment.label(), b"@400000000000000a00000005");
        assert_eq!(Tai64N::unpack(moment.pack()), moment);
        assert_eq!(moment.unix(), 0);
        assert_eq!(Tai64N::from_unix(-1, 0).unix(), -1);
    }
}
