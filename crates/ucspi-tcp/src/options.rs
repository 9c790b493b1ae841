//! What servers and clients do alike with their options.

use base::bytes::scan_number;
use base::opt::{Opt, Options};
use base::{Bytes, Die};

/// How much is said on descriptor 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// `-q`: nothing at all
    Silent,
    /// `-Q`: trouble
    #[default]
    Trouble,
    /// `-v`: everything
    All,
}

/// The end of a program that was called with options it does not know, or without what it needs.
pub fn misuse(program: &str, wrong: Option<&Opt>, usage: &str) -> Die {
    let mut text = match wrong {
        Some(Opt::Missing(letter)) => said(program, "option requires an argument -- ", *letter),
        Some(Opt::Unknown(letter)) => said(program, "illegal option -- ", *letter),
        _ => Vec::new(),
    };
    text.extend_from_slice(format!("{program}: usage: {program} {usage}\n").as_bytes());
    Die::plain(100, text)
}

fn said(program: &str, what: &str, letter: u8) -> Vec<u8> {
    [format!("{program}: {what}").as_bytes(), &[letter, b'\n']].concat()
}

/// One option: of a letter, or of a word, which no version of ucspi-tcp had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// as getopt knows them
    Letter(Opt),
    /// `--name=value`, or `--name` with an empty value
    Long(Bytes, Bytes),
}

/// The next option of `options`.
pub(crate) fn next(options: &mut Options<'_>) -> Option<Word> {
    let first = options.rest().first().cloned().unwrap_or_default();
    let option = options.next()?;
    match first.strip_prefix(b"--") {
        Some(long) if option == Opt::Unknown(b'-') => {
            options.skip_word();
            let (name, value) = base::bytes::split_once(long, b'=').unwrap_or((long, b""));
            Some(Word::Long(name.into(), value.into()))
        }
        _ => Some(Word::Letter(option)),
    }
}

/// The number that a value begins with; 0 if it begins with none, as in the original.
pub fn leading(value: &[u8]) -> u64 {
    scan_number(value).0
}

/// `-q` silences even the last word.
pub fn last_word(die: Die, verbosity: Verbosity) -> Die {
    if verbosity == Verbosity::Silent {
        Die::silent(die.code)
    } else {
        die
    }
}
