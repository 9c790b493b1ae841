//! vpopmail's files: domains in users/cdb, users in vpasswd.cdb, flags and limits, addresses of POP-before-SMTP. Read as
//! they are found; the programs that manage them remain vpopmail's own.
//!
//! Source  vpopmail 5.6, as docs/compat/vpopmail.md tells it

pub(crate) mod check;
pub(crate) mod deliver;
pub(crate) mod opensmtp;
mod syslog;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};

use base::bytes::{number, rsplit_once, split_once, trim_end};
use base::{Bytes, Die};
use control::Table;
use recipient::{User, users::Users};

use crate::files;

/// The largest vpasswd that is read where there is no vpasswd.cdb, bytes.
const LIMIT: u64 = 256 << 20;

/// Words of the gid field.
pub mod flag {
    /// no POP
    pub const NO_POP: u64 = 0x02;
    /// no POP or IMAP from this machine
    pub const NO_WEBMAIL: u64 = 0x04;
    /// no IMAP
    pub const NO_IMAP: u64 = 0x08;
    /// mail to him bounces
    pub const BOUNCE: u64 = 0x10;
    /// no POP before SMTP
    pub const NO_RELAY: u64 = 0x20;
    /// no SMTP AUTH
    pub const NO_SMTP: u64 = 0x800;
    /// the limits of the domain are not his
    pub const OVERRIDE: u64 = 0x2000;
}

/// A user, as his line in vpasswd has it. Fields that are missing are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// a crypt, maybe with a scheme in braces
    pub password: Bytes,
    /// not a group: words of `flag`
    pub flags: u64,
    /// where Maildir is
    pub dir: Bytes,
    /// in the form of Maildir++
    pub quota: Bytes,
    /// the password itself, if it is kept
    pub clear: Bytes,
}

/// What is told of a user.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// `None`: there is no such user
    pub entry: Option<Entry>,
    /// a stored password like those of others: of the postmaster, whom every domain has
    pub model: Option<Bytes>,
    /// what his domain forbids, words of `flag`
    pub limits: u64,
}

/// Where vpopmail keeps its users.
pub trait Accounts {
    /// A user of a domain. Runs as the owner of the domain. `home` is vpopmail's.
    ///
    /// # Errors
    /// The end of the program: temporary, exit 111.
    fn find(&self, home: &[u8], domain: &User, user: &[u8]) -> Result<Told, Die>;

    /// Where mail for a name goes that is an alias: addresses. Names without any are users.
    ///
    /// # Errors
    /// As `find`.
    fn aliases(&self, home: &[u8], domain: &User, name: &[u8]) -> Result<Vec<Bytes>, Die> {
        // Files keep them as .qmail-NAME, for qmail-local.
        let _ = (home, domain, name);
        Ok(Vec::new())
    }
}

/// In vpasswd.cdb.
pub(crate) struct Files;

impl Accounts for Files {
    fn find(&self, home: &[u8], domain: &User, user: &[u8]) -> Result<Told, Die> {
        let unable = |e| Die::unable([b"read vpasswd in ", domain.home.as_slice()].concat(), &e);
        let model = find(&domain.home, b"postmaster").ok().flatten();
        Ok(Told {
            entry: find(&domain.home, user).map_err(unable)?,
            model: model.map(|postmaster| postmaster.password),
            limits: limits(&domain.home, home),
        })
    }
}

impl Entry {
    /// `crypt:uid:gid:gecos:dir:quota:clear`
    fn parse(text: &[u8]) -> Entry {
        let line = text.split(|&b| b == b'\n').next().unwrap_or_default();
        let mut fields = line.splitn(7, |&b| b == b':').map(<[u8]>::to_vec);
        let mut next = || fields.next().unwrap_or_default();
        let (password, _, gid, _) = (next(), next(), next(), next());
        Entry {
            password,
            flags: number(&gid).unwrap_or(0),
            dir: next(),
            quota: next(),
            clear: next(),
        }
    }

    /// With what the domain forbids, unless this user is exempt.
    pub(crate) fn flags_under(&self, limits: u64) -> u64 {
        if self.flags & flag::OVERRIDE != 0 {
            self.flags
        } else {
            self.flags | limits
        }
    }
}

/// Where vpopmail is at home: VPOPMAILHOME (not if this program has rights that its caller lacks), control/vpopmailhome,
/// the home of the account vpopmail, /home/vpopmail. Works in the home of qmail.
pub(crate) fn home() -> Bytes {
    let asked = base::env("VPOPMAILHOME").filter(|_| !sys::ids::privileged_over_caller());
    asked
        .or_else(|| control::line("vpopmailhome").ok().flatten())
        .or_else(|| {
            sys::users::local(b"vpopmail")
                .ok()
                .flatten()
                .map(|a| a.home)
        })
        .unwrap_or_else(|| b"/home/vpopmail".to_vec())
}

/// A login in lower case: user and domain, which is the default domain if none was given.
pub(crate) fn split(login: &[u8], home: &[u8]) -> (Bytes, Bytes) {
    let login = login.to_ascii_lowercase();
    match rsplit_once(&login, b'@') {
        Some((user, domain)) => (user.to_vec(), domain.to_vec()),
        None => {
            let file = [home, b"/etc/defaultdomain"].concat();
            let text = files::whole(&file, 4096).unwrap_or_default();
            let line = text.split(|&b| b == b'\n').next().unwrap_or_default();
            let default = trim_end(line).to_ascii_lowercase();
            (login, default)
        }
    }
}

/// Whether a name can be one of vpopmail's.
pub(crate) fn is_name(name: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"!#$&'*+-=?^_`{}~.%".contains(b);
    name.len() <= 200 && name.iter().all(fits)
}

/// The place of a domain: real name, ids and directory. `Ok(None)`: it is none of ours.
///
/// # Errors
/// users/cdb cannot be read.
pub(crate) fn domain(name: &[u8]) -> io::Result<Option<User>> {
    let Some(users) = Users::open()? else {
        return Ok(None);
    };
    if name.is_empty() {
        return Ok(None);
    }
    let found = users.find(&[name, b"-"].concat())?;
    // Only the line of this very domain, not one that stands for the beginning of its name.
    Ok(found.filter(|u| u.ext.is_empty() && u.dash == b"-" && u.uid != 0))
}

/// A user of the domain in `dir`.
///
/// # Errors
/// The table cannot be read. No table and no text is an error too: the domain is broken.
pub(crate) fn find(dir: &[u8], user: &[u8]) -> io::Result<Option<Entry>> {
    let table = [dir, b"/vpasswd.cdb"].concat();
    if let Some(table) = Table::open(sys::dir::path(&table))? {
        return Ok(table.get(user)?.map(|text| Entry::parse(&text)));
    }
    let text = files::whole(&[dir, b"/vpasswd"].concat(), LIMIT)?;
    let mut lines = text.split(|&b| b == b'\n');
    Ok(lines.find_map(|line| {
        let (name, rest) = split_once(line, b':')?;
        (name == user).then(|| Entry::parse(rest))
    }))
}

/// What the limits of a domain forbid: of the domain, or else of the host.
pub fn limits(dir: &[u8], home: &[u8]) -> u64 {
    let own = [dir, b"/.qmailadmin-limits"].concat();
    let common = [home, b"/etc/vlimits.default"].concat();
    let text = files::whole(&own, 1 << 20).or_else(|_| files::whole(&common, 1 << 20));
    text.map_or(0, |text| limit_flags(&text))
}

fn limit_flags(text: &[u8]) -> u64 {
    let is_gap = |b: &u8| matches!(b, b' ' | b'\t' | b'=' | b':');
    text.split(|&b| b == b'\n')
        .filter_map(|line| {
            let mut words = line.split(is_gap).filter(|w| !w.is_empty());
            let flag = match words.next()? {
                b"disable_pop" => flag::NO_POP,
                b"disable_imap" => flag::NO_IMAP,
                b"disable_webmail" => flag::NO_WEBMAIL,
                b"disable_external_relay" => flag::NO_RELAY,
                b"disable_smtp" => flag::NO_SMTP,
                _ => return None,
            };
            // A word alone means that it is so.
            (words.next() != Some(b"0")).then_some(flag)
        })
        .fold(0, |sum, flag| sum | flag)
}

/// A text for bounces and warnings: of the domain, or else of all domains.
pub(crate) fn message_file(dir: &[u8], home: &[u8], name: &str) -> Option<Bytes> {
    let own = [dir, b"/", name.as_bytes()].concat();
    let common = [home, b"/domains/", name.as_bytes()].concat();
    [own, common]
        .into_iter()
        .find(|path| sys::dir::stat_path(path).is_ok_and(|s| s.is_file()))
}

/// Nothing there is no trouble.
pub(crate) fn or_nothing(result: io::Result<Bytes>) -> io::Result<Bytes> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Bytes::new()),
        other => other,
    }
}
