//! tai64nlocal: turn the time label at the beginning of a line into local time.

use base::{Bytes, Call, Die};
use sys::sandbox::Promises;

use crate::filter::{self, Output};

/// Bytes of a label: an at sign and 24 digits.
const LABEL: usize = 25;
/// Digits of the second in a label.
const SECOND: usize = 16;
/// The TAI64 second of the Unix epoch, by the convention of the original: 10 leap seconds.
const EPOCH: u64 = (1 << 62) + 10;

/// Copies descriptor 0 to descriptor 1, labels made readable. Arguments are ignored.
pub fn run(_: &Call) -> Result<(), Die> {
    // The time zone is read at the first question.
    let _ = sys::time::local(0);

    Promises::new().enforce();

    let mut lines = Lines::default();
    let mut output = filter::copy(|block, output| lines.feed(block, output))?;

    lines.end(&mut output)?;
    output.flush()
}

#[derive(Debug, Default)]
struct Lines {
    clock: Clock,
    /// whether the beginning of the line has passed
    inside: bool,
    /// the beginning of a line that is not whole yet: an at sign and digits
    held: Bytes,
}

impl Lines {
    fn feed(&mut self, block: &[u8], output: &mut Output) -> Result<(), Die> {
        let mut rest = block;
        while !rest.is_empty() {
            if !self.inside {
                rest = self.begin(rest, output)?;
                continue;
            }
            let end = filter::newline(rest);
            let (line, after) = rest
                .split_at_checked(end.map_or(rest.len(), |at| at + 1))
                .unwrap_or_default();
            output.push(line)?;
            self.inside = end.is_none();
            rest = after;
        }
        Ok(())
    }

    /// Takes the label, if there is one, and leaves the rest of the line.
    fn begin<'a>(&mut self, block: &'a [u8], output: &mut Output) -> Result<&'a [u8], Die> {
        if self.held.is_empty() {
            if block.first() != Some(&b'@') {
                self.inside = true;
                return Ok(block);
            }
            if let Some((label, rest)) = block.split_at_checked(LABEL)
                && let Some(next) = rest.first()
            {
                self.label(label, *next, output)?;
                return Ok(rest);
            }
        }
        self.gather(block, output)
    }

    /// The slow way, for a label at the end of a block: byte by byte until it is whole, or no label.
    fn gather<'a>(&mut self, block: &'a [u8], output: &mut Output) -> Result<&'a [u8], Die> {
        for (at, &byte) in block.iter().enumerate() {
            let expected = if self.held.is_empty() {
                byte == b'@'
            } else {
                digit(byte).is_some()
            };
            if !expected || self.held.len() == LABEL {
                let label = std::mem::take(&mut self.held);
                self.label(&label, byte, output)?;
                return Ok(block.get(at..).unwrap_or_default());
            }
            self.held.push(byte);
        }
        Ok(&[])
    }

    /// Writes `label` as local time if it is one and `next` does not go on with it, else as it is.
    fn label(&mut self, label: &[u8], next: u8, output: &mut Output) -> Result<(), Die> {
        self.inside = true;
        if digit(next).is_none() && self.clock.read(label).is_some() {
            output.push(&self.clock.text)
        } else {
            output.push(label)
        }
    }

    /// The original forgets a label that nothing follows, not even a newline.
    fn end(&mut self, output: &mut Output) -> Result<(), Die> {
        if self.clock.read(&self.held).is_some() {
            Ok(())
        } else {
            output.push(&self.held)
        }
    }
}

/// The value of a digit, in lower case only.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |sum: u64, &b| Some(sum << 4 | u64::from(digit(b)?)))
}

/// Local time as text. Asking the time zone is dear, so the answer is kept for the lines of the same minute.
#[derive(Debug, Default)]
struct Clock {
    /// digits of the second that `text` shows
    second: Bytes,
    minute: Option<Minute>,
    /// local time up to the nanoseconds
    text: Bytes,
    /// bytes of `text` before the nanoseconds
    whole: usize,
}

/// A minute of local time in which the zone does not change.
#[derive(Debug)]
struct Minute {
    /// Unix seconds of its beginning
    start: i64,
    /// the text up to the seconds
    text: Bytes,
}

impl Clock {
    /// Makes `text` show the moment of `label`; `None` if that is no label, or of no year that people count.
    fn read(&mut self, label: &[u8]) -> Option<()> {
        let (at, digits) = label.split_first()?;
        let (second, nanoseconds) = digits.split_at_checked(SECOND)?;
        if *at != b'@' || label.len() != LABEL {
            return None;
        }
        let nanoseconds = hexadecimal(nanoseconds)?;
        if second != self.second {
            let unix = hexadecimal(second)?.wrapping_sub(EPOCH) as i64;
            self.show(unix)?;
            self.second.clear();
            self.second.extend_from_slice(second);
        }
        self.text.truncate(self.whole);
        decimal(&mut self.text, nanoseconds, 9);
        Some(())
    }

    fn show(&mut self, unix: i64) -> Option<()> {
        // A label that fails below leaves no half-made text to be found by the next one.
        self.second.clear();
        let known = self
            .minute
            .as_ref()
            .filter(|m| (0..60).contains(&unix.saturating_sub(m.start)));
        self.text.clear();
        if let Some(minute) = known {
            self.text.extend_from_slice(&minute.text);
            decimal(&mut self.text, u64::try_from(unix - minute.start).ok()?, 2);
        } else {
            self.ask(unix)?;
        }
        self.text.push(b'.');
        self.whole = self.text.len();
        Some(())
    }

    /// Asks the system for the local time, and for the ends of its minute: only if the zone is the same there, the
    /// minute is kept.
    fn ask(&mut self, unix: i64) -> Option<()> {
        let there = sys::time::local(unix)?;
        decimal(&mut self.text, u64::try_from(there.year).ok()?, 1);
        for (mark, number) in [
            (b'-', there.month),
            (b'-', there.day),
            (b' ', there.hour),
            (b':', there.minute),
        ] {
            self.text.push(mark);
            decimal(&mut self.text, u64::from(number), 2);
        }
        self.text.push(b':');

        let start = unix.checked_sub(i64::from(there.second))?;
        let same = |moment| sys::time::local(moment).is_some_and(|l| l.offset == there.offset);
        self.minute = start
            .checked_add(59)
            .filter(|&end| there.second < 60 && same(start) && same(end))
            .map(|_| Minute {
                start,
                text: self.text.clone(),
            });
        decimal(&mut self.text, u64::from(there.second), 2);
        Some(())
    }
}

/// Adds `number` with at least `width` digits.
fn decimal(text: &mut Bytes, mut number: u64, width: usize) {
    /// the digits of the largest number
    const MOST: usize = 20;
    let mut digits = [b'0'; MOST];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        if number == 0 && used >= width {
            break;
        }
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
    }
    text.extend_from_slice(digits.get(MOST - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_least_their_width() {
        for (number, width, expected) in [
            (0, 1, "0"),
            (7, 2, "07"),
            (1999, 1, "1999"),
            (5, 9, "000000005"),
            (u64::MAX, 2, "18446744073709551615"),
        ] {
            let mut text = Bytes::new();
            decimal(&mut text, number, width);
            assert_eq!(text, expected.as_bytes());
        }
    }

    #[test]
    fn refuses_what_is_no_label() {
        let mut clock = Clock::default();
        for bad in [
            "",
            "@",
            "@home",
            "@4000000037c219bf2ef02e9",
            "@4000000037c219bf2ef02e944",
            "@4000000037C219BF2EF02E94",
            "x4000000037c219bf2ef02e94",
            "@400000g037c219bf2ef02e94",
            "@bfffffffffffffff00000000",
        ] {
            assert_eq!(clock.read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(clock.read(b"@4000000037c219bf2ef02e94"), Some(()));
        assert!(clock.text.ends_with(b":05.787492500"));
    }

    #[test]
    fn a_kept_minute_says_what_the_system_says() {
        let mut kept = Clock::default();
        let mut second = 0x4000_0000_37c2_19bfu64;
        for step in [0, 1, 1, 30, 29, 3600, 1, 86_400 * 180, 59, 1] {
            second += step;
            let label = format!("@{second:016x}00000001");
            assert_eq!(kept.read(label.as_bytes()), Some(()));
            let mut fresh = Clock::default();
            assert_eq!(fresh.read(label.as_bytes()), Some(()));
            assert_eq!(kept.text, fresh.text);
        }
    }
}
