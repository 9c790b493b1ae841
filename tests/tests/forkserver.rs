//! tcpserver --fork-server with qmail-smtpd: each session is what a fresh process would have been, and nothing of one
//! client reaches the next.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

#[path = "forkserver/spares.rs"]
mod spares;

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use kit::smtp::Client;
use kit::{Daemon, Home, LIMIT, Run, program};
use sys::process::End;
use sys::signal::Signal;

/// Tells all that a program can see of the process it comes from, numbers that vary apart.
const SPY: &str = r#"
exec 8>>"$QMAILHOME/seen.$$"
cat >&8
cat <&1 >/dev/null
{
  env | grep -v -E '^(TCP6?REMOTEPORT|TCP6?LOCALPORT|_)=' | sort
  pwd
  umask
  ulimit -a
  ls /proc/self/fd
  grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Sig(Blk|Ign|Cgt)):' /proc/self/status
  cut -d' ' -f 5-7,18,19 /proc/$PPID/stat
} >>"$QMAILHOME/world.$$"
"#;

/// What the kernel says of a process that was made by a copy and has run no program since.
const NO_EXEC: u64 = 0x40;

struct Office {
    home: Home,
    daemon: Daemon,
    port: u16,
    log: PathBuf,
}

impl Office {
    fn home(name: &str) -> Home {
        let home = Home::new(name);
        home.fake("spy", SPY);
        home.control("checkrecipients", "0\n");
        home.write(
            "rules",
            "127.0.0.1:allow,RELAYCLIENT=\"\",SECRET=\"only for the first\",QMAILQUEUE=\"bin/spy\"\n\
             127.0.0.2:allow,DATABYTES=\"10\"\n\
             127.0.0.3:allow,QMAILQUEUE=\"bin/spy\"\n",
        );
        let rules = fs::read(home.join("rules")).unwrap();
        let done = home
            .run("tcprules")
            .args(["rules.cdb", "rules.tmp"])
            .dir(home.path())
            .stdin(rules)
            .output();
        assert_eq!(done.code(), 0);
        home
    }

    fn start(home: Home, options: &[&str], words: &[&str]) -> Office {
        let server = home.run("tcpserver");
        Office::start_as(server, home, options, words)
    }

    /// `server` runs a tcpserver with the words that are put behind.
    fn start_as(server: Run, home: Home, options: &[&str], words: &[&str]) -> Office {
        let log = home.join("log");
        let daemon = server
            .args(["-1vHRl", "mx.test", "-x", "rules.cdb"])
            .args(options)
            .args(["127.0.0.1", "0"])
            .args(words)
            .dir(home.path())
            .start(&log);
        let first = || {
            fs::read_to_string(&log)
                .ok()?
                .split_once('\n')?
                .0
                .parse()
                .ok()
        };
        let port = kit::until(LIMIT, first).expect("a port");
        Office {
            home,
            daemon,
            port,
            log,
        }
    }

    fn client(&self, from: &str) -> Client {
        let (from, port): (IpAddr, u16) = (from.parse().unwrap(), 0);
        let socket = sys::socket::bound(&(from, port).into()).unwrap();
        let to = SocketAddr::new([127, 0, 0, 1].into(), self.port);
        sys::socket::connect_on(&socket, &to, LIMIT).unwrap();
        Client::of(TcpStream::from(socket))
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The process ids of the sessions so far.
    fn sessions(&self) -> Vec<u32> {
        let log = self.log();
        let pids = log.lines().filter_map(|line| {
            line.strip_prefix("tcpserver: pid ")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        });
        pids.collect()
    }

    /// Connects until a copy serves.
    fn warm(&self) {
        kit::eventually("a copy serves", || {
            let mut client = self.client("127.0.0.3");
            client.reply();
            let copied = is_copy(*self.sessions().last().unwrap());
            client.say("QUIT");
            copied
        });
    }

    fn worlds(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.home.path()).unwrap().flatten() {
            if entry.file_name().to_str().unwrap().starts_with("world.") {
                found.push(fs::read_to_string(entry.path()).unwrap());
                fs::remove_file(entry.path()).unwrap();
            }
        }
        found
    }
}

fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn is_copy(pid: u32) -> bool {
    let flags = stat(pid).and_then(|fields| fields.get(6)?.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & NO_EXEC != 0)
}

/// The log without what varies.
fn masked(log: &str) -> Vec<String> {
    let mask = |before: Option<&str>, word: &str| match word.rsplit_once(':') {
        _ if before.is_some_and(|b| ["pid", "ok", "deny", "end"].contains(&b)) => "N".to_owned(),
        Some((before, port)) if port.parse::<u16>().is_ok() => format!("{before}:PORT"),
        _ if word.starts_with("pid=") || word.starts_with("time=") || word.starts_with("qp=") => {
            word.split_once('=').unwrap().0.to_owned()
        }
        _ => word.to_owned(),
    };
    log.lines()
        .skip(1)
        .map(|line| {
            let before = std::iter::once(None).chain(line.split(' ').map(Some));
            let words = before.zip(line.split(' '));
            let masked: Vec<_> = words.map(|(before, word)| mask(before, word)).collect();
            masked.join(" ")
        })
        .collect()
}

/// One message from each of two clients, and a session that is cut short.
fn traffic(office: &Office) {
    for from in ["127.0.0.1", "127.0.0.3"] {
        let mut client = office.client(from);
        client.reply();
        client.say("EHLO x");
        assert_eq!(client.mail("a@b.test", &["v@host.test"], b"text\n"), 250);
        client.say("QUIT");
        ended(office);
    }
    let mut client = office.client("127.0.0.3");
    client.reply();
    drop(client);
    ended(office);
}

/// Waits until no session is left.
fn ended(office: &Office) {
    kit::eventually("the session is counted", || {
        let log = office.log();
        let count = |what: &str| log.lines().filter(|line| line.starts_with(what)).count();
        count("tcpserver: pid") == count("tcpserver: end")
            && log.ends_with("tcpserver: status: 0/40\n")
    });
}

#[test]
fn a_copy_is_what_a_fresh_process_would_be() {
    let run = |name: &str, options: &[&str]| {
        let home = Office::home(name);
        let office = Office::start(home, options, &["qmail-smtpd"]);
        if !options.is_empty() {
            office.warm();
        }
        // The first line with numbers of connections is there, too.
        ended(&office);
        let before = masked(&office.log()).len();
        traffic(&office);
        let log = masked(&office.log()).split_off(before);
        let home = office.home.path().to_str().unwrap().to_owned();
        let mut worlds: Vec<String> = office
            .worlds()
            .iter()
            .map(|world| world.replace(&home, "HOME"))
            .map(|world| {
                world
                    .lines()
                    .filter(|l| !is_group(l))
                    .collect::<Vec<_>>()
                    .join("\n")
            })
            .collect();
        worlds.sort();
        (log, worlds)
    };
    let (log, worlds) = run("forkserver-fresh", &[]);
    let (log2, worlds2) = run("forkserver-copy", &["--fork-server"]);
    assert_eq!(worlds.len(), 2);
    assert_eq!(log.join("\n"), log2.join("\n"));
    assert_eq!(worlds.join("\n\n"), worlds2.join("\n\n"));
    assert!(worlds2.iter().any(|w| w.contains("SECRET=only for")));
    assert!(worlds2.iter().all(|w| !w.contains("TCPFORKSERVER")));
}

/// The line of the process group, session and terminal, which two servers do not share.
fn is_group(line: &str) -> bool {
    line.split(' ').count() == 5 && line.split(' ').all(|word| word.parse::<i64>().is_ok())
}

#[test]
fn nothing_of_one_client_reaches_the_next() {
    let home = Office::home("forkserver-leak");
    let office = Office::start(home, &["--fork-server"], &["qmail-smtpd"]);
    office.warm();
    ended(&office);
    for _ in 0..3 {
        let mut trusted = office.client("127.0.0.1");
        trusted.reply();
        trusted.say("EHLO first.example");
        trusted.say("MAIL FROM:<a@b.test>");
        assert_eq!(trusted.say("RCPT TO:<x@elsewhere.test>").code, 250);
        let mut stranger = office.client("127.0.0.2");
        stranger.reply();
        assert!(is_copy(*office.sessions().last().unwrap()));
        // Neither the greeting, nor the envelope, nor the right to relay, nor the size.
        assert_eq!(stranger.say("DATA").code, 503);
        assert_eq!(stranger.say("RCPT TO:<x@host.test>").code, 503);
        assert!(
            stranger
                .say("EHLO second.example")
                .lines
                .contains(&"SIZE 10".to_owned())
        );
        stranger.say("MAIL FROM:<a@b.test>");
        assert_eq!(stranger.say("RCPT TO:<x@elsewhere.test>").code, 553);
        assert!(
            trusted
                .say("EHLO again")
                .lines
                .contains(&"SIZE 0".to_owned())
        );
        assert_eq!(trusted.say("DATA").code, 503);
        drop(stranger);
        drop(trusted);
        ended(&office);
    }
}

#[test]
fn the_memory_of_a_copy_holds_no_words_of_others() {
    if !kit::is_root("the_memory_of_a_copy_holds_no_words_of_others") {
        return;
    }
    let home = Office::home("forkserver-memory");
    let office = Office::start(home, &["--fork-server"], &["qmail-smtpd"]);
    office.warm();
    ended(&office);
    let mut trusted = office.client("127.0.0.1");
    trusted.reply();
    let first = *office.sessions().last().unwrap();
    let mut stranger = office.client("127.0.0.2");
    stranger.reply();
    let second = *office.sessions().last().unwrap();
    assert!(is_copy(first) && is_copy(second) && first != second);
    assert!(
        memory_holds(first, b"only for the first"),
        "the search works"
    );
    assert!(!memory_holds(second, b"only for the first"));
    // Both are children of tcpserver, which nobody can look into but root.
    for pid in [first, second] {
        let parent = stat(pid).unwrap()[1].parse::<u32>().unwrap();
        assert_eq!(parent, office.daemon.pid());
    }
}

fn memory_holds(pid: u32, what: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().any(|line| {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let number = |hex| u64::from_str_radix(hex, 16).unwrap();
        let (from, to) = (number(from), number(to));
        if !rest.starts_with('r') || memory.seek(SeekFrom::Start(from)).is_err() {
            return false;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.read_exact(&mut bytes).is_ok() && bytes.windows(what.len()).any(|w| w == what)
    })
}

#[test]
fn control_files_count_from_the_next_session_on() {
    let home = Office::home("forkserver-controls");
    let office = Office::start(home, &["--fork-server"], &["qmail-smtpd"]);
    office.warm();
    for name in ["one.test", "two.test"] {
        office.home.control("smtpgreeting", &format!("{name}\n"));
        let mut client = office.client("127.0.0.3");
        assert_eq!(client.reply().lines, [format!("{name} ESMTP")]);
        assert!(is_copy(*office.sessions().last().unwrap()));
    }
}

/// As above, where the fork server has found files that nobody had touched for a while, and keeps them.
#[test]
fn control_files_that_are_kept_count_no_longer_than_they_are_true() {
    let home = Office::home("forkserver-kept");
    home.control("smtpgreeting", "one.test\n");
    // Longer than what is too young to be kept.
    std::thread::sleep(Duration::from_secs(5));
    let office = Office::start(home, &["--fork-server"], &["qmail-smtpd"]);
    office.warm();
    let greets = |name: &str| {
        let mut client = office.client("127.0.0.3");
        assert_eq!(client.reply().lines, [format!("{name} ESMTP")]);
        // While it still lives.
        assert!(is_copy(*office.sessions().last().unwrap()));
        client.say("QUIT");
    };
    greets("one.test");
    greets("one.test");
    office.home.control("smtpgreeting", "two.test\n");
    greets("two.test");
    fs::remove_file(office.home.join("control/smtpgreeting")).unwrap();
    let me = fs::read_to_string(office.home.join("control/me")).unwrap();
    greets(me.trim_end());
    // A file that was not there.
    office.home.control("databytes", "10\n");
    let mut client = office.client("127.0.0.3");
    client.reply();
    assert!(client.say("EHLO x").lines.contains(&"SIZE 10".to_owned()));
}

#[test]
fn a_dead_fork_server_is_replaced_and_its_sessions_go_on() {
    let home = Office::home("forkserver-dead");
    let office = Office::start(home, &["--fork-server"], &["qmail-smtpd"]);
    office.warm();
    // What is left but one session are the fork server and its spare.
    ended(&office);
    let mut old = office.client("127.0.0.3");
    old.reply();
    let copy = *office.sessions().last().unwrap();
    // All looked at before: the spare leaves when the fork server has gone, and may be no more when its turn comes.
    let mut programs = children(office.daemon.pid());
    programs.retain(|&pid| !is_copy(pid));
    for pid in programs {
        let _ = sys::signal::send(pid, Signal::SIGKILL);
    }
    // It may have taken one connection with it.
    let mut served = 0;
    for _ in 0..4 {
        let mut client = office.client("127.0.0.3");
        served += u32::from(client.reply().code == 220);
        client.say("QUIT");
    }
    assert!(served >= 3, "{}", office.log());
    office.warm();
    assert_eq!(old.say("NOOP").code, 250);
    old.say("QUIT");
    ended(&office);
    assert!(
        office
            .log()
            .contains(&format!("tcpserver: end {copy} status 0"))
    );
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    list.split_whitespace()
        .map(|p| p.parse().unwrap())
        .collect()
}

#[test]
fn a_program_in_between_is_never_passed_over() {
    for (words, what) in [
        (&["sh", "-c", "echo 1 >>judged; exec qmail-smtpd"][..], "sh"),
        (
            &[
                "env",
                "A=b",
                "sh",
                "-c",
                "echo 1 >>judged; exec qmail-smtpd",
            ],
            "env",
        ),
        (
            &["sh", "-c", "echo 1 >>judged; read x; exec qmail-smtpd"],
            "reads",
        ),
    ] {
        let home = Office::home(&format!("forkserver-between-{what}"));
        let office = Office::start(home, &["--fork-server"], words);
        for _ in 0..3 {
            let mut client = office.client("127.0.0.3");
            if what == "reads" {
                client.send(b"x\r\n");
            }
            assert_eq!(client.reply().code, 220);
            assert!(!is_copy(*office.sessions().last().unwrap()));
            client.say("QUIT");
            ended(&office);
        }
        // Once as a candidate, and for each client.
        let judged = || {
            let text = fs::read_to_string(office.home.join("judged")).unwrap();
            text.lines().count()
        };
        kit::eventually("the candidate has run, too", || judged() >= 4);
        assert_eq!(judged(), 4, "{what}");
    }
}

#[test]
fn a_program_that_is_none_is_run_for_each_connection() {
    let home = Office::home("forkserver-none");
    let mut office = Office::start(home, &["--fork-server"], &["echo", "220 hello"]);
    for _ in 0..3 {
        assert_eq!(office.client("127.0.0.3").reply().lines, ["hello"]);
    }
    ended(&office);
    let log = office.log();
    let warnings: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("warning"))
        .collect();
    assert_eq!(warnings.len(), 1, "{log}");
    let text = "tcpserver: warning: no fork server, running the program for each connection: it ";
    assert!(warnings[0].starts_with(text));
    assert_eq!(office.daemon.stop(), End::Exit(0));
}

#[test]
fn a_stranger_cannot_make_a_program_a_fork_server() {
    let home = Home::new("forkserver-stranger");
    let path = program("qmail-smtpd");
    // The variable alone: descriptor 0 is no end of a pair of its parent's.
    let done = Run::new(&path)
        .env("QMAILHOME", home.path().to_str().unwrap())
        .env("TCPFORKSERVER", path.to_str().unwrap())
        .stdin("QUIT\r\n")
        .output();
    assert_eq!(
        done.out_text(),
        "220 host.test ESMTP\r\n221 2.0.0 host.test\r\n"
    );
}

#[test]
fn a_copy_raises_its_own_walls() {
    let home = Office::home("forkserver-walls");
    fs::create_dir_all(home.join("run/queue")).unwrap();
    home.write("queue/lock/queued", "");
    let mut service = home.run("qmail-queued").dir(home.path());
    if sys::ids::euid() == 0 {
        // It does not run as root.
        let done = std::process::Command::new("chown")
            .args(["-R", "65534:65534"])
            .args([home.join("queue"), home.join("run")])
            .status();
        assert!(done.unwrap().success());
        service = service.ids(65_534, 65_534);
    }
    let _service = service.start(home.join("queued.log"));
    let socket = home.join("run/queue/socket");
    let listens = kit::until(LIMIT, || socket.exists().then_some(()));
    let said = fs::read_to_string(home.join("queued.log"));
    assert!(listens.is_some(), "{said:?}");
    let office = Office::start(home, &["--fork-server"], &["qmail-smtpd"]);
    office.warm();
    ended(&office);
    for _ in 0..2 {
        let mut client = office.client("127.0.0.2");
        client.reply();
        let copy = *office.sessions().last().unwrap();
        assert!(is_copy(copy));
        let level = sys::sandbox::level();
        let status = fs::read_to_string(format!("/proc/{copy}/status")).unwrap();
        let has = |line: &str| status.lines().any(|l| l == line);
        assert!(has("NoNewPrivs:\t1"), "{status}");
        assert_eq!(has("Seccomp:\t2"), level.seccomp, "{status}");
        client.say("EHLO x");
        assert_eq!(client.mail("a@b.test", &["v@host.test"], b"x\n"), 250);
        client.say("QUIT");
        ended(&office);
    }
    // The fork server promises nothing: others of its copies may have to run programs.
    for pid in children(office.daemon.pid()) {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        assert!(status.contains("NoNewPrivs:\t0"), "{status}");
    }
}
