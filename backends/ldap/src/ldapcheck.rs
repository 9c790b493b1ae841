//! ldapcheck: one entry of a directory is a name; the directory compares the password, or we do.

use aside::{Name, Settings, ask, entry, identity};
use auth::accept::{Backend, Entry, Identity, check};
use auth::scheme;
use base::{Bytes, Call, Die};

use crate::directory::{Check, Directory, WORDS};

struct Ldap;

fn settings() -> Result<(Settings, Directory), Die> {
    let settings = Settings::read("ldapcheck", "LDAPCHECK", &WORDS)?;
    let directory = Directory::of(&settings)?;
    Ok((settings, directory))
}

impl Backend for Ldap {
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        let (settings, directory) = settings()?;
        let ids = settings.runas()?;
        let Some(asked) = Name::parse(name) else {
            return Ok(None);
        };
        // Where the directory compares passwords, no stored one is read: the entry can answer no challenge.
        let job = || crate::ask::find(&directory, &asked, None);
        let row = ask(settings.timeout()?, ids.as_ref(), job)?;
        row.map(|row| entry(name, &row, &settings)).transpose()
    }

    fn judge(&self, name: &[u8], password: &[u8]) -> Result<Option<Option<Identity>>, Die> {
        let (settings, directory) = settings()?;
        if directory.check == Check::Read {
            return Ok(None);
        }
        let ids = settings.runas()?;
        let text = std::str::from_utf8(password).ok().filter(|p| !p.is_empty());
        let (Some(asked), Some(text)) = (Name::parse(name), text) else {
            scheme::nobody(None, password);
            return Ok(Some(None));
        };
        let job = || crate::ask::find(&directory, &asked, Some(text));
        let row = ask(settings.timeout()?, ids.as_ref(), job)?;
        let found = row.map(|row| identity(name, &row, &settings)).transpose()?;
        Ok(Some(found))
    }

    fn model(&self) -> Option<Bytes> {
        let (settings, _) = settings().ok()?;
        settings.get("model").map(<[u8]>::to_vec)
    }
}

/// The program: see ldapcheck(8).
pub fn ldapcheck(call: &Call) -> Result<(), Die> {
    check(call, &Ldap)
}
