//! The table of assigned users, users/cdb: which account and which files serve a local name.
//!
//! Source  qmail-users(5)

use std::io::{self, ErrorKind};

use base::Bytes;
use base::bytes::{lower, number};
use control::Table;
use control::table::Reader;

/// Where the table is.
const PLACE: &str = "users/cdb";

/// Who gets the mail of one local name, and which of his .qmail files says how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// account name
    pub name: Bytes,
    /// user id
    pub uid: u32,
    /// group id
    pub gid: u32,
    /// home directory
    pub home: Bytes,
    /// what stands between `.qmail` and the extension: usually empty or `-`
    pub dash: Bytes,
    /// the extension, in the case of the address
    pub ext: Bytes,
}

/// No id: the kernel knows nobody by this number, and becoming him fails.
const NOBODY: u32 = u32::MAX;

/// An id: decimal digits, within range.
fn id(field: &[u8]) -> Option<u32> {
    u32::try_from(number(field)?).ok()
}

impl User {
    /// Reads six fields, each ended by NUL: the form of the table's data and of qmail-getpw's answer.
    ///
    /// A user id that is no number counts as root, whose mail nobody may deliver; such a group id as nobody's.
    /// `None`: a field is missing.
    pub fn parse(fields: &[u8]) -> Option<User> {
        let mut parts = fields.split(|&b| b == 0);
        let mut next = || parts.next().map(<[u8]>::to_vec);
        let user = User {
            name: next()?,
            uid: id(&next()?).unwrap_or(0),
            gid: id(&next()?).unwrap_or(NOBODY),
            home: next()?,
            dash: next()?,
            ext: next()?,
        };
        // What follows the last NUL is a field without its end.
        parts.next().map(|_| user)
    }

    /// The six fields, each ended by NUL.
    pub fn fields(&self) -> Bytes {
        [
            &self.name,
            self.uid.to_string().as_bytes(),
            self.gid.to_string().as_bytes(),
            &self.home,
            &self.dash,
            &self.ext,
        ]
        .into_iter()
        .flat_map(|field| field.iter().copied().chain([0]))
        .collect()
    }
}

/// How the table is read.
#[derive(Debug)]
enum Source {
    Mapped(Table),
    Read(Reader),
}

impl Source {
    fn get(&self, key: &[u8]) -> io::Result<Option<Bytes>> {
        match self {
            Source::Mapped(table) => table.get(key),
            Source::Read(table) => table.get(key),
        }
    }
}

/// The open table.
#[derive(Debug)]
pub struct Users {
    table: Source,
    /// the last bytes of all prefixes
    ends: Bytes,
}

impl Users {
    /// Opens users/cdb. `Ok(None)`: there is none, the accounts of the system count.
    ///
    /// # Errors
    /// Unreadable, damaged, or without the set of last bytes.
    pub fn open() -> io::Result<Option<Users>> {
        Users::over(Table::open(PLACE)?.map(Source::Mapped))
    }

    /// As `open`, for a process that keeps the table for long and must survive whatever happens to the file.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_to_keep() -> io::Result<Option<Users>> {
        Users::over(Reader::open(PLACE)?.map(Source::Read))
    }

    fn over(table: Option<Source>) -> io::Result<Option<Users>> {
        let Some(table) = table else {
            return Ok(None);
        };
        let ends = table
            .get(b"")?
            .ok_or_else(|| io::Error::from(ErrorKind::InvalidData))?;
        Ok(Some(Users { table, ends }))
    }

    /// The user for `local`, the part of an address before its last `@`. `Ok(None)`: not assigned.
    ///
    /// An exact name comes first, then the longest prefix.
    ///
    /// # Errors
    /// The table is damaged, or the record has a wrong form (`InvalidData`).
    pub fn find(&self, local: &[u8]) -> io::Result<Option<User>> {
        let mut key = [b"!", lower(local).as_slice(), b"\0"].concat();
        if let Some(data) = self.table.get(&key)? {
            return user(data, b"").map(Some);
        }
        while key.pop().is_some() && !key.is_empty() {
            let may_end = key.len() == 1 || key.last().is_some_and(|b| self.ends.contains(b));
            if may_end && let Some(data) = self.table.get(&key)? {
                let rest = local.get(key.len() - 1..).unwrap_or_default();
                return user(data, rest).map(Some);
            }
        }
        Ok(None)
    }
}

fn user(mut data: Bytes, rest: &[u8]) -> io::Result<User> {
    data.extend_from_slice(rest);
    data.push(0);
    User::parse(&data).ok_or_else(|| ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_fields_or_nothing() {
        let text = b"joe\x00100\x00200\x00/home/joe\x00-\x00ext\x00";
        let user = User::parse(text).unwrap();
        assert_eq!((user.uid, user.gid), (100, 200));
        assert_eq!(
            (user.dash.as_slice(), user.ext.as_slice()),
            (&b"-"[..], &b"ext"[..])
        );
        assert_eq!(user.fields(), text);
        assert_eq!(
            User::parse(b"joe\x00100\x00200\x00/home/joe\x00-\x00ext"),
            None
        );
        for (text, uid, gid) in [
            (&b"joe\x00x\x00200\x00/h\x00\x00\x00"[..], 0, 200),
            (b"joe\x00-1\x00\x00/h\x00\x00\x00", 0, NOBODY),
            (b"joe\x004294967296\x007x\x00/h\x00\x00\x00", 0, NOBODY),
        ] {
            let user = User::parse(text).unwrap();
            assert_eq!((user.uid, user.gid), (uid, gid));
        }
        assert_eq!(User::parse(b""), None);
        // More after the sixth is ignored.
        assert!(User::parse(b"j\x001\x002\x00/h\x00\x00e\x00more\x00").is_some());
    }
}
