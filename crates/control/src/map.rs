//! Constant maps: lists and `key:value` tables of control files, looked up without regard to ASCII case.

use std::collections::HashMap;

use base::Bytes;
use base::bytes::{lower, split_once};

/// A table in memory (djb's `constmap`). Of duplicate keys the last line wins.
#[derive(Clone, Debug, Default)]
pub struct Map {
    entries: HashMap<Bytes, Bytes>,
}

impl Map {
    /// Every line is a key; the values are empty.
    pub fn keys(lines: &[Bytes]) -> Map {
        Map {
            entries: lines.iter().map(|l| (lower(l), Bytes::new())).collect(),
        }
    }

    /// Every line is `key:value`, cut at its first colon; lines without a colon are ignored.
    pub fn pairs(lines: &[Bytes]) -> Map {
        let entries = lines
            .iter()
            .filter_map(|l| split_once(l, b':'))
            .map(|(key, value)| (lower(key), value.to_vec()))
            .collect();
        Map { entries }
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(&lower(key)).map(Bytes::as_slice)
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Whether the map has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_the_last_line_wins() {
        let lines = [
            b"A.b:1".to_vec(),
            b"nocolon".to_vec(),
            b"a.B:2:3".to_vec(),
            b":empty".to_vec(),
        ];
        let map = Map::pairs(&lines);
        assert_eq!(map.get(b"a.b"), Some(&b"2:3"[..]));
        assert_eq!(map.get(b"nocolon"), None);
        assert_eq!(map.get(b""), Some(&b"empty"[..]));
        assert!(Map::keys(&lines).has(b"NOCOLON"));
    }
}
