//! The process aside.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use base::{Bytes, Die};
use sys::ids::Ids;
use sys::limit::{self, Resource};
use sys::signal::Signal;

use crate::frame::{LIMIT, Row, decode, encode};

/// Memory of the process aside, bytes: a server that sends without end fills no machine with it.
const MEMORY: u64 = 256 << 20;

/// What a server knows; `None`: there is no such name, or the password was wrong.
pub type Answer = Option<Row>;

/// Why nobody can tell now: a sentence for the log. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(pub Bytes);

impl Trouble {
    /// `unable to WHAT: WHY`
    pub fn unable(what: impl AsRef<[u8]>, why: impl std::fmt::Display) -> Trouble {
        let why = why.to_string();
        // One line, and not the whole story of a library.
        let why: String = why.chars().take(300).collect();
        Trouble([b"unable to ", what.as_ref(), b": ", why.as_bytes()].concat())
    }
}

/// Lets `job` run in a copy of this process, as `ids` if this one may become another user, and brings its answer.
///
/// The copy has neither the client's connection nor our environment.
///
/// Waits   at most `limit`; then the copy is killed.
///
/// # Errors
/// Temporary, exit 111: the job says so, took too long, crashed, or said something else.
pub fn ask(
    limit: Duration,
    ids: Option<&Ids>,
    job: impl FnOnce() -> Result<Answer, Trouble>,
) -> Result<Answer, Die> {
    let unable = |what: &str, e: &io::Error| Die::unable(what, e);
    let (reading, writing) = sys::fd::pipe().map_err(|e| unable("make a pipe", &e))?;
    let (mut ours, mut theirs) = (Some(reading), Some(writing));
    let pid = sys::process::fork(|| {
        ours = None;
        let Some(line) = theirs.take() else {
            return 1;
        };
        let answer = give_up(ids).and_then(|()| job());
        u8::from(sys::fd::write_all(&line, &encode(&answer)).is_err())
    });
    let pid = pid.map_err(|e| unable("fork", &e))?;
    theirs = None;
    drop(theirs);
    let end = Instant::now() + limit;
    let text = ours.take().map(|line| listen(&line, end));
    // It is our child and nobody has waited for it, so the number is still its own. It has said everything, or its
    // time is over.
    let _ = sys::signal::send(pid, Signal::SIGKILL);
    let _ = sys::process::wait_for(pid);
    let trouble = |text: &[u8]| Err(Die::fatal(base::die::TEMPORARY, text));
    match text {
        Some(Ok(text)) => match decode(&text) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(Trouble(text))) => trouble(&text),
            None => trouble(b"the process that asks the server has crashed"),
        },
        Some(Err(e)) if e.kind() == ErrorKind::TimedOut => {
            trouble(b"the server took too long to answer")
        }
        Some(Err(e)) => Err(unable("hear the answer", &e)),
        None => trouble(b"unable to hear the answer"),
    }
}

/// Everything that comes until the other end is closed.
fn listen(line: &OwnedFd, end: Instant) -> io::Result<Bytes> {
    let mut text = Bytes::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match sys::poll::readable(line, left) {
            Ok(true) => {}
            Ok(false) => return Err(ErrorKind::TimedOut.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        let mut piece = [0; 4096];
        match sys::fd::read(line, &mut piece) {
            Ok(0) => return Ok(text),
            Ok(count) => text.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if text.len() > LIMIT {
            return Err(ErrorKind::FileTooLarge.into());
        }
    }
}

/// In the copy: rights, the connection and the environment go.
fn give_up(ids: Option<&Ids>) -> Result<(), Trouble> {
    // A password is in its memory: no other process of that user looks at it, and no core file keeps it.
    sys::sandbox::no_look();
    let memory = limit::read(Resource::RLIMIT_DATA);
    memory
        .and_then(|(soft, _)| limit::set_soft(Resource::RLIMIT_DATA, soft.min(MEMORY)))
        .map_err(|e| Trouble::unable("limit memory", e))?;
    if let Some(ids) = ids
        && (sys::ids::euid() == 0 || sys::ids::uid() == 0)
    {
        sys::ids::become_for_good(ids)
            .map_err(|e| Trouble::unable("give up the rights of root", e))?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    for number in [0, 1] {
        let nothing = options.open("/dev/null");
        let nothing = nothing.map_err(|e| Trouble::unable("open /dev/null", e))?;
        sys::fd::replace(number, nothing.into())
            .map_err(|e| Trouble::unable("leave the connection", e))?;
    }
    sys::process::set_environment(Vec::new())
        .map_err(|e| Trouble::unable("clear the environment", e))?;
    let _ = sys::signal::ignore(Signal::SIGPIPE);
    Ok(())
}

#[cfg(test)]
mod tests;
