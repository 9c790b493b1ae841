//! svscan: keep a supervise running for every directory of services, and another for its log.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use base::{Bytes, Call, Die};
use sys::signal::Signal;
use sys::spawn::Spawn;
use sys::{Dir, Stat};

use crate::announce;

mod stop;

const NAME: &str = "svscan";

/// The most services at a time.
const SERVICES: usize = 1000;
/// The longest name of a service whose log is looked for, bytes.
const LOGGED_NAME: usize = 255;
/// Time between two looks at the directory.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs `svscan [ directory ]`: for ever, or as the first process until SIGTERM or SIGINT.
pub fn run(call: &Call) -> Result<(), Die> {
    if let Some(dir) = call.args.first() {
        std::env::set_current_dir(sys::dir::path(dir))
            .map_err(|e| Die::unable([b"chdir to ", dir.as_slice()].concat(), &e))?;
    }

    // A caller that ignores the ends of its children would make us deaf to those of ours.
    let _ = sys::signal::default(Signal::SIGCHLD);
    let stops = stop::is_wanted();
    if stops {
        stop::prepare()?;
    }

    let mut services = Services::default();
    loop {
        services.reap();
        services.scan();
        if !stops {
            std::thread::sleep(PAUSE);
        } else if services.rest_and_reap() {
            break;
        }
    }

    stop::everything(&mut services);
    Ok(())
}

/// The two ends of the pipe from a service to its log. They stay here, so that no line is lost while one of the two
/// supervises is not running.
#[derive(Debug)]
struct Pipe {
    from_service: OwnedFd,
    to_log: OwnedFd,
}

#[derive(Debug)]
struct Service {
    /// as last seen
    name: Bytes,
    /// the directory is known by its device and inode; its name may change
    directory: Stat,
    /// seen in the last scan
    active: bool,
    supervise: Option<u32>,
    log_supervise: Option<u32>,
    log: Option<Pipe>,
    /// whether the supervise, and that of the log, were told to exit
    told: bool,
    log_told: bool,
}

#[derive(Debug, Default)]
struct Services {
    list: Vec<Service>,
}

impl Services {
    fn reap(&mut self) {
        while let Some((pid, _)) = sys::process::ended() {
            for service in &mut self.list {
                for place in [&mut service.supervise, &mut service.log_supervise] {
                    if *place == Some(pid) {
                        *place = None;
                    }
                }
            }
        }
    }

    /// Waits until the next scan is due, taking the ends of children as they come. Whether it is time to stop.
    fn rest_and_reap(&mut self) -> bool {
        let end = Instant::now() + PAUSE;
        loop {
            if stop::is_asked() {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            stop::pause(left);
            self.reap();
        }
    }

    fn scan(&mut self) {
        for service in &mut self.list {
            service.active = false;
        }
        if let Err(e) = self.start_all() {
            // What was not seen may still be there, so nothing is forgotten.
            return announce::unable(NAME, "read directory", &e);
        }
        self.list
            .retain(|s| s.active || s.supervise.is_some() || s.log_supervise.is_some());
    }

    fn start_all(&mut self) -> io::Result<()> {
        let here = Dir::open(".")?;
        for name in here.entries()? {
            let name = name?;
            if name.first() == Some(&b'.') {
                continue;
            }
            match here.stat(&name) {
                Ok(stat) if stat.is_dir() => {
                    if let Some(service) = self.find(&here, &name, stat) {
                        service.active = true;
                        service.name.clone_from(&name);
                        service.start(&name);
                    }
                }
                Ok(_) => {}
                Err(e) => announce::unable(NAME, [b"stat ", name.as_slice()].concat(), &e),
            }
        }
        Ok(())
    }

    /// The service of a directory, new or known. `None`, after a warning, if it cannot be taken in now.
    fn find(&mut self, here: &Dir, name: &[u8], directory: Stat) -> Option<&mut Service> {
        match self
            .list
            .iter()
            .position(|s| s.directory.is_same_file(&directory))
        {
            Some(at) => self.list.get_mut(at),
            None => {
                if self.list.len() >= SERVICES {
                    base::warn(
                        NAME,
                        [b"unable to start ", name, b": running too many services"].concat(),
                    );
                    return None;
                }
                self.list.push(Service {
                    name: name.to_vec(),
                    told: false,
                    log_told: false,
                    directory,
                    active: false,
                    supervise: None,
                    log_supervise: None,
                    log: new_log(here, name).ok()?,
                });
                self.list.last_mut()
            }
        }
    }
}

/// Why a service has to wait for the next scan; the warning has been written.
struct Warned;

/// The pipe to the log, if the service has one.
fn new_log(here: &Dir, name: &[u8]) -> Result<Option<Pipe>, Warned> {
    let warned = |what: &[u8], after: &[u8], e: &io::Error| {
        announce::unable(NAME, [what, name, after].concat(), e);
        Warned
    };
    if name.len() > LOGGED_NAME {
        return Ok(None);
    }
    match here.stat(&[name, b"/log"].concat()) {
        // A program of that name is started by supervise itself.
        Ok(stat) if stat.is_file() => return Ok(None),
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(warned(b"stat ", b"/log", &e)),
    }
    let (to_log, from_service) =
        sys::fd::pipe().map_err(|e| warned(b"create pipe for ", b"", &e))?;
    Ok(Some(Pipe {
        from_service,
        to_log,
    }))
}

impl Service {
    /// Starts what is not running.
    fn start(&mut self, name: &[u8]) {
        if self.supervise.is_none() {
            let mut supervise = Spawn::new("supervise").arg(name);
            if let Some(log) = &self.log {
                supervise = supervise.fd(1, log.from_service.as_fd());
            }
            self.supervise = started(&supervise, name, "");
        }
        if let (None, Some(log)) = (self.log_supervise, &self.log) {
            let supervise = Spawn::new("supervise")
                .arg("log")
                .dir(name)
                .fd(0, log.to_log.as_fd());
            self.log_supervise = started(&supervise, name, "/log");
        }
    }
}

fn started(supervise: &Spawn<'_>, name: &[u8], part: &str) -> Option<u32> {
    match supervise.spawn() {
        Ok(pid) => Some(pid),
        Err(e) => {
            let what: Bytes = [b"start supervise ", name, part.as_bytes()].concat();
            announce::unable(NAME, what, &e);
            None
        }
    }
}
