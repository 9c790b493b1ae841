//! Time labels, one per line, made with little work.

use base::tai::Tai64N;

/// Bytes of a label and the blank behind it.
pub(crate) const STAMP: usize = 26;

/// Where the nanoseconds begin: behind the at sign and the 16 digits of the second.
const NANOSECONDS: usize = 17;

/// Makes labels. Only the digits of the nanoseconds change from one line to the next of the same second.
#[derive(Debug)]
pub(crate) struct Stamper {
    seconds: u64,
    text: [u8; STAMP],
}

impl Stamper {
    /// Ready for the first label.
    pub(crate) fn new() -> Stamper {
        let mut stamper = Stamper {
            seconds: 0,
            text: [b' '; STAMP],
        };
        stamper.write(Tai64N::now());
        stamper
    }

    /// The label of this moment and a blank.
    pub(crate) fn now(&mut self) -> &[u8; STAMP] {
        let now = Tai64N::now();
        if now.seconds == self.seconds {
            self.put(NANOSECONDS, &digits(now.nanoseconds));
        } else {
            self.write(now);
        }
        &self.text
    }

    fn write(&mut self, moment: Tai64N) {
        self.seconds = moment.seconds;
        self.put(0, &moment.label());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.text.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Eight hexadecimal digits, made all at once: one nibble per byte of a word, then every byte made a digit.
fn digits(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut word = u64::from(number);
    word = (word & 0xffff_0000) << 16 | (word & 0xffff);
    word = (word & 0x0000_ff00_0000_ff00) << 8 | (word & 0x0000_00ff_0000_00ff);
    word = (word & 0x00f0_00f0_00f0_00f0) << 4 | (word & 0x000f_000f_000f_000f);
    let letters = (word + 6 * ONES) >> 4 & ONES;
    (word + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_library() {
        for number in [0, 1, 9, 10, 0x0123_4567, 0x89ab_cdef, 999_999_999, u32::MAX] {
            assert_eq!(
                digits(number),
                format!("{number:08x}").as_bytes(),
                "{number}"
            );
        }
    }

    #[test]
    fn labels_never_go_back() {
        let mut stamper = Stamper::new();
        let mut last = stamper.text;
        for _ in 0..1000 {
            let next = *stamper.now();
            assert!(next >= last);
            assert_eq!((next[0], next[25]), (b'@', b' '));
            last = next;
        }
    }
}
