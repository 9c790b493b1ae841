//! One program under a tracer: its calls listed, or one of them hit. Every process that it makes is followed, and the
//! fault meets one call of one process, once.
//!
//! `crash trace` becomes the program itself, so that its number and its end are those of the program; the tracer is a
//! process of its own beside it, which nobody waits for.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kit::until;
use sys::signal::Signal;
use sys::trace::{self, Request, Stop, Until};

/// Errors by name.
const ERRNOS: [(&str, i32); 12] = [
    ("ENOENT", 2),
    ("EINTR", 4),
    ("EIO", 5),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOSPC", 28),
    ("EROFS", 30),
    ("ECONNRESET", 104),
    ("EDQUOT", 122),
];

/// What happens at a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// nothing: it is written down
    Look,
    /// SIGKILL in its place
    Kill,
    /// it is not made and fails with this
    Fail(String),
    /// it writes less: `one` byte, `half`, `less` by one; `full`: half, and the next write of the process fails
    Short(String),
}

/// A deed at the n-th call of a name, of the processes in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// what happens
    pub deed: Deed,
    /// at which call
    pub call: String,
    /// at the how manieth of that name, from 1
    pub n: usize,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fault { deed, call, n } = self;
        match deed {
            Deed::Look => write!(f, "look {call} {n}"),
            Deed::Kill => write!(f, "kill {call} {n}"),
            Deed::Fail(how) => write!(f, "fail {call} {n} {how}"),
            Deed::Short(how) => write!(f, "short {call} {n} {how}"),
        }
    }
}

impl Fault {
    /// All calls of a role, written down.
    pub fn look() -> Fault {
        Fault {
            deed: Deed::Look,
            call: "-".to_owned(),
            n: 0,
        }
    }

    /// From what `to_string` gives.
    pub fn read(text: &str) -> Option<Fault> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (deed, call, n) = match words.as_slice() {
            ["look", call, n] => (Deed::Look, call, n),
            ["kill", call, n] => (Deed::Kill, call, n),
            ["fail", call, n, how] => (Deed::Fail((*how).to_owned()), call, n),
            ["short", call, n, how] => (Deed::Short((*how).to_owned()), call, n),
            _ => return None,
        };
        Some(Fault {
            deed,
            call: (*call).to_owned(),
            n: n.parse().ok()?,
        })
    }
}

/// A program under a tracer: replaces `command`, whose user it gets.
pub fn command(
    program: &Path,
    ids: Option<(u32, u32)>,
    out: &Path,
    role: &str,
    fault: &Fault,
) -> Command {
    let ids = ids.map_or("-".to_owned(), |(uid, gid)| format!("{uid}:{gid}"));
    let own = std::env::current_exe().unwrap_or_else(|_| "crash".into());
    let mut command = Command::new(own);
    command
        .arg("trace")
        .arg(out)
        .arg(role)
        .arg(fault.to_string())
        .arg(ids)
        .arg(program);
    command
}

/// Becomes the program, with a tracer beside it. Comes back only if it cannot.
///
/// # Errors
/// No tracer, or no program.
pub fn become_traced(words: &[&str]) -> io::Result<()> {
    let [out, role, fault, ids, program, args @ ..] = words else {
        return Err(io::Error::other("trace OUT ROLE FAULT IDS PROGRAM"));
    };
    // Nobody may take the tracer for a child of the program.
    let started = Command::new("/bin/sh")
        .args([
            "-c",
            "\"$0\" \"$@\" </dev/null >/dev/null 2>\"$2.err\" 3>&- 4>&- &",
        ])
        .arg(std::env::current_exe()?)
        .args(["tracer", out, role, fault, &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .status()?;
    let ready = until(Duration::from_secs(10), || {
        fs::metadata(out).is_ok_and(|m| m.len() > 0).then_some(())
    });
    if !started.success() || ready.is_none() {
        return Err(io::Error::other("no tracer"));
    }
    let mut command = Command::new(program);
    command.args(args);
    if let Some((uid, gid)) = ids.split_once(':') {
        let number = |text: &str| text.parse().map_err(io::Error::other);
        command.uid(number(uid)?).gid(number(gid)?);
    }
    Err(command.exec())
}

/// One process or thread.
#[derive(Clone, Debug)]
struct Task {
    process: u32,
    role: String,
    /// the error that the call gets when it comes back
    answer: Option<i32>,
}

struct Tracer<'a> {
    out: fs::File,
    role: &'a str,
    fault: Fault,
    tasks: HashMap<u32, Task>,
    seen: usize,
    fired: bool,
    /// the process whose next write fails: its disk is full
    full: Option<u32>,
}

/// The tracer of process `of`; ends when the last process has.
///
/// # Errors
/// It may not trace.
pub fn run(out: &str, role: &str, fault: &str, of: &str) -> io::Result<()> {
    let of: u32 = of.parse().map_err(io::Error::other)?;
    let fault = Fault::read(fault).ok_or_else(|| io::Error::other("no such fault"))?;
    trace::seize(of)?;
    let mut tracer = Tracer {
        out: fs::File::create(PathBuf::from(out))?,
        role,
        fault,
        tasks: HashMap::new(),
        seen: 0,
        fired: false,
        full: None,
    };
    tracer.say("READY")?;
    while let Some(stop) = trace::next()? {
        tracer.at(stop)?;
    }
    tracer.say("OVER")
}

fn name_of(number: u64) -> Option<&'static str> {
    let found = trace::CALLS.iter().find(|(_, n)| *n == number);
    found.and_then(|(name, _)| name.strip_prefix("SYS_"))
}

impl Tracer<'_> {
    fn say(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(format!("{line}\n").as_bytes())
    }

    fn at(&mut self, stop: Stop) -> io::Result<()> {
        let (who, signal) = match stop {
            Stop::Gone(who) => {
                self.tasks.remove(&who);
                return Ok(());
            }
            Stop::Entry(who, request) => {
                self.know(who);
                if self.entry(who, request)? {
                    return Ok(());
                }
                (who, None)
            }
            Stop::Return(who) => {
                let answer = self.tasks.get_mut(&who).and_then(|t| t.answer.take());
                if let Some(errno) = answer {
                    // One that was killed meanwhile has nothing to be told.
                    let _ = trace::answer(who, errno);
                }
                (who, None)
            }
            Stop::Exec(who) => {
                self.tasks.remove(&who);
                if let Some(role) = role_of(who) {
                    let task = Task {
                        process: who,
                        role,
                        answer: None,
                    };
                    self.tasks.insert(who, task);
                }
                (who, None)
            }
            Stop::Signal(who, signal) => {
                self.know(who);
                (who, Some(signal))
            }
            Stop::Other(who) => {
                self.know(who);
                (who, None)
            }
        };
        let is_target = self.tasks.get(&who).is_some_and(|t| t.role == self.role);
        let at_work = !self.fired || self.full.is_some() || self.waits(who);
        let until = if is_target && at_work {
            Until::Call
        } else {
            Until::Event
        };
        trace::go(who, until, signal)
    }

    /// Whether its call must still be answered.
    fn waits(&self, who: u32) -> bool {
        self.tasks.get(&who).is_some_and(|t| t.answer.is_some())
    }

    /// A process or thread that was not seen before has the role of its process, or of its parent's child.
    fn know(&mut self, who: u32) {
        if self.tasks.contains_key(&who) {
            return;
        }
        let number = |field: &str| status(who, field).and_then(|t| t.parse::<u32>().ok());
        let process = number("Tgid:").unwrap_or(who);
        let known = |of: u32| self.tasks.get(&of).map(|t| t.role.clone());
        let role = if process == who {
            let parent = number("PPid:").and_then(known).unwrap_or_default();
            let parent = parent.strip_suffix("/child").unwrap_or(&parent);
            format!("{parent}/child")
        } else {
            known(process).unwrap_or_default()
        };
        let task = Task {
            process,
            role,
            answer: None,
        };
        self.tasks.insert(who, task);
    }

    /// Whether it is dead now.
    fn entry(&mut self, who: u32, request: Request) -> io::Result<bool> {
        let Some(task) = self.tasks.get(&who).filter(|t| t.role == self.role) else {
            return Ok(false);
        };
        let process = task.process;
        let Some(name) = name_of(request.number) else {
            return Ok(false);
        };
        if self.full == Some(process) && writes(name) && !is_channel(who, request.words[0]) {
            self.full = None;
            return self.refuse(who, "ENOSPC").map(|()| false);
        }
        if self.fired {
            return Ok(false);
        }
        let deed = self.fault.deed.clone();
        if deed == Deed::Look {
            let change = if changes(who, name, &request) {
                "change"
            } else {
                "-"
            };
            let short = writes(name) && !is_socket(who, request.words[0]) && request.words[2] > 1;
            let short = if short { "file" } else { "-" };
            let target = target(who, &request);
            self.say(&format!("CALL {name} {change} {short} {who} {target}"))?;
            return Ok(false);
        }
        if name != self.fault.call {
            return Ok(false);
        }
        let short = matches!(deed, Deed::Short(_));
        if short && (is_socket(who, request.words[0]) || request.words[2] <= 1) {
            return Ok(false);
        }
        self.seen += 1;
        if self.seen != self.fault.n {
            return Ok(false);
        }
        self.fired = true;
        let change = if changes(who, name, &request) {
            "change"
        } else {
            "-"
        };
        let target = target(who, &request);
        let what = format!("FIRED {} {} {change} {target}", self.role, self.fault);
        match &deed {
            Deed::Look => {}
            Deed::Kill => {
                sys::signal::send(process, Signal::SIGKILL)?;
                self.say(&what)?;
                return Ok(true);
            }
            Deed::Fail(error) => self.refuse(who, error)?,
            Deed::Short(how) => {
                let all = request.words[2];
                let length = match how.as_str() {
                    "one" => 1,
                    "less" => all - 1,
                    _ => all / 2,
                };
                if how == "full" {
                    self.full = Some(process);
                }
                trace::shorten(who, length)?;
            }
        }
        self.say(&what)?;
        Ok(false)
    }

    fn refuse(&mut self, who: u32, error: &str) -> io::Result<()> {
        let errno = ERRNOS.iter().find(|(name, _)| *name == error);
        let (_, errno) = errno.ok_or_else(|| io::Error::other("no such error"))?;
        trace::refuse(who)?;
        if let Some(task) = self.tasks.get_mut(&who) {
            task.answer = Some(*errno);
        }
        Ok(())
    }
}

fn status(who: u32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{who}/status")).ok()?;
    let line = text.lines().find(|l| l.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.to_owned())
}

/// The name of the program, with `-w` if it was called so.
fn role_of(who: u32) -> Option<String> {
    let exe = fs::read_link(format!("/proc/{who}/exe")).ok()?;
    let name = exe.file_name()?.to_str()?.to_owned();
    let line = fs::read(format!("/proc/{who}/cmdline")).unwrap_or_default();
    let is_worker = line.split(|b| *b == 0).skip(1).any(|word| word == b"-w");
    Some(if is_worker { name + " -w" } else { name })
}

fn link_of(who: u32, fd: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{who}/fd/{fd}")).ok()
}

fn is_socket(who: u32, fd: u64) -> bool {
    link_of(who, fd).is_some_and(|l| l.to_string_lossy().starts_with("socket:"))
}

/// A pipe or a socket: what one end does is seen at the other, which is another process.
fn is_channel(who: u32, fd: u64) -> bool {
    let Some(link) = link_of(who, fd) else {
        return false;
    };
    let text = link.to_string_lossy();
    if text.starts_with("pipe:") {
        return !is_own_pipe(who, &link);
    }
    text.starts_with("socket:") || fs::metadata(&link).is_ok_and(|m| m.file_type().is_fifo())
}

/// Whether a process holds both ends of a pipe: with that it wakes itself, and nobody else.
fn is_own_pipe(who: u32, link: &Path) -> bool {
    let all = fs::read_dir(format!("/proc/{who}/fd"))
        .into_iter()
        .flatten();
    let ends = all
        .flatten()
        .filter(|e| fs::read_link(e.path()).is_ok_and(|l| l == link));
    ends.count() > 1
}

/// A string in the memory of a process.
fn string_at(who: u32, address: u64) -> Option<PathBuf> {
    let memory = fs::File::open(format!("/proc/{who}/mem")).ok()?;
    let mut bytes = vec![0; 4096];
    let count = memory.read_at(&mut bytes, address).ok()?;
    let text = bytes.get(..count)?.split(|b| *b == 0).next()?;
    Some(std::ffi::OsStr::from_bytes(text).into())
}

/// Whether a name that is to be removed is there.
fn is_there(who: u32, dir: Option<u64>, address: u64) -> bool {
    let Some(name) = string_at(who, address) else {
        return true;
    };
    let cwd = fs::read_link(format!("/proc/{who}/cwd")).ok();
    let Some(dir) = dir.and_then(|fd| link_of(who, fd)).or(cwd) else {
        return true;
    };
    fs::symlink_metadata(dir.join(name)).is_ok()
}

fn writes(name: &str) -> bool {
    matches!(name, "write" | "pwrite64")
}

/// Whether a call changes something that others can see: files, names, locks, processes, or what stands in a pipe or
/// a socket. A kill at any other leaves what a kill at the next of these leaves.
fn changes(who: u32, name: &str, request: &Request) -> bool {
    /// `O_CREAT`, `O_TRUNC`
    const MAKES: u64 = 0o100 | 0o1000;
    match name {
        "write" | "writev" => {
            link_of(who, request.words[0]).is_none_or(|link| !is_own_pipe(who, &link))
        }
        "unlink" => is_there(who, None, request.words[0]),
        "unlinkat" => is_there(who, Some(request.words[0]), request.words[1]),
        "pwrite64" | "sendto" | "sendmsg" | "sendfile" | "copy_file_range" | "splice"
        | "recvfrom" | "recvmsg" | "creat" | "flock" | "fsync" | "fdatasync" | "syncfs"
        | "ftruncate" | "fallocate" | "link" | "linkat" | "rename" | "renameat" | "renameat2"
        | "symlinkat" | "mkdir" | "mkdirat" | "rmdir" | "mknodat" | "fchmod" | "fchmodat"
        | "fchown" | "fchownat" | "chmod" | "chown" | "utimensat" | "clone" | "clone3" | "fork"
        | "vfork" | "execve" | "exit_group" | "kill" | "connect" | "bind" | "listen" | "accept"
        | "accept4" | "shutdown" => true,
        "read" | "readv" | "close" => is_channel(who, request.words[0]),
        "open" => request.words[1] & MAKES != 0,
        "openat" => request.words[2] & MAKES != 0,
        _ => false,
    }
}

/// What a call is about, for people.
fn target(who: u32, request: &Request) -> String {
    link_of(who, request.words[0]).map_or(String::new(), |l| l.display().to_string())
}
