//! cmd5apoppw: mail passwords that users keep themselves, one for each address, beside the .qmail file that controls it:
//! .apop for .qmail, .apop-ext for .qmail-ext.
//!
//! Source  docs/compat/checkpassword.md; apoppasswd(1)

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use auth::accept::{Backend, Entry, Identity, check};
use auth::scheme::Bare;
use base::bytes::trim_end;
use base::{Bytes, Call, Die};
use recipient::{User, dot};
use sys::ids::Ids;
use sys::process::End;
use sys::spawn::Spawn;

use crate::{files, place};

/// The largest password file, bytes.
const LIMIT: u64 = 4096;
/// Readable or writable by others than the owner.
const OTHERS: u32 = 0o077;
/// The decoder of files in the old form.
const DECODER: &[u8] = b"/usr/local/sbin/deapop";
/// How long the decoder, or a look at a file, may take.
const WAIT: Duration = Duration::from_secs(10);
/// How a file in our own form begins.
const OWN: &[u8] = b"{";

struct Apop;

/// The password file of an address, relative to the home.
pub(crate) fn file_name(dash: &[u8], ext: &[u8]) -> Bytes {
    [b".apop", dash, &dot::file_ext(ext)].concat()
}

impl Backend for Apop {
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        let Some(user) = place::find(name)? else {
            return Ok(None);
        };
        Ok(Some(Entry {
            secrets: secrets(&user)?,
            bare: Bare::Plain,
            identity: identity(&user),
        }))
    }
}

fn identity(user: &User) -> Identity {
    let account = sys::users::any(&user.name).ok().flatten();
    let shell = account.map_or(b"/bin/sh".to_vec(), |a| a.shell);
    Identity {
        user: user.name.clone(),
        home: user.home.clone(),
        shell,
        ids: Some(place::ids(user)),
        environment: vec![
            (b"EXT".to_vec(), user.ext.clone()),
            (b"DASH".to_vec(), user.dash.clone()),
        ],
    }
}

/// The stored passwords of an address: lines in our form, or what the decoder makes of the file.
fn secrets(user: &User) -> Result<Vec<Bytes>, Die> {
    let name = file_name(&user.dash, &user.ext);
    let path = [user.home.as_slice(), b"/", &name].concat();
    let unable = |what: &[u8], e| Die::unable([what, &path].concat(), &e);
    let uid = user.uid;
    let text = as_user(&place::ids(user), || read(&path, uid));
    let text = match text.map_err(|e| unable(b"read ", e))? {
        Reading::Text(text) => text,
        Reading::Nothing => return Ok(Vec::new()),
        Reading::Unsafe => {
            let why = [
                &path,
                b" is not a file of its owner alone: ignored".as_slice(),
            ];
            base::warn("cmd5apoppw", why.concat());
            return Ok(Vec::new());
        }
    };
    if text.starts_with(OWN) {
        let lines = text.split(|&b| b == b'\n').map(trim_end);
        let lines = lines.filter(|l| !l.is_empty());
        return Ok(lines.map(<[u8]>::to_vec).collect());
    }
    let secret = decode(&text).map_err(|e| unable(b"decode ", e))?;
    Ok(secret.into_iter().collect())
}

/// What became of looking at a file.
enum Reading {
    Text(Bytes),
    Nothing,
    Unsafe,
}

fn read(path: &[u8], owner: u32) -> io::Result<Reading> {
    let file = match sys::dir::open_read_no_link(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Reading::Nothing),
        Err(e) if sys::is_temporary(&e) => return Err(e),
        // A symbolic link, or a way that its owner closed to himself.
        Err(_) => return Ok(Reading::Unsafe),
    };
    let stat = sys::dir::stat_fd(&file)?;
    if !stat.is_file() || stat.uid != owner || stat.mode & OTHERS != 0 {
        return Ok(Reading::Unsafe);
    }
    files::content(file, LIMIT).map(Reading::Text)
}

/// Runs `look` with the rights of the user, in a process of its own: we still need ours for the decoder.
fn as_user(ids: &Ids, look: impl FnOnce() -> io::Result<Reading>) -> io::Result<Reading> {
    const TEXT: u8 = 0;
    const NOTHING: u8 = 1;
    const UNSAFE: u8 = 2;
    const TROUBLE: u8 = 3;
    let me = sys::ids::euid();
    if me == ids.uid {
        return look();
    }
    let (reader, writer) = sys::fd::pipe()?;
    let pid = sys::process::fork(|| {
        if sys::ids::become_for_good(ids).is_err() {
            return TROUBLE;
        }
        match look() {
            // It fits into the pipe.
            Ok(Reading::Text(text)) if sys::fd::write_all(&writer, &text).is_ok() => TEXT,
            Ok(Reading::Nothing) => NOTHING,
            Ok(Reading::Unsafe) => UNSAFE,
            _ => TROUBLE,
        }
    })?;
    drop(writer);
    let mut text = Bytes::new();
    let mut reader = base::io::Timed::new(reader, WAIT);
    let read = Read::by_ref(&mut reader).take(LIMIT).read_to_end(&mut text);
    let end = ended(pid)?;
    read?;
    match end {
        End::Exit(TEXT) => Ok(Reading::Text(text)),
        End::Exit(NOTHING) => Ok(Reading::Nothing),
        End::Exit(UNSAFE) => Ok(Reading::Unsafe),
        _ => Err(io::Error::other("it failed under the rights of its owner")),
    }
}

/// Waits for a child, and ends it if it takes too long.
fn ended(pid: u32) -> io::Result<End> {
    match sys::process::wait_within(pid, WAIT)? {
        Some(end) => Ok(end),
        None => {
            let _ = sys::signal::send(pid, sys::signal::Signal::SIGKILL);
            sys::process::wait_for(pid)
        }
    }
}

/// What the decoder of old files says of `text`: its first line. `None` if there is no decoder. It gets the file on
/// descriptor 0, and runs as we do: it may be readable by root only.
fn decode(text: &[u8]) -> io::Result<Option<Bytes>> {
    let program = control::line("deapop")?.unwrap_or_else(|| DECODER.to_vec());
    let (input, to_it) = sys::fd::pipe()?;
    let (from_it, output) = sys::fd::pipe()?;
    sys::fd::write_all(&to_it, text)?;
    drop(to_it);
    let started = Spawn::new(&program)
        .env(vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())])
        .fd(0, input.as_fd())
        .fd(1, output.as_fd())
        .without_fd(3)
        .spawn();
    let pid = match started {
        Ok(pid) => pid,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    drop(output);
    let mut answer = Bytes::new();
    let mut from_it = base::io::Timed::new(from_it, WAIT);
    let read = Read::by_ref(&mut from_it)
        .take(LIMIT)
        .read_to_end(&mut answer);
    let end = ended(pid)?;
    read?;
    if !end.is_success() {
        return Err(io::Error::other("the decoder failed"));
    }
    let line = answer.split(|&b| b == b'\n').next().unwrap_or_default();
    Ok(Some(line.to_vec()).filter(|l| !l.is_empty()))
}

/// The program: see cmd5apoppw(8).
pub fn cmd5apoppw(call: &Call) -> Result<(), Die> {
    check(call, &Apop)
}
