//! Watching the header of a message pass by: hops, and its size.
//!
//! Source  RFC 5321 6.3; qmail-smtpd(8): lines that begin with "received" or "delivered" count as hops

use wire::unstuff::Piece;

/// The longer of the two words that are looked for.
const PREFIX: usize = 9;

/// What a header may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// bytes, line ends counted as one
    pub bytes: u64,
    /// lines
    pub lines: u64,
    /// a message that has made this many hops is looping
    pub hops: u64,
}

/// The first limit that a header breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// too many bytes
    Bytes,
    /// too many lines
    Lines,
    /// too many hops
    Hops,
}

/// The state between two pieces of text.
#[derive(Clone, Debug)]
pub struct Watch {
    limits: Limits,
    inside: bool,
    prefix: [u8; PREFIX],
    column: usize,
    bytes: u64,
    lines: u64,
    hops: u64,
}

impl Watch {
    /// At the beginning of a message.
    pub fn new(limits: Limits) -> Watch {
        Watch {
            limits,
            inside: true,
            prefix: [0; PREFIX],
            column: 0,
            bytes: 0,
            lines: 0,
            hops: 0,
        }
    }

    /// Looks at the next piece, and says which limit it breaks.
    pub fn see(&mut self, piece: Piece<'_>) -> Option<Excess> {
        if !self.inside {
            return None;
        }
        match piece {
            Piece::Text(text) => {
                let free = self.prefix.iter_mut().skip(self.column);
                for (to, from) in free.zip(text) {
                    *to = *from;
                }
                self.column = self.column.saturating_add(text.len());
                self.bytes = self.bytes.saturating_add(text.len() as u64);
            }
            Piece::Newline => {
                self.inside = self.column > 0;
                if self.inside {
                    self.lines = self.lines.saturating_add(1);
                    self.hops = self.hops.saturating_add(u64::from(self.is_hop()));
                }
                self.column = 0;
                self.bytes = self.bytes.saturating_add(1);
            }
        }
        self.excess()
    }

    fn is_hop(&self) -> bool {
        let seen = self.prefix.get(..self.column.min(PREFIX));
        let begins = |word: &[u8]| {
            seen.and_then(|s| s.get(..word.len()))
                .is_some_and(|s| s.eq_ignore_ascii_case(word))
        };
        begins(b"received") || begins(b"delivered")
    }

    fn excess(&self) -> Option<Excess> {
        if self.hops >= self.limits.hops {
            Some(Excess::Hops)
        } else if self.lines > self.limits.lines {
            Some(Excess::Lines)
        } else if self.bytes > self.limits.bytes {
            Some(Excess::Bytes)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &[u8], size: usize, limits: Limits) -> Option<Excess> {
        let mut watch = Watch::new(limits);
        text.chunks(size)
            .flat_map(|block| block.split_inclusive(|&b| b == b'\n'))
            .find_map(|part| match part.strip_suffix(b"\n") {
                Some(line) => watch
                    .see(Piece::Text(line))
                    .or_else(|| watch.see(Piece::Newline)),
                None => watch.see(Piece::Text(part)),
            })
    }

    #[test]
    fn counts_hops_in_the_header_only() {
        let limits = Limits {
            bytes: 1000,
            lines: 100,
            hops: 3,
        };
        let three = b"Received: a\nX: y\nrECEIVED\ndelivered-to: x\n\n";
        let two = b"Received: a\n received\nReceive: b\nDelivered\n\nReceived: body\nReceived: x\n";
        for size in 1..60 {
            assert_eq!(run(three, size, limits), Some(Excess::Hops), "{size}");
            assert_eq!(run(two, size, limits), None, "{size}");
        }
    }

    #[test]
    fn the_size_has_limits() {
        let limits = Limits {
            bytes: 20,
            lines: 3,
            hops: 9,
        };
        assert_eq!(run(b"a\nb\nc\n\nd\ne\nf\n", 4, limits), None);
        assert_eq!(run(b"a\nb\nc\nd\n", 4, limits), Some(Excess::Lines));
        assert_eq!(
            run(b"01234567890123456789\n", 4, limits),
            Some(Excess::Bytes)
        );
        assert_eq!(run(b"0123456789012345678\n", 4, limits), None);
    }
}
