//! The child for one delivery: find the user, become him for good, run qmail-local.
//!
//! All this is done in a process of its own, so that neither a slow lookup nor a damaged table holds up other mail.

use std::fs::File;
use std::os::fd::OwnedFd;

use recipient::User;
use sys::ids::Ids;
use sys::signal::{self, Signal};
use sys::spawn::Spawn;

use crate::lookup::{self, Mode};
use crate::qlx;

const LOCAL: &str = "bin/qmail-local";
/// How long finding the user may take, seconds.
const LOOKUP_LIMIT: u32 = 600;

/// What the child needs to know.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) message: File,
    pub(crate) report: OwnedFd,
    pub(crate) sender: &'a [u8],
    /// the recipient up to its last `@`
    pub(crate) local: &'a [u8],
    /// and after it
    pub(crate) host: &'a [u8],
    /// instructions for an empty .qmail
    pub(crate) aliasempty: &'a [u8],
    pub(crate) mode: Mode<'a>,
}

impl Delivery<'_> {
    /// Runs in the child. Returns its exit code if it comes to nothing.
    pub(crate) fn run(&self) -> u8 {
        match self.become_user() {
            Ok(user) => self.exec(&user),
            Err(code) => code,
        }
    }

    fn become_user(&self) -> Result<User, u8> {
        // An overlong lookup ends the child: a crash, which defers.
        signal::default(Signal::SIGCHLD).map_err(|_| qlx::SYSTEM)?;
        signal::default(Signal::SIGALRM).map_err(|_| qlx::SYSTEM)?;
        signal::unblock(Signal::SIGALRM).map_err(|_| qlx::SYSTEM)?;
        signal::alarm(LOOKUP_LIMIT);
        let user = lookup::find(self.local, self.mode)?;
        signal::alarm(0);

        if user.uid == 0 {
            return Err(qlx::ROOT);
        }
        match self.mode {
            Mode::Owners(_) => {
                sys::ids::become_for_good(&Ids::new(user.uid, user.gid)).map_err(|_| qlx::USAGE)?;
            }
            Mode::Single if user.uid == sys::ids::euid() => {}
            Mode::Single => {
                self.say(&user);
                return Err(base::die::TEMPORARY);
            }
        }
        if sys::ids::uid() == 0 {
            return Err(qlx::ROOT);
        }
        Ok(user)
    }

    /// The report when there is only one user and it is another one's mail.
    fn say(&self, user: &User) {
        let name = base::bytes::printable(&user.name);
        let text = [
            b"Unable to become user ".as_slice(),
            &name,
            b": not started by root. (#4.3.5)\n",
        ];
        let _ = sys::fd::write_all(&self.report, &text.concat());
    }

    fn exec(&self, user: &User) -> u8 {
        let program = Spawn::new(LOCAL).args([
            b"--",
            user.name.as_slice(),
            &user.home,
            self.local,
            &user.dash,
            &user.ext,
            self.host,
            self.sender,
            self.aliasempty,
        ]);
        let error = queue::spawner::plumb(program, &self.message, &self.report).exec();
        if sys::is_temporary(&error) {
            qlx::EXEC_SOFT
        } else {
            qlx::EXEC_HARD
        }
    }
}
