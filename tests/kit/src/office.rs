//! A whole post office in a scratch home, all of it as one ordinary user: qmail-start and a listening qmail-smtpd.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use sys::process::End;

use crate::{Daemon, Home, LIMIT, Run, bin_dir, eventually};

/// The programs that a running office needs.
const PROGRAMS: [&str; 15] = [
    "qmail-queue",
    "qmail-start",
    "qmail-lspawn",
    "qmail-rspawn",
    "qmail-send",
    "qmail-clean",
    "qmail-getpw",
    "qmail-local",
    "qmail-remote",
    "qmail-smtpd",
    "qmail-inject",
    "sendmail",
    "qmail-newu",
    "forward",
    "tcpserver",
];

/// Who runs the office when the tester is root: an id without an account's rights.
const NOBODY: u32 = 65_534;

/// A post office for `host.test` with users alice and bob.
#[derive(Debug)]
pub struct Office {
    /// its home
    pub home: Home,
    uid: u32,
    gid: u32,
    send: Option<Daemon>,
    smtpd: Option<Daemon>,
    port: u16,
}

fn own(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() && !fs::symlink_metadata(path).unwrap().is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            own(&entry.unwrap().path(), uid, gid);
        }
    }
}

impl Office {
    /// Makes the home; nothing runs yet.
    pub fn new(name: &str) -> Office {
        let home = Home::new(name);
        let (uid, gid) = if sys::ids::euid() == 0 {
            (NOBODY, NOBODY)
        } else {
            (sys::ids::euid(), sys::ids::gid())
        };
        // Copies: the place of the build may be closed to the user that runs the office.
        fs::remove_file(home.join("bin")).unwrap();
        fs::create_dir(home.join("bin")).unwrap();
        for program in PROGRAMS {
            let from = bin_dir().join(program);
            crate::copy_executable(&from, home.join("bin").join(program));
        }
        let mut assign = String::new();
        for user in ["alice", "bob"] {
            for dir in ["Maildir/tmp", "Maildir/new", "Maildir/cur"] {
                fs::create_dir_all(home.join(user).join(dir)).unwrap();
            }
            let at = home.join(user).display().to_string();
            assign += &format!(
                "={user}:{user}:{uid}:{gid}:{at}:::\n+{user}-:{user}:{uid}:{gid}:{at}:-::\n"
            );
        }
        home.write("users/assign", assign + ".\n");
        for name in ["postmaster", "mailer-daemon"] {
            home.write(&format!("alias/.qmail-{name}"), "&alice@host.test\n");
        }
        for file in ["defaultdomain", "plusdomain"] {
            home.control(file, "host.test\n");
        }
        let newu = home.run("qmail-newu").output();
        assert_eq!(newu.code(), 0, "{}", newu.err_text());
        let office = Office {
            home,
            uid,
            gid,
            send: None,
            smtpd: None,
            port: 0,
        };
        office.give();
        office
    }

    /// Gives every file of the home to the user that runs the office: after the test has written some.
    pub fn give(&self) {
        own(self.home.path(), self.uid, self.gid);
    }

    /// A program of this office, run as its user.
    pub fn run(&self, name: &str) -> Run {
        let run = Run::new(self.home.join("bin").join(name))
            .env("QMAILHOME", self.home.path().to_str().unwrap())
            .env("USER", "alice")
            .env(
                "PATH",
                &format!("{}:/usr/bin:/bin", self.home.join("bin").display()),
            )
            .dir(self.home.path());
        if sys::ids::euid() == 0 {
            run.ids(self.uid, self.gid)
        } else {
            run
        }
    }

    /// Starts qmail-start.
    pub fn start_send(&mut self) {
        let log = self.home.join("log-send");
        self.send = Some(
            self.run("qmail-start")
                .arg("./Maildir/")
                .own_group()
                .start(log),
        );
    }

    /// Starts a listener on a free port of 127.0.0.1; 127.* may relay if `relay`.
    pub fn start_smtpd(&mut self, relay: bool, concurrency: u32) {
        let options = ["-c", &concurrency.to_string()];
        let env: &[(&str, &str)] = if relay { &[("RELAYCLIENT", "")] } else { &[] };
        self.start_server("tcpserver", &options, env, &[]);
    }

    /// Starts a listener on a free port of 127.0.0.1: `server` with more `options`, and qmail-smtpd with `args` under
    /// it.
    pub fn start_server(
        &mut self,
        server: &str,
        options: &[&str],
        env: &[(&str, &str)],
        args: &[&str],
    ) {
        let log = self.home.join("log-smtpd");
        let _ = fs::remove_file(&log);
        let run = env
            .iter()
            .fold(self.run(server), |run, (name, value)| run.env(name, value));
        let daemon = run
            .args(["-1vRHl", "host.test"])
            .args(options.iter().copied())
            .args(["127.0.0.1", "0"])
            .arg(self.home.join("bin/qmail-smtpd").to_str().unwrap())
            .args(args.iter().copied())
            .own_group()
            .start(&log);
        self.smtpd = Some(daemon);
        let port = crate::until(LIMIT, || {
            let text = fs::read_to_string(&log).ok()?;
            let (whole, _) = text.rsplit_once('\n')?;
            whole.lines().find_map(|l| l.trim().parse::<u16>().ok())
        });
        self.port = port
            .unwrap_or_else(|| panic!("tcpserver never said its port: {}", self.log("log-smtpd")));
    }

    /// Where qmail-smtpd listens.
    pub fn smtp(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A log so far.
    pub fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join(name)).unwrap_or_default()).into_owned()
    }

    /// The messages in a Maildir's new/.
    pub fn mails(&self, maildir: &str) -> Vec<Vec<u8>> {
        let mut names: Vec<PathBuf> = fs::read_dir(self.home.join(maildir).join("new"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.sort();
        names.iter().map(|n| fs::read(n).unwrap()).collect()
    }

    /// Waits until the queue is empty.
    pub fn drain(&self, limit: std::time::Duration) {
        let empty = || {
            (self.home.queue("todo").is_empty() && self.home.queue("mess").is_empty()).then_some(())
        };
        assert!(
            crate::until(limit, empty).is_some(),
            "the queue never became empty: todo {:?} mess {:?}\n{}",
            self.home.queue("todo"),
            self.home.queue("mess"),
            self.log("log-send")
                .lines()
                .rev()
                .take(30)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }

    /// qmail-start itself.
    pub fn send(&mut self) -> &mut Daemon {
        self.send.as_mut().unwrap()
    }

    /// Kills every process with -9, as a power cut would.
    pub fn kill_all(&mut self) {
        for daemon in [self.send.take(), self.smtpd.take()].into_iter().flatten() {
            let mut daemon = daemon;
            daemon.kill_group();
        }
    }

    /// Stops everything in order. How qmail-send ended.
    pub fn stop(&mut self) -> Option<End> {
        if let Some(mut smtpd) = self.smtpd.take() {
            smtpd.stop();
        }
        let mut send = self.send.take()?;
        // qmail-start has become qmail-send.
        Some(send.stop())
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// Waits until `new/` of a Maildir holds `count` messages.
pub fn wait_for(office: &Office, maildir: &str, count: usize) {
    eventually(&format!("{count} messages in {maildir}"), || {
        fs::read_dir(office.home.join(maildir).join("new"))
            .unwrap()
            .count()
            >= count
    });
}
