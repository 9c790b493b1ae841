//! The settings of a checker: lines `WORD VALUE` of a control file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use auth::scheme::Bare;
use base::bytes::number;
use base::{Bytes, Die};
use sys::ids::Ids;

/// The words that every checker of this workspace knows.
pub const COMMON: [&str; 7] = ["timeout", "runas", "home", "uid", "gid", "bare", "model"];
/// The largest control file, bytes.
const LIMIT: u64 = 64 * 1024;
/// How long a server may take by default, seconds.
const TIMEOUT: u64 = 10;
/// The longest time that can be asked for, seconds: the server of the session waits a minute.
const TIMEOUT_LIMIT: u64 = 55;

/// What the administrator wrote.
#[derive(Clone, Debug)]
pub struct Settings {
    /// the file, for sentences
    file: Bytes,
    lines: Vec<(Bytes, Bytes)>,
}

impl Settings {
    /// Reads control/NAME, or the file in the variable VARIABLE (not if this program has rights that its caller lacks).
    /// Works in the home of qmail.
    ///
    /// # Errors
    /// Temporary: it cannot be read, has words that are not in `known` or COMMON, or holds a secret that everybody can
    /// read.
    pub fn read(name: &str, variable: &str, known: &[&str]) -> Result<Settings, Die> {
        let asked = base::env(variable).filter(|_| !sys::ids::privileged_over_caller());
        let file = asked.unwrap_or_else(|| [b"control/", name.as_bytes()].concat());
        let unable = |e| Die::unable([b"read ", file.as_slice()].concat(), &e);
        let open = File::open(Path::new(std::ffi::OsStr::from_bytes(&file))).map_err(unable)?;
        let stat = sys::dir::stat_fd(&open).map_err(unable)?;
        let mut text = Bytes::new();
        open.take(LIMIT + 1)
            .read_to_end(&mut text)
            .map_err(unable)?;
        if text.len() as u64 > LIMIT {
            return Err(unable(ErrorKind::FileTooLarge.into()));
        }
        let settings = Settings::parse(&file, &text);
        settings.check(known)?;
        if stat.mode & 0o007 != 0 && settings.get("password").is_some() {
            return Err(
                settings.wrong(b"it holds a password, and others than owner and group can read it")
            );
        }
        Ok(settings)
    }

    /// As `read`; no file is as good as an empty one, unless the variable names it.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_if_there(name: &str, variable: &str, known: &[&str]) -> Result<Settings, Die> {
        let file = [b"control/", name.as_bytes()].concat();
        let asked = base::env(variable).filter(|_| !sys::ids::privileged_over_caller());
        match sys::dir::stat_path(&file) {
            Err(e) if e.kind() == ErrorKind::NotFound && asked.is_none() => {
                Ok(Settings::parse(&file, b""))
            }
            _ => Settings::read(name, variable, known),
        }
    }

    /// The settings in `text`.
    pub fn parse(file: &[u8], text: &[u8]) -> Settings {
        let lines = control::file::lines(text).into_iter().map(|line| {
            let end = line.iter().position(|b| matches!(b, b' ' | b'\t'));
            let (word, value) = line.split_at(end.unwrap_or(line.len()));
            (word.to_vec(), value.trim_ascii_start().to_vec())
        });
        Settings {
            file: file.to_vec(),
            lines: lines.collect(),
        }
    }

    fn check(&self, known: &[&str]) -> Result<(), Die> {
        let is_known = |word: &[u8]| {
            let mut each = known.iter().chain(&COMMON);
            each.any(|k| k.as_bytes() == word)
        };
        match self.lines.iter().find(|(word, _)| !is_known(word)) {
            Some((word, _)) => Err(self.wrong([b"unknown word ", word.as_slice()].concat())),
            None => Ok(()),
        }
    }

    /// The end of a checker whose settings make no sense. It is temporary: users are not to suffer for it.
    pub fn wrong(&self, why: impl AsRef<[u8]>) -> Die {
        let text = [b"unable to use ", self.file.as_slice(), b": ", why.as_ref()];
        Die::fatal(base::die::TEMPORARY, text.concat())
    }

    /// The value of a word; of several lines, the last.
    pub fn get(&self, word: &str) -> Option<&[u8]> {
        let mut each = self.lines.iter().rev();
        let found = each.find(|(w, _)| w == word.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }

    /// The values of a word, in their order.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let each = self.lines.iter();
        let each = each.filter(move |(w, _)| w == word.as_bytes());
        each.map(|(_, value)| value.as_slice())
    }

    /// The value of a word as text.
    ///
    /// # Errors
    /// It is no UTF-8.
    pub fn text(&self, word: &str) -> Result<Option<String>, Die> {
        let value = self.get(word).map(<[u8]>::to_vec);
        let value = value.map(String::from_utf8).transpose();
        value.map_err(|_| self.wrong([word.as_bytes(), b" is no UTF-8"].concat()))
    }

    /// The value of a word as a number.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, word: &str) -> Result<Option<u64>, Die> {
        let Some(value) = self.get(word) else {
            return Ok(None);
        };
        let value = number(value).map(Some);
        value.ok_or_else(|| self.wrong([word.as_bytes(), b" is no number"].concat()))
    }

    /// How long a server may take.
    ///
    /// # Errors
    /// The number is none, is 0, or too large.
    pub fn timeout(&self) -> Result<Duration, Die> {
        let seconds = self.number("timeout")?.unwrap_or(TIMEOUT);
        if !(1..=TIMEOUT_LIMIT).contains(&seconds) {
            return Err(self.wrong(format!(
                "timeout is not within 1 and {TIMEOUT_LIMIT} seconds"
            )));
        }
        Ok(Duration::from_secs(seconds))
    }

    /// What a stored password without a scheme in braces is.
    ///
    /// # Errors
    /// Another word than `crypt` or `plain`.
    pub fn bare(&self) -> Result<Bare, Die> {
        match self.get("bare") {
            None | Some(b"crypt") => Ok(Bare::Crypt),
            Some(b"plain") => Ok(Bare::Plain),
            Some(_) => Err(self.wrong("bare is neither crypt nor plain")),
        }
    }

    /// Who asks the server: `runas USER`, qmaild by default. `None`: this program is not root, and remains who it is.
    ///
    /// # Errors
    /// There is no such account.
    pub fn runas(&self) -> Result<Option<Ids>, Die> {
        if sys::ids::euid() != 0 {
            return Ok(None);
        }
        let [_, qmaild, ..] = control::owners::user_names();
        let name = self.get("runas").unwrap_or(qmaild.as_bytes());
        let account = sys::users::local(name);
        let account = account.map_err(|e| Die::unable("read /etc/passwd", &e))?;
        let account = account
            .ok_or_else(|| self.wrong([b"there is no user ", name, b" to run as"].concat()))?;
        Ok(Some(Ids::new(account.uid, account.gid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse(b"control/x", text.as_bytes())
    }

    #[test]
    fn lines_are_words_and_values() {
        let s = settings("# a comment\nserver  one\nserver\ttwo\n\nquery SELECT a, b  \nempty\n");
        assert_eq!(s.all("server").collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!(s.get("query"), Some(&b"SELECT a, b"[..]));
        assert_eq!(s.get("empty"), Some(&b""[..]));
        assert_eq!(s.get("more"), None);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert!(settings("timeout 0").timeout().is_err());
        assert!(settings("timeout 56").timeout().is_err());
        assert!(settings("timeout soon").timeout().is_err());
        assert_eq!(settings("").timeout().unwrap(), Duration::from_secs(10));
        assert!(settings("bare naked").bare().is_err());
        let die = settings("sever x").check(&["server"]).unwrap_err();
        assert_eq!(die.code, 111);
        assert_eq!(
            die.line("x"),
            b"x: fatal: unable to use control/x: unknown word sever\n"
        );
    }
}
