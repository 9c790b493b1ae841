//! A full file: made safe, run through the processor, named by its time; and the oldest goes.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

use base::tai::Tai64N;
use base::{Bytes, Die};
use sys::Dir;
use sys::process::End;
use sys::spawn::Spawn;

use crate::announce;
use crate::multilog::NAME;
use crate::multilog::directory::{Directory, LIVE, SAFE};
use crate::multilog::pause::{self, insist};

/// Bytes of a time label, the name of an old file without its ending.
const LABEL: usize = 25;

impl Directory {
    /// Begins a new `current`. At every moment a crash leaves either a whole and safe old file, or one that is called
    /// unsafe: by its own name or by the next start.
    pub(crate) fn rotate(&mut self) {
        if self.manner.processor.is_some() {
            self.rotate_and_process();
        } else {
            self.rotate_and_go_on();
        }
    }

    /// The old file gets its name at once, with the ending of an unsafe one; it becomes safe while lines go on.
    fn rotate_and_go_on(&mut self) {
        self.on_their_way.make_room();
        let moment = self.name_by_moment();
        insist(
            || self.about(b"remove ", b"/current"),
            || gone(self.dir.unlink(b"current")),
        );
        let full = self.begin();
        self.on_their_way.add(full, &self.dir, &self.name, moment);
        remove_oldest(&self.dir, &self.name, self.manner.number);
    }

    /// Links `current` to the name of this moment as an unsafe file, and returns that name without its ending.
    fn name_by_moment(&self) -> Bytes {
        loop {
            // Every try is made under the name of its own moment.
            let moment = Tai64N::now().label().to_vec();
            let [new, safe] = [b".u", b".s"].map(|ending| [moment.as_slice(), ending].concat());
            // A clock that was set back may come to the same moment again. A name that is there is never replaced.
            if self.dir.stat(&safe).is_ok() {
                continue;
            }
            match self.dir.link(b"current", &self.dir, &new) {
                Ok(()) => return moment,
                Err(e) => pause::unable(
                    &self.about(b"link to ", &[b"/", new.as_slice()].concat()),
                    &e,
                ),
            }
        }
    }

    /// Makes a new `current` and returns the old one.
    fn begin(&mut self) -> File {
        let new = insist(
            || self.about(b"create ", b"/current"),
            || self.dir.open_append_now(b"current", LIVE),
        );
        let old = std::mem::replace(&mut self.current, new);
        self.bytes = 0;
        insist(
            || self.about(b"set mode of ", b"/current"),
            || self.current.set_permissions(Permissions::from_mode(LIVE)),
        );
        old
    }

    /// The processor works on a safe file, and lines wait for it.
    fn rotate_and_process(&mut self) {
        self.sync();
        let name = self.name.clone();
        insist(
            || {
                [
                    b"rename current to previous in directory ".as_slice(),
                    &name,
                ]
                .concat()
            },
            || self.dir.rename(b"current", &self.dir, b"previous"),
        );
        self.begin();
        insist(
            || self.about(b"set mode of ", b"/previous"),
            || self.dir.set_mode(b"previous", SAFE),
        );
        self.process();
        put_aside(
            &self.dir,
            &self.name,
            self.manner.number,
            b"processed",
            b's',
        );
    }

    /// Runs the processor until it succeeds, then replaces `previous` by what it wrote.
    fn process(&self) {
        loop {
            match self.run_processor() {
                Ok(End::Exit(0)) => break,
                Ok(End::Exit(_)) => {}
                Ok(End::Signal(_)) => {
                    pause::warn(self.about(b"processor crashed in ", b", pausing"));
                    continue;
                }
                Err(e) => {
                    let what = [
                        b"run ".as_slice(),
                        self.manner.processor.as_deref().unwrap_or_default(),
                    ]
                    .concat();
                    announce::stillborn(NAME, &Die::unable(what, &e));
                }
            }
            pause::warn(self.about(b"processor failed in ", b", pausing"));
        }

        self.make_safe(b"processed", Some(SAFE));
        self.make_safe(b"newstate", None);
        insist(
            || self.about(b"remove ", b"/previous"),
            || self.dir.unlink(b"previous"),
        );
        insist(
            || self.about(b"rename newstate to state in directory ", b""),
            || self.dir.rename(b"newstate", &self.dir, b"state"),
        );
    }

    /// Runs `sh -c PROCESSOR` in the directory: 0 is `previous`, 1 becomes `processed`, 4 is `state`, 5 becomes
    /// `newstate`.
    fn run_processor(&self) -> io::Result<End> {
        let previous = self.dir.open_read(b"previous")?;
        let processed = self.dir.create(b"processed", 0o644)?;
        let state = self.dir.open_read(b"state")?;
        let newstate = self.dir.create(b"newstate", 0o644)?;
        self.dir.enter()?;
        let pid = Spawn::new("/bin/sh")
            .arg0("sh")
            .arg("-c")
            .arg(self.manner.processor.as_deref().unwrap_or_default())
            .fd(0, previous.as_fd())
            .fd(1, processed.as_fd())
            .fd(4, state.as_fd())
            .fd(5, newstate.as_fd())
            .spawn()?;
        sys::process::wait_for(pid)
    }

    /// The processor may have replaced the file, so it is opened by its name again.
    fn make_safe(&self, file: &[u8], mode: Option<u32>) {
        let path = [b"/", file].concat();
        let open = insist(
            || self.about(b"create ", &path),
            || self.dir.open_append_now(file, 0o600),
        );
        insist(
            || self.about(b"write ", &[path.as_slice(), b" to disk"].concat()),
            || sys::dir::sync(&open),
        );
        if let Some(mode) = mode {
            insist(
                || self.about(b"set mode of ", &path),
                || open.set_permissions(Permissions::from_mode(mode)),
            );
        }
    }
}

/// Gives `file`, if it is there, the name of this moment with the ending `code`, and removes the oldest files while
/// there are `number` of them.
///
/// A second link means that an earlier run was stopped between the two steps: the first is not done again.
pub(crate) fn put_aside(dir: &Dir, name: &[u8], number: usize, file: &[u8], code: u8) {
    let about = |verb: &[u8], file: &[u8]| -> Bytes { [verb, name, b"/", file].concat() };
    let found = insist(
        || about(b"stat ", file),
        || match dir.stat(file) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        },
    );
    let Some(stat) = found else { return };
    if stat.links == 1 {
        // Every try is made under the name of its own moment.
        loop {
            let new = new_name(code);
            match dir.link(file, dir, &new) {
                Ok(()) => break,
                Err(e) => pause::unable(&about(b"link to ", &new), &e),
            }
        }
    }
    insist(|| about(b"remove ", file), || dir.unlink(file));
    remove_oldest(dir, name, number);
}

/// Removes the oldest files while there are `number` of them.
fn remove_oldest(dir: &Dir, name: &[u8], number: usize) {
    while let Some(oldest) = insist(|| [b"read ", name].concat(), || surplus(dir, number)) {
        insist(
            || [b"remove ", name, b"/", &oldest].concat(),
            || gone(dir.unlink(&oldest)),
        );
    }
}

/// A name that somebody else has removed is gone, too.
pub(crate) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn new_name(code: u8) -> Bytes {
    [Tai64N::now().label().as_slice(), b".", &[code]].concat()
}

/// The oldest of the old files if there are `number` or more.
fn surplus(dir: &Dir, number: usize) -> io::Result<Option<Bytes>> {
    let mut count = 0;
    let mut oldest: Option<Bytes> = None;
    for name in dir.entries()? {
        let name = name?;
        if name.first() == Some(&b'@') && name.len() >= LABEL {
            count += 1;
            if oldest.as_ref().is_none_or(|o| name < *o) {
                oldest = Some(name);
            }
        }
    }
    Ok(oldest.filter(|_| count >= number))
}
