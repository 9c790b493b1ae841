//! The whole post office, as one ordinary user, from outside: mail in by SMTP and by injection, out to Maildirs and to
//! another host; under load, killed, stopped, out of resources.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::format_push_string, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kit::office::{Office, wait_for};
use kit::smtp::{Client, Sink};
use sys::process::End;

const PATIENCE: Duration = Duration::from_mins(2);

/// How many messages the load tests send; QMAIL_LOAD asks for more.
fn load(default: usize) -> usize {
    std::env::var("QMAIL_LOAD")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// A small generator of numbers, the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(below).unwrap()).unwrap()
    }
}

/// A message with the number `n` in its header; its body has dots, long lines, 8-bit bytes, of 1 byte to 1 MB.
fn message(n: usize) -> Vec<u8> {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (n as u64 + 1).wrapping_mul(0x2545_F491_4F6C_DD1D));
    let size = match n % 40 {
        0 => 1,
        1 => 1_000_000,
        2 => 100_000,
        _ => 1 + dice.roll(6_000),
    };
    let mut mail =
        format!("From: ann@example.org\nTo: alice@host.test\nX-Number: {n}\nSubject: load\n\n")
            .into_bytes();
    let end = mail.len() + size;
    while mail.len() < end {
        match dice.roll(6) {
            0 => mail.extend_from_slice(b".\n"),
            1 => mail.extend_from_slice(b"..dots\n...\n"),
            2 => mail.extend_from_slice(b"\n"),
            3 => {
                let long = 900 + dice.roll(3_000);
                mail.extend((0..long).map(|i| b'a' + u8::try_from(i % 26).unwrap()));
                mail.push(b'\n');
            }
            4 => {
                mail.extend(
                    (0..dice.roll(200)).map(|_| 0x80 | u8::try_from(dice.0 & 0x7f).unwrap()),
                );
                mail.push(b'\n');
            }
            _ => mail.extend_from_slice(b"From here to there, an ordinary line.\n"),
        }
    }
    mail
}

/// The number and the body of what was delivered.
fn number_and_body(mail: &[u8]) -> (usize, Vec<u8>) {
    let at = mail
        .windows(2)
        .position(|w| w == b"\n\n")
        .expect("no end of header");
    let header = String::from_utf8_lossy(&mail[..at]).into_owned();
    let number = header
        .lines()
        .find_map(|l| l.strip_prefix("X-Number: "))
        .expect("no number")
        .parse()
        .unwrap();
    (number, mail[at + 2..].to_vec())
}

fn body(mail: &[u8]) -> Vec<u8> {
    number_and_body(mail).1
}

/// Sends messages `0..count` to `recipient` over `sessions` connections at once, many per connection. The numbers of
/// those that were acknowledged.
fn send_all(
    address: SocketAddr,
    recipient: &'static str,
    count: usize,
    sessions: usize,
) -> BTreeSet<usize> {
    let next = Arc::new(Mutex::new(0usize));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let threads: Vec<_> = (0..sessions)
        .map(|_| {
            let (next, acknowledged) = (next.clone(), acknowledged.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                assert_eq!(client.say("EHLO load.example.org").code, 250);
                loop {
                    let n = {
                        let mut next = next.lock().unwrap();
                        *next += 1;
                        *next - 1
                    };
                    if n >= count {
                        break;
                    }
                    let code = client.mail("ann@example.org", &[recipient], &message(n));
                    assert_eq!(code, 250, "message {n}");
                    acknowledged.lock().unwrap().insert(n);
                }
                client.say("QUIT");
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    Arc::try_unwrap(acknowledged).unwrap().into_inner().unwrap()
}

#[test]
fn mail_goes_every_way() {
    let sink = Sink::start();
    let mut office = Office::new("every-way");
    office.home.control(
        "smtproutes",
        &format!("far.test:127.0.0.1:{}\n", sink.address.port()),
    );
    office
        .home
        .write("alice/.qmail-list", "bob\n&far@far.test\n");
    office
        .home
        .write("alice/.qmail-prog", "|cat >> ./by-program\n");
    office.give();
    office.start_send();
    office.start_smtpd(true, 10);

    let mut client = Client::connect(office.smtp());
    assert_eq!(client.say("EHLO x.example.org").code, 250);
    assert_eq!(
        client.mail(
            "ann@example.org",
            &["alice@host.test"],
            b"Subject: 1\n\nby SMTP\n"
        ),
        250
    );
    assert_eq!(
        client.mail(
            "ann@example.org",
            &["alice-list@host.test"],
            b"Subject: 2\n\nto the list\n"
        ),
        250
    );
    assert_eq!(
        client.mail(
            "ann@example.org",
            &["alice-prog@host.test"],
            b"Subject: 3\n\nto the program\n"
        ),
        250
    );
    assert_eq!(
        client.mail("ann@example.org", &["nobody-at-all@host.test"], b"x\n"),
        550
    );
    let injected = office
        .run("sendmail")
        .args(["-t", "-i"])
        .stdin("From: alice@host.test\nTo: bob@host.test, Far <you@far.test>\nSubject: 4\n\nby sendmail\n.\nlast\n")
        .output();
    assert_eq!(injected.code(), 0, "{}", injected.err_text());
    let injected = office
        .run("qmail-inject")
        .args(["-fbob@host.test", "not-there@host.test"])
        .stdin("Subject: 5\n\nlost\n")
        .output();
    assert_eq!(injected.code(), 0, "{}", injected.err_text());

    wait_for(&office, "alice/Maildir", 1);
    wait_for(&office, "bob/Maildir", 3);
    office.drain(PATIENCE);
    let alice = office.mails("alice/Maildir");
    assert_eq!(alice.len(), 1);
    let text = String::from_utf8_lossy(&alice[0]).into_owned();
    assert!(
        text.starts_with(
            "Return-Path: <ann@example.org>\nDelivered-To: alice@host.test\nReceived: (qmail "
        ),
        "{text}"
    );
    assert!(
        text.contains("from unknown (HELO x.example.org) (127.0.0.1)\n  by host.test with "),
        "{text}"
    );
    let bob: Vec<String> = office
        .mails("bob/Maildir")
        .iter()
        .map(|m| String::from_utf8_lossy(m).into_owned())
        .collect();
    assert!(bob.iter().any(|m| m.contains("to the list")), "{bob:?}");
    assert!(
        bob.iter().any(|m| m.ends_with("by sendmail\n.\nlast\n")),
        "{bob:?}"
    );
    let bounce = bob
        .iter()
        .find(|m| m.contains("failure notice"))
        .expect("no bounce");
    assert!(
        bounce.contains("Return-Path: <>\n") && bounce.contains("<not-there@host.test>:\n"),
        "{bounce}"
    );
    let far: Vec<_> = sink.received.try_iter().collect();
    assert_eq!(far.len(), 2, "{far:?}");
    assert!(
        far.iter()
            .all(|m| m.sender == "ann@example.org" || m.sender == "alice@host.test"),
        "{far:?}"
    );
    assert!(
        String::from_utf8_lossy(&std::fs::read(office.home.join("alice/by-program")).unwrap())
            .contains("to the program")
    );
    assert_eq!(office.stop(), Some(End::Exit(0)));
    let log = office.log("log-send");
    for line in [
        "status: exiting",
        "delivery 1: success: ",
        "bounce msg ",
        "end msg ",
    ] {
        assert!(log.contains(line), "no {line:?} in the log:\n{log}");
    }
}

#[test]
fn a_load_of_messages_arrives_whole_and_once() {
    let count = load(400);
    let mut office = Office::new("load");
    office.start_send();
    office.start_smtpd(false, 40);
    let acknowledged = send_all(office.smtp(), "alice@host.test", count, 20);
    assert_eq!(acknowledged.len(), count);
    office.drain(PATIENCE * 5);
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    for mail in office.mails("alice/Maildir") {
        let (number, text) = number_and_body(&mail);
        assert!(
            text == body(&message(number)),
            "message {number} was changed"
        );
        *seen.entry(number).or_default() += 1;
    }
    assert_eq!(seen.len(), count, "messages are missing");
    assert!(
        seen.values().all(|&copies| copies == 1),
        "some came twice: {seen:?}"
    );
    assert_eq!(office.stop(), Some(End::Exit(0)));
}

#[test]
fn a_load_is_relayed_whole_and_once() {
    let count = load(1_000) / 5;
    let sink = Sink::start();
    let mut office = Office::new("relay");
    office.home.control(
        "smtproutes",
        &format!("far.test:127.0.0.1:{}\n", sink.address.port()),
    );
    office.home.control("concurrencyremote", "20\n");
    office.give();
    office.start_send();
    office.start_smtpd(true, 40);
    send_all(office.smtp(), "you@far.test", count, 20);
    let mut seen = BTreeSet::new();
    for _ in 0..count {
        let got = sink
            .received
            .recv_timeout(PATIENCE)
            .expect("a message is missing at the sink");
        let (number, text) = number_and_body(&got.message);
        assert!(
            text == body(&message(number)),
            "message {number} was changed"
        );
        assert!(seen.insert(number), "message {number} came twice");
        assert_eq!(got.recipients, ["you@far.test"]);
    }
    office.drain(PATIENCE);
    assert!(sink.received.try_recv().is_err());
}

#[test]
fn killed_under_load_no_acknowledged_message_is_lost() {
    let mut office = Office::new("killed");
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut first = 0usize;
    for round in 0..3u64 {
        office.start_send();
        office.start_smtpd(false, 40);
        let address = office.smtp();
        let over = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..8)
            .map(|t| {
                let (acknowledged, over) = (acknowledged.clone(), over.clone());
                thread::spawn(move || {
                    let mut client = Client::connect(address);
                    client.say("EHLO load.example.org");
                    let mut n = first + t;
                    while !over.load(Ordering::Relaxed) {
                        if client.mail("ann@example.org", &["alice@host.test"], &message(n)) != 250
                        {
                            return n;
                        }
                        acknowledged.lock().unwrap().insert(n);
                        n += 8;
                    }
                    n
                })
            })
            .collect();
        let before = acknowledged.lock().unwrap().len();
        thread::sleep(Duration::from_millis(700 + 300 * round));
        kit::eventually("some load", || {
            acknowledged.lock().unwrap().len() > before + 7
        });
        office.kill_all();
        over.store(true, Ordering::Relaxed);
        first = threads
            .into_iter()
            .map(|t| t.join().unwrap())
            .max()
            .unwrap()
            / 8
            * 8
            + 16;
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(
        acknowledged.len() > 20,
        "hardly any load: {}",
        acknowledged.len()
    );
    office.start_send();
    // Litter of the kills (mess without todo) stays for the cleaner; what is visible must go.
    let end = Instant::now() + PATIENCE;
    loop {
        let states = [office.home.queue("todo"), office.home.queue("info")].concat();
        if states.is_empty() {
            break;
        }
        assert!(
            Instant::now() < end,
            "the queue never drained: {states:?}\n{}",
            office.log("log-send")
        );
        thread::sleep(Duration::from_millis(20));
    }
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    for mail in office.mails("alice/Maildir") {
        let (number, text) = number_and_body(&mail);
        assert!(
            text == body(&message(number)),
            "message {number} was changed"
        );
        *seen.entry(number).or_default() += 1;
    }
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|n| !seen.contains_key(n))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let twice = seen.values().filter(|&&copies| copies > 1).count();
    eprintln!(
        "{} acknowledged, {} delivered, {twice} of them more than once",
        acknowledged.len(),
        seen.len()
    );
    assert_eq!(office.stop(), Some(End::Exit(0)));
}

#[test]
fn term_lets_running_deliveries_finish() {
    let mut office = Office::new("term");
    office.home.write(
        "alice/.qmail-slow",
        "|touch started; sleep 2; cat > finished\n",
    );
    office.give();
    office.start_send();
    let injected = office
        .run("qmail-inject")
        .arg("alice-slow@host.test")
        .stdin("Subject: slow\n\nbody\n")
        .output();
    assert_eq!(injected.code(), 0, "{}", injected.err_text());
    kit::eventually("the delivery starts", || {
        office.home.join("alice/started").exists()
    });
    assert_eq!(office.stop(), Some(End::Exit(0)));
    assert!(
        office.home.join("alice/finished").exists(),
        "{}",
        office.log("log-send")
    );
    assert_eq!(office.home.queue("info"), Vec::<String>::new());
    assert!(
        office.log("log-send").ends_with("status: exiting\n"),
        "{}",
        office.log("log-send")
    );
}

#[test]
fn a_second_scheduler_on_the_same_queue_refuses() {
    let mut office = Office::new("second");
    office.start_send();
    kit::eventually("the first one runs", || {
        office
            .log("log-send")
            .contains("status: local 0/10 remote 0/20")
    });
    let second = office.run("qmail-start").arg("./Maildir/").output();
    assert_eq!(second.code(), 111);
    let said = second.out_text() + &second.err_text();
    assert!(said.contains("cannot start"), "{said}");
    assert_eq!(office.stop(), Some(End::Exit(0)));
}

#[test]
fn clients_of_others_are_served() {
    let mut office = Office::new("clients");
    office.start_send();
    office.start_smtpd(false, 10);
    let port = office.smtp().port().to_string();
    let mut sent = 0;
    let has = |program: &str| {
        ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
            .iter()
            .any(|d| std::path::Path::new(d).join(program).exists())
    };
    if has("swaks") {
        let out = kit::Run::new("/usr/bin/swaks")
            .args([
                "--server",
                "127.0.0.1",
                "--port",
                &port,
                "--from",
                "a@example.org",
                "--to",
                "alice@host.test",
                "--ehlo",
                "swaks.test",
            ])
            .output();
        assert_eq!(out.code(), 0, "{}", out.out_text());
        sent += 1;
    } else {
        eprintln!("SKIPPED (no swaks): clients_of_others_are_served, swaks");
    }
    if has("curl") {
        let mail = office.home.write(
            "mail",
            "From: a@example.org\r\nSubject: curl\r\n\r\n.dot\r\n",
        );
        let url = format!("smtp://127.0.0.1:{port}/curl.test");
        let out = kit::Run::new("/usr/bin/curl")
            .args([
                "-sS",
                &url,
                "--mail-from",
                "a@example.org",
                "--mail-rcpt",
                "alice@host.test",
                "-T",
                mail.to_str().unwrap(),
            ])
            .output();
        assert_eq!(out.code(), 0, "{}", out.err_text());
        sent += 1;
    } else {
        eprintln!("SKIPPED (no curl): clients_of_others_are_served, curl");
    }
    if has("python3") {
        let program = format!(
            "import smtplib\ns=smtplib.SMTP('127.0.0.1',{port})\ns.sendmail('a@example.org',['alice@host.test','bob@host.test'],'Subject: python\\n\\n.x\\n')\ns.quit()\n"
        );
        let out = kit::Run::new("python3").args(["-c", &program]).output();
        assert_eq!(out.code(), 0, "{}", out.err_text());
        sent += 1;
    } else {
        eprintln!("SKIPPED (no python3): clients_of_others_are_served, smtplib");
    }
    if has("smtp-source") {
        let out = kit::Run::new("/usr/sbin/smtp-source")
            .args([
                "-s",
                "5",
                "-m",
                "40",
                "-l",
                "4096",
                "-f",
                "a@example.org",
                "-t",
                "alice@host.test",
                &format!("127.0.0.1:{port}"),
            ])
            .output();
        assert_eq!(out.code(), 0, "{}", out.err_text());
        sent += 40;
    } else {
        eprintln!("SKIPPED (no smtp-source): clients_of_others_are_served, smtp-source");
    }
    wait_for(&office, "alice/Maildir", sent);
    office.drain(PATIENCE);
    assert_eq!(office.mails("alice/Maildir").len(), sent);
}
