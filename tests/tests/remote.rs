//! qmail-rspawn and qmail-remote together: workers, kept connections, and what happens when either is not ours.

#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kit::Home;
use queue::frames::{self, Frames};
use queue::remote;

/// How long a test waits for anything.
const WAIT: Duration = kit::LIMIT;

/// What a server has seen: one text for each connection, in order of their begin.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server that takes everything but recipients with `no` or `later` in front, and waits for ever at `slow`.
struct Server {
    address: SocketAddr,
    seen: Seen,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let all = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(String::new());
                    all.len() - 1
                };
                let all = all.clone();
                thread::spawn(move || serve(stream, &all, number));
            }
        });
        Server { address, seen }
    }

    fn route(&self) -> String {
        format!(":{}\n", self.address)
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn count(&self, words: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|s| s.matches(words).count()).sum()
    }
}

fn serve(stream: TcpStream, seen: &Seen, number: usize) {
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut say = move |text: &str| {
        let _ = writer.write_all(text.as_bytes());
    };
    say("220 hi\r\n");
    let mut is_text = false;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        seen.lock().unwrap()[number].push_str(&line);
        if is_text {
            if line == ".\r\n" {
                is_text = false;
                say("250 taken\r\n");
            }
            continue;
        }
        let words = line.to_ascii_lowercase();
        say(match words.get(..4).unwrap_or_default() {
            "ehlo" => "250-hi\r\n250 PIPELINING\r\n",
            "rcpt" if words.contains("<no") => "550 never\r\n",
            "rcpt" if words.contains("<later") => "450 not now\r\n",
            "rcpt" if words.contains("<slow") => "",
            "data" => {
                is_text = true;
                "354 go\r\n"
            }
            _ => "250 ok\r\n",
        });
    }
}

/// A running qmail-rspawn that speaks frames.
struct Spawner {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    frames: Frames,
    /// the last report
    heard: Instant,
    /// how often the machine stood still for so long that a connection without work may have been closed
    pauses: usize,
}

fn home(server: &Server) -> Home {
    let home = Home::new("rspawn-workers");
    home.control("smtproutes", &server.route());
    home.write("queue/mess/1/24", "Subject: x\n\nbody\n");
    if sys::ids::euid() == 0
        && let Ok(owners) = control::Owners::find()
    {
        chown(home.join("queue/mess/1/24"), Some(owners.qmailq), None).unwrap();
    }
    home
}

impl Spawner {
    fn start(home: &Home, env: &[(&str, &str)]) -> Spawner {
        let path = format!("{}:/usr/bin:/bin", home.join("bin").display());
        let mut child = Command::new(kit::program("qmail-rspawn"))
            .env_clear()
            .env("QMAILHOME", home.path())
            .env("PATH", path)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut spawner = Spawner {
            input: child.stdin.take(),
            output: child.stdout.take().unwrap(),
            child,
            frames: Frames::default(),
            heard: Instant::now(),
            pauses: 0,
        };
        spawner.write(&frames::probe());
        let mut answer = Vec::new();
        while !answer.ends_with(b"\0") {
            answer.extend(spawner.read());
        }
        let text = answer[2..].strip_suffix(b"\0").unwrap();
        assert!(frames::read_answer(text).unwrap() > 255);
        spawner
    }

    fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn read(&mut self) -> Vec<u8> {
        assert!(sys::poll::readable(&self.output, WAIT).unwrap(), "silence");
        let mut piece = [0; 4096];
        let count = sys::fd::read(&self.output, &mut piece).unwrap();
        assert!(count > 0, "qmail-rspawn has ended");
        piece[..count].to_vec()
    }

    fn order(&mut self, number: u32, sender: &str, recipients: &[&str]) {
        let command = frames::Command {
            number,
            message: b"1/24".to_vec(),
            sender: sender.into(),
            attempt: None,
            recipients: recipients.iter().map(|&r| r.into()).collect(),
        };
        self.write(&frames::encode_command(&command).unwrap());
    }

    fn report(&mut self) -> (u32, Vec<String>) {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                let report = frames::decode_report(frame).unwrap();
                let quiet = self.heard.elapsed();
                self.heard = Instant::now();
                self.pauses += usize::from(quiet.as_millis() > u128::from(remote::KEEP) * 900);
                let texts = report.texts.into_iter();
                let texts = texts.map(|t| String::from_utf8(t).unwrap()).collect();
                return (report.number, texts);
            }
            let piece = self.read();
            self.frames.feed(&piece);
        }
    }

    /// One job from order to report.
    fn send(&mut self, recipients: &[&str]) -> Vec<String> {
        self.order(300, "s@a.test", recipients);
        let (number, texts) = self.report();
        assert_eq!(number, 300);
        texts
    }

    /// The process ids of its children.
    fn children(&self) -> Vec<u32> {
        let pid = self.child.id();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        list.split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect()
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        self.input = None;
        if thread::panicking() {
            let _ = self.child.kill();
        }
        let end = kit::until(WAIT, || self.child.try_wait().unwrap());
        if !thread::panicking() {
            assert!(end.expect("it must end").success());
        }
    }
}

const TAKEN: &str = "K127.0.0.1 accepted message.\nRemote host said: 250 taken\n";

#[test]
fn jobs_one_after_the_other_use_one_connection() {
    let server = Server::start();
    let home = home(&server);
    let mut spawner = Spawner::start(&home, &[]);
    for n in 0..50 {
        let host = if n % 2 == 0 { "one.test" } else { "two.test" };
        assert_eq!(spawner.send(&[&format!("r{n}@{host}")]), [TAKEN]);
    }
    let pauses = spawner.pauses;
    drop(spawner);
    assert!((1..=1 + pauses).contains(&server.connections()));
    assert_eq!(server.count("RCPT"), 50);
}

#[test]
fn many_jobs_at_once_use_as_many_workers_and_keep_their_numbers() {
    let server = Server::start();
    let home = home(&server);
    let mut spawner = Spawner::start(&home, &[]);
    for round in 0..5 {
        for n in 0..20 {
            spawner.order(400 + n, "s@a.test", &[&format!("r{n}-{round}@h.test")]);
        }
        let mut numbers: Vec<u32> = (0..20)
            .map(|_| {
                let (number, texts) = spawner.report();
                assert_eq!(texts, [TAKEN]);
                number
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (400..420).collect::<Vec<_>>());
    }
    assert!(spawner.children().len() <= 20);
    assert!(server.connections() <= 20, "{}", server.connections());
}

#[test]
fn hosts_do_not_take_each_others_connections() {
    let servers: Vec<Server> = (0..5).map(|_| Server::start()).collect();
    let home = home(&servers[0]);
    let routes = servers.iter().enumerate();
    let routes: Vec<String> = routes
        .map(|(n, server)| format!("h{n}.test{}", server.route()))
        .collect();
    home.control("smtproutes", &routes.concat());
    let mut spawner = Spawner::start(&home, &[]);
    let begun = Instant::now();
    for _ in 0..4 {
        for n in [0, 1, 2, 1, 3, 4, 0] {
            assert_eq!(spawner.send(&[&format!("r@h{n}.test")]), [TAKEN]);
        }
    }
    let connections: usize = servers.iter().map(Server::connections).sum();
    // On a machine that stands still each of them may have rested too long.
    let is_slow = begun.elapsed().as_secs() >= remote::KEEP;
    assert!(connections <= if is_slow { 28 } else { 6 }, "{connections}");
    assert!(spawner.children().len() <= 6);
}

#[test]
fn five_thousand_recipients_at_one_host_take_few_connections() {
    let server = Server::start();
    let home = home(&server);
    let mut spawner = Spawner::start(&home, &[]);
    let recipients: Vec<String> = (0..5000).map(|n| format!("r{n}@h.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    for (at, group) in recipients.chunks(100).enumerate() {
        spawner.order(u32::try_from(at % 20).unwrap(), "s@a.test", group);
        if at % 20 == 19 || at == 49 {
            for _ in 0..=at % 20 {
                assert!(spawner.report().1.iter().all(|t| t == TAKEN));
            }
        }
    }
    assert_eq!(
        (server.count("RCPT"), server.count("MAIL FROM")),
        (5000, 50)
    );
    assert!(server.connections() <= 20, "{}", server.connections());
}

#[test]
fn each_recipient_has_its_own_report() {
    let server = Server::start();
    let home = home(&server);
    let mut spawner = Spawner::start(&home, &[]);
    for _ in 0..2 {
        let texts = spawner.send(&["a@h", "no@h", "later@h", "nohost", "b@h"]);
        let starts: Vec<&str> = texts.iter().map(|t| &t[..5]).collect();
        assert_eq!(starts, ["K127.", "D127.", "Z127.", "DSorr", "K127."]);
        assert!(
            texts[1].ends_with("Remote host said: 550 never\n"),
            "{}",
            texts[1]
        );
        assert_eq!((&texts[0][..], &texts[4][..]), (TAKEN, TAKEN));
    }
    assert!((1..=1 + spawner.pauses).contains(&server.connections()));
}

#[test]
fn variable_senders_go_one_by_one_over_one_connection() {
    let server = Server::start();
    let home = home(&server);
    let mut spawner = Spawner::start(&home, &[]);
    for n in 0..3 {
        let sender = format!("list-r{n}=h.test@a.test");
        spawner.order(1, &sender, &[&format!("r{n}@h.test")]);
        assert_eq!(spawner.report().1, [TAKEN]);
        assert_eq!(server.count(&format!("MAIL FROM:<{sender}>")), 1);
    }
    assert!((1..=1 + spawner.pauses).contains(&server.connections()));
    assert_eq!(server.count("DATA"), 3);
}

#[test]
fn a_job_too_long_for_a_worker_is_run_the_classic_way() {
    let server = Server::start();
    let home = home(&server);
    let mut spawner = Spawner::start(&home, &[]);
    let recipients: Vec<String> = (0..100)
        .map(|n| format!("{}{n}@h.test", "x".repeat(4000)))
        .collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let texts = spawner.send(&recipients);
    assert_eq!(texts.len(), 100);
    assert!(texts.iter().all(|t| t == TAKEN), "{}", texts[0]);
    assert_eq!(server.count("MAIL FROM"), 1);
}

#[test]
fn a_worker_that_crashes_defers_its_own_job_only() {
    let server = Server::start();
    let home = home(&server);
    let mut spawner = Spawner::start(&home, &[]);
    assert_eq!(spawner.send(&["r@h"]), [TAKEN]);
    let [first] = spawner.children()[..] else {
        panic!("one worker")
    };
    spawner.order(7, "s@a.test", &["slow@h", "other@h"]);
    kit::eventually("the server is asked", || server.count("slow") == 1);
    assert_eq!(spawner.send(&["r@h"]), [TAKEN], "another worker");
    sys::signal::send(first, sys::signal::Signal::SIGKILL).unwrap();
    let crashed = "Zqmail-remote crashed.\n".to_owned();
    assert_eq!(spawner.report(), (7, vec![crashed.clone(), crashed]));
    // One that is killed while it has nothing to do is no loss at all.
    for pid in spawner.children() {
        let _ = sys::signal::send(pid, sys::signal::Signal::SIGKILL);
    }
    kit::eventually("they are gone", || spawner.children().is_empty());
    assert_eq!(spawner.send(&["r@h"]), [TAKEN]);
}

/// Puts a program in place of bin/qmail-remote at one moment.
fn replace(home: &Home, script: &str) {
    let bin = home.own_bin();
    kit::executable(home.join("new"), script);
    fs::rename(home.join("new"), bin.join("qmail-remote")).unwrap();
}

/// Reports its arguments.
const SCRIPT: &str = "#!/bin/sh\nprintf 'r%s\\0K\\0' \"$*\"\n";

#[test]
fn a_replaced_program_is_run_for_each_recipient() {
    let server = Server::start();
    let home = home(&server);
    replace(&home, SCRIPT);
    let mut spawner = Spawner::start(&home, &[]);
    let expected = ["Kh s@a.test a@h", "Kh s@a.test b@h"];
    assert_eq!(spawner.send(&["a@h", "b@h"]), expected);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_program_that_is_replaced_later_gets_the_next_jobs() {
    let server = Server::start();
    let home = home(&server);
    home.own_bin();
    let mut spawner = Spawner::start(&home, &[]);
    assert_eq!(spawner.send(&["a@h"]), [TAKEN]);
    spawner.order(7, "s@a.test", &["slow@h"]);
    kit::eventually("the server is asked", || server.count("slow") == 1);
    let busy = spawner.children();
    replace(&home, SCRIPT);
    kit::eventually("the script is run", || {
        spawner.send(&["a@h"]) == ["Kh s@a.test a@h"]
    });
    // The job that was given out is still waited for.
    for pid in busy {
        let _ = sys::signal::send(pid, sys::signal::Signal::SIGKILL);
    }
    assert_eq!(spawner.report().1, ["Zqmail-remote crashed.\n"]);
    // And back again.
    fs::remove_file(home.join("bin/qmail-remote")).unwrap();
    std::os::unix::fs::symlink(kit::program("qmail-remote"), home.join("bin/qmail-remote"))
        .unwrap();
    kit::eventually("a worker is there again", || {
        spawner.send(&["a@h"]) == [TAKEN]
    });
    assert_eq!(spawner.children().len(), 1);
}

#[test]
fn programs_that_are_not_ours_are_found_out() {
    let server = Server::start();
    let home = home(&server);
    let bin = home.own_bin();
    fs::remove_file(bin.join("qmail-remote")).unwrap();
    // Not a script, says nothing and goes.
    std::os::unix::fs::symlink("/bin/true", bin.join("qmail-remote")).unwrap();
    let mut spawner = Spawner::start(&home, &[]);
    let silent = "Zqmail-remote produced no output.\n";
    assert_eq!(spawner.send(&["a@h", "b@h"]), [silent, silent]);
    drop(spawner);

    let script = home.join("mine");
    kit::executable(&script, SCRIPT);
    replace(&home, "#!/bin/sh\nprintf 'rwrong\\0K\\0'\n");
    let mut spawner = Spawner::start(&home, &[("QMAILREMOTE", script.to_str().unwrap())]);
    assert_eq!(spawner.send(&["a@h"]), ["Kh s@a.test a@h"]);
}

#[test]
fn a_changed_route_counts_for_the_next_job() {
    let (one, two) = (Server::start(), Server::start());
    let home = home(&one);
    let mut spawner = Spawner::start(&home, &[]);
    assert_eq!(spawner.send(&["a@h"]), [TAKEN]);
    home.control("smtproutes", &two.route());
    kit::eventually("the new route is used", || {
        assert_eq!(spawner.send(&["a@h"]), [TAKEN]);
        two.connections() == 1
    });
    kit::eventually("the old connection is closed", || one.count("QUIT") == 1);
}

#[test]
fn a_qmail_send_that_speaks_the_classic_protocol_has_workers_too() {
    let server = Server::start();
    let home = home(&server);
    let mut orders = Vec::new();
    for n in 0..3u8 {
        orders.push(n);
        orders.extend(b"1/24\0s@a\0r@h\0");
    }
    let output = home.run("qmail-rspawn").stdin(&orders).output();
    assert_eq!(output.code(), 0);
    let text = output.out_text();
    assert_eq!(text.matches(&format!("{TAKEN}\0")).count(), 3, "{text}");
}
