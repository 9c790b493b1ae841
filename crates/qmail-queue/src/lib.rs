//! qmail-queue: put one message on disk, whole or not at all; qmail-queued: many at once.
//!
//! Programs   qmail-queue(8) qmail-queued(8)
//! Runs as    qmailq; qmail-queue setuid, called by anyone; qmail-queued a service that anyone may talk to
//! Reads      fd 0 message, fd 1 envelope, or a local socket; conf-home only, /etc/passwd
//! Writes     queue/{pid,mess,intd,todo}, lock/trigger; qmail-queued lock/queued, run/queue/socket
//! May use    base control mail queue sys
//! Source     qmail-queue(8), qmail-queued(8); docs/architecture.md, docs/decisions/0003-queue-service.md
//!
//! qmail-queue's exit code is the answer (`queue::intake::Fault`); nothing is printed, because the caller is not to be
//! told more. qmail-queued runs threads, and so it never forks.

mod input;
mod queued;
mod received;

use base::{Call, Die};
use queue::intake::{Fault, Intake, Origin};
use sys::sandbox::{Access, Promises, Walls};
use sys::signal::Signal;

use input::Input;
use received::Known;

pub use queued::{qmail_queued, queued_promises};

/// Seconds after which the program gives up. Must be below the 36 hours after which qmail-clean sweeps litter.
const LIFETIME: u32 = 86_400;

/// Signals that a user or a terminal may send, and limits that show as errors of system calls.
const IGNORED: [Signal; 8] = [
    Signal::SIGPIPE,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
];

/// See qmail-queue(8). Arguments are ignored.
///
/// # Errors
/// The exit code of the fault, silently.
pub fn qmail_queue(_: &Call) -> Result<(), Die> {
    take().map_err(|fault| Die::silent(fault.code()))
}

fn take() -> Result<(), Fault> {
    sys::process::umask(0o033);
    control::home::enter().map_err(|_| Fault::Home)?;
    let (uid, pid) = (sys::ids::uid(), std::process::id());
    let now = base::tai::unix_now();
    let origin = Origin {
        uid,
        pid,
        now,
        header: received::line(pid, Known::find().caller(uid), now),
    };

    signals().map_err(|_| Fault::Bug)?;
    let intake = Intake::open()?;
    let mut message = Input::take(0).map_err(|_| Fault::Read)?;
    let mut envelope = Input::take(1).map_err(|_| Fault::Read)?;

    // System calls are not filtered: setting that up would cost every message more than the other walls together.
    promises().enforce_with(Walls::Landlock);

    intake.take(&origin, &mut message, &mut envelope)?;
    let trigger = queue::intake::pull_trigger(intake.queue());
    // The message is in the queue, and whoever waits for us learns it by our end: what is open is closed by that.
    std::mem::forget((intake, message, envelope, trigger));
    Ok(())
}

/// What qmail-queue promises before it reads the message: to work in four directories of the queue, and to pull the
/// trigger.
pub fn promises() -> Promises {
    let directories = ["queue/pid", "queue/mess", "queue/intd", "queue/todo"];
    Promises::new()
        .paths(&directories, Access::Make)
        .path("queue/lock/trigger", Access::Write)
}

fn signals() -> std::io::Result<()> {
    sys::signal::unblock_all()?;
    for signal in IGNORED {
        sys::signal::ignore(signal)?;
    }
    sys::signal::wake()?;
    sys::signal::catch(Signal::SIGALRM)?;
    sys::signal::alarm(LIFETIME);
    Ok(())
}
