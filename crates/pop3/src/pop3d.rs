//! qmail-pop3d: from the arguments to one session on descriptors 0 and 1.

use std::io::ErrorKind;

use base::{Bytes, Call, Die};
use sys::sandbox::{Access, Promises};
use sys::signal::Signal;

use crate::client::{Client, Stdio};
use crate::folder::{Folder, clean_tmp};
use crate::resolve;
use crate::session::session;
use crate::uidl::{Style, Trouble};

/// Bytes of commands that are read at once.
const BLOCK: usize = 1024;
/// The maildir of who has no other.
const DEFAULT: &[u8] = b"Maildir";

const NO_MAILDIR: &str = "this user has no $HOME/Maildir";
const NO_SCAN: &str = "unable to scan $HOME/Maildir";
const NO_DOTQMAIL: &str = "[SYS/TEMP] unable to read .qmail";

const NO_STYLE: &str = "[SYS/TEMP] unable to understand POP3UIDL";
const BUSY: &str = "[IN-USE] another program numbers the messages";
const BROKEN: &str = "[SYS/TEMP] unable to understand the list of unique names";
const FAILED: &str = "[SYS/TEMP] unable to use the list of unique names";

/// Gives out a maildir over POP3. See qmail-pop3d(8).
///
/// # Errors
/// Only for root. Whatever becomes of a session, the exit code is 0, as in the original.
pub fn qmail_pop3d(call: &Call) -> Result<(), Die> {
    if sys::ids::uid() == 0 {
        return Err(Die::plain(1, "qmail-pop3d invoked as uid 0, terminating\n"));
    }
    let _ = sys::signal::ignore(Signal::SIGPIPE);
    let mut client = Client::new(Stdio::open(), BLOCK);

    let opened = world(call);

    match opened {
        Ok(mut folder) => session(&mut client, &mut folder),
        Err(text) => {
            let _ = client.err(text).and_then(|()| client.flush());
        }
    }
    Ok(())
}

/// Enters the maildir, gives up every right on others, and reads it.
fn world(call: &Call) -> Result<Folder, &'static str> {
    let style = base::env("POP3UIDL").unwrap_or_default();
    let style = Style::parse(&style).ok_or(NO_STYLE)?;
    let maildir = choose(call.args.first())?;
    std::env::set_current_dir(sys::dir::path(&maildir)).map_err(|_| NO_MAILDIR)?;

    pop3d_promises(b".").enforce();

    let now = base::tai::unix_now();
    clean_tmp(now);
    let mut folder = Folder::open(now).map_err(|_| NO_SCAN)?;
    style.name(&mut folder, now).map_err(|e| match e {
        Trouble::Busy => BUSY,
        Trouble::Broken => BROKEN,
        Trouble::Failed => FAILED,
    })?;
    Ok(folder)
}

/// The maildir: the argument, unless there is none or POP3DOTQMAIL is set; then the one that .qmail names.
fn choose(argument: Option<&Bytes>) -> Result<Bytes, &'static str> {
    let default = argument.map_or(DEFAULT, Vec::as_slice);
    if argument.is_some() && base::env("POP3DOTQMAIL").is_none() {
        return Ok(default.to_vec());
    }
    let ext = base::env("EXT").unwrap_or_default();
    let dash = base::env("DASH").unwrap_or_else(|| {
        let dash: &[u8] = if ext.is_empty() { b"" } else { b"-" };
        dash.to_vec()
    });
    resolve::maildir(&dash, &ext, default).map_err(|e| match e.kind() {
        ErrorKind::NotFound => NO_MAILDIR,
        _ => NO_DOTQMAIL,
    })
}

/// What qmail-pop3d promises before it reads the maildir and hears the first command. The parts of a maildir may be
/// symbolic links.
pub fn pop3d_promises(maildir: &[u8]) -> Promises {
    [&b""[..], b"/new", b"/cur", b"/tmp"]
        .into_iter()
        .fold(Promises::new(), |all, part| {
            all.path([maildir, part].concat(), Access::Make)
        })
}
