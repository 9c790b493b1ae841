//! qmail-remote at work for qmail-rspawn: several messages over one connection, and none of them twice.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use kit::Home;
use queue::frames::Command;
use queue::remote::{self, Kept};
use sys::handover::{self, Patience};
use sys::process::End;

use crate::server::{Script, Server, Session};
use crate::{MESSAGE, home};

/// How long a test waits for a worker.
const WAIT: Duration = kit::LIMIT;

/// A running worker. It is told to leave at the end, and must.
struct Worker {
    socket: Option<OwnedFd>,
    pid: u32,
    message: File,
}

impl Worker {
    fn start(home: &Home, message: &[u8]) -> Worker {
        let path = kit::program("qmail-remote");
        let (ours, theirs) = handover::pair().unwrap();
        let null = File::options().write(true).open("/dev/null").unwrap();
        let program = path.to_str().unwrap();
        let pid = sys::spawn::Spawn::new(program)
            .arg(remote::ARGUMENT)
            .env(vec![(
                b"QMAILHOME".to_vec(),
                home.path().to_str().unwrap().into(),
            )])
            .fd(0, theirs.as_fd())
            .fd(1, null.as_fd())
            .fd(2, null.as_fd())
            .spawn()
            .unwrap();
        drop(theirs);
        let worker = Worker {
            socket: Some(ours),
            pid,
            message: File::open(home.write("m", message)).unwrap(),
        };
        let file = sys::dir::stat_path(program.as_bytes()).unwrap();
        assert!(remote::is_hello(&worker.receive(), &file));
        worker
    }

    /// The next message; empty when the worker has left.
    fn receive(&self) -> Vec<u8> {
        let socket = self.socket.as_ref().unwrap();
        assert!(sys::poll::readable(socket, WAIT).unwrap(), "no answer");
        let mut buffer = vec![0; remote::MESSAGE_LIMIT];
        let (count, _) = handover::receive(socket, &mut buffer, Patience::Now).unwrap();
        buffer.truncate(count);
        buffer
    }

    /// One job; the reports with `^` for NUL.
    fn send(&self, recipients: &[&str]) -> (Kept, String) {
        let command = Command {
            number: 4711,
            message: b"1/24".to_vec(),
            sender: b"s@a.test".to_vec(),
            attempt: None,
            recipients: recipients.iter().map(|r| r.as_bytes().to_vec()).collect(),
        };
        let job = remote::encode_job(&command).unwrap();
        // Each job has an open file of its own.
        let path = format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.message)
        );
        let message = File::open(path).unwrap();
        let socket = self.socket.as_ref().unwrap();
        handover::send(socket, &job, Some(message.as_fd())).unwrap();
        let answer = self.receive();
        let (number, kept, reports) = remote::read_answer(&answer).unwrap();
        assert_eq!(number, 4711);
        let reports = String::from_utf8_lossy(reports).replace('\0', "^");
        (kept, reports)
    }

    fn end(&mut self) -> End {
        self.socket = None;
        let end = kit::until(WAIT, || sys::process::ended_pid(self.pid).unwrap());
        end.unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.socket.is_some() && !std::thread::panicking() {
            assert_eq!(self.end(), End::Exit(0));
        }
    }
}

const TAKEN: &str = "r^K127.0.0.1 accepted message.\nRemote host said: 250 taken\n^";

fn pipelining() -> Script {
    Script::default().on("EHLO", "250-hi\r\n250 PIPELINING")
}

/// Both kinds of servers.
fn scripts() -> [Script; 2] {
    [Script::default(), pipelining()]
}

#[test]
fn one_connection_serves_many_messages() {
    for script in scripts() {
        let server = Server::local(script);
        let home = home(&server.route());
        let worker = Worker::start(&home, MESSAGE);
        for host in ["h.test", "h.test", "other.test"] {
            let got = worker.send(&[&format!("r@{host}")]);
            assert_eq!(got, (Kept::Relay, TAKEN.to_owned()));
        }
        drop(worker);
        let session = server.session();
        assert_eq!(session.matches("EHLO").count(), 1);
        assert_eq!(session.matches("RSET\r\nMAIL FROM:<s@a.test>").count(), 2);
        assert_eq!(session.matches("body\r\n.\r\n").count(), 3);
        assert!(session.ends_with(".\r\nQUIT\r\n"), "{session}");
    }
}

#[test]
fn a_connection_serves_its_own_host_only() {
    let servers = [Server::local(pipelining()), Server::local(pipelining())];
    let routes: Vec<String> = ["a.test", "b.test"]
        .iter()
        .zip(&servers)
        .map(|(host, server)| format!("{host}{}", server.route()))
        .collect();
    let worker = Worker::start(&home(&routes.concat()), MESSAGE);
    for host in ["a.test", "b.test", "b.test", "a.test"] {
        let got = worker.send(&[&format!("r@{host}")]);
        assert_eq!(got, (Kept::Host, TAKEN.to_owned()));
    }
    drop(worker);
    let [a, b] = servers.map(Server::finish);
    assert_eq!((a.len(), b.len()), (2, 1));
    assert!(a.concat().ends_with(b"QUIT\r\n"));
    assert!(!String::from_utf8_lossy(&a.concat()).contains("b.test"));
}

#[test]
fn an_idle_connection_is_closed_with_good_bye_after_a_short_while() {
    let server = Server::local(pipelining());
    let worker = Worker::start(&home(&server.route()), MESSAGE);
    let start = Instant::now();
    worker.send(&["r@h"]);
    // The server serves one session after the other: the second must wait for the end of the first.
    let other = Worker::start(&home(&server.route()), MESSAGE);
    assert_eq!(other.send(&["r@h"]).1, TAKEN);
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(1), "{waited:?}");
    assert_eq!(worker.send(&["r@h"]).1, TAKEN);
}

#[test]
fn a_connection_serves_a_hundred_messages_at_most() {
    let server = Server::local(pipelining());
    let worker = Worker::start(&home(&server.route()), MESSAGE);
    for n in 1..=101 {
        let (kept, report) = worker.send(&["r@h"]);
        assert_eq!(report, TAKEN);
        assert_eq!(kept == Kept::None, n == 100);
    }
    drop(worker);
    let sessions = server.finish();
    assert_eq!(sessions.len(), 2);
    let first = String::from_utf8_lossy(&sessions[0]).into_owned();
    assert_eq!(first.matches("MAIL").count(), 100);
}

#[test]
fn recipients_of_one_transaction_are_reported_one_by_one() {
    for script in scripts() {
        let script = script.on("no@h", "550 never").on("later@h", "450 not now");
        let server = Server::local(script);
        let worker = Worker::start(&home(&server.route()), MESSAGE);
        let refused = |letter, words: &str| {
            format!("{letter}127.0.0.1 does not like recipient.\nRemote host said: {words}\n^")
        };
        let (no, later) = (refused('h', "550 never"), refused('s', "450 not now"));
        for _ in 0..2 {
            let (_, got) = worker.send(&["a@h", "no@h", "b@h", "later@h", "x\n@h"]);
            let unspeakable = "hSorry, that recipient address cannot be sent by SMTP. (#5.1.3)\n^";
            let rest = TAKEN.strip_prefix("r^").unwrap();
            assert_eq!(got, format!("r^{no}r^{later}{unspeakable}{rest}"));
            let (_, got) = worker.send(&["no@h", "later@h"]);
            assert!(
                got.starts_with(&format!("{no}{later}DGiving up on")),
                "{got}"
            );
        }
        assert_eq!(worker.send(&["a@h"]).1, TAKEN);
    }
}

#[test]
fn a_refusal_of_everybody_does_not_end_the_connection() {
    let plain = Script::default().on("no@h", "550 never");
    let refusing = pipelining().on("MAIL", "550 not from you");
    for (script, sessions) in [(plain, 1), (refusing, 2)] {
        let server = Server::local(script);
        let worker = Worker::start(&home(&server.route()), MESSAGE);
        for _ in 0..2 {
            let (_, got) = worker.send(&["no@h"]);
            assert!(got.contains("127.0.0.1") && !got.contains("^K"), "{got}");
        }
        drop(worker);
        assert_eq!(server.finish().len(), sessions);
    }
}

/// A server that breaks off at `verb` of its `nth` message, and goes on well in the next session.
fn breaking(script: Script, verb: &'static str, nth: usize) -> Server {
    let sessions = std::sync::atomic::AtomicUsize::new(0);
    Server::playing(("127.0.0.1", 0), move |session: &mut Session| {
        if sessions.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
            return script.play(session);
        }
        script.play_until(session, verb, nth);
    })
}

#[test]
fn a_kept_connection_that_died_is_replaced_if_nothing_was_said_of_the_message() {
    for script in scripts() {
        for verb in ["idle", "RSET", "MAIL"] {
            let nth = if verb == "MAIL" { 2 } else { 1 };
            let server = breaking(script.clone(), verb, nth);
            let worker = Worker::start(&home(&server.route()), MESSAGE);
            for _ in 0..3 {
                assert_eq!(worker.send(&["r@h"]).1, TAKEN, "{verb}");
            }
            drop(worker);
            let sessions = server.finish();
            assert_eq!(sessions.len(), 2, "{verb}");
            let all = String::from_utf8_lossy(&sessions.concat()).into_owned();
            assert_eq!(all.matches("body\r\n.\r\n").count(), 3, "{verb}");
        }
    }
}

#[test]
fn a_kept_connection_that_dies_later_is_reported_and_not_tried_again() {
    let died = |warning: &str| {
        format!("ZConnected to 127.0.0.1 but connection died. {warning}(#4.4.2)\n^")
    };
    for script in scripts() {
        for (verb, wanted, texts) in [
            ("RCPT", died(""), 1),
            ("DATA", format!("r^{}", died("")), 1),
            (".", format!("r^{}", died("Possible duplicate! ")), 2),
        ] {
            let server = breaking(script.clone(), verb, 2);
            let worker = Worker::start(&home(&server.route()), MESSAGE);
            assert_eq!(worker.send(&["r@h"]).1, TAKEN);
            assert_eq!(worker.send(&["r@h"]), (Kept::None, wanted), "{verb}");
            assert_eq!(worker.send(&["r@h"]).1, TAKEN);
            drop(worker);
            let sessions = server.finish();
            assert_eq!(sessions.len(), 2, "{verb}");
            let first = String::from_utf8_lossy(&sessions[0]).into_owned();
            assert_eq!(first.matches("body\r\n.\r\n").count(), texts, "{verb}");
        }
    }
}

#[test]
fn a_large_message_over_a_connection_that_dies_is_not_tried_again() {
    let server = Server::playing(("127.0.0.1", 0), |session: &mut Session| {
        session.say("220 hi\r\n");
        let mut texts = 0;
        loop {
            let line = session.line();
            if line.is_empty() {
                return;
            }
            let is_data = line.starts_with(b"DATA");
            session.say(if is_data { "354 go\r\n" } else { "250 ok\r\n" });
            if is_data && texts == 1 {
                // Half of the second text.
                session.line();
                return;
            }
            if is_data {
                texts += 1;
                session.text();
                session.say("250 taken\r\n");
            }
        }
    });
    let worker = Worker::start(&home(&server.route()), &b"line\n".repeat(2_000_000));
    assert_eq!(worker.send(&["r@h"]).1, TAKEN);
    let (kept, got) = worker.send(&["r@h"]);
    assert_eq!(kept, Kept::None);
    assert_eq!(
        got,
        "r^ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^"
    );
    drop(worker);
    assert_eq!(server.finish().len(), 1);
}

#[test]
fn a_host_that_closes_politely_is_called_again() {
    for verb in ["RSET", "MAIL"] {
        for script in scripts() {
            let again = script.clone();
            let sessions = std::sync::atomic::AtomicUsize::new(0);
            let server = Server::playing(("127.0.0.1", 0), move |session: &mut Session| {
                if sessions.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
                    return again.play(session);
                }
                let nth = if verb == "MAIL" { 2 } else { 1 };
                script.play_until(session, verb, nth);
                session.say("421 that was enough\r\n");
            });
            let worker = Worker::start(&home(&server.route()), MESSAGE);
            for _ in 0..2 {
                assert_eq!(worker.send(&["r@h"]).1, TAKEN, "{verb}");
            }
        }
    }
}

#[test]
fn a_host_that_says_more_than_it_was_asked_is_left() {
    for (more, is_late) in [
        ("250 taken\r\n250 for the next one\r\n", false),
        ("250 taken\r\n2", false),
        ("250 taken\r\n", true),
        ("421 taken\r\n", false),
    ] {
        // When the late words may come, and that they are there.
        let (go, told_to_go) = mpsc::channel();
        let (said, heard) = mpsc::channel();
        let late = Mutex::new((told_to_go, said));
        let server = Server::playing(("127.0.0.1", 0), move |session: &mut Session| {
            session.say("220 hi\r\n");
            loop {
                let line = session.line();
                if line.is_empty() {
                    return;
                }
                if line.starts_with(b"DATA") {
                    session.say("354 go\r\n");
                    session.text();
                    session.say(more);
                    if is_late {
                        let late = late.lock().unwrap();
                        late.0.recv_timeout(WAIT).unwrap();
                        session.say("250 r\r\n250 r\r\n354 r\r\n250 r\r\n");
                        late.1.send(()).unwrap();
                    }
                } else {
                    session.say("250 ok\r\n");
                }
            }
        });
        let worker = Worker::start(&home(&server.route()), MESSAGE);
        for _ in 0..3 {
            let (kept, report) = worker.send(&["r@h"]);
            assert!(
                report.contains("taken") && !report.contains("next"),
                "{report}"
            );
            assert_eq!(kept == Kept::None, !is_late, "{more:?}");
            if is_late {
                go.send(()).unwrap();
                heard.recv_timeout(WAIT).unwrap();
            }
        }
        drop(worker);
        assert_eq!(server.finish().len(), 3, "{more:?}");
    }
}

#[test]
fn long_words_on_many_recipients_fit_into_the_answer() {
    let words = vec!["550-x".repeat(800); 4].join("\r\n");
    let script = pipelining().on("RCPT", &format!("{words}\r\n550 {}", "y".repeat(900)));
    let server = Server::local(script);
    let worker = Worker::start(&home(&server.route()), MESSAGE);
    let recipients: Vec<String> = (0..100).map(|n| format!("r{n}@h")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let (_, report) = worker.send(&recipients);
    assert_eq!(report.matches("h127.0.0.1 does not like").count(), 100);
    assert_eq!(report.matches('^').count(), 101);
    let (_, report) = worker.send(&["r@h"]);
    assert!(
        report.len() > 4000,
        "one alone is not cut: {}",
        report.len()
    );
}

#[test]
fn answers_of_the_resolver_are_remembered() {
    let server = Server::start(("127.0.0.3", 0), pipelining());
    let dns = kit::dns::Dns::start([
        ("x.test", kit::dns::Record::Mx(10, "a.x.test".into())),
        ("a.x.test", kit::dns::Record::address("127.0.0.3")),
    ]);
    let home = home(&format!("x.test::{}\n", server.port()));
    let path = kit::program("qmail-remote");
    // As `Worker::start`, with a resolver.
    let (ours, theirs) = handover::pair().unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    let pid = sys::spawn::Spawn::new(path.to_str().unwrap())
        .arg(remote::ARGUMENT)
        .env(vec![
            (b"QMAILHOME".to_vec(), home.path().to_str().unwrap().into()),
            (b"DNSCACHEIP".to_vec(), dns.variable().into()),
        ])
        .fd(0, theirs.as_fd())
        .fd(1, null.as_fd())
        .spawn()
        .unwrap();
    drop(theirs);
    let worker = Worker {
        socket: Some(ours),
        pid,
        message: File::open(home.write("m", MESSAGE)).unwrap(),
    };
    worker.receive();
    for n in 0..101 {
        let (kept, report) = worker.send(&["r@x.test"]);
        assert!(report.starts_with("r^K127.0.0.3 accepted"), "{report}");
        assert_eq!(kept == Kept::None, n == 99);
    }
    let asked = dns.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    drop(worker);
    assert_eq!(server.finish().len(), 2);
}

#[test]
fn a_worker_without_control_files_says_so_and_leaves() {
    let home = home("");
    std::fs::remove_file(home.join("control/me")).unwrap();
    let mut worker = Worker::start(&home, MESSAGE);
    let unable = (
        Kept::None,
        "ZUnable to read control files. (#4.3.0)\n^".to_owned(),
    );
    assert_eq!(worker.send(&["r@h"]), unable);
    assert!(worker.receive().is_empty());
    assert_eq!(worker.end(), End::Exit(0));
}

#[test]
fn nonsense_from_the_spawner_ends_a_worker() {
    let home = home("");
    for nonsense in [&b"x"[..], b"\0\0\0\0m\0s\0", &[b'x'; 1000]] {
        let worker = Worker::start(&home, MESSAGE);
        let socket = worker.socket.as_ref().unwrap();
        handover::send(socket, nonsense, Some(worker.message.as_fd())).unwrap();
        assert!(worker.receive().is_empty());
    }
    // Without a socket it is the classic program, and misused.
    let output = home.run("qmail-remote").arg(remote::ARGUMENT).output();
    assert!(
        output
            .out_text()
            .starts_with("DI (qmail-remote) was invoked")
    );
}
