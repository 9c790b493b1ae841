//! bin/qmail-local: whether it is the one that this program could be itself, and running it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;

use base::Bytes;
use control::Owners;
use qmail_local::identity::MARK;
use qmail_local::once;
use queue::spawner::Step;
use sys::ids::Ids;
use sys::process::End;
use sys::spawn::Spawn;

use crate::job::Job;
use crate::qlx;
use crate::version::Version;

const LOCAL: &str = "bin/qmail-local";
/// The largest file that is searched for the mark, bytes.
const SIZE_LIMIT: u64 = 64 << 20;
/// Everybody may run it.
const ALL_EXECUTE: u32 = 0o111;

/// The program that delivers.
#[derive(Debug)]
pub(crate) struct Program {
    path: Bytes,
    /// deliveries always go to the program
    always: bool,
    /// what was found in the file the last time
    seen: Option<(Version, bool)>,
}

impl Program {
    /// The one to use: QMAILLOCAL, else bin/qmail-local.
    ///
    /// # Errors
    /// control/localexec is unreadable.
    pub(crate) fn choose() -> io::Result<Program> {
        let other = base::env("QMAILLOCAL").filter(|path| !path.is_empty());
        Ok(Program {
            always: other.is_some() || control::int("localexec", 0)? != 0,
            path: other.unwrap_or_else(|| LOCAL.into()),
            seen: None,
        })
    }

    /// Whether deliveries may be made without it: it is there, everybody may run it, and it was built from the same
    /// sources as we were. Looked at for each delivery, searched only when the file is another one.
    pub(crate) fn is_ours(&mut self) -> bool {
        if self.always {
            return false;
        }
        let Ok(found) = fs::metadata(sys::dir::path(&self.path)) else {
            return false;
        };
        let version = Version::of(&found);
        if let Some((seen, ours)) = self.seen
            && seen == version
        {
            return ours;
        }
        let runs = found.is_file() && found.mode() & ALL_EXECUTE == ALL_EXECUTE;
        let ours = runs && has_mark(&self.path).unwrap_or(false);
        self.seen = Some((version, ours));
        ours
    }

    /// Runs it for one delivery. `owners`: we are root, and it becomes the user.
    pub(crate) fn run(&self, job: &Job, default: &[u8], owners: Option<&Owners>) -> Step {
        let Ok((output, report)) = sys::fd::pipe() else {
            return Step::done(b"Zqmail-spawn unable to create pipe. (#4.3.0)\n");
        };
        let mut program = Spawn::new(&self.path)
            .arg("--")
            .args(job.words())
            .arg(default)
            .env(environment(job));
        if owners.is_some() {
            program = program.ids(Ids::new(job.user.uid, job.user.gid));
        }
        match queue::spawner::plumb(program, &job.message, &report).spawn() {
            Ok(pid) => Step::Process { pid, output },
            Err(e) => Step::done(qlx::report(End::Exit(code(&e)), b"")),
        }
    }
}

/// Our own environment; and how the delivery can be known again, which must never be another one's.
fn environment(job: &Job) -> Vec<(Bytes, Bytes)> {
    let name = once::VARIABLE.as_bytes();
    let mut all = sys::spawn::environment();
    all.retain(|(n, _)| n != name);
    all.extend(job.once.map(|once| (name.to_vec(), once.word())));
    all
}

/// Why it could not be run. A user that could not be become is our trouble, never a reason to bounce.
fn code(error: &io::Error) -> u8 {
    if sys::is_temporary(error) {
        return qlx::EXEC_SOFT;
    }
    // The kernel's words for ids that it does not give us.
    let not_permitted = error.kind() == ErrorKind::PermissionDenied
        && base::die::system_text(error) == "permission denied";
    if error.kind() == ErrorKind::InvalidInput || not_permitted {
        qlx::USAGE
    } else {
        qlx::EXEC_HARD
    }
}

fn has_mark(path: &[u8]) -> io::Result<bool> {
    let mut bytes = Bytes::new();
    File::open(sys::dir::path(path))?
        .take(SIZE_LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(contains(&bytes, &MARK))
}

/// Whether `mark` stands in `bytes`. Looks for its first byte first.
fn contains(bytes: &[u8], mark: &[u8]) -> bool {
    let Some(first) = mark.first() else {
        return true;
    };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| b == first) {
        rest = rest.get(at..).unwrap_or_default();
        if rest.starts_with(mark) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_wherever_it_stands() {
        let with = |front: &[u8], back: &[u8]| [front, &MARK, back].concat();
        assert!(contains(&MARK, &MARK));
        assert!(contains(&with(b"qqq", b""), &MARK));
        assert!(contains(&with(b"qmail-rs qmail-lo", b"x"), &MARK));
        assert!(!contains(MARK.split_last().unwrap().1, &MARK));
        assert!(!contains(b"", &MARK));
    }

    #[test]
    fn ids_that_the_kernel_refuses_do_not_bounce() {
        let of = |number| code(&io::Error::from_raw_os_error(number));
        // EPERM, EINVAL; EAGAIN; ENOENT, EACCES, ENOEXEC.
        assert_eq!([of(1), of(22)], [qlx::USAGE; 2]);
        assert_eq!(of(11), qlx::EXEC_SOFT);
        assert_eq!([of(2), of(13), of(8)], [qlx::EXEC_HARD; 3]);
    }
}
