//! Reports of a spawner, one byte at a time. The spawners keep them short, but they are not trusted to.

use base::Bytes;

/// The longest report that is kept, bytes; the rest of it is dropped.
const REPORT_LIMIT: usize = 10_000;

/// One whole report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// the place of the delivery
    pub(super) slot: u8,
    /// K, Z or D; 0 or anything else when the spawner is wrong
    pub(super) letter: u8,
    pub(super) text: Bytes,
}

/// Gathers reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    slot: Option<u8>,
    line: Bytes,
}

impl Reports {
    /// Takes one byte; returns a report when it is the last one of it.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Report> {
        let Some(slot) = self.slot else {
            self.slot = Some(byte);
            return None;
        };
        if byte != 0 {
            if self.line.len() < REPORT_LIMIT {
                self.line.push(byte);
            }
            return None;
        }
        self.slot = None;
        let line = std::mem::take(&mut self.line);
        let (letter, text) = line.split_first().unwrap_or((&0, &[]));
        Some(Report {
            slot,
            letter: *letter,
            text: text.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(u8, u8, Bytes)> {
        let mut reports = Reports::default();
        bytes
            .iter()
            .filter_map(|&b| reports.feed(b))
            .map(|r| (r.slot, r.letter, r.text))
            .collect()
    }

    #[test]
    fn a_report_is_a_place_a_letter_and_a_text() {
        assert_eq!(
            all(b"\0Kok\n\0\x07\0\0Z\0\xffDx"),
            [
                (0, b'K', b"ok\n".to_vec()),
                (7, 0, Bytes::new()),
                (0, b'Z', Bytes::new())
            ]
        );
    }

    #[test]
    fn an_endless_report_is_cut() {
        let mut bytes = vec![b'K'; 100_000];
        bytes.extend(b"\0\x01Zx\0");
        let found = all(&bytes);
        assert_eq!(found[0].2.len(), REPORT_LIMIT - 1);
        assert_eq!(found[1], (1, b'Z', b"x".to_vec()));
    }
}
