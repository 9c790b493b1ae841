//! A program delivery: /bin/sh -c COMMAND with the message on descriptor 0.
//!
//! Source  qmail-command(8)

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use base::{Bytes, Die};
use sys::poll::Wait;
use sys::process::End;
use sys::signal::{self, Signal};
use sys::spawn::Spawn;

use crate::die;

/// How long a program may run.
const LIMIT: Duration = Duration::from_hours(24);

/// Signals that must not end a delivery: a reader that went away, and a limit on file sizes, which would leave half a
/// message in an mbox. The failed write tells. Programs get the default action back.
pub(crate) const HELD_BACK: [Signal; 2] = [Signal::SIGPIPE, Signal::SIGXFSZ];

/// What comes after a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// the next line
    Line,
    /// no more lines (exit 99)
    Stop,
}

/// Runs `command` and waits for its end. Its output goes where ours goes.
pub(crate) fn run(command: &[u8], env: &[(Bytes, Bytes)], message: &File) -> Result<Next, Die> {
    let started = start(command, env, message).and_then(wait);
    match started {
        Err(e) => Err(die::unable(b"run /bin/sh", &e, "#4.3.0")),
        Ok(None) => Err(die::temporary("Timeout on program delivery. (#4.3.0)")),
        Ok(Some(End::Signal(_))) => Err(die::temporary("Aack, child crashed. (#4.3.0)")),
        Ok(Some(End::Exit(code))) => verdict(code),
    }
}

/// What the exit code of a program means. Its own words stand in the report already.
fn verdict(code: u8) -> Result<Next, Die> {
    match code {
        0 => Ok(Next::Line),
        99 => Ok(Next::Stop),
        100 | 64 | 65 | 70 | 76 | 77 | 78 | 112 => Err(Die::silent(base::die::PERMANENT)),
        _ => Err(Die::silent(base::die::TEMPORARY)),
    }
}

fn start(command: &[u8], env: &[(Bytes, Bytes)], message: &File) -> io::Result<u32> {
    signal::catch(Signal::SIGCHLD)?;
    HELD_BACK.into_iter().try_for_each(signal::default)?;
    let pid = Spawn::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env(env.to_vec())
        .fd(0, message.as_fd())
        .spawn();
    HELD_BACK.into_iter().try_for_each(signal::ignore)?;
    pid
}

/// Waits for the program. `None`: it ran over the limit and was killed.
fn wait(pid: u32) -> io::Result<Option<End>> {
    let over = Instant::now() + LIMIT;
    let wake = signal::wake()?;
    loop {
        if let Some(end) = sys::process::ended_pid(pid)? {
            return Ok(Some(end));
        }
        let left = over.saturating_duration_since(Instant::now());
        if left.is_zero() {
            signal::send(pid, Signal::SIGKILL)?;
            sys::process::wait_for(pid)?;
            return Ok(None);
        }
        match sys::poll::wait(&mut [Wait::readable(&wake)], Some(left)) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => signal::woken(),
        }
    }
}
