//! svscanboot: begin at boot with svscan, its words in the process list.

use std::os::fd::AsFd;

use base::{Bytes, Call, Die};
use sys::Dir;
use sys::spawn::Spawn;

/// Where services are when no argument says so: the first that is there.
const PLACES: [&[u8]; 2] = [b"/service", b"/etc/service"];
/// Where programs are looked for after /command and our own.
const PATH: &[u8] = b"/usr/local/bin:/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/X11R6/bin";
/// Bytes of svscan's latest words that the process list shows.
const DISPLAY: usize = 400;

/// Runs `svscanboot [ directory ]`: becomes svscan; returns only if that failed.
///
/// The program starts from nothing: an environment of PATH alone, and /dev/null for the descriptors 0 to 2.
pub fn run(call: &Call) -> Result<(), Die> {
    let services = match call.args.as_slice() {
        [] => usual_place(),
        [place] => place.clone(),
        _ => return Err(Die::usage("svscanboot [ directory ]")),
    };
    let env = vec![(b"PATH".to_vec(), path())];
    let nothing =
        sys::dir::open_read(b"/dev/null").map_err(|e| Die::unable("open /dev/null", &e))?;
    let nowhere =
        sys::dir::open_write(b"/dev/null").map_err(|e| Die::unable("open /dev/null", &e))?;
    let program = |name: &str| {
        Spawn::new(name)
            .env(env.clone())
            .fd(0, nothing.as_fd())
            .fd(1, nowhere.as_fd())
            .fd(2, nowhere.as_fd())
    };

    // What an earlier svscan left is to end first: two supervises for one service would only fight for the lock.
    let left = supervised(&services);
    if !left.is_empty()
        && let Ok(pid) = program("svc").arg("-dx").args(left).spawn()
    {
        let _ = sys::process::wait_for(pid);
    }

    let (reader, writer) = sys::fd::pipe().map_err(|e| Die::unable("create pipe", &e))?;
    program("readproctitle")
        .args(["service", "errors:"])
        .arg(vec![b'.'; DISPLAY])
        .fd(0, reader.as_fd())
        .spawn()
        .map_err(|e| Die::unable("run readproctitle", &e))?;
    let error = program("svscan")
        .arg(&services)
        .fd(1, writer.as_fd())
        .fd(2, writer.as_fd())
        .exec();
    Err(Die::unable("run svscan", &error))
}

fn usual_place() -> Bytes {
    let there = |place: &&[u8]| sys::dir::stat_path(place).is_ok_and(|s| s.is_dir());
    let [first, _] = PLACES;
    PLACES.into_iter().find(there).unwrap_or(first).to_vec()
}

fn path() -> Bytes {
    [
        b"/command:",
        control::home::below("bin").as_slice(),
        b":",
        PATH,
    ]
    .concat()
}

/// The services, and their logs, that a supervise has worked on. Trouble with the directory is for svscan to tell.
fn supervised(services: &[u8]) -> Vec<Bytes> {
    let mut found = Vec::new();
    let Ok(entries) = Dir::open(sys::dir::path(services)).and_then(|dir| dir.entries()) else {
        return found;
    };
    for name in entries.flatten().filter(|n| n.first() != Some(&b'.')) {
        let service = [services, b"/", &name].concat();
        let log = [service.as_slice(), b"/log"].concat();
        for place in [service, log] {
            if sys::dir::stat_path(&[place.as_slice(), b"/supervise"].concat()).is_ok() {
                found.push(place);
            }
        }
    }
    found
}
