//! The form of an answer: netstrings, after a letter that says what they are, before one that says that it is whole.

use base::Bytes;
use base::bytes::{number, split_once};

use crate::ask::{Answer, Trouble};

/// The largest answer, bytes.
pub(crate) const LIMIT: usize = 64 * 1024;
const END: &[u8] = b".";

/// What a server told of a name: words and values. A value that is not there is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(Vec<(Bytes, Bytes)>);

impl Row {
    /// Adds a value.
    pub fn add(&mut self, word: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.0
            .push((word.as_ref().to_vec(), value.as_ref().to_vec()));
    }

    /// The first value of that word.
    pub fn get(&self, word: &str) -> Option<&[u8]> {
        let mut each = self.0.iter();
        let found = each.find(|(w, _)| w == word.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// All values of that word.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let each = self.0.iter().filter(move |(w, _)| w == word.as_bytes());
        each.map(|(_, value)| value.as_slice())
    }
}

fn netstring(text: &[u8]) -> Bytes {
    [text.len().to_string().as_bytes(), b":", text, b","].concat()
}

pub(crate) fn encode(answer: &Result<Answer, Trouble>) -> Bytes {
    let (letter, strings): (&[u8], Vec<&[u8]>) = match answer {
        Ok(Some(row)) => {
            let each = row.0.iter();
            (b"r", each.flat_map(|(w, v)| [w.as_slice(), v]).collect())
        }
        Ok(None) => (b"n", Vec::new()),
        Err(Trouble(text)) => (b"t", vec![text]),
    };
    let strings: Bytes = strings.into_iter().flat_map(netstring).collect();
    [letter, &strings, END].concat()
}

/// `None`: it is not whole, or of another form.
pub(crate) fn decode(text: &[u8]) -> Option<Result<Answer, Trouble>> {
    let (letter, rest) = text.split_first()?;
    let mut rest = rest.strip_suffix(END)?;
    let mut strings = Vec::new();
    while !rest.is_empty() {
        let (length, more) = split_once(rest, b':')?;
        let length = usize::try_from(number(length)?).ok()?;
        let (text, more) = more.split_at_checked(length)?;
        strings.push(text.to_vec());
        rest = more.strip_prefix(b",")?;
    }
    match (letter, strings.as_slice()) {
        (b'r', _) => {
            let pairs = strings.chunks(2).map(|pair| match pair {
                [word, value] => Some((word.clone(), value.clone())),
                _ => None,
            });
            Some(Ok(Some(Row(pairs.collect::<Option<_>>()?))))
        }
        (b'n', []) => Some(Ok(None)),
        (b't', [text]) => Some(Err(Trouble(text.clone()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_heard() {
        let mut row = Row::default();
        row.add("password", b"a:b,\0c\n");
        row.add("home", b"");
        row.add("password", b"second");
        for answer in [
            Ok(Some(row.clone())),
            Ok(Some(Row::default())),
            Ok(None),
            Err(Trouble(b"unable to connect".to_vec())),
        ] {
            assert_eq!(decode(&encode(&answer)), Some(answer));
        }
        assert_eq!(row.get("password"), Some(&b"a:b,\0c\n"[..]));
        assert_eq!(row.all("password").count(), 2);
        assert_eq!(row.get("uid"), None);
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        let mut row = Row::default();
        row.add("home", b"/tmp");
        let text = encode(&Ok(Some(row)));
        for end in 0..text.len() {
            assert_eq!(decode(&text[..end]), None, "{end}");
        }
        for text in [
            &b""[..],
            b".",
            b"x.",
            b"n1:a,.",
            b"t.",
            b"r1:a,.",
            b"r9:a,.",
            b"r99999999999999999999:a,.",
            b"r1:a;1:b,.",
        ] {
            assert_eq!(decode(text), None);
        }
    }
}
