//! Kills and errors: every process at its n-th call of a kind, by strace; then a restart, a drain and a count.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kit::until;

use crate::sink::Sink;
use crate::suite::{Mail, Suite, USERS, files, outlast, wait};

/// Calls that change something or wait for somebody.
const CALLS: &str = "write,writev,pwrite64,sendto,read,readv,pread64,open,openat,creat,fsync,fdatasync,syncfs,link,linkat,\
unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,ftruncate,fchmod,fchown,clone,clone3,fork,vfork,execve,pipe,pipe2,\
connect,socket,chdir,fchdir,wait4,waitid,flock,fcntl,poll,close,dup2,dup3,utimensat,getdents64,lseek,newfstatat,fstat,alarm";

/// What ENOSPC and its like may hit. fork and exec get EAGAIN and ENOMEM too.
const ERRORS: [&str; 9] = [
    "ENOSPC", "EIO", "EMFILE", "ENFILE", "ENOMEM", "EDQUOT", "EROFS", "EINTR", "EACCES",
];

/// Where files end for a short write, bytes.
const LIMITS: [u32; 24] = [
    0, 1, 7, 33, 64, 100, 128, 200, 256, 300, 400, 512, 700, 1000, 1500, 2000, 3000, 4095, 4096,
    4097, 8192, 16384, 20000, 24000,
];

/// Names the variable that holds one fault, as a finding says it: only that one is tried, and its trace is shown.
const ONE: &str = "CRASH_FAULT";

/// How long one case may take to be drained after the restart.
const DRAIN: Duration = Duration::from_secs(20);
/// How long nothing need happen before a case counts as settled.
const CALM: Duration = Duration::from_millis(80);
/// How long a case may go on without a sign of the fault.
const PATIENCE: Duration = Duration::from_secs(3);

/// One way of a message, and the program on it that is hurt.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// what the table calls it
    pub name: &'static str,
    program: &'static str,
    way: Way,
    recipients: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// qmail-queue itself is hurt
    Queue,
    /// qmail-smtpd, or what it runs
    Smtp,
    /// qmail-inject, or what it runs
    Inject,
    /// somebody behind the queue
    Behind,
}

/// The stories: each process that a message meets.
pub const STORIES: [Story; 13] = [
    story(
        "queue: qmail-queue",
        "qmail-queue",
        Way::Queue,
        &["alice@host.test"],
    ),
    story(
        "receive: qmail-smtpd",
        "qmail-smtpd",
        Way::Smtp,
        &["alice@host.test"],
    ),
    story(
        "receive: qmail-queue under smtpd",
        "qmail-queue",
        Way::Smtp,
        &["alice@host.test"],
    ),
    story(
        "receive: qmail-inject",
        "qmail-inject",
        Way::Inject,
        &["alice@host.test"],
    ),
    story(
        "schedule: qmail-send",
        "qmail-send",
        Way::Behind,
        &["alice@host.test", "far@elsewhere.test"],
    ),
    story(
        "schedule: qmail-send, bouncing",
        "qmail-send",
        Way::Behind,
        &["nobody@host.test", "alice@host.test"],
    ),
    story(
        "clean: qmail-clean",
        "qmail-clean",
        Way::Behind,
        &["alice@host.test"],
    ),
    story(
        "deliver: qmail-lspawn",
        "qmail-lspawn",
        Way::Behind,
        &["alice@host.test"],
    ),
    story(
        "deliver: qmail-local",
        "qmail-local",
        Way::Behind,
        &["alice@host.test"],
    ),
    story(
        "forward: qmail-local",
        "qmail-local",
        Way::Behind,
        &["alice-copy@host.test"],
    ),
    story(
        "bounce: qmail-queue under send",
        "qmail-queue",
        Way::Behind,
        &["nobody@host.test"],
    ),
    story(
        "relay: qmail-rspawn",
        "qmail-rspawn",
        Way::Behind,
        &["far@elsewhere.test"],
    ),
    story(
        "relay: qmail-remote",
        "qmail-remote",
        Way::Behind,
        &["far@elsewhere.test"],
    ),
];

const fn story(
    name: &'static str,
    program: &'static str,
    way: Way,
    recipients: &'static [&'static str],
) -> Story {
    Story {
        name,
        program,
        way,
        recipients,
    }
}

/// What was found, of one story.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// cases in which the fault happened
    pub cases: usize,
    /// acknowledged and gone
    pub lost: usize,
    /// a visible part of a message
    pub torn: usize,
    /// not drained after the restart
    pub stuck: usize,
    /// delivered more than once
    pub twice: usize,
    /// came back to the sender though its recipient is there
    pub bounced: usize,
    /// not acknowledged, yet delivered: allowed
    pub kept: usize,
    /// acknowledged in spite of the fault
    pub acknowledged: usize,
    /// findings in words
    pub findings: Vec<String>,
}

/// The place: a suite whose programs can be armed.
#[derive(Debug)]
pub struct Bench {
    suite: Suite,
    sink: Sink,
    arm: PathBuf,
    count: usize,
}

/// A fault: strace's options.
type Fault = String;

impl Bench {
    /// Makes the home with a wrapper in the place of the story's program.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(bin: &Path, story: &Story) -> io::Result<Bench> {
        let program = story.program;
        let sink = Sink::start()?;
        let suite = Suite::ours("kill", bin, sink.port)?;
        let arm = suite.scratch.join("arm");
        let real = suite.scratch.join("real");
        fs::create_dir(&arm)?;
        fs::set_permissions(&arm, fs::Permissions::from_mode(0o777))?;
        fs::create_dir(&real)?;
        let path = suite.home.join("bin").join(program);
        let moved = real.join(program);
        fs::rename(&path, &moved)?;
        // The first one that comes takes the fault. No other program has a shell in front of it.
        let script = format!(
            "#!/bin/sh\nif [ -e {a}/{program} ] && mv {a}/{program} {a}/taken 2>/dev/null; then\n\
             read -r options < {a}/taken\n\
             exec $options {r} \"$@\"\nfi\nexec {r} \"$@\"\n",
            a = arm.display(),
            r = moved.display()
        );
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        suite.make_queue()?;
        suite.make_mailboxes()?;
        Ok(Bench {
            suite,
            sink,
            arm,
            count: 0,
        })
    }

    fn disarm(&self) {
        for file in files(&self.arm) {
            let _ = fs::remove_file(file);
        }
    }

    fn arm(&self, program: &str, fault: &str) -> io::Result<()> {
        let command = if fault.starts_with("prlimit") {
            format!("{fault}\n")
        } else {
            let trace = self.arm.join("trace");
            format!("strace -D -f -q -s 0 -o {} {fault}\n", trace.display())
        };
        fs::write(self.arm.join(program), command)
    }

    /// Nothing of an earlier case is left: no message, no litter, no memory of dead hosts.
    fn clear(&self) -> io::Result<()> {
        self.disarm();
        for file in files(&self.suite.queue()) {
            if !file.starts_with(self.suite.queue().join("lock")) {
                fs::remove_file(file)?;
            }
        }
        fs::write(self.suite.queue().join("lock/tcpto"), [0; 1024])?;
        for user in USERS {
            for file in files(&self.suite.maildir(user)) {
                fs::remove_file(file)?;
            }
        }
        self.sink.take();
        Ok(())
    }

    /// What strace wrote so far.
    fn trace(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.arm.join("trace")).unwrap_or_default()).into_owned()
    }

    /// Whether the fault was seen. A limit leaves no trace: there it is enough that the program ran.
    fn happened(&self) -> bool {
        let trace = self.trace();
        trace.contains("killed by SIGKILL")
            || trace.contains("(INJECTED)")
            || fs::read(self.arm.join("taken")).is_ok_and(|t| t.starts_with(b"prlimit"))
    }

    /// Gives the mail in. Whether it was acknowledged.
    fn give(&self, way: Way, mail: &Mail) -> io::Result<bool> {
        match way {
            Way::Queue | Way::Behind => Ok(self
                .suite
                .submit(mail)?
                .is_some_and(|status| status.success())),
            Way::Inject => {
                let mut inject = self.suite.command("qmail-inject");
                inject
                    .args(["-fbob@host.test", "-a"])
                    .args(&mail.recipients);
                let (code, _) = talk(&mut inject, &mail.body)?;
                Ok(code == Some(0))
            }
            Way::Smtp => {
                let mut dialogue = b"HELO client.test\r\nMAIL FROM:<bob@host.test>\r\n".to_vec();
                for recipient in &mail.recipients {
                    dialogue.extend_from_slice(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
                }
                dialogue.extend_from_slice(b"DATA\r\n");
                for line in mail.body.split_inclusive(|b| *b == b'\n') {
                    dialogue.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
                    dialogue.extend_from_slice(b"\r\n");
                }
                dialogue.extend_from_slice(b".\r\nQUIT\r\n");
                let mut smtpd = self.suite.command("qmail-smtpd");
                smtpd
                    .env("RELAYCLIENT", "")
                    .env("TCPREMOTEIP", "127.0.0.1")
                    .env("TCPLOCALHOST", "host.test")
                    .env("PROTO", "TCP");
                let (_, said) = talk(&mut smtpd, &dialogue)?;
                let text = String::from_utf8_lossy(&said).into_owned();
                Ok(text
                    .lines()
                    .any(|l| l.starts_with("250 ok ") && l.contains(" qp ")))
            }
        }
    }

    /// One case: give the mail in, let the hurt process run, restart, drain.
    fn case(&mut self, story: &Story, fault: &Fault, figures: &mut Figures) -> io::Result<()> {
        self.clear()?;
        self.count += 1;
        let mail = Mail::new("kill", self.count, story.recipients);
        let mut acknowledged = false;
        if story.way == Way::Behind {
            acknowledged = self.give(story.way, &mail)?;
        }
        self.arm(story.program, fault)?;
        if story.way == Way::Behind {
            let mut running = self.suite.start()?;
            self.settle(&mut running);
            let happened = self.happened();
            running.stop();
            if !happened {
                return Ok(());
            }
        } else {
            acknowledged = self.give(story.way, &mail)?;
            // strace ends after what it traces.
            let seen = until(Duration::from_millis(300), || self.happened().then_some(()));
            if seen.is_none() {
                return Ok(());
            }
        }
        let fired = self.arm.join("taken").exists();
        if !fired {
            return Ok(());
        }
        if std::env::var_os(ONE).is_some() {
            println!("{}", self.trace());
            let log = fs::read(self.suite.scratch.join("log")).unwrap_or_default();
            println!("{}", String::from_utf8_lossy(&log));
        }
        self.disarm();
        figures.cases += 1;
        figures.acknowledged += usize::from(acknowledged);
        let said = self.judge(story, &mail, acknowledged, figures);
        if !said.is_empty() {
            figures
                .findings
                .push(format!("{}: {fault}: {}", story.name, said.join("; ")));
        }
        Ok(())
    }

    /// Waits until all is done, or the fault happened and nothing moves any more.
    fn settle(&self, running: &mut crate::suite::Running) {
        let mut last = (running.log().len(), self.trace().len());
        let mut since = Instant::now();
        let started = Instant::now();
        while running.runs() && !self.suite.is_empty() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(4));
            let now = (running.log().len(), self.trace().len());
            if now != last {
                last = now;
                since = Instant::now();
            }
            if since.elapsed() > CALM && (self.happened() || since.elapsed() > CALM * 6) {
                return;
            }
        }
    }

    fn judge(
        &self,
        story: &Story,
        mail: &Mail,
        acknowledged: bool,
        figures: &mut Figures,
    ) -> Vec<String> {
        let mut said = Vec::new();
        let mut torn = false;
        for (id, text) in self.suite.visible() {
            if !mail.ends(&text) {
                torn = true;
                said.push(format!("queue entry {id} with {} bytes", text.len()));
            }
        }
        if let Err(why) = self.suite.drain(DRAIN) {
            figures.stuck += 1;
            said.push(why);
        }
        let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
        let places = USERS
            .iter()
            .map(|u| (*u, self.suite.delivered(u)))
            .chain([("sink", self.sink.take())]);
        for (place, texts) in places {
            for text in texts {
                if mail.ends(&text) {
                    *copies.entry(place).or_default() += 1;
                } else {
                    torn = true;
                    said.push(format!("{} bytes at {place}", text.len()));
                }
            }
        }
        figures.torn += usize::from(torn);
        let mut expected: Vec<&str> = story
            .recipients
            .iter()
            .map(|r| match r.split('@').next() {
                Some("nobody") => "bob",
                Some("far") => "sink",
                _ => "alice",
            })
            .collect();
        expected.sort_unstable();
        let total: usize = copies.values().sum();
        let mut missing = Vec::new();
        for place in &expected {
            let count = copies.get(place).copied().unwrap_or(0);
            if count == 0 {
                missing.push(*place);
            }
            figures.twice += count.saturating_sub(1);
            if count > 1 {
                said.push(format!("{count} copies at {place}"));
            }
        }
        if !expected.contains(&"bob") && copies.contains_key("bob") {
            figures.bounced += 1;
            said.push("came back to the sender".to_owned());
            missing.clear();
        }
        if acknowledged && !missing.is_empty() {
            figures.lost += 1;
            said.push(format!("acknowledged, nothing at {missing:?}"));
        }
        figures.kept += usize::from(!acknowledged && total > 0);
        said
    }

    /// What the program of a story calls, and how often one process of it does.
    fn calls(&mut self, story: &Story) -> io::Result<Vec<(String, usize)>> {
        self.clear()?;
        let mail = Mail::new("look", 0, story.recipients);
        let fault = format!("-e trace={CALLS}");
        if story.way == Way::Behind {
            self.give(story.way, &mail)?;
            self.arm(story.program, &fault)?;
            let mut running = self.suite.start()?;
            let _ = until(DRAIN, || self.suite.is_empty().then_some(()));
            running.stop();
        } else {
            self.arm(story.program, &fault)?;
            self.give(story.way, &mail)?;
        }
        let _ = until(Duration::from_secs(2), || {
            self.trace().contains("+++ exited").then_some(())
        });
        let mut per_process: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in self.trace().lines() {
            let mut words = line.split_whitespace();
            let pid = words.next().unwrap_or_default();
            let rest = words.next().unwrap_or_default();
            if let Some((name, _)) = rest.split_once('(') {
                *per_process.entry((name.into(), pid.into())).or_default() += 1;
            }
        }
        let mut most: BTreeMap<String, usize> = BTreeMap::new();
        for ((name, _), count) in per_process {
            let entry = most.entry(name).or_default();
            *entry = count.max(*entry);
        }
        if most.is_empty() {
            return Err(io::Error::other(format!(
                "{}: strace saw no call",
                story.name
            )));
        }
        Ok(most.into_iter().collect())
    }

    /// Every `stride`-th fault of a story.
    ///
    /// # Errors
    /// The harness itself failed.
    pub fn run(&mut self, story: &Story, kind: Kind, stride: usize) -> io::Result<Figures> {
        let mut figures = Figures::default();
        let mut faults = Vec::new();
        if kind == Kind::Short {
            // Each size of message meets each limit: five sizes.
            faults.extend(
                LIMITS
                    .iter()
                    .flat_map(|n| vec![format!("prlimit --fsize={n}"); 5]),
            );
        }
        let calls = if kind == Kind::Short {
            Vec::new()
        } else {
            self.calls(story)?
        };
        for (call, count) in calls {
            // The first exec is strace's own.
            let first = if call == "execve" { 2 } else { 1 };
            for n in first..=count {
                let what = format!("-e trace={call} -e inject={call}");
                match kind {
                    // strace gives no signal at a stop of its filter, so that all calls stop here: slower.
                    Kind::Kills => faults.push(format!("{what}:signal=KILL:when={n}")),
                    Kind::Short => {}
                    Kind::Errors => {
                        for error in errors(&call) {
                            faults.push(format!("--seccomp-bpf {what}:error={error}:when={n}"));
                        }
                    }
                }
            }
        }
        if let Ok(one) = std::env::var(ONE) {
            faults = vec![one];
        }
        for fault in faults
            .iter()
            .skip(story.name.len() % stride.min(faults.len()).max(1))
            .step_by(stride)
        {
            self.case(story, fault, &mut figures)?;
        }
        Ok(figures)
    }
}

/// Kills, errors or short writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL in place of the call
    Kills,
    /// the call fails
    Errors,
    /// a file takes no more than so many bytes: a short write, then an error
    Short,
}

impl Kind {
    /// All of them, with the word for each.
    pub const ALL: [(Kind, &'static str); 3] = [
        (Kind::Kills, "kills"),
        (Kind::Errors, "errors"),
        (Kind::Short, "short"),
    ];
}

fn errors(call: &str) -> Vec<&'static str> {
    match call {
        "clone" | "clone3" | "fork" | "vfork" | "execve" => {
            vec!["EAGAIN", "ENOMEM", "EIO", "EMFILE", "EACCES"]
        }
        _ => ERRORS.to_vec(),
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
    let status = wait(&mut child, Duration::from_secs(10))?;
    let _ = writer.join();
    let said = reader.join().unwrap_or_default();
    outlast(child.id());
    Ok((status.and_then(|s| s.code()), said))
}
