//! apoppasswd: sets the mail password of an address of mine.

use auth::scheme;
use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use sys::Dir;

use crate::{apop, files};

const USAGE: &str = "apoppasswd [ -e ext ] [ -a ] [ -c ]";
/// The longest password, bytes: one that fits into the checkpassword protocol.
pub(crate) const PASSWORD_LIMIT: usize = 160;

/// What besides SCRAM and a crypt is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Also {
    /// what CRAM-MD5 needs
    pub(crate) cram: bool,
    /// the password itself, encoded: what APOP needs
    pub(crate) apop: bool,
}

/// The stored forms of a password: a crypt first, then SCRAM, then what was asked for.
///
/// # Errors
/// The kernel has no random numbers.
pub(crate) fn stored(password: &[u8], also: Also) -> std::io::Result<Vec<Bytes>> {
    let crypt = [b"{CRYPT}", scheme::new_crypt(password)?.as_slice()].concat();
    let mut forms = vec![crypt, scheme::new_scram(password)?];
    if also.apop {
        let text = auth::encoding::encode(password);
        forms.push([b"{PLAIN.B64}", text.as_slice()].concat());
    } else if also.cram {
        forms.push(scheme::cram_text(password));
    }
    Ok(forms)
}

/// Asks for a new password: twice on a terminal, else one line.
///
/// # Errors
/// Nothing came, the two differ, or it cannot be used.
pub(crate) fn ask(what: &str) -> Result<Bytes, Die> {
    let unable = |e| Die::unable("read the password", &e);
    let password = sys::terminal::secret(&format!("New {what}: ")).map_err(unable)?;
    if sys::terminal::is_terminal() {
        let again = sys::terminal::secret(&format!("New {what} again: ")).map_err(unable)?;
        if again != password {
            return Err(Die::fatal(100, "the two are not the same"));
        }
    }
    let is_odd = password.iter().any(u8::is_ascii_control);
    if password.is_empty() || password.len() > PASSWORD_LIMIT || is_odd {
        let limit = format!("a password has 1 to {PASSWORD_LIMIT} bytes and no control characters");
        return Err(Die::fatal(100, limit));
    }
    Ok(password)
}

/// The program: see apoppasswd(1).
pub fn apoppasswd(call: &Call) -> Result<(), Die> {
    let mut also = Also::default();
    let mut ext = None;
    let mut options = Options::new(&call.args, "e:ac");
    for option in options.by_ref() {
        match option {
            Opt::Value(b'e', value) => ext = Some(value),
            Opt::Flag(b'a') => also.apop = true,
            Opt::Flag(b'c') => also.cram = true,
            _ => return Err(Die::usage(USAGE)),
        }
    }
    if !options.rest().is_empty() {
        return Err(Die::usage(USAGE));
    }

    sys::process::umask(0o077);
    // With -e here, where the .qmail file is; without, at home.
    let place = match &ext {
        Some(_) => b".".to_vec(),
        None => base::env("HOME").ok_or_else(|| Die::fatal(100, "HOME is not set"))?,
    };
    let dir = Dir::open(sys::dir::path(&place));
    let dir = dir.map_err(|e| Die::unable([b"open ", place.as_slice()].concat(), &e))?;
    let name = match &ext {
        Some(ext) => apop::file_name(b"-", ext),
        None => apop::file_name(b"", b""),
    };
    if name.contains(&b'/') || name.contains(&0) || name.len() > 200 {
        return Err(Die::fatal(
            100,
            "an extension has no slash and at most 190 bytes",
        ));
    }

    let password = ask("APOP Password")?;

    let unable = |e| Die::unable([b"write ", name.as_slice()].concat(), &e);
    let mut text = stored(&password, also).map_err(unable)?.join(&b'\n');
    text.push(b'\n');
    files::replace(&dir, &name, &text, 0o600).map_err(unable)
}
