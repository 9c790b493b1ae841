//! Black-box tests of the programs: fixed expectations taken from the originals, and the originals beside ours where
//! they are installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::format_push_string,
    clippy::format_collect,
    clippy::map_unwrap_or,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    reason = "a test ends by a panic, and tells why it was skipped"
)]

mod become_program;
mod boot;
mod extras;
mod faults;
mod interchange;
mod labels;
mod multilog;
mod services;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use kit::Run;
use sys::process::End;
use sys::signal::Signal;
use sys::spawn::Spawn;

/// A run of one of our programs inside `dir`.
fn ours(name: &str, dir: &Path) -> Run {
    Run::new(kit::program(name)).dir(dir).env("PATH", &path())
}

/// Our programs first, then those of the system.
fn path() -> String {
    format!("{}:/usr/bin:/bin", kit::bin_dir().display())
}

/// The original of a program. Without it, the test says so and ends.
fn original(name: &str, test: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED (no {}): {test}", path.display());
    None
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').filter(|w| !w.is_empty()).collect()
}

/// A program that reads what the test writes while it runs. It is killed at the end if it still runs.
struct Fed {
    pid: u32,
    input: Option<File>,
    ended: bool,
}

impl Fed {
    /// Starts `program`; descriptors 1 and 2 go to the file `log`.
    fn start(program: &Path, args: &[&str], dir: &Path, log: &Path) -> Fed {
        let (reader, writer) = sys::fd::pipe().unwrap();
        let log = File::options().create(true).append(true).open(log).unwrap();
        let pid = Spawn::new(program.as_os_str().as_encoded_bytes())
            .args(args)
            .dir(dir.as_os_str().as_encoded_bytes())
            .fd(0, reader.as_fd())
            .fd(1, log.as_fd())
            .fd(2, log.as_fd())
            .spawn()
            .unwrap();
        Fed {
            pid,
            input: Some(writer.into()),
            ended: false,
        }
    }

    fn write(&mut self, text: impl AsRef<[u8]>) {
        self.input
            .as_mut()
            .unwrap()
            .write_all(text.as_ref())
            .unwrap();
    }

    fn signal(&self, signal: Signal) {
        sys::signal::send(self.pid, signal).unwrap();
    }

    /// Waits for the end without ending the input.
    fn wait(&mut self) -> End {
        let end = kit::until(kit::LIMIT, || sys::process::ended_pid(self.pid).unwrap());
        self.ended = end.is_some();
        end.expect("the program does not end")
    }

    /// Ends the input and waits.
    fn close(&mut self) -> End {
        self.input = None;
        self.wait()
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        if !self.ended {
            let _ = sys::signal::send(self.pid, Signal::SIGKILL);
            let _ = sys::process::wait_for(self.pid);
        }
    }
}
