//! Who is the recipient: users/cdb, else what bin/qmail-getpw answers.
//!
//! Source  qmail-users(5), qmail-getpw(8)

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use control::Owners;
use recipient::User;
use recipient::passwd::Trouble;
use recipient::users::Users;
use sys::process::End;
use sys::spawn::Spawn;

use crate::qlx;

const GETPW: &str = "bin/qmail-getpw";
/// The longest answer of qmail-getpw, bytes.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// Whose mail a delivery is, and as whom the lookup may run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode<'a> {
    /// as root: every user is himself
    Owners(&'a Owners),
    /// all is the caller's
    Single,
}

/// The user of `local`.
///
/// # Errors
/// The exit code that says why there is none.
pub(crate) fn find(local: &[u8], mode: Mode<'_>) -> Result<User, u8> {
    let users = Users::open().map_err(|_| qlx::CDB)?;
    if let Some(users) = users
        && let Some(user) = users.find(local).map_err(|_| qlx::CDB)?
    {
        return Ok(user);
    }
    let found = ask(local, mode)?;
    let found = match mode {
        Mode::Owners(_) => found,
        Mode::Single => recipient::single::adapt(found, local),
    };
    found.map_err(Trouble::code)
}

/// Runs qmail-getpw. A missing user for aliases is an answer, too: single-uid mode knows one.
fn ask(local: &[u8], mode: Mode<'_>) -> Result<Result<User, Trouble>, u8> {
    let (reader, writer) = sys::fd::pipe().map_err(|_| qlx::SYSTEM)?;
    let null = null().map_err(|_| qlx::SYSTEM)?;
    let mut getpw = Spawn::new(GETPW)
        .arg(local)
        .fd(0, null.as_fd())
        .fd(1, writer.as_fd())
        .fd(2, null.as_fd());
    if let Mode::Owners(owners) = mode {
        getpw = getpw.ids(owners.in_nofiles(owners.qmailp));
    }
    let pid = getpw.spawn().map_err(|_| qlx::EXEC_GETPW)?;
    drop(getpw);
    drop(writer);

    let mut answer = Vec::new();
    File::from(reader)
        .take(ANSWER_LIMIT)
        .read_to_end(&mut answer)
        .map_err(|_| qlx::SYSTEM)?;
    match sys::process::wait_for(pid) {
        Ok(End::Exit(0)) => User::parse(&answer).map(Ok).ok_or(qlx::USAGE),
        Ok(End::Exit(qlx::NO_ALIAS)) => Ok(Err(Trouble::NoAlias)),
        Ok(End::Exit(code)) => Err(code),
        Ok(End::Signal(_)) | Err(_) => Err(qlx::SYSTEM),
    }
}

fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
