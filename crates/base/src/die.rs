//! How a program ends: one sentence, one exit code.

use std::io;

use crate::Bytes;
use crate::bytes::printable;

/// The end of a program that did not simply finish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Die {
    /// exit code
    pub code: u8,
    /// what to write on descriptor 2; without the name of the program
    pub sentence: Sentence,
}

/// The shapes of a last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// nothing
    Silent,
    /// `name: usage: text`
    Usage(Bytes),
    /// `name: fatal: text`
    Fatal(Bytes),
    /// `text`, exactly
    Plain(Bytes),
}

/// Permanent trouble, misuse: the exit code of most programs.
pub const PERMANENT: u8 = 100;
/// Temporary trouble: try again later.
pub const TEMPORARY: u8 = 111;

impl Die {
    /// Leaves without a word.
    pub fn silent(code: u8) -> Die {
        Die {
            code,
            sentence: Sentence::Silent,
        }
    }

    /// `name: usage: text`, with the exit code for misuse, 100.
    pub fn usage(text: impl AsRef<[u8]>) -> Die {
        Die {
            code: PERMANENT,
            sentence: Sentence::Usage(text.as_ref().to_vec()),
        }
    }

    /// `name: fatal: text`.
    pub fn fatal(code: u8, text: impl AsRef<[u8]>) -> Die {
        Die {
            code,
            sentence: Sentence::Fatal(text.as_ref().to_vec()),
        }
    }

    /// `name: fatal: unable to VERB OBJECT: SYSTEM TEXT`, exit 111. `what` is "verb object".
    pub fn unable(what: impl AsRef<[u8]>, error: &io::Error) -> Die {
        Die::fatal(
            TEMPORARY,
            [
                b"unable to ",
                what.as_ref(),
                b": ",
                system_text(error).as_bytes(),
            ]
            .concat(),
        )
    }

    /// Exactly `text`, which holds its own line end.
    pub fn plain(code: u8, text: impl AsRef<[u8]>) -> Die {
        Die {
            code,
            sentence: Sentence::Plain(text.as_ref().to_vec()),
        }
    }

    /// The same end with another exit code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Die {
        self.code = code;
        self
    }

    /// The line that `report` writes.
    pub fn line(&self, name: &str) -> Bytes {
        let name = name.as_bytes();
        match &self.sentence {
            Sentence::Silent => Bytes::new(),
            Sentence::Usage(text) => [name, b": usage: ", &printable(text), b"\n"].concat(),
            Sentence::Fatal(text) => [name, b": fatal: ", &printable(text), b"\n"].concat(),
            Sentence::Plain(text) => text.clone(),
        }
    }

    pub(crate) fn report(&self, name: &str) {
        stderr(&self.line(name));
    }
}

/// Writes to descriptor 2 if it was open at the start; trouble is ignored, there is nobody left to tell.
pub(crate) fn stderr(line: &[u8]) {
    if line.is_empty() {
        return;
    }
    if let Ok(fd) = sys::fd::inherited(2) {
        let _ = sys::fd::write_all(&fd, line);
    }
}

/// The text of a system error as djb's programs print it.
pub fn system_text(error: &io::Error) -> String {
    sys::errno::text(error)
}
