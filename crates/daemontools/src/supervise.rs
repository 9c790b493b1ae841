//! supervise: keep one service running.
//!
//! A directory with `run` alone behaves as it always has. The programs `start`, `stop`, `notify` and `log` and the
//! file `listen` add to that only where they are.

mod listen;
mod log;
mod part;
mod scripts;
mod service;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use base::{Call, Die};
use sys::Dir;
use sys::signal::Signal;

use crate::status::Want;
use crate::supervise::service::Service;

const NAME: &str = "supervise";

/// How long a start takes at least: so a service that fails at once is started once a second.
const START: Duration = Duration::from_secs(1);
/// How long to wait when the system has no process to spare.
const NO_PROCESS: Duration = Duration::from_mins(1);
/// The longest wait for something to happen.
const WAIT: Duration = Duration::from_hours(1);

/// Runs `supervise dir` until it is told to exit and the service is down.
pub fn run(call: &Call) -> Result<(), Die> {
    let [dir] = call.args.as_slice() else {
        return Err(Die::usage("supervise dir"));
    };

    let wake = watch_children(dir)?;
    std::env::set_current_dir(sys::dir::path(dir)).map_err(|e| unable("chdir to ", dir, "", &e))?;
    let here = Dir::open(".").map_err(|e| unable("chdir to ", dir, "", &e))?;
    let want = first_want(&here, dir)?;

    let doors = Doors::open(&here, dir)?;
    let mut service = Service::new(dir, here, want)?;
    let _ok = open_ok(service.here(), dir)?;

    service.begin();
    service.serve(&wake, &doors.control);

    service.announce();
    Ok(())
}

fn unable(what: &str, dir: &[u8], file: &str, error: &io::Error) -> Die {
    Die::unable([what.as_bytes(), dir, file.as_bytes()].concat(), error)
}

fn watch_children(dir: &[u8]) -> Result<impl AsRawFd, Die> {
    let pipe = |e| unable("create pipe for ", dir, "", &e);
    let wake = sys::signal::wake().map_err(pipe)?;
    sys::signal::catch(Signal::SIGCHLD).map_err(pipe)?;
    sys::signal::unblock(Signal::SIGCHLD).map_err(pipe)?;
    Ok(wake)
}

fn first_want(here: &Dir, dir: &[u8]) -> Result<Want, Die> {
    match here.stat(b"down") {
        Ok(_) => Ok(Want::Down),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Want::Up),
        Err(e) => Err(unable("stat ", dir, "/down", &e)),
    }
}

/// What this supervise holds as long as it lives.
struct Doors {
    control: File,
    /// Without a writer of our own, the control FIFO would report its end after every svc.
    _writer: File,
    _lock: File,
}

impl Doors {
    fn open(here: &Dir, dir: &[u8]) -> Result<Doors, Die> {
        // Made before, by this program or another: the next step tells what is there.
        let _ = here.make_dir(b"supervise", 0o700);
        let locked = |e| unable("acquire ", dir, "/supervise/lock", &e);
        let lock = here
            .open_append_now(b"supervise/lock", 0o600)
            .map_err(locked)?;
        sys::lock::exclusive_now(&lock).map_err(locked)?;

        let _ = here.make_fifo(b"supervise/control", 0o600);
        let control = here
            .open_read(b"supervise/control")
            .map_err(|e| unable("read ", dir, "/supervise/control", &e))?;
        let writer = here
            .open_write(b"supervise/control")
            .map_err(|e| unable("write ", dir, "/supervise/control", &e))?;
        Ok(Doors {
            control,
            _writer: writer,
            _lock: lock,
        })
    }
}

/// Opens the FIFO by which others see that this supervise runs.
fn open_ok(here: &Dir, dir: &[u8]) -> Result<File, Die> {
    let _ = here.make_fifo(b"supervise/ok", 0o600);
    here.open_read(b"supervise/ok")
        .map_err(|e| unable("read ", dir, "/supervise/ok", &e))
}
