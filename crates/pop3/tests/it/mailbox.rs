//! A user with a maildir, and sessions on it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use kit::{Run, Scratch, program};

const NOBODY: u32 = 65_534;

/// Whoever runs qmail-pop3d here; never root.
pub(crate) fn user() -> u32 {
    match sys::ids::euid() {
        0 => NOBODY,
        uid => uid,
    }
}

pub(crate) struct Mailbox {
    pub(crate) scratch: Scratch,
}

/// Gives a tree to the user.
pub(crate) fn give(path: &Path) {
    if sys::ids::euid() != 0 {
        return;
    }
    let _ = chown(path, Some(user()), Some(user()));
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

impl Mailbox {
    pub(crate) fn new(name: &str) -> Mailbox {
        let scratch = Scratch::new(name);
        for part in ["Maildir/tmp", "Maildir/new", "Maildir/cur"] {
            fs::create_dir_all(scratch.join(part)).unwrap();
        }
        let mailbox = Mailbox { scratch };
        mailbox.give();
        mailbox
    }

    pub(crate) fn give(&self) {
        give(self.scratch.path());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.join("Maildir").join(name)
    }

    /// A message of an hour ago, below the maildir: `new/NAME`.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        let hour = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(hour).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        give(&path);
    }

    /// The files of a directory, sorted.
    pub(crate) fn list(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(dir))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn run(&self) -> Run {
        let run = Run::new(program("qmail-pop3d")).dir(self.scratch.path());
        match sys::ids::euid() {
            0 => run.ids(user(), user()),
            _ => run,
        }
    }

    /// All replies to these lines, each ended by LF here.
    pub(crate) fn say(&self, lines: &str) -> String {
        let wire = lines.replace('|', "\r\n") + "\r\n";
        let output = self.run().arg("Maildir").stdin(wire).output();
        assert_eq!(output.code(), 0, "{}", output.err_text());
        assert_eq!(output.err_text(), "");
        output.out_text().replace("\r\n", "\n")
    }

    /// Replies to these lines, one line each, without the greeting.
    pub(crate) fn replies(&self, lines: &str) -> Vec<String> {
        self.say(lines).lines().skip(1).map(str::to_owned).collect()
    }

    pub(crate) fn start(&self) -> Live {
        let mut command = Command::new(program("qmail-pop3d"));
        command
            .arg("Maildir")
            .env_clear()
            .current_dir(self.scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if sys::ids::euid() == 0 {
            command.uid(user()).gid(user());
        }
        let mut child = command.spawn().unwrap();
        let mut live = Live {
            to: child.stdin.take(),
            from: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert_eq!(live.hear(), "+OK ");
        live
    }
}

/// A session that goes on.
pub(crate) struct Live {
    pub(crate) child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Live {
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Sends a line and hears the first line of the answer.
    pub(crate) fn say(&mut self, line: &str) -> String {
        let to = self.to.as_mut().unwrap();
        to.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.hear()
    }

    /// Hears up to the lone dot.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.hear()).filter(|l| l != "."))
            .take(100_000)
            .collect()
    }

    pub(crate) fn end(mut self) {
        self.to.take();
        assert!(self.child.wait().unwrap().success());
    }
}
