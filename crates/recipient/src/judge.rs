//! The check at the door: would this address be delivered here?
//!
//! Runs as the user of the SMTP server, without privilege, and only looks: names of files, never their content, so a
//! FIFO cannot hold it. It walks the way of a delivery (rewriting, users/cdb, accounts, .qmail names) with the same
//! functions. What it may not see, it does not guess.
//!
//! Waits   for the account service and the file systems of the homes, as a delivery does; no limit of its own.

use std::io::{self, ErrorKind};

use base::Bytes;
use base::bytes::rsplit_once;

use crate::users::Users;
use crate::{Rewrite, Route, User, dot, passwd, single};

/// What the judge says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// somebody here gets it, or his own instructions fail
    Deliverable,
    /// nobody here has that name: a delivery would bounce
    Unknown,
    /// the home of the user cannot be searched from here, or he is editing his files: accept, and let the delivery
    /// find out
    CannotTell,
    /// not an address of this machine
    Remote,
    /// a delivery would fail for now: try again later
    Trouble,
}

/// A home in this state defers every delivery: writable by others, or sticky because its owner is editing.
const HELD_BACK: u32 = 0o1002;

/// Everything that is read once.
#[derive(Debug)]
pub struct Judge {
    rewrite: Rewrite,
    users: Option<Users>,
    single: bool,
}

impl Judge {
    /// Reads the control files and opens users/cdb.
    ///
    /// # Errors
    /// As `Rewrite::load` and `Users::open`: temporary to the client.
    pub fn load() -> io::Result<Judge> {
        Ok(Judge {
            rewrite: Rewrite::load()?,
            users: Users::open()?,
            single: single::is_ours(),
        })
    }

    /// The rules of rewriting, for those who need them too.
    pub fn rewrite(&self) -> &Rewrite {
        &self.rewrite
    }

    /// Judges `address`, as it stands in the envelope.
    pub fn verdict(&self, address: &[u8]) -> Verdict {
        match self.rewrite.route(address) {
            Route::Remote(_) => Verdict::Remote,
            Route::Local(address) => self.local(&address),
        }
    }

    /// Judges an address that is local already.
    fn local(&self, address: &[u8]) -> Verdict {
        let Some((local, _)) = rsplit_once(address, b'@') else {
            return Verdict::Unknown;
        };
        // The spawner takes mail for nobody and is content.
        if local.is_empty() {
            return Verdict::Deliverable;
        }
        if address.contains(&0) {
            return Verdict::Unknown;
        }
        match self.user(local) {
            Ok(user) if self.can_become(&user) => files(&user),
            _ => Verdict::Trouble,
        }
    }

    /// The user who has a local name, with the extension that is his: as qmail-lspawn looks, in users/cdb, then as
    /// qmail-getpw does.
    ///
    /// # Errors
    /// Nobody can tell for now, or nobody has the name and there is no user for aliases either.
    pub fn user(&self, local: &[u8]) -> Result<User, passwd::Trouble> {
        if let Some(users) = &self.users {
            let found = users.find(local).map_err(|_| passwd::Trouble::Service)?;
            if let Some(user) = found {
                return Ok(user);
            }
        }
        let found = passwd::find(local);
        if self.single {
            single::adapt(found, local)
        } else {
            found
        }
    }

    fn can_become(&self, user: &User) -> bool {
        user.uid != 0 && (!self.single || user.uid == sys::ids::euid())
    }
}

/// The part of qmail-local: is there a file for this name in the user's home?
fn files(user: &User) -> Verdict {
    match sys::dir::stat_path(&user.home) {
        Ok(stat) if !stat.is_dir() || !user.home.starts_with(b"/") => return Verdict::Trouble,
        Ok(stat) if stat.mode & HELD_BACK != 0 => return Verdict::CannotTell,
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::PermissionDenied => return Verdict::CannotTell,
        Err(_) => return Verdict::Trouble,
    }
    // Without an extension there is the default delivery.
    if user.dash.is_empty() {
        return Verdict::Deliverable;
    }
    for candidate in dot::candidates(&user.dash, &user.ext) {
        let path: Bytes = [user.home.as_slice(), b"/", &candidate.name].concat();
        match sys::dir::stat_path(&path) {
            Ok(stat) if stat.is_file() => return Verdict::Deliverable,
            Err(e) if e.kind() == ErrorKind::PermissionDenied => return Verdict::CannotTell,
            Err(e) if sys::is_temporary(&e) => return Verdict::Trouble,
            // Not there, or not a regular file: the next.
            _ => {}
        }
    }
    Verdict::Unknown
}
