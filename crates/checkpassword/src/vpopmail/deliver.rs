//! vdelivermail: the last line of a vpopmail domain's .qmail-default.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};

use base::die::{PERMANENT, TEMPORARY};
use base::{Bytes, Call, Die};
use recipient::User;
use sys::spawn::Spawn;

use super::{Accounts, Entry, Files, flag, home, is_name, message_file};
use crate::files;
use crate::quota::Quota;
use crate::store::{Stored, make_maildir, store, warn};

/// The largest text of a bounce, bytes.
const TEXT_LIMIT: u64 = 64 * 1024;
/// The longest header line that is looked at, bytes.
const LINE_LIMIT: usize = 64 * 1024;
/// A warning is due at this part of a quota, of a hundred.
const WARN_AT: u64 = 90;

/// The program: see vdelivermail(8).
pub fn vdelivermail(call: &Call) -> Result<(), Die> {
    vdelivermail_with(call, &Files)
}

/// The same with users that are kept elsewhere.
pub fn vdelivermail_with(call: &Call, accounts: &impl Accounts) -> Result<(), Die> {
    let [_, action] = call.args.as_slice() else {
        return Err(Die::fatal(TEMPORARY, "usage: vdelivermail '' action"));
    };
    let variable = |name: &str| {
        let missing = || Die::fatal(TEMPORARY, format!("{name} is not set"));
        base::env(name).ok_or_else(missing)
    };
    let user = variable("EXT")?.to_ascii_lowercase();
    let host = variable("HOST")?.to_ascii_lowercase();
    if !is_name(&user) || !is_name(&host) {
        return Err(bounce("invalid user or domain characters (#5.1.3)"));
    }
    let domain = std::env::current_dir().map_err(|e| Die::unable("find the domain", &e))?;
    let domain = domain.into_os_string().into_encoded_bytes();
    // Where vpopmail is may be said in qmail's control directory.
    control::home::enter().map_err(|e| Die::unable("enter home", &e))?;
    let vpopmail = home();
    let mut message = sys::fd::take(0)
        .map(File::from)
        .map_err(|e| Die::unable("read the message", &e))?;
    refuse_loop(&mut message)?;
    let context = Context {
        domain,
        vpopmail,
        user,
        host,
    };

    let place = context.place()?;
    let aliases = accounts.aliases(&context.vpopmail, &place, &context.user)?;
    if !aliases.is_empty() {
        let forward = Spawn::new("bin/forward").args(&aliases);
        return Err(become_with(forward, &mut message));
    }
    let told = accounts.find(&context.vpopmail, &place, &context.user)?;
    match told.entry {
        Some(entry) => context.to_account(&entry, &mut message),
        None => context.otherwise(action, &mut message),
    }
}

struct Context {
    domain: Bytes,
    vpopmail: Bytes,
    user: Bytes,
    host: Bytes,
}

fn bounce(text: &str) -> Die {
    Die::plain(PERMANENT, format!("{text}\n"))
}

/// A message that was here before goes no further.
fn refuse_loop(message: &mut File) -> Result<(), Die> {
    let unable = |e| Die::unable("read the message", &e);
    let Some(mine) = base::env("DTLINE").filter(|l| !l.is_empty()) else {
        return Ok(());
    };
    message.rewind().map_err(unable)?;
    let mut input = BufReader::new(message);
    let mut line = Bytes::new();
    while base::io::line(&mut input, b'\n', LINE_LIMIT, &mut line).map_err(unable)?
        == base::io::Line::Whole
    {
        if line == b"\n" {
            break;
        }
        if line == mine {
            return Err(bounce("mail is looping (#5.4.6)"));
        }
    }
    // A line beyond the limit, or the end: there is nothing more to look at.
    let _ = input.fill_buf();
    Ok(())
}

impl Context {
    /// The domain by its real name: mail may come by another.
    fn place(&self) -> Result<User, Die> {
        let found = super::domain(&self.host).map_err(|e| Die::unable("read users/cdb", &e))?;
        let name = found.map_or_else(|| self.host.clone(), |place| place.name);
        Ok(User {
            name,
            uid: sys::ids::uid(),
            gid: sys::ids::gid(),
            home: self.domain.clone(),
            dash: Bytes::new(),
            ext: Bytes::new(),
        })
    }

    /// A text for a bounce, from its file or as given.
    fn bounce(&self, file: &str, text: &str) -> Die {
        let path = message_file(&self.domain, &self.vpopmail, file);
        match path.and_then(|path| files::whole(&path, TEXT_LIMIT).ok()) {
            Some(text) => Die::plain(PERMANENT, text),
            None => bounce(text),
        }
    }

    fn to_account(&self, entry: &Entry, message: &mut File) -> Result<(), Die> {
        if entry.flags & flag::BOUNCE != 0 {
            return Err(bounce("account is locked email bounced (#5.2.1)"));
        }
        if !entry.dir.starts_with(b"/") {
            return Err(Die::fatal(TEMPORARY, "the user has no directory"));
        }
        let maildir = [entry.dir.as_slice(), b"/Maildir"].concat();
        if sys::dir::stat_path(&maildir).is_err() {
            make_maildir(&maildir)
                .map_err(|e| Die::unable([b"make ", maildir.as_slice()].concat(), &e))?;
        }
        let instructions = [entry.dir.as_slice(), b"/.qmail"].concat();
        if sys::dir::stat_path(&instructions).is_ok_and(|s| s.is_file() && s.size > 0) {
            return Err(self.by_instructions(&entry.dir, message));
        }
        let quota = Quota::parse(&entry.quota);
        let quota =
            quota.ok_or_else(|| Die::fatal(TEMPORARY, "unable to read the quota of the user"))?;
        self.put_into(&maildir, quota, message)
    }

    fn put_into(&self, maildir: &[u8], quota: Quota, message: &mut File) -> Result<(), Die> {
        match store(maildir, quota, message)? {
            Stored::OverQuota => Err(self.bounce(".over-quota.msg", "user is over quota (#5.2.2)")),
            Stored::Delivered { percent } => {
                let text = message_file(&self.domain, &self.vpopmail, ".quotawarn.msg");
                if let Some(text) = text.filter(|_| percent >= WARN_AT) {
                    warn(maildir, &text);
                }
                Ok(())
            }
        }
    }

    /// Becomes qmail-local for the .qmail file in the user's directory.
    fn by_instructions(&self, dir: &[u8], message: &mut File) -> Die {
        let variable = |name| base::env(name).unwrap_or_default();
        // It goes back to the start itself; the descriptor was ours.
        let local = Spawn::new("bin/qmail-local")
            .arg("--")
            .args([
                &self.user,
                &Bytes::from(dir),
                &variable("LOCAL"),
                &Bytes::new(),
                &Bytes::new(),
            ])
            .args([&self.host, &variable("SENDER"), &b"./Maildir/".to_vec()]);
        become_with(local, message)
    }

    /// Nobody has the name.
    fn otherwise(&self, action: &[u8], message: &mut File) -> Result<(), Die> {
        match action {
            b"delete" => Ok(()),
            b"bounce-no-mailbox" => Err(self.bounce(
                ".no-user.msg",
                "Sorry, no mailbox here by that name. (#5.1.1)",
            )),
            path if path.starts_with(b"/") => {
                let maildir = [path.strip_suffix(b"/").unwrap_or(path), b"/Maildir"].concat();
                self.put_into(&maildir, Quota::default(), message)
            }
            address if address.contains(&b'@') => {
                let address = address.strip_prefix(b"&").unwrap_or(address);
                Err(become_with(Spawn::new("bin/forward").arg(address), message))
            }
            _ => Err(Die::fatal(
                TEMPORARY,
                "the action is neither address nor path nor word",
            )),
        }
    }
}

/// Runs a program with the message on descriptor 0, and ends as it does.
fn become_with(spawn: Spawn<'_>, message: &mut File) -> Die {
    use std::os::fd::AsFd;
    if let Err(e) = message.rewind() {
        return Die::unable("rewind the message", &e);
    }
    let error = spawn.fd(0, message.as_fd()).exec();
    Die::unable("run a program of qmail", &error)
}
