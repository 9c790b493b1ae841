//! Options as djb's programs take them (sgetopt): clusters, stop at the first word that is not an option, `--` ends.

use crate::Bytes;

/// One option found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opt {
    /// a known letter without a value
    Flag(u8),
    /// a known letter and its value: the rest of the word, or the next word
    Value(u8, Bytes),
    /// a letter that is not known
    Unknown(u8),
    /// a known letter whose value is missing
    Missing(u8),
}

/// Reads options one at a time; `rest` is what remains.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    words: &'a [Bytes],
    letters: &'a [u8],
    at: usize,
    done: bool,
}

impl<'a> Options<'a> {
    /// `letters` is the list of known letters, a colon after each one that takes a value, as for getopt(3).
    pub fn new(words: &'a [Bytes], letters: &'a str) -> Options<'a> {
        Options {
            words,
            letters: letters.as_bytes(),
            at: 0,
            done: false,
        }
    }

    /// The words after the options.
    pub fn rest(&self) -> &'a [Bytes] {
        self.words
    }

    /// Passes over the letters that are left in the current word: an option may own them without naming them a value.
    pub fn skip_word(&mut self) {
        if self.at > 0 {
            self.skip();
        }
    }

    fn skip(&mut self) {
        self.words = self.words.get(1..).unwrap_or_default();
        self.at = 0;
    }
}

impl Iterator for Options<'_> {
    type Item = Opt;

    fn next(&mut self) -> Option<Opt> {
        if self.done {
            return None;
        }
        let word = self.words.first()?;
        if self.at == 0 {
            if word.len() < 2 || word.first() != Some(&b'-') {
                self.done = true;
                return None;
            }
            if word == b"--" {
                self.skip();
                self.done = true;
                return None;
            }
            self.at = 1;
        }
        let letter = *word.get(self.at)?;
        self.at += 1;
        let remaining = word.get(self.at..).unwrap_or_default();
        let known = (letter != b':')
            .then(|| self.letters.iter().position(|&l| l == letter))
            .flatten();
        let Some(place) = known else {
            if remaining.is_empty() {
                self.skip();
            }
            return Some(Opt::Unknown(letter));
        };
        if self.letters.get(place + 1) != Some(&b':') {
            if remaining.is_empty() {
                self.skip();
            }
            return Some(Opt::Flag(letter));
        }
        if !remaining.is_empty() {
            let value = remaining.to_vec();
            self.skip();
            return Some(Opt::Value(letter, value));
        }
        self.skip();
        match self.words.first() {
            Some(next) => {
                let value = next.clone();
                self.skip();
                Some(Opt::Value(letter, value))
            }
            None => Some(Opt::Missing(letter)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|w| w.as_bytes().to_vec()).collect()
    }

    #[test]
    fn stops_at_the_first_word_that_is_not_an_option() {
        let call = words("-vR -c40 -x smtp.cdb -l- 0 smtp prog -v");
        let mut options = Options::new(&call, "vRc:x:l:");
        let found: Vec<Opt> = options.by_ref().collect();
        assert_eq!(
            found,
            [
                Opt::Flag(b'v'),
                Opt::Flag(b'R'),
                Opt::Value(b'c', b"40".to_vec()),
                Opt::Value(b'x', b"smtp.cdb".to_vec()),
                Opt::Value(b'l', b"-".to_vec()),
            ]
        );
        assert_eq!(options.rest(), words("0 smtp prog -v"));
    }

    #[test]
    fn a_lone_dash_is_a_word_and_two_end_the_options() {
        let call = words("-a - -b");
        let mut options = Options::new(&call, "ab");
        assert_eq!(options.by_ref().count(), 1);
        assert_eq!(options.rest(), words("- -b"));
        let call = words("-a -- -b");
        let mut options = Options::new(&call, "ab");
        assert_eq!(options.by_ref().count(), 1);
        assert_eq!(options.rest(), words("-b"));
    }

    #[test]
    fn the_rest_of_a_word_can_be_passed_over() {
        let call = words("-Jxyz -J -v");
        let mut options = Options::new(&call, "Jv");
        assert_eq!(options.next(), Some(Opt::Flag(b'J')));
        options.skip_word();
        assert_eq!(options.next(), Some(Opt::Flag(b'J')));
        options.skip_word();
        assert_eq!(options.next(), Some(Opt::Flag(b'v')));
    }

    #[test]
    fn tells_unknown_letters_and_missing_values() {
        let call = words("-z -x=f -x");
        let found: Vec<Opt> = Options::new(&call, "x:").collect();
        assert_eq!(
            found,
            [
                Opt::Unknown(b'z'),
                Opt::Value(b'x', b"=f".to_vec()),
                Opt::Missing(b'x')
            ]
        );
    }
}
