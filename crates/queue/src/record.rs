//! Records of the queue's files: a letter, a text, a NUL.
//!
//! `todo` and `intd` hold `u` uid, `p` pid, `F` sender and any number of `T` recipient; `info` holds one `F`; `local`
//! and `remote` hold `T` for a recipient still to be served and `D` for one that is done with.
//!
//! Source  qmail-queue(5)

use std::io::{self, BufRead, ErrorKind};

use base::Bytes;

/// The longest address, bytes with its NUL (ADDR of the original).
pub const ADDRESS_LIMIT: usize = 1003;
/// The longest record that is read, bytes: an address with what virtualdomains puts before it.
pub const RECORD_LIMIT: usize = 16 * 1024;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// where its letter stands in the file
    pub at: u64,
    /// its letter
    pub letter: u8,
    /// what follows, without the NUL
    pub text: Bytes,
}

/// Reads records one after the other.
#[derive(Debug)]
pub struct Records<R> {
    input: R,
    at: u64,
    line: Bytes,
}

impl<R: BufRead> Records<R> {
    /// `input` stands at byte `at` of the file, where a record begins.
    pub fn new(input: R, at: u64) -> Records<R> {
        Records {
            input,
            at,
            line: Bytes::new(),
        }
    }

    /// Where the next record begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next record; `None` at the end of the file.
    ///
    /// # Errors
    /// `InvalidData` when a record is empty, cut off by the end of the file, or longer than `RECORD_LIMIT`: the file
    /// is damaged and nothing after this can be trusted. Else what reading says.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        match base::io::line(&mut self.input, 0, RECORD_LIMIT, &mut self.line)? {
            base::io::Line::End => return Ok(None),
            base::io::Line::Whole => {}
            base::io::Line::Partial | base::io::Line::TooLong => {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        let [letter, text @ .., 0] = self.line.as_slice() else {
            return Err(ErrorKind::InvalidData.into());
        };
        let record = Record {
            at: self.at,
            letter: *letter,
            text: text.to_vec(),
        };
        self.at = self.at.saturating_add(self.line.len() as u64);
        Ok(Some(record))
    }
}

/// The bytes of a record on disk.
pub fn record(letter: u8, text: &[u8]) -> Bytes {
    [&[letter], text, b"\0"].concat()
}

/// One step of an envelope in `todo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// who asked for it; 0 if it was no number
    Uid(u64),
    /// process id of the queue program; 0 if it was no number
    Pid(u64),
    /// the envelope sender
    Sender(Bytes),
    /// an envelope recipient
    Recipient(Bytes),
}

impl Entry {
    /// What a record of `todo` says.
    ///
    /// # Errors
    /// `InvalidData`: an unknown letter.
    pub fn read(record: Record) -> io::Result<Entry> {
        match record.letter {
            b'u' => Ok(Entry::Uid(base::bytes::scan_number(&record.text).0)),
            b'p' => Ok(Entry::Pid(base::bytes::scan_number(&record.text).0)),
            b'F' => Ok(Entry::Sender(record.text)),
            b'T' => Ok(Entry::Recipient(record.text)),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> io::Result<Vec<(u64, u8, Bytes)>> {
        let mut records = Records::new(bytes, 0);
        let mut found = Vec::new();
        while let Some(r) = records.next_record()? {
            found.push((r.at, r.letter, r.text));
        }
        Ok(found)
    }

    #[test]
    fn records_know_where_they_stand() {
        assert_eq!(
            all(b"u0\0Fs@h\0T\0Dx\0").unwrap(),
            [
                (0, b'u', b"0".to_vec()),
                (3, b'F', b"s@h".to_vec()),
                (8, b'T', Bytes::new()),
                (10, b'D', b"x".to_vec())
            ]
        );
        assert!(all(b"").unwrap().is_empty());
    }

    #[test]
    fn damage_is_told_from_an_end() {
        for bad in [&b"Ts@h"[..], b"T", b"\0", b"Ta\0\0Tb\0"] {
            assert_eq!(all(bad).unwrap_err().kind(), ErrorKind::InvalidData);
        }
        let mut long = vec![b'T'; RECORD_LIMIT];
        long.push(0);
        assert!(all(&long).is_err());
        long.remove(0);
        assert_eq!(all(&long).unwrap().len(), 1);
    }

    #[test]
    fn random_bytes_never_stop_the_reader() {
        let mut seed = 1u64;
        for _ in 0..5_000 {
            let mut bytes = Bytes::new();
            for _ in 0..40 {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                bytes.push(match seed >> 60 {
                    0..4 => 0,
                    4..8 => b'T',
                    8..10 => b'F',
                    _ => seed.to_le_bytes()[4],
                });
            }
            if let Ok(found) = all(&bytes) {
                let again: Bytes = found.iter().flat_map(|(_, l, t)| record(*l, t)).collect();
                assert_eq!(again, bytes);
            }
        }
    }
}
