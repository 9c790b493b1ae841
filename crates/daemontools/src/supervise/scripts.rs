//! The programs beside `run`.

use base::Bytes;
use sys::Dir;
use sys::process::End;
use sys::spawn::Spawn;

use crate::announce;
use crate::supervise::NAME;

/// The bit of the mode that makes a file a program to its owner.
const EXECUTABLE: u32 = 0o100;

/// Whether `name` is a program of the service.
pub(super) fn is_program(here: &Dir, name: &[u8]) -> bool {
    here.stat(name)
        .is_ok_and(|stat| stat.is_file() && stat.mode & EXECUTABLE != 0)
}

/// What has become of a program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Start,
    End(End),
}

/// Runs `./notify SCRIPT WHAT PID CODE` if there is one, and does not wait for it. Whether there is one.
pub(super) fn notify(service: &[u8], here: &Dir, script: &str, event: Event, pid: u32) -> bool {
    if !is_program(here, b"notify") {
        return false;
    }
    let (what, code) = match event {
        Event::Start => ("start", 0),
        Event::End(End::Exit(code)) => ("exit", i32::from(code)),
        Event::End(End::Signal(number)) => ("killed", number),
    };
    let spawn = Spawn::new("./notify").args([script, what, &pid.to_string(), &code.to_string()]);
    if let Err(e) = spawn.spawn() {
        let what: Bytes = [b"start ", service, b"/notify"].concat();
        announce::unable(NAME, what, &e);
    }
    true
}
