//! supervise: keep one service running.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use base::tai::Tai64N;
use base::{Call, Die};
use sys::Dir;
use sys::poll::Wait;
use sys::signal::Signal;
use sys::spawn::Spawn;

use crate::announce;
use crate::status::{Status, Want};

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
    let mut service = Service::new(dir, here, want);
    service.changed(0);
    let _ok = open_ok(&service.here, dir)?;

    if want == Want::Up {
        service.start();
    }
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

struct Service<'a> {
    name: &'a [u8],
    here: Dir,
    status: Status,
    exit: bool,
    /// the last start failed before there was a process: try again if the service is still wanted up
    again: bool,
}

impl<'a> Service<'a> {
    fn new(name: &'a [u8], here: Dir, want: Want) -> Service<'a> {
        Service {
            name,
            here,
            status: Status {
                since: Tai64N::now(),
                pid: 0,
                paused: false,
                want,
            },
            exit: false,
            again: false,
        }
    }

    fn serve(&mut self, wake: &impl AsRawFd, control: &File) {
        self.announce();
        while !(self.exit && self.status.pid == 0) {
            let mut list = [Wait::readable(wake), Wait::readable(control)];
            let limit = if self.again { Duration::ZERO } else { WAIT };
            // Interrupted or not, what follows looks for itself. Other trouble must not make a busy loop.
            if sys::poll::wait(&mut list, Some(limit))
                .is_err_and(|e| e.kind() != io::ErrorKind::Interrupted)
            {
                std::thread::sleep(START);
            }
            sys::signal::woken();

            self.reap();
            if self.exit && self.status.pid == 0 {
                return;
            }
            // One command, then a look at the children: a command may have ended one.
            let mut command = [0];
            if let Ok(1) = sys::fd::read(control, &mut command) {
                self.obey(u8::from_ne_bytes(command));
            }
            if self.again && self.status.pid == 0 && self.status.want == Want::Up && !self.exit {
                self.start();
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, _)) = sys::process::ended() {
            if pid == self.status.pid {
                self.changed(0);
                self.announce();
                if self.status.want == Want::Up && !self.exit {
                    self.start();
                }
                return;
            }
        }
    }

    fn start(&mut self) {
        self.again = false;
        match Spawn::new("./run").spawn() {
            Ok(pid) => {
                self.status.paused = false;
                self.changed(pid);
                self.announce();
                // Commands wait meanwhile: so a service has a second to prepare for signals.
                std::thread::sleep(START);
            }
            Err(e) => self.failed(&e),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.again = true;
        if matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory
        ) {
            let what = [b"fork for ", self.name, b", sleeping 60 seconds"].concat();
            announce::unable(NAME, what, error);
            std::thread::sleep(NO_PROCESS);
            return;
        }
        announce::stillborn(NAME, &unable("start ", self.name, "/run", error));
        self.changed(0);
        self.announce();
        std::thread::sleep(START);
    }

    fn obey(&mut self, command: u8) {
        match command {
            b'd' => {
                self.status.want = Want::Down;
                self.send(Signal::SIGTERM);
                self.send(Signal::SIGCONT);
                self.status.paused = false;
                self.announce();
            }
            b'u' => self.want(Want::Up),
            b'o' => self.want(Want::Once),
            b'p' => self.pause(true, Signal::SIGSTOP),
            b'c' => self.pause(false, Signal::SIGCONT),
            b'h' => self.send(Signal::SIGHUP),
            b'a' => self.send(Signal::SIGALRM),
            b'i' => self.send(Signal::SIGINT),
            b't' => self.send(Signal::SIGTERM),
            b'k' => self.send(Signal::SIGKILL),
            b'x' => {
                self.exit = true;
                self.announce();
            }
            _ => {}
        }
    }

    fn want(&mut self, want: Want) {
        self.status.want = want;
        self.announce();
        if self.status.pid == 0 {
            self.start();
        }
    }

    fn pause(&mut self, paused: bool, signal: Signal) {
        self.status.paused = paused;
        self.announce();
        self.send(signal);
    }

    fn send(&self, signal: Signal) {
        if self.status.pid != 0 {
            // The process is our child and not yet reaped, so the number is still its own.
            let _ = sys::signal::send(self.status.pid, signal);
        }
    }

    fn changed(&mut self, pid: u32) {
        self.status.since = Tai64N::now();
        self.status.pid = pid;
    }

    /// Replaces the status file, whole or not at all. Trouble is told and survived: the service comes first.
    fn announce(&self) {
        let what = |verb: &str, file: &str| [verb.as_bytes(), self.name, file.as_bytes()].concat();
        let mut file = match self.here.create(b"supervise/status.new", 0o644) {
            Ok(file) => file,
            Err(e) => return announce::unable(NAME, what("open ", "/supervise/status.new"), &e),
        };
        if let Err(e) = file.write_all(&self.status.pack()) {
            return announce::unable(NAME, what("write ", "/supervise/status.new"), &e);
        }
        if let Err(e) = self
            .here
            .rename(b"supervise/status.new", &self.here, b"supervise/status")
        {
            announce::unable(NAME, what("rename ", "/supervise/status.new to status"), &e);
        }
    }
}
