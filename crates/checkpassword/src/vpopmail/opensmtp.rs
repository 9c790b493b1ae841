//! POP-before-SMTP: who has fetched mail may send for a while from the same address.
//!
//! etc/open-smtp has a line `IP:allow,RELAYCLIENT="",RBLSMTPD=""<TAB>TIME` for each address; etc/tcp.smtp.cdb is made of
//! etc/tcp.smtp and those lines. The file must be there already: who wants this makes it, empty. AUTH is better.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use base::bytes::{number, rsplit_once, split_once};
use base::{Bytes, Call, Die};
use sys::Dir;
use sys::spawn::Spawn;

use super::{home, or_nothing};
use crate::files;

const FILE: &[u8] = b"open-smtp";
const LOCK: &[u8] = b"open-smtp.lock";
const RULES: &[u8] = b"tcp.smtp";
/// The largest files, bytes.
const LIMIT: u64 = 16 << 20;
/// How long an address counts, seconds.
const LIFE: u64 = 180 * 60;
/// How long to wait for the lock, and between two looks.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_STEP: Duration = Duration::from_millis(20);
/// How long tcprules may take.
const RULES_WAIT: Duration = Duration::from_mins(1);

/// The lines of the file under the lock.
struct Open {
    dir: Dir,
    _lock: std::fs::File,
    lines: Vec<Bytes>,
}

impl Open {
    /// `Ok(None)`: this host does not do it.
    fn at(etc: &[u8]) -> io::Result<Option<Open>> {
        let dir = match Dir::open(sys::dir::path(etc)) {
            Ok(dir) if dir.stat(FILE).is_ok() => dir,
            Ok(_) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let lock = dir.open_append(LOCK, 0o600)?;
        let end = Instant::now() + LOCK_WAIT;
        while !sys::lock::try_exclusive(&lock)? {
            if Instant::now() > end {
                return Err(ErrorKind::TimedOut.into());
            }
            std::thread::sleep(LOCK_STEP);
        }
        let text = files::content(dir.open_read(FILE)?, LIMIT)?;
        let lines = text.split(|&b| b == b'\n').filter(|l| !l.is_empty());
        Ok(Some(Open {
            lines: lines.map(<[u8]>::to_vec).collect(),
            dir,
            _lock: lock,
        }))
    }

    fn write(&self) -> io::Result<()> {
        let text: Bytes = self
            .lines
            .iter()
            .flat_map(|l| [l.as_slice(), b"\n"].concat())
            .collect();
        files::replace(&self.dir, FILE, &text, 0o644)
    }

    /// Makes etc/tcp.smtp.cdb of both files. `program` is tcprules, named from the root.
    fn compile(&self, etc: &[u8], program: &[u8]) -> io::Result<()> {
        let rules = match self.dir.open_read(RULES) {
            Ok(file) => files::content(file, LIMIT)?,
            Err(e) => or_nothing(Err(e))?,
        };
        // The addresses first: in a table of rules the first line of a key counts.
        let open = self.lines.iter().filter_map(|l| split_once(l, b'\t'));
        let open = open.flat_map(|(rule, _)| [rule, b"\n"].concat());
        let mut text: Bytes = open.collect();
        text.extend_from_slice(&rules);
        files::replace(&self.dir, b"tcp.smtp.all", &text, 0o600)?;
        let input = self.dir.open_read(b"tcp.smtp.all")?;
        let pid = Spawn::new(program)
            .arg("tcp.smtp.cdb")
            .arg("tcp.smtp.cdb.tmp")
            .dir(etc)
            .fd(0, input.as_fd())
            .without_fd(3)
            .spawn()?;
        match sys::process::wait_within(pid, RULES_WAIT)? {
            Some(end) if end.is_success() => self.dir.unlink(b"tcp.smtp.all"),
            Some(_) => Err(io::Error::other("tcprules failed")),
            None => {
                let _ = sys::signal::send(pid, sys::signal::Signal::SIGKILL);
                let _ = sys::process::wait_for(pid);
                Err(ErrorKind::TimedOut.into())
            }
        }
    }
}

/// tcprules, named from the root. Works in the home of qmail.
pub(crate) fn tcprules() -> Bytes {
    control::home::below("bin/tcprules")
}

/// Notes that somebody at `address` has fetched mail.
///
/// # Errors
/// It could not be noted.
pub(crate) fn note(home: &[u8], address: IpAddr, tcprules: &[u8]) -> io::Result<()> {
    let etc = [home, b"/etc"].concat();
    let Some(mut open) = Open::at(&etc)? else {
        return Ok(());
    };
    let text = sys::socket::unmapped(address).to_string().into_bytes();
    let now = base::tai::unix_now();
    let rule = [text.as_slice(), b":allow,RELAYCLIENT=\"\",RBLSMTPD=\"\""].concat();
    let line = [rule.as_slice(), format!("\t{now}").as_bytes()].concat();
    let start = [text.as_slice(), b":allow"].concat();
    let known = open.lines.iter_mut().find(|l| l.starts_with(&start));
    let is_new = known.is_none();
    match known {
        Some(old) => *old = line,
        None => open.lines.push(line),
    }
    open.write()?;
    if is_new {
        open.compile(&etc, tcprules)?;
    }
    Ok(())
}

/// clearopensmtp: forgets addresses that are older than three hours.
pub fn clearopensmtp(call: &Call) -> Result<(), Die> {
    let life = match call.args.as_slice() {
        [] => LIFE,
        [minutes] => {
            let minutes = number(minutes).and_then(|m| m.checked_mul(60));
            minutes.ok_or_else(|| Die::usage("clearopensmtp [ minutes ]"))?
        }
        _ => return Err(Die::usage("clearopensmtp [ minutes ]")),
    };
    control::home::enter().map_err(|e| Die::unable("enter home", &e))?;
    let etc = [home().as_slice(), b"/etc"].concat();
    let unable = |e| Die::unable([b"clear ", etc.as_slice(), b"/open-smtp"].concat(), &e);
    let Some(mut open) = Open::at(&etc).map_err(unable)? else {
        return Ok(());
    };
    let now = u64::try_from(base::tai::unix_now()).unwrap_or(0);
    open.lines.retain(|line| {
        let time = rsplit_once(line, b'\t').and_then(|(_, t)| number(t));
        time.is_some_and(|t| now.saturating_sub(t) < life)
    });
    open.write().map_err(unable)?;
    open.compile(&etc, &tcprules()).map_err(unable)
}
