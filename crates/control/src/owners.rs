//! The suite's own users and groups, looked up by name when a program starts.

use std::io::{self, ErrorKind};

use sys::ids::Ids;

const CONF_USERS: &str = include_str!("../../../conf-users");
const CONF_GROUPS: &str = include_str!("../../../conf-groups");

/// The n-th line of a conf file.
fn nth(text: &'static str, n: usize) -> &'static str {
    text.lines().nth(n).unwrap_or_default()
}

/// The names of conf-users, in its order: alias, qmaild, qmaill, root, qmailp, qmailq, qmailr, qmails.
pub fn user_names() -> [&'static str; 8] {
    std::array::from_fn(|n| nth(CONF_USERS, n))
}

/// The names of conf-groups: qmail, nofiles.
pub fn group_names() -> [&'static str; 2] {
    std::array::from_fn(|n| nth(CONF_GROUPS, n))
}

/// Numeric ids of the suite's users and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    /// owner of ~alias
    pub alias: u32,
    /// runs the network servers
    pub qmaild: u32,
    /// runs the loggers
    pub qmaill: u32,
    /// owns the programs
    pub root: u32,
    /// looks users up
    pub qmailp: u32,
    /// owns the queue
    pub qmailq: u32,
    /// talks to other hosts
    pub qmailr: u32,
    /// schedules
    pub qmails: u32,
    /// the group of the programs
    pub qmail: u32,
    /// a group without files
    pub nofiles: u32,
}

impl Owners {
    /// Looks all of them up in /etc/passwd and /etc/group: no name service, so a privileged program may call it.
    ///
    /// # Errors
    /// The files could not be read, or a name is missing (`NotFound`, with the name).
    pub fn find() -> io::Result<Owners> {
        let user = |n: usize| {
            let name = nth(CONF_USERS, n);
            let account = sys::users::local(name.as_bytes())?;
            account
                .map(|a| a.uid)
                .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no user {name}")))
        };
        let group = |n: usize| {
            let name = nth(CONF_GROUPS, n);
            let gid = sys::users::local_group(name.as_bytes())?;
            gid.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("no group {name}")))
        };
        Ok(Owners {
            alias: user(0)?,
            qmaild: user(1)?,
            qmaill: user(2)?,
            root: user(3)?,
            qmailp: user(4)?,
            qmailq: user(5)?,
            qmailr: user(6)?,
            qmails: user(7)?,
            qmail: group(0)?,
            nofiles: group(1)?,
        })
    }

    /// Everybody is the caller: single-uid mode, for a post office without root.
    pub fn single() -> Owners {
        let (uid, gid) = (sys::ids::euid(), sys::ids::gid());
        Owners {
            alias: uid,
            qmaild: uid,
            qmaill: uid,
            root: uid,
            qmailp: uid,
            qmailq: uid,
            qmailr: uid,
            qmails: uid,
            qmail: gid,
            nofiles: gid,
        }
    }

    /// The owners of this run: looked up when root, the caller in single-uid mode.
    ///
    /// # Errors
    /// As `find`, when root.
    pub fn of_this_run() -> io::Result<Owners> {
        if sys::ids::euid() == 0 {
            Owners::find()
        } else {
            Ok(Owners::single())
        }
    }

    /// `uid` with group qmail only: what the daemons become.
    pub fn in_qmail(&self, uid: u32) -> Ids {
        Ids::new(uid, self.qmail)
    }

    /// `uid` with group nofiles only.
    pub fn in_nofiles(&self, uid: u32) -> Ids {
        Ids::new(uid, self.nofiles)
    }
}
