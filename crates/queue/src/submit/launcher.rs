//! Running qmail-queue for a program that may not run programs any more.
//!
//! The launcher is a copy of its program, made before the promises. It takes no data of anybody: a request is three
//! descriptors, and which program runs was settled before, by `QMAILQUEUE` or its absence. Each request has a process of
//! its own that starts the program, tells its process id, waits, and tells the exit code.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use sys::handover::{self, Patience};
use sys::process::End;
use sys::signal::Signal;

use super::program;

/// The launcher of this process.
static LAUNCHER: OnceLock<OwnedFd> = OnceLock::new();

/// Descriptors in a request: message, envelope, explanation.
const DESCRIPTORS: usize = 3;
/// What the exit code is called when the program was ended by a signal, or could not be started.
const NO_CODE: [u8; 2] = [1, 0];

/// From now on programs that take messages are run by a copy of this process, so that this one can promise to run
/// none. To be called before there are threads, and once; the copy ends with us.
///
/// # Errors
/// No process, no socket: nothing has changed.
pub fn launch_from_now_on() -> io::Result<()> {
    if LAUNCHER.get().is_some() {
        return Ok(());
    }
    let null = std::fs::File::open("/dev/null")?;
    let (ours, theirs) = handover::pair()?;
    handover::fork_with_only(&theirs, &null, |socket| {
        serve(&socket);
        0
    })?;
    // Nobody else sets it: there are no threads.
    let _ = LAUNCHER.set(ours);
    Ok(())
}

/// The launcher's loop: each message brings the socket of one request.
fn serve(requests: &OwnedFd) {
    // Nobody waits for the processes of requests.
    if sys::signal::ignore(Signal::SIGCHLD).is_err() {
        return;
    }
    let mut nothing = [0; 1];
    loop {
        match handover::receive(requests, &mut nothing, Patience::Wait) {
            Ok((0, _)) => return,
            Ok((_, Some(request))) => {
                // Without a process the request ends unanswered, which is a temporary failure.
                let _ = sys::process::fork(|| {
                    run(&request);
                    0
                });
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Ok((_, None)) | Err(_) => return,
        }
    }
}

/// One request: starts the program, tells its number, waits, tells its end.
fn run(request: &OwnedFd) {
    let mut fds = Vec::with_capacity(DESCRIPTORS);
    let mut nothing = [0; 1];
    while fds.len() < DESCRIPTORS {
        match handover::receive(request, &mut nothing, Patience::Wait) {
            Ok((1, Some(fd))) => fds.push(fd),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
    let [message, envelope, reason] = fds.as_slice() else {
        return;
    };
    let chosen = base::env("QMAILQUEUE");
    let program = chosen.as_deref().unwrap_or(program::CLASSIC);
    if sys::signal::default(Signal::SIGCHLD).is_err() {
        return;
    }
    let ends = [message, envelope, reason].map(AsFd::as_fd);
    let Ok(pid) = program::spawn(program, ends, &[]) else {
        return;
    };
    drop(fds);
    let told = handover::send_waiting(request, &pid.to_le_bytes(), None);
    let end = match sys::process::wait_for(pid) {
        Ok(End::Exit(code)) => [0, code],
        _ => NO_CODE,
    };
    if told.is_ok() {
        let _ = handover::send_waiting(request, &end, None);
    }
}

/// A program that the launcher runs for us.
#[derive(Debug)]
pub(super) struct Launched(OwnedFd);

/// Has the program run, if there is a launcher: its process id, and what to wait for.
///
/// # Errors
/// The launcher is gone, or could not start the program.
pub(super) fn start(fds: [BorrowedFd<'_>; DESCRIPTORS]) -> Option<io::Result<(u32, Launched)>> {
    Some(ask(LAUNCHER.get()?, fds))
}

fn ask(launcher: &OwnedFd, fds: [BorrowedFd<'_>; DESCRIPTORS]) -> io::Result<(u32, Launched)> {
    let (ours, theirs) = handover::pair()?;
    handover::send_waiting(launcher, b"q", Some(theirs.as_fd()))?;
    drop(theirs);
    for fd in fds {
        handover::send_waiting(&ours, b"d", Some(fd))?;
    }
    let mut pid = [0; 4];
    match receive(&ours, &mut pid)? {
        4 => Ok((u32::from_le_bytes(pid), Launched(ours))),
        _ => Err(ErrorKind::BrokenPipe.into()),
    }
}

impl Launched {
    /// Waits for the end of the program.
    ///
    /// # Errors
    /// The launcher has ended.
    pub(super) fn wait(&self) -> io::Result<End> {
        let mut end = [0; 2];
        match (receive(&self.0, &mut end)?, end) {
            (2, [0, code]) => Ok(End::Exit(code)),
            (2, _) => Ok(End::Signal(0)),
            _ => Err(ErrorKind::BrokenPipe.into()),
        }
    }
}

fn receive(from: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match handover::receive(from, buffer, Patience::Wait) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done.map(|(count, _)| count),
        }
    }
}
