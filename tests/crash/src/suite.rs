//! The programs under test in a home of their own: submit, start, drain, and look at what is there.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kit::{Scratch, until};
use sys::signal::Signal;

use crate::disk::quiet;
use crate::trace::{self, Fault};

/// An id without an account's rights: runs ours, owns the mailboxes.
const NOBODY: u32 = 65_534;
/// Queue directories with one level below them.
const SPLIT_DIRS: [&str; 4] = ["mess", "info", "local", "remote"];
/// Queue directories without.
const FLAT_DIRS: [&str; 5] = ["pid", "intd", "todo", "bounce", "lock"];
/// How long one submission may take.
const SUBMIT_LIMIT: Duration = Duration::from_secs(20);

/// How long a session of one program may take.
pub const SESSION_LIMIT: Duration = Duration::from_secs(10);

/// How often what is deferred is made due.
const PUSH: Duration = Duration::from_millis(50);

/// Where mailboxes are, below the place for mail.
pub const USERS: [&str; 2] = ["alice", "bob"];

/// A home with programs.
#[derive(Debug)]
pub struct Suite {
    /// everything below here is ours to break
    pub scratch: Scratch,
    /// home of qmail
    pub home: PathBuf,
    /// C programs with a compiled home and their own uids
    pub reference: bool,
    /// who runs the programs
    pub ids: (u32, u32),
    /// the program that runs under a tracer, if any
    pub trace: Option<Trace>,
    /// more for the environment of all programs
    pub env: Vec<(&'static str, &'static str)>,
    port: u16,
}

/// Which program is traced, and what happens to whom.
#[derive(Clone, Debug)]
pub struct Trace {
    /// the program that the harness starts
    pub program: &'static str,
    /// where the tracer writes
    pub out: PathBuf,
    /// the processes that are meant, see `trace`
    pub role: &'static str,
    /// what happens to one of them
    pub fault: Fault,
}

/// One message of the workload.
#[derive(Clone, Debug)]
pub struct Mail {
    /// its text, without what the programs put in front
    pub body: Vec<u8>,
    /// where it goes
    pub recipients: Vec<String>,
    /// where it comes from
    pub sender: &'static str,
}

impl Mail {
    /// Message number `n`: sizes from a hundred bytes to twenty thousand.
    pub fn new(run: &str, n: usize, recipients: &[&str]) -> Mail {
        let mut body = format!("From: bob@host.test\nSubject: {run} {n}\n\n").into_bytes();
        for line in 0..[1, 40, 3, 300, 9][n % 5] {
            body.extend_from_slice(
                format!(
                    "line {line} of message {run}-{n}: the quick brown fox jumps over the dog\n"
                )
                .as_bytes(),
            );
        }
        body.extend_from_slice(format!("end of {run}-{n}\n").as_bytes());
        Mail {
            body,
            recipients: recipients.iter().map(|r| (*r).to_owned()).collect(),
            sender: "bob@host.test",
        }
    }

    /// Whether `text` is this message whole, below any header or notice.
    pub fn ends(&self, text: &[u8]) -> bool {
        let blank = find(&self.body, b"\n\n").unwrap_or(0);
        let subject = find(&self.body, b"Subject: ").unwrap_or(0);
        // qmail-inject writes the header anew: its lines may stand elsewhere.
        text.ends_with(&self.body[blank..]) && find(text, &self.body[subject..=blank]).is_some()
    }

    fn envelope(&self) -> Vec<u8> {
        let mut envelope = format!("F{}\0", self.sender).into_bytes();
        for recipient in &self.recipients {
            envelope.extend_from_slice(format!("T{recipient}\0").as_bytes());
        }
        envelope.push(0);
        envelope
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

fn own(path: &Path, ids: (u32, u32)) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(ids.0), Some(ids.1))?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path(), ids)?;
        }
    }
    Ok(())
}

/// Every plain file below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

impl Suite {
    /// Our programs, copied from `bin`; run as one ordinary user.
    ///
    /// # Errors
    /// A program is missing.
    pub fn ours(name: &str, bin: &Path, port: u16) -> io::Result<Suite> {
        let scratch = Scratch::new(name);
        let home = scratch.join("home");
        fs::create_dir_all(home.join("bin"))?;
        for entry in fs::read_dir(bin)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("qmail-") && entry.file_type()?.is_file() {
                fs::copy(entry.path(), home.join("bin").join(name))?;
            }
        }
        let ids = if sys::ids::euid() == 0 {
            (NOBODY, NOBODY)
        } else {
            (sys::ids::euid(), sys::ids::gid())
        };
        let template = scratch.join("template");
        for dir in FLAT_DIRS {
            fs::create_dir_all(template.join(dir))?;
        }
        for dir in SPLIT_DIRS {
            for n in 0..kit::SPLIT {
                fs::create_dir_all(template.join(dir).join(n.to_string()))?;
            }
        }
        fs::write(template.join("lock/sendmutex"), "")?;
        fs::write(template.join("lock/tcpto"), [0; 1024])?;
        let lock = sys::Dir::open(template.join("lock"))?;
        lock.make_fifo(b"trigger", 0o622)?;
        own(&template, ids)?;
        let suite = Suite {
            scratch,
            home,
            reference: false,
            ids,
            trace: None,
            env: Vec::new(),
            port,
        };
        suite.furnish()?;
        Ok(suite)
    }

    /// C programs, installed at `home`: a copy of it is mounted over it. Root, in a mount namespace of its own.
    ///
    /// # Errors
    /// It cannot be copied or mounted.
    pub fn reference(name: &str, home: &Path, port: u16) -> io::Result<Suite> {
        let scratch = Scratch::new(name);
        let copy = scratch.join("copy");
        fs::create_dir(&copy)?;
        for entry in fs::read_dir(home)? {
            let entry = entry?;
            if entry.file_name() != "queue"
                && !quiet(Command::new("cp").arg("-a").arg(entry.path()).arg(&copy))
            {
                return Err(io::Error::other("unable to copy the reference"));
            }
        }
        // The directories of its queue with their owners, without its mail.
        let template = scratch.join("template");
        let queue = home.join("queue");
        copy_dirs(&queue, &template)?;
        fs::remove_dir(template.join("lock"))?;
        let mut cp = Command::new("cp");
        if !quiet(cp.arg("-a").arg(queue.join("lock")).arg(&template))
            || !quiet(Command::new("mount").arg("--bind").arg(&copy).arg(home))
        {
            return Err(io::Error::other("unable to mount the reference's copy"));
        }
        let suite = Suite {
            scratch,
            home: home.to_owned(),
            reference: true,
            ids: (0, 0),
            trace: None,
            env: Vec::new(),
            port,
        };
        suite.furnish()?;
        Ok(suite)
    }

    /// Control files, users, and the links to the places where queue and mail will be.
    fn furnish(&self) -> io::Result<()> {
        for dir in ["control", "alias", "users", "run/queue"] {
            fs::create_dir_all(self.home.join(dir))?;
        }
        for name in ["me", "locals", "rcpthosts", "defaultdomain", "plusdomain"] {
            fs::write(self.home.join("control").join(name), "host.test\n")?;
        }
        for (name, text) in [
            ("doublebounceto", "bob\n"),
            ("doublebouncehost", "host.test\n"),
        ] {
            fs::write(self.home.join("control").join(name), text)?;
        }
        let route = format!("elsewhere.test:127.0.0.1:{}\n", self.port);
        fs::write(self.home.join("control/smtproutes"), route)?;
        fs::write(self.home.join("control/timeoutremote"), "20\n")?;
        for dir in ["q", "m"] {
            fs::create_dir_all(self.scratch.join(dir))?;
        }
        symlink(self.scratch.join("q/queue"), self.home.join("queue"))?;
        let (uid, gid) = self.user();
        let mut assign = String::new();
        for user in USERS {
            let at = self.scratch.join("m").join(user).display().to_string();
            assign += &format!(
                "={user}:{user}:{uid}:{gid}:{at}:::\n+{user}-:{user}:{uid}:{gid}:{at}:-::\n"
            );
        }
        fs::write(self.home.join("users/assign"), assign + ".\n")?;
        if !self.reference {
            own(&self.home, self.ids)?;
        }
        if quiet(&mut self.command("qmail-newu")) {
            Ok(())
        } else {
            Err(io::Error::other("qmail-newu failed"))
        }
    }

    fn user(&self) -> (u32, u32) {
        if self.reference {
            (NOBODY, NOBODY)
        } else {
            self.ids
        }
    }

    /// An empty queue at q/queue.
    ///
    /// # Errors
    /// The copy failed.
    pub fn make_queue(&self) -> io::Result<()> {
        let mut cp = Command::new("cp");
        cp.arg("-a")
            .arg(self.scratch.join("template"))
            .arg(self.queue());
        if quiet(&mut cp) {
            Ok(())
        } else {
            Err(io::Error::other("unable to make a queue"))
        }
    }

    /// Empty mailboxes below m.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn make_mailboxes(&self) -> io::Result<()> {
        for user in USERS {
            let top = self.scratch.join("m").join(user);
            for dir in ["tmp", "new", "cur"] {
                fs::create_dir_all(top.join("Maildir").join(dir))?;
            }
            // alice-copy goes through the queue a second time.
            fs::write(top.join(".qmail-copy"), "&alice@host.test\n")?;
            own(&top, self.user())?;
        }
        Ok(())
    }

    /// Where the queue is.
    pub fn queue(&self) -> PathBuf {
        self.scratch.join("q/queue")
    }

    /// A user's Maildir.
    pub fn maildir(&self, user: &str) -> PathBuf {
        self.scratch.join("m").join(user).join("Maildir")
    }

    /// One of the programs.
    pub fn command(&self, program: &str) -> Command {
        let path = self.home.join("bin").join(program);
        let ids = (!self.reference && sys::ids::euid() == 0).then_some(self.ids);
        let traced = self.trace.as_ref().filter(|t| t.program == program);
        let mut command = match traced {
            Some(t) => trace::command(&path, ids, &t.out, t.role, &t.fault),
            None => Command::new(path),
        };
        command
            .env_clear()
            .env("PATH", format!("{}/bin:/usr/bin:/bin", self.home.display()))
            .env("QMAILHOME", &self.home)
            .envs(self.env.iter().copied())
            .current_dir(&self.home);
        if let (Some((uid, gid)), None) = (ids, traced) {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the queue service and waits until it listens. Its socket is there then.
    ///
    /// # Errors
    /// It cannot be started, or ended at once.
    pub fn serve(&self) -> io::Result<Running> {
        let log = self.scratch.join("service");
        let file = fs::File::create(&log)?;
        let socket = self.home.join("run/queue/socket");
        let _ = fs::remove_file(&socket);
        let child = self
            .command("qmail-queued")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()?;
        let mut running = Running {
            child,
            log,
            gone: false,
        };
        // Under a tracer it may die before.
        let _ = until(SUBMIT_LIMIT, || {
            (socket.exists() || !running.runs()).then_some(())
        });
        Ok(running)
    }

    /// Gives a message to qmail-queue. `None`: it did not end in time.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn submit(&self, mail: &Mail) -> io::Result<Option<ExitStatus>> {
        let (message, to_message) = sys::fd::pipe()?;
        let (envelope, to_envelope) = sys::fd::pipe()?;
        let mut child = self
            .command("qmail-queue")
            .stdin(Stdio::from(message))
            .stdout(Stdio::from(envelope))
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let body = mail.body.clone();
        // It may end without reading all.
        let writer = std::thread::spawn(move || {
            let _ = fs::File::from(to_message).write_all(&body);
        });
        let _ = fs::File::from(to_envelope).write_all(&mail.envelope());
        let end = wait(&mut child, SUBMIT_LIMIT);
        let _ = writer.join();
        outlast(child.id());
        end
    }

    /// Gives a message to qmail-inject. Whether it was taken.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn inject(&self, mail: &Mail) -> io::Result<bool> {
        let mut inject = self.command("qmail-inject");
        inject
            .args([&format!("-f{}", mail.sender), "-a"])
            .args(&mail.recipients);
        let (code, _) = talk(&mut inject, &mail.body)?;
        Ok(code == Some(0))
    }

    /// Starts qmail-start with its log in a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self) -> io::Result<Running> {
        let log = self.scratch.join("log");
        let file = fs::File::create(&log)?;
        let child = self
            .command("qmail-start")
            .arg("./Maildir/")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()?;
        Ok(Running {
            child,
            log,
            gone: false,
        })
    }

    /// Whether nothing is left for qmail-send to do.
    pub fn is_empty(&self) -> bool {
        ["todo", "info", "local", "remote", "bounce"]
            .iter()
            .all(|d| files(&self.queue().join(d)).is_empty())
    }

    /// Starts qmail-send, waits for an empty queue, stops it. `Err` says what is stuck.
    pub fn drain(&self, limit: Duration) -> Result<(), String> {
        let mut running = self.start().map_err(|e| e.to_string())?;
        let mut pushed = Instant::now();
        let done = until(limit, || {
            if self.is_empty() || !running.runs() {
                return Some(());
            }
            // What was deferred is due at once. The line says that the signal is caught by now.
            if pushed.elapsed() > PUSH && running.log().contains("status: ") {
                let _ = sys::signal::send(running.child.id(), Signal::SIGALRM);
                pushed = Instant::now();
            }
            None
        });
        let alive = running.runs();
        let processes = members(running.child.id());
        running.stop();
        if done.is_some() && alive && self.is_empty() {
            return Ok(());
        }
        let log = running.log();
        let tail: Vec<&str> = log.lines().rev().take(12).collect();
        let left: Vec<String> = files(&self.queue())
            .iter()
            .filter_map(|p| Some(p.strip_prefix(self.queue()).ok()?.display().to_string()))
            .collect();
        Err(format!(
            "{}; queue {left:?}; processes {processes:?}; log, newest first: {tail:?}",
            if alive {
                "not drained"
            } else {
                "qmail-send ended"
            }
        ))
    }

    /// Every message that stands in a user's new/.
    pub fn delivered(&self, user: &str) -> Vec<Vec<u8>> {
        files(&self.maildir(user).join("new"))
            .iter()
            .filter_map(|p| fs::read(p).ok())
            .collect()
    }

    /// The messages that qmail-send can see, each with its text (nothing if the text is not there).
    pub fn visible(&self) -> Vec<(String, Vec<u8>)> {
        let queue = self.queue();
        let mut ids: Vec<String> = ["todo", "info"]
            .iter()
            .flat_map(|d| files(&queue.join(d)))
            .filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()))
            .collect();
        ids.sort();
        ids.dedup();
        ids.into_iter()
            .map(|id| {
                let split = id.parse::<u64>().unwrap_or(0) % kit::SPLIT;
                let path = queue.join("mess").join(split.to_string()).join(&id);
                let text = fs::read(path).unwrap_or_default();
                (id, text)
            })
            .collect()
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        // What is mounted inside would keep the scratch directory.
        if self.reference {
            quiet(Command::new("umount").arg("-l").arg(&self.home));
        }
        for dir in ["m", "q"] {
            quiet(Command::new("umount").arg("-l").arg(self.scratch.join(dir)));
        }
    }
}

/// The same directories with the same owners and modes, without files.
fn copy_dirs(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::metadata(from)?;
    fs::create_dir(to)?;
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_dirs(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Waits for a child; one over the limit is killed and gives `None`.
///
/// # Errors
/// It cannot be waited for.
pub fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut nap = Duration::from_micros(300);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(2));
    }
}

/// Waits until no process of a group runs: the children of one that was killed may still be at work.
pub fn outlast(group: u32) {
    let _ = until(SUBMIT_LIMIT, || (!group_runs(group)).then_some(()));
}

/// Whether a process of the group runs; one that ended and was not yet waited for does not.
fn group_runs(group: u32) -> bool {
    !members(group).is_empty()
}

/// The processes of a group, each with its state and where it waits in the kernel.
fn members(group: u32) -> Vec<String> {
    let of_group = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // pid (name) state parent group
        let (name, after) = stat.rsplit_once(')')?;
        let words: Vec<&str> = after.split_whitespace().take(3).collect();
        let [state, _, of] = words.as_slice() else {
            return None;
        };
        if *state == "Z" || of.parse() != Ok(group) {
            return None;
        }
        let place = fs::read_to_string(entry.path().join("syscall")).unwrap_or_default();
        Some(format!("{name}) {state} {}", place.trim()))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(of_group).collect()
}

/// A running qmail-start with all its children.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    /// killed already: the number of the group may be another's by now
    gone: bool,
}

impl Running {
    /// Whether qmail-send still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends SIGALRM: all that waits is due.
    pub fn push(&self) {
        let _ = sys::signal::send(self.child.id(), Signal::SIGALRM);
    }

    /// Stops it in order; after two seconds, by force.
    pub fn stop(&mut self) {
        if self.runs() {
            let _ = sys::signal::send(self.child.id(), Signal::SIGTERM);
            let _ = until(Duration::from_secs(2), || (!self.runs()).then_some(()));
        }
        self.kill();
    }

    /// Kills the whole group, which nobody survives.
    pub fn kill(&mut self) {
        if std::mem::replace(&mut self.gone, true) {
            return;
        }
        let group = self.child.id();
        let _ = sys::signal::send_group(group, Signal::SIGKILL);
        let _ = self.child.wait();
        // The others are not our children: wait until nothing of the group runs.
        let _ = until(Duration::from_secs(5), || {
            (!group_runs(group)).then_some(())
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program with an input; its exit code and what it said on descriptor 1.
fn talk(command: &mut Command, input: &[u8]) -> io::Result<(Option<i32>, Vec<u8>)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let stdin = child.stdin.take();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(&input);
        }
    });
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stdout) = stdout {
            let _ = io::Read::read_to_end(&mut stdout, &mut said);
        }
        said
    });
    let status = wait(&mut child, SESSION_LIMIT)?;
    let _ = writer.join();
    let said = reader.join().unwrap_or_default();
    outlast(child.id());
    Ok((status.and_then(|s| s.code()), said))
}
