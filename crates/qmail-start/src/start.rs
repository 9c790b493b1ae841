//! qmail-start(8): pipes between four daemons, and a user for each.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use base::{Bytes, Call, Die};
use control::Owners;
use sys::ids::Ids;
use sys::spawn::Spawn;

/// Instructions for an empty .qmail when none are given.
const DEFAULT_DELIVERY: &[u8] = b"./Mailbox";
const SINGLE: &str = "qmail-start: warning: not started by root: \
                      everything runs as one user, and only his mail and that of the aliases is delivered\n";

/// The program. Becomes qmail-send at the end.
pub fn start(call: &Call) -> Result<(), Die> {
    let (default_delivery, logger) = match call.args.split_first() {
        Some((first, rest)) => (first.as_slice(), rest),
        None => (DEFAULT_DELIVERY, [].as_slice()),
    };

    sys::process::umask(0o077);
    control::home::enter().map_err(|e| Die::unable("switch to the home of qmail", &e))?;
    let root = sys::ids::euid() == 0;
    let owners = Owners::of_this_run().map_err(|e| Die::unable("find the users of qmail", &e))?;
    if root {
        sys::ids::set_group(owners.qmail).map_err(|e| Die::unable("set group", &e))?;
    }

    let ids = |ids: Ids| root.then_some(ids);
    let log = Log::open(logger, ids(owners.in_nofiles(owners.qmaill)))?;
    if !root {
        // The log may be gone already; then so will qmail-send be.
        let _ = sys::fd::write_all(&log.fd(), SINGLE.as_bytes());
    }
    let local = Daemon::start("qmail-lspawn", &[default_delivery], None, &log)?;
    let remote = Daemon::start("qmail-rspawn", &[], ids(remote_ids(&owners)?), &log)?;
    let clean = Daemon::start(
        "qmail-clean",
        &[],
        ids(owners.in_qmail(owners.qmailq)),
        &log,
    )?;

    let mut send = program("qmail-send")
        .fd(0, log.fd())
        .fd(1, local.to.as_fd())
        .fd(2, local.from.as_fd())
        .fd(3, remote.to.as_fd())
        .fd(4, remote.from.as_fd())
        .fd(5, clean.to.as_fd())
        .fd(6, clean.from.as_fd());
    if let Some(ids) = ids(owners.in_qmail(owners.qmails)) {
        send = send.ids(ids);
    }
    // What is left of us if that fails has the daemon's descriptors already.
    let stderr = stderr_above(6);
    let die = Die::unable("run bin/qmail-send", &send.exec());
    if let Some(stderr) = stderr {
        let _ = sys::fd::write_all(&stderr, &die.line("qmail-start"));
    }
    Err(Die::silent(die.code))
}

/// A copy of our descriptor 2 with a number above `limit`.
fn stderr_above(limit: RawFd) -> Option<OwnedFd> {
    let stderr = sys::fd::inherited(2).ok()?;
    let mut taken = Vec::new();
    for _ in 0..=limit {
        let copy = stderr.try_clone_to_owned().ok()?;
        if copy.as_raw_fd() > limit {
            return Some(copy);
        }
        taken.push(copy);
    }
    None
}

/// A program of ours: the one below home, never one that PATH happens to find.
fn program(name: &str) -> Spawn<'static> {
    Spawn::new(format!("bin/{name}")).arg0(name)
}

/// qmailr keeps the further groups of /etc/group: its certificates may belong to one.
fn remote_ids(owners: &Owners) -> Result<Ids, Die> {
    let [.., qmailr, _] = control::owners::user_names();
    let more = sys::users::local_groups_of(qmailr.as_bytes())
        .map_err(|e| Die::unable("find the groups of qmailr", &e))?;
    let mut ids = owners.in_qmail(owners.qmailr);
    ids.groups
        .extend(more.into_iter().filter(|&g| g != owners.qmail));
    Ok(ids)
}

/// Descriptors from our own caller that are none of the child's business. qmail-send, which takes our place, keeps
/// them: one may hold a lock for as long as mail is delivered.
fn without_the_rest(spawn: Spawn<'_>) -> Spawn<'_> {
    (3..64)
        .filter(|&number| sys::fd::was_open(number))
        .fold(spawn, Spawn::without_fd)
}

/// Where qmail-send writes its log.
enum Log {
    /// our own descriptor 1
    Inherited(BorrowedFd<'static>),
    /// the pipe to the logger
    Pipe(OwnedFd),
}

impl Log {
    /// Starts the logger, if there is one: looked up in PATH, in the root directory, its output on our descriptor 1.
    fn open(words: &[Bytes], ids: Option<Ids>) -> Result<Log, Die> {
        let Some((name, args)) = words.split_first() else {
            let fd = sys::fd::inherited(1).map_err(|e| Die::unable("use descriptor 1", &e))?;
            return Ok(Log::Inherited(fd));
        };
        let (reader, writer) = sys::fd::pipe().map_err(|e| Die::unable("create pipe", &e))?;
        let mut logger =
            without_the_rest(Spawn::new(name).args(args).dir("/")).fd(0, reader.as_fd());
        if let Some(ids) = ids {
            logger = logger.ids(ids);
        }
        logger
            .spawn()
            .map_err(|e| Die::unable([b"run ", name.as_slice()].concat(), &e))?;
        Ok(Log::Pipe(writer))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Log::Inherited(fd) => *fd,
            Log::Pipe(fd) => fd.as_fd(),
        }
    }
}

/// A daemon at the other ends of two pipes.
struct Daemon {
    to: OwnedFd,
    from: OwnedFd,
}

impl Daemon {
    /// Starts `name` with its commands on 0, its answers on 1 and the log on 2.
    fn start(name: &str, args: &[&[u8]], ids: Option<Ids>, log: &Log) -> Result<Daemon, Die> {
        let pipe = || sys::fd::pipe().map_err(|e| Die::unable("create pipe", &e));
        let (reader, to) = pipe()?;
        let (from, writer) = pipe()?;
        let mut daemon = without_the_rest(program(name).args(args))
            .fd(0, reader.as_fd())
            .fd(1, writer.as_fd())
            .fd(2, log.fd());
        if let Some(ids) = ids {
            daemon = daemon.ids(ids);
        }
        daemon
            .spawn()
            .map_err(|e| Die::unable(format!("run bin/{name}"), &e))?;
        Ok(Daemon { to, from })
    }
}
