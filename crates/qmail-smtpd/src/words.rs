//! The arguments: who checks passwords.
//!
//! Two customs are in use: `HOST CHECKER PROGRAM` (qmail-smtpd-auth 0.31) and `CHECKER PROGRAM` (its successors). Read as
//! the wrong one, a forgotten host makes PROGRAM, which is `true`, the checker, and everybody may relay. So the first
//! word is a host only if it is no program, and a checker only if it is one; what is left over is refused.
//!
//! Source  docs/compat/qmail-smtpd.md

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base::Bytes;

/// Where programs are looked for when PATH is not set, as `sys::spawn` does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
/// Programs that say yes to everything.
const YES: [&str; 2] = ["/bin/true", "/usr/bin/true"];
/// Bytes of a host name.
const HOST_LIMIT: usize = 255;

/// Who checks passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// for the challenge, if it was given
    pub host: Option<Bytes>,
    /// the checker, what it runs, and arguments
    pub command: Vec<Bytes>,
    /// whether the checker was named by its place. A bare name might be meant as a host, so it must show that it says
    /// no to nothing at all before a yes is believed
    pub by_place: bool,
}

/// Why nobody checks passwords although there are arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// fewer words than a checker and its program
    TooFew,
    /// the first word is neither a program nor a host name
    NoHost,
    /// there is no such program
    NoChecker,
    /// the checker says yes to everybody
    SaysYes,
    /// the first word is the name of a program, and could be the one of a host
    Both,
}

impl Unclear {
    /// For the log.
    pub fn sentence(self) -> &'static str {
        match self {
            Unclear::TooFew => "too few arguments: want [host] checker program",
            Unclear::NoHost => "the first argument is neither a program nor a host name",
            Unclear::NoChecker => "there is no such checker",
            Unclear::SaysYes => {
                "the checker would say yes to everybody: is the host name forgotten?"
            }
            Unclear::Both => {
                "is the first argument a host or a checker? name the checker by its path"
            }
        }
    }
}

/// Understands the arguments; `None`: there are none.
///
/// # Errors
/// They could mean two things, or one that must not be.
pub fn parse(args: &[Bytes], path: Option<&[u8]>) -> Result<Option<Words>, Unclear> {
    let look = Look(path.unwrap_or(DEFAULT_PATH));
    let (first, rest) = match args {
        [] => return Ok(None),
        [first, rest @ ..] => (first, rest),
    };
    let by_place = first.contains(&b'/');
    let (host, command) = if look.find(first).is_some() {
        // `mail checkpassword true`, where mail is the name of this host and of a program as well.
        if !by_place && rest.len() > 1 && rest.first().is_some_and(|w| look.find(w).is_some()) {
            return Err(Unclear::Both);
        }
        (None, args)
    } else if by_place {
        return Err(Unclear::NoChecker);
    } else if is_host(first) {
        (Some(first.clone()), rest)
    } else {
        return Err(Unclear::NoHost);
    };
    let checker = command.first().ok_or(Unclear::TooFew)?;
    let file = look.find(checker).ok_or(Unclear::NoChecker)?;
    if look.says_yes(&file) {
        return Err(Unclear::SaysYes);
    }
    if command.len() < 2 {
        return Err(Unclear::TooFew);
    }
    Ok(Some(Words {
        by_place: host.is_some() || checker.contains(&b'/'),
        host,
        command: command.to_vec(),
    }))
}

fn is_host(word: &[u8]) -> bool {
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(b);
    word.len() <= HOST_LIMIT
        && word
            .first()
            .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'[')
        && word.iter().all(inside)
}

/// Looks for programs as exec does.
struct Look<'a>(&'a [u8]);

impl Look<'_> {
    /// The file that `word` would run, whoever may run it.
    fn find(&self, word: &[u8]) -> Option<PathBuf> {
        if word.contains(&b'/') {
            return program(word);
        }
        if word.is_empty() {
            return None;
        }
        self.0.split(|&b| b == b':').find_map(|place| {
            let place = if place.is_empty() { b"." } else { place };
            program(&[place, b"/", word].concat())
        })
    }

    /// Whether a file is the program `true`, by whatever name.
    fn says_yes(&self, file: &Path) -> bool {
        let same = |yes: &Path| match (fs::metadata(file), fs::metadata(yes)) {
            (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
            _ => false,
        };
        file.file_name().is_some_and(|name| name == "true")
            || YES.iter().any(|yes| same(Path::new(yes)))
            || self.find(b"true").is_some_and(|yes| same(&yes))
    }
}

/// The path, if somebody may run the file.
fn program(path: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path));
    let found = fs::metadata(&path).ok()?;
    (found.is_file() && found.permissions().mode() & 0o111 != 0).then_some(path)
}

#[cfg(test)]
mod tests;
