//! The end of everything: services first, their logs when they have the last line, then svscan.

use std::time::{Duration, Instant};

use base::Die;
use sys::poll::Wait;
use sys::signal::Signal;

use crate::svscan::{NAME, Service, Services};

/// The variable that asks for a clean stop on SIGTERM and SIGINT where svscan is not the first process.
const VARIABLE: &str = "SVSCANSTOP";
/// How long services may take to end after they were told, and logs after that. Then they are killed.
const PATIENCE: Duration = Duration::from_secs(90);
/// Time between two looks at what still runs.
const LOOK: Duration = Duration::from_millis(250);

/// Whether SIGTERM and SIGINT mean: stop everything.
///
/// As the first process of a container svscan must, since the kernel keeps both from it otherwise. Elsewhere it dies
/// of them at once, like the original, unless it was asked.
pub(super) fn is_wanted() -> bool {
    std::process::id() == 1 || base::env(VARIABLE).is_some_and(|value| !value.is_empty())
}

/// Catches the signals, and the ends of children: the first process gets the orphans of all others and takes their
/// ends at once.
pub(super) fn prepare() -> Result<(), Die> {
    let trouble = |e| Die::unable("catch signals", &e);
    sys::signal::wake().map_err(trouble)?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        sys::signal::catch(signal).map_err(trouble)?;
        sys::signal::unblock(signal).map_err(trouble)?;
    }
    Ok(())
}

/// Whether one of the two signals came.
pub(super) fn is_asked() -> bool {
    sys::signal::pending(Signal::SIGTERM) | sys::signal::pending(Signal::SIGINT)
}

/// Waits for a signal, at most `limit`.
pub(super) fn pause(limit: Duration) {
    if let Ok(wake) = sys::signal::wake() {
        // Interrupted is as good as woken.
        let _ = sys::poll::wait(&mut [Wait::readable(&wake)], Some(limit));
        sys::signal::woken();
    } else {
        std::thread::sleep(limit);
    }
}

/// Ends every service and then its log.
pub(super) fn everything(services: &mut Services) {
    let mut end = Instant::now() + PATIENCE;
    let mut killed = false;
    loop {
        services.reap();
        services
            .list
            .retain(|s| s.supervise.is_some() || s.log_supervise.is_some());
        if services.list.is_empty() {
            return;
        }
        if Instant::now() >= end {
            if killed {
                base::warn(NAME, "some services do not end");
                return;
            }
            base::warn(NAME, "killing the services that do not end");
            killed = true;
            end = Instant::now() + PATIENCE;
            for service in &mut services.list {
                service.told = false;
                service.log_told = false;
            }
        }
        let words: &[u8] = if killed { b"dkx" } else { b"dx" };
        for service in &mut services.list {
            advance(service, words, killed);
        }
        pause(LOOK);
    }
}

/// Tells what has not been told yet: a supervise that has only begun cannot hear.
fn advance(service: &mut Service, words: &[u8], killed: bool) {
    if service.supervise.is_some() {
        if !service.told {
            service.told = tell(
                &[service.name.as_slice(), b"/supervise/control"].concat(),
                words,
            );
        }
        return;
    }
    // Nobody writes any more. The log is told not to come back; then, without our copy of the pipe, it finds the end
    // behind the last line and leaves by itself.
    if service.log_supervise.is_some() && !service.log_told {
        let words = if killed { words } else { b"x" };
        let control = [service.name.as_slice(), b"/log/supervise/control"].concat();
        service.log_told = tell(&control, words);
    }
    if service.log_told || service.log_supervise.is_none() {
        service.log = None;
    }
}

fn tell(control: &[u8], words: &[u8]) -> bool {
    sys::dir::open_write(control).is_ok_and(|fifo| sys::fd::write_all(&fifo, words).is_ok())
}
