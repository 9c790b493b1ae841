//! kit: what the tests share. Scratch directories, scratch homes, programs under test with a time limit.
//!
//! Programs   none; a library for tests
//! Runs as    the tester
//! Reads      the built programs
//! Writes     scratch directories below the system's place for temporary files
//! May use    sys
//! Source     docs/architecture.md

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]
#![allow(
    clippy::missing_panics_doc,
    clippy::format_push_string,
    reason = "a test ends by a panic"
)]

pub mod office;
pub mod smtp;

pub mod dns;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sys::process::End;
use sys::spawn::Spawn;

/// How long a program under test may run, and how long a test waits for what must come: long, since what is right comes
/// soon, and a machine with much to do has no say in what is right.
pub const LIMIT: Duration = Duration::from_mins(2);

/// A directory that is removed at the end.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// A fresh directory, mode 0755, so that other uids can be tried inside it.
    pub fn new(name: &str) -> Scratch {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("qmail-rs-{name}-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Scratch { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file inside, with the directories above it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes an executable shell script inside. `text` is what follows the first line.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        executable(&path, format!("#!/bin/sh\n{text}\n"));
        path
    }

    /// Reads a file inside.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The directory of the programs that cargo built for these tests.
///
/// It holds those of the crate under test, and those of others that an earlier build left or that
/// `cargo test --workspace` built.
pub fn bin_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().to_path_buf()
}

/// The path of a built program.
pub fn program(name: &str) -> PathBuf {
    bin_dir().join(name)
}

/// Writes a file, mode 0755, that can be run at once; one that is there is replaced.
///
/// Another process writes it. If this one did, a process that another test makes at that moment would have a copy of the
/// descriptor, and until it has closed that, the kernel lets nobody run the file ("text file busy").
pub fn executable(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let mut child = install(Path::new("/dev/stdin"), path.as_ref())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(bytes.as_ref()).unwrap();
    drop(stdin);
    let end = child.wait().unwrap();
    assert!(end.success(), "{}: {end}", path.as_ref().display());
}

/// A copy of a program, mode 0755, that can be run at once, as `executable`.
pub fn copy_executable(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let done = install(from.as_ref(), to.as_ref()).status().unwrap();
    let from = from.as_ref().display();
    assert!(done.success(), "{from}: {done}: build the workspace first");
}

fn install(from: &Path, to: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("install");
    command.args(["-m", "755", "--"]).arg(from).arg(to);
    command
}

/// Whether the tests run as root. When they do not, a test that needs root says so and ends.
pub fn is_root(test: &str) -> bool {
    if sys::ids::euid() == 0 {
        return true;
    }
    eprintln!("SKIPPED (needs root): {test}");
    false
}

/// A scratch home of qmail in single-uid style: queue, control, bin with links to the built programs, alias, users.
#[derive(Debug)]
pub struct Home {
    scratch: Scratch,
}

/// The split of a scratch queue.
pub const SPLIT: u64 = 23;

impl Home {
    /// A home for host `host.test`: `me` and `locals` say so, `rcpthosts` too; no users, empty queue.
    pub fn new(name: &str) -> Home {
        let home = Home {
            scratch: Scratch::new(name),
        };
        for dir in ["control", "alias", "users", "queue"] {
            fs::create_dir_all(home.join(dir)).unwrap();
        }
        symlink(bin_dir(), home.join("bin")).unwrap();
        for dir in ["pid", "intd", "todo", "bounce", "lock"] {
            fs::create_dir_all(home.join("queue").join(dir)).unwrap();
        }
        for dir in ["mess", "info", "local", "remote"] {
            for n in 0..SPLIT {
                fs::create_dir_all(home.join("queue").join(dir).join(n.to_string())).unwrap();
            }
        }
        fs::write(home.join("queue/lock/sendmutex"), "").unwrap();
        fs::write(home.join("queue/lock/tcpto"), [0u8; 1024]).unwrap();
        let lock = sys::Dir::open(home.join("queue/lock")).unwrap();
        lock.make_fifo(b"trigger", 0o622).unwrap();
        for file in ["me", "locals", "rcpthosts"] {
            home.control(file, "host.test\n");
        }
        home
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// A path inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.join(name)
    }

    /// Writes a control file.
    pub fn control(&self, name: &str, text: &str) {
        fs::write(self.join("control").join(name), text).unwrap();
    }

    /// Writes an executable shell script inside. `text` is what follows the first line.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        self.scratch.script(name, text)
    }

    /// Reads a file inside.
    pub fn read(&self, name: &str) -> Vec<u8> {
        self.scratch.read(name)
    }

    /// Writes any file inside.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        self.scratch.write(name, text)
    }

    /// Replaces `bin` by a directory with a link to every built program, so that single ones can be exchanged.
    pub fn own_bin(&self) -> PathBuf {
        let bin = self.join("bin");
        if fs::symlink_metadata(&bin).unwrap().is_symlink() {
            fs::remove_file(&bin).unwrap();
            fs::create_dir(&bin).unwrap();
            for entry in fs::read_dir(bin_dir()).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    symlink(entry.path(), bin.join(entry.file_name())).unwrap();
                }
            }
        }
        bin
    }

    /// Replaces one program by a shell script.
    pub fn fake(&self, program: &str, script: &str) {
        let bin = self.own_bin();
        let _ = fs::remove_file(bin.join(program));
        self.scratch.script(&format!("bin/{program}"), script);
    }

    /// Every file below a queue directory, as `split/id` or `id`, sorted.
    pub fn queue(&self, dir: &str) -> Vec<String> {
        let top = self.join("queue").join(dir);
        let mut found = Vec::new();
        for entry in fs::read_dir(&top).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                for file in fs::read_dir(entry.path()).unwrap().flatten() {
                    found.push(format!(
                        "{name}/{}",
                        file.file_name().into_string().unwrap()
                    ));
                }
            } else {
                found.push(name);
            }
        }
        found.sort();
        found
    }

    /// A run of one of our programs with this home in QMAILHOME and its bin first in PATH.
    pub fn run(&self, name: &str) -> Run {
        Run::new(program(name))
            .env("QMAILHOME", self.path().to_str().unwrap())
            .env(
                "PATH",
                &format!("{}:/usr/bin:/bin", self.join("bin").display()),
            )
    }
}

/// A program to run under test. Its environment is empty but for what is set here.
#[derive(Debug)]
pub struct Run {
    program: PathBuf,
    args: Vec<Vec<u8>>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    input: Vec<(i32, Vec<u8>)>,
    closed: Vec<i32>,
    dir: Option<PathBuf>,
    collect: Vec<i32>,
    limit: Duration,
    ids: Option<sys::ids::Ids>,
    group: bool,
}

/// What a program under test did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// how it ended
    pub end: End,
    /// what it wrote on descriptor 1
    pub out: Vec<u8>,
    /// what it wrote on descriptor 2
    pub err: Vec<u8>,
    /// what it wrote on other collected descriptors, in the order asked for
    pub more: Vec<Vec<u8>>,
}

impl Output {
    /// The exit code.
    pub fn code(&self) -> u8 {
        match self.end {
            End::Exit(code) => code,
            End::Signal(n) => panic!("ended by signal {n}; stderr: {}", self.err_text()),
        }
    }

    /// Descriptor 1 as text.
    pub fn out_text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Descriptor 2 as text.
    pub fn err_text(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }
}

impl Run {
    /// A program by its path; without a slash it is looked up in PATH of the tests.
    pub fn new(program: impl Into<PathBuf>) -> Run {
        Run {
            program: program.into(),
            args: Vec::new(),
            env: vec![(b"PATH".to_vec(), b"/usr/bin:/bin".to_vec())],
            input: Vec::new(),
            closed: Vec::new(),
            dir: None,
            collect: Vec::new(),
            limit: LIMIT,
            ids: None,
            group: false,
        }
    }

    /// Leads a process group of its own, so that it and its children can be killed together.
    #[must_use]
    pub fn own_group(mut self) -> Run {
        self.group = true;
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Run {
        self.args.push(arg.as_ref().to_vec());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<T: AsRef<[u8]>>(mut self, args: impl IntoIterator<Item = T>) -> Run {
        self.args
            .extend(args.into_iter().map(|a| a.as_ref().to_vec()));
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Run {
        self.env.retain(|(n, _)| n != name.as_bytes());
        self.env
            .push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        self
    }

    /// What the program reads on descriptor 0. Without it, nothing (end of file).
    #[must_use]
    pub fn stdin(self, bytes: impl AsRef<[u8]>) -> Run {
        self.input(0, bytes)
    }

    /// What the program reads on another descriptor.
    #[must_use]
    pub fn input(mut self, number: i32, bytes: impl AsRef<[u8]>) -> Run {
        self.input.retain(|(n, _)| *n != number);
        self.input.push((number, bytes.as_ref().to_vec()));
        self
    }

    /// Collects what the program writes on one more descriptor.
    #[must_use]
    pub fn collect(mut self, number: i32) -> Run {
        self.collect.push(number);
        self
    }

    /// Closes a descriptor for the program.
    #[must_use]
    pub fn closed(mut self, number: i32) -> Run {
        self.closed.push(number);
        self
    }

    /// The working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Run {
        self.dir = Some(dir.into());
        self
    }

    /// Another time limit.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Run {
        self.limit = limit;
        self
    }

    /// Runs as another user (root only).
    #[must_use]
    pub fn ids(mut self, uid: u32, gid: u32) -> Run {
        self.ids = Some(sys::ids::Ids::new(uid, gid));
        self
    }

    fn spawn(&self, fds: &[(i32, std::os::fd::BorrowedFd<'_>)]) -> u32 {
        let mut spawn = Spawn::new(self.program.as_os_str().as_encoded_bytes())
            .args(&self.args)
            .env(self.env.clone());
        for (number, fd) in fds {
            if !self.closed.contains(number) {
                spawn = spawn.fd(*number, *fd);
            }
        }
        for number in &self.closed {
            spawn = spawn.without_fd(*number);
        }
        if let Some(dir) = &self.dir {
            spawn = spawn.dir(dir.as_os_str().as_encoded_bytes());
        }
        if let Some(ids) = &self.ids {
            spawn = spawn.ids(ids.clone());
        }
        if self.group {
            spawn = spawn.new_group();
        }
        hear_signals();
        spawn
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.program.display()))
    }

    /// Runs to the end; a program over its limit is killed and fails the test.
    pub fn output(self) -> Output {
        let mut inputs: Vec<(i32, OwnedFd, OwnedFd, Vec<u8>)> = Vec::new();
        let mut wanted = self.input.clone();
        if !wanted.iter().any(|(n, _)| *n == 0) {
            wanted.push((0, Vec::new()));
        }
        for (number, bytes) in wanted {
            let (reader, writer) = sys::fd::pipe().unwrap();
            inputs.push((number, reader, writer, bytes));
        }
        let mut outputs: Vec<(i32, OwnedFd, OwnedFd)> = Vec::new();
        for number in [1, 2].into_iter().chain(self.collect.iter().copied()) {
            if !inputs.iter().any(|(n, ..)| *n == number) {
                let (reader, writer) = sys::fd::pipe().unwrap();
                outputs.push((number, reader, writer));
            }
        }
        let fds: Vec<_> = inputs
            .iter()
            .map(|(n, reader, ..)| (*n, reader.as_fd()))
            .chain(outputs.iter().map(|(n, _, writer)| (*n, writer.as_fd())))
            .collect();
        let pid = self.spawn(&fds);
        let writers: Vec<_> = inputs
            .into_iter()
            .map(|(_, reader, writer, bytes)| {
                drop(reader);
                std::thread::spawn(move || {
                    // A program may end without reading all.
                    let _ = fs::File::from(writer).write_all(&bytes);
                })
            })
            .collect();
        let readers: Vec<_> = outputs
            .into_iter()
            .map(|(number, reader, writer)| {
                drop(writer);
                let thread = std::thread::spawn(move || {
                    let mut bytes = Vec::new();
                    let _ = fs::File::from(reader).read_to_end(&mut bytes);
                    bytes
                });
                (number, thread)
            })
            .collect();
        let end = wait(pid, self.limit).unwrap_or_else(|| {
            let _ = sys::signal::send(pid, sys::signal::Signal::SIGKILL);
            let _ = sys::process::wait_for(pid);
            panic!(
                "{} {:?} ran over {:?}",
                self.program.display(),
                self.args,
                self.limit
            )
        });
        for writer in writers {
            writer.join().unwrap();
        }
        let mut output = Output {
            end,
            out: Vec::new(),
            err: Vec::new(),
            more: Vec::new(),
        };
        for (number, reader) in readers {
            let bytes = reader.join().unwrap();
            match number {
                1 => output.out = bytes,
                2 => output.err = bytes,
                _ => output.more.push(bytes),
            }
        }
        output
    }

    /// Starts it and goes on; descriptors 1 and 2 go to the file `log`, descriptor 0 is /dev/null.
    pub fn start(self, log: impl AsRef<Path>) -> Daemon {
        let null = fs::File::open("/dev/null").unwrap();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let pid = self.spawn(&[(0, null.as_fd()), (1, log.as_fd()), (2, log.as_fd())]);
        Daemon {
            pid,
            group: self.group,
            ended: None,
        }
    }
}

/// What runs in the background, or below nohup, ignores these signals, and so would every program under test; a shell
/// cannot even trap them. A signal that is caught here has its default action there, and still does not end the tests.
fn hear_signals() {
    use sys::signal::Signal;

    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
        let ignored = line.and_then(|l| u64::from_str_radix(l.trim(), 16).ok());
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            if ignored.unwrap_or(0) >> (signal as u32 - 1) & 1 == 1 {
                sys::signal::catch(signal).unwrap();
            }
        }
    });
}

/// A program that runs beside the test; it is killed at the end if it still does, with its group if it leads one.
#[derive(Debug)]
pub struct Daemon {
    pid: u32,
    /// it leads a process group
    group: bool,
    ended: Option<End>,
}

impl Daemon {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: sys::signal::Signal) {
        if self.ended.is_none() {
            sys::signal::send(self.pid, signal).unwrap();
        }
    }

    /// Kills it and every process of its group (`Run::own_group`), as a power cut would.
    pub fn kill_group(&mut self) {
        if self.ended.is_none() {
            let _ = sys::signal::send_group(self.pid, sys::signal::Signal::SIGKILL);
            self.ended = wait(self.pid, LIMIT);
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = sys::process::ended_pid(self.pid).unwrap();
        }
        self.ended.is_none()
    }

    /// Waits for its end; one over the limit fails the test.
    pub fn wait(&mut self, limit: Duration) -> End {
        if self.ended.is_none() {
            self.ended = wait(self.pid, limit);
        }
        self.ended
            .unwrap_or_else(|| panic!("process {} ran over {limit:?}", self.pid))
    }

    /// Sends SIGTERM and waits.
    pub fn stop(&mut self) -> End {
        self.signal(sys::signal::Signal::SIGTERM);
        self.wait(LIMIT)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_running() {
            if self.group {
                let _ = sys::signal::send_group(self.pid, sys::signal::Signal::SIGKILL);
            }
            let _ = sys::signal::send(self.pid, sys::signal::Signal::SIGKILL);
            let _ = sys::process::wait_for(self.pid);
        }
    }
}

fn wait(pid: u32, limit: Duration) -> Option<End> {
    until(limit, || sys::process::ended_pid(pid).unwrap())
}

/// Asks `condition` again and again until it gives something, or `limit` is over.
pub fn until<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A port that nobody has on any address, for a program that must be told one. No other test gets it while this program
/// runs, and the kernel gives it to nobody by itself.
pub fn free_port() -> u16 {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    use std::sync::Mutex;

    /// Where the kernel's own choices begin, if it does not say.
    const USUAL: u16 = 32_768;
    static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let chosen = range
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .filter(|n| *n > 12_000)
        .unwrap_or(USUAL);
    let count = u32::from(chosen - 10_000);
    let from = std::process::id().wrapping_mul(97) + COUNT.fetch_add(1, Ordering::Relaxed);
    for n in 0..count {
        let port = 10_000 + u16::try_from((from.wrapping_add(n)) % count).unwrap();
        // A name that goes with its process: whoever has it has the port.
        let name = SocketAddr::from_abstract_name(format!("qmail-rs-port-{port}")).unwrap();
        let Ok(mark) = UnixListener::bind_addr(&name) else {
            continue;
        };
        if !is_local_port(port) {
            TAKEN.lock().unwrap().push(mark);
            return port;
        }
    }
    panic!("no port is free");
}

/// Whether a TCP socket of this machine has this port. Looked up, not tried: a process that another test makes meanwhile
/// would have a copy of the socket, and the port would not be free for a moment.
fn is_local_port(port: u16) -> bool {
    let end = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let table = fs::read_to_string(table).unwrap_or_default();
        table.lines().any(|l| {
            l.split_whitespace()
                .nth(1)
                .is_some_and(|a| a.ends_with(&end))
        })
    })
}

/// Waits until `condition` holds; fails the test with `what` after `LIMIT`.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(
        until(LIMIT, || condition().then_some(())).is_some(),
        "never happened: {what}"
    );
}
