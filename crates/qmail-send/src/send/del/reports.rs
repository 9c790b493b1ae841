//! Reports of a spawner, in either protocol. The spawners keep them short, but they are not trusted to.

use std::io;

use base::Bytes;
use queue::frames::{self, Frames};

/// The longest text that is kept, bytes with its letter; the rest of it is dropped.
const REPORT_LIMIT: usize = 10_000;

/// One whole report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// the place of the delivery
    pub(super) place: usize,
    /// a letter and a text for each recipient
    pub(super) results: Vec<(u8, Bytes)>,
}

/// K, Z or D and what follows it; the letter is 0 if there is none.
fn split(text: &[u8]) -> (u8, Bytes) {
    let text = text.get(..REPORT_LIMIT).unwrap_or(text);
    let (letter, text) = text.split_first().unwrap_or((&0, &[]));
    (*letter, text.to_vec())
}

/// Gathers reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// the extended protocol, once it has been agreed on
    frames: Option<Frames>,
    place: Option<u8>,
    line: Bytes,
}

impl Reports {
    /// Takes one byte of the classic protocol; returns a report when it is the last one of it.
    pub(super) fn feed(&mut self, byte: u8) -> Option<Report> {
        let Some(place) = self.place else {
            self.place = Some(byte);
            return None;
        };
        if byte != 0 {
            if self.line.len() < REPORT_LIMIT {
                self.line.push(byte);
            }
            return None;
        }
        self.place = None;
        let line = std::mem::take(&mut self.line);
        Some(Report {
            place: place.into(),
            results: vec![split(&line)],
        })
    }

    /// From the next byte on, frames come.
    pub(super) fn extend(&mut self) {
        self.frames = Some(Frames::default());
    }

    pub(super) fn is_extended(&self) -> bool {
        self.frames.is_some()
    }

    /// Takes bytes of the extended protocol; returns the reports that are whole now. A frame that is no report is
    /// one of a place that does not exist.
    ///
    /// # Errors
    /// A frame is too long: the spawner is out of its mind.
    pub(super) fn feed_frames(&mut self, piece: &[u8]) -> io::Result<Vec<Report>> {
        let mut found = Vec::new();
        let Some(stream) = &mut self.frames else {
            return Ok(found);
        };
        stream.feed(piece);
        while let Some(frame) = stream.next_frame()? {
            let report = frames::decode_report(frame);
            found.push(Report {
                place: report
                    .as_ref()
                    .and_then(|r| usize::try_from(r.number).ok())
                    .unwrap_or(usize::MAX),
                results: report
                    .map(|r| r.texts.iter().map(|t| split(t)).collect())
                    .unwrap_or_default(),
            });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(usize, u8, Bytes)> {
        let mut reports = Reports::default();
        bytes
            .iter()
            .filter_map(|&b| reports.feed(b))
            .map(|r| (r.place, r.results[0].0, r.results[0].1.clone()))
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

    #[test]
    fn frames_hold_a_text_for_each_recipient() {
        let mut reports = Reports::default();
        reports.extend();
        let bytes = frames::encode_report(&frames::Report {
            number: 300,
            texts: vec![b"Kok".to_vec(), Bytes::new()],
        })
        .unwrap();
        let (head, tail) = bytes.split_at(7);
        assert!(reports.feed_frames(head).unwrap().is_empty());
        let found = reports.feed_frames(tail).unwrap();
        assert_eq!(found[0].place, 300);
        assert_eq!(
            found[0].results,
            [(b'K', b"ok".to_vec()), (0, Bytes::new())]
        );
        let found = reports.feed_frames(b"\x01\0\0\0x").unwrap();
        assert_eq!((found[0].place, found[0].results.len()), (usize::MAX, 0));
        assert!(reports.feed_frames(&[0xff; 4]).is_err());
    }
}
