//! The post office with the queue service: every way in goes through it, and nothing else changes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::fs;
use std::time::Duration;

use kit::Daemon;
use kit::office::{Office, wait_for};
use kit::smtp::Client;
use sys::process::End;

const PATIENCE: Duration = Duration::from_mins(1);
/// Numbers below this are process ids.
const FIRST: u64 = 1 << 22;

/// Starts the service of an office and waits for its socket.
fn serve(office: &Office, args: &[&str]) -> Daemon {
    let program = office.home.join("bin/qmail-queued");
    kit::copy_executable(kit::program("qmail-queued"), &program);
    fs::create_dir_all(office.home.join("run/queue")).unwrap();
    office.give();
    let service = office
        .run("qmail-queued")
        .args(args)
        .start(office.home.join("log-queued"));
    let socket = office.home.join("run/queue/socket");
    kit::eventually("a socket", || socket.exists());
    service
}

/// The number in the line that says which way a message took into the queue.
fn number(mail: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(mail);
    let line = text
        .lines()
        .find(|l| l.starts_with("Received: (qmail "))
        .unwrap();
    line.split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn all_ways_in_lead_through_the_service() {
    let mut office = Office::new("queued");
    office.home.write("bob/.qmail-on", "&alice@host.test\n");
    let mut service = serve(&office, &[]);
    office.start_send();
    office.start_smtpd(true, 10);

    let mut client = Client::connect(office.smtp());
    client.say("HELO there.test");
    for to in ["alice@host.test", "bob-on@host.test"] {
        assert_eq!(
            client.mail("ann@example.org", &[to], b"Subject: x\n\nx\n"),
            250
        );
    }
    // The relay takes what has no mailbox, and a bounce goes to alice.
    let inject = office
        .run("qmail-inject")
        .args(["-falice@host.test", "nobody@host.test"])
        .stdin("Subject: lost\n\nx\n")
        .output();
    assert_eq!(inject.code(), 0, "{}", inject.err_text());
    wait_for(&office, "alice/Maildir", 3);
    office.drain(PATIENCE);
    let mails = office.mails("alice/Maildir");
    assert_eq!(mails.len(), 3);
    for mail in &mails {
        assert!(number(mail) >= FIRST, "{}", String::from_utf8_lossy(mail));
    }
    let log = office.log("log-send");
    let qp: Vec<u64> = log
        .lines()
        .filter_map(|l| l.split(" qp ").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    // Four messages and a bounce of the fifth; the bounce is named twice.
    assert!(qp.len() >= 5 && qp.iter().all(|n| *n >= FIRST), "{log}");
    assert_eq!(service.stop(), End::Exit(0));

    // The same without it. A session that began with the service has promised to run no program.
    let mut client = Client::connect(office.smtp());
    client.say("HELO there.test");
    assert_eq!(
        client.mail("ann@example.org", &["alice@host.test"], b"y\n"),
        250
    );
    wait_for(&office, "alice/Maildir", 4);
    assert_eq!(office.stop(), Some(End::Exit(0)));
    let classic = |m: &Vec<u8>| number(m) < FIRST;
    assert_eq!(
        office
            .mails("alice/Maildir")
            .iter()
            .filter(|m| classic(m))
            .count(),
        1
    );
}

#[test]
fn sessions_in_the_middle_of_a_message_hold_nothing() {
    let mut office = Office::new("queued-idle");
    // Fewer connections than there are sessions.
    let mut service = serve(&office, &["-c", "20"]);
    office.start_smtpd(true, 40);
    let mut clients: Vec<Client> = (0..30).map(|_| Client::connect(office.smtp())).collect();
    for client in &mut clients {
        for line in [
            "HELO there.test",
            "MAIL FROM:<a@b.test>",
            "RCPT TO:<alice@host.test>",
            "DATA",
        ] {
            client.say(line);
        }
        assert!(client.send(b"Subject: x\r\n\r\nhalf of it\r\n"));
    }
    for client in &mut clients {
        assert!(client.send(b".\r\n"));
        assert_eq!(client.reply().code, 250);
    }
    for id in office.home.queue("mess") {
        let mail = fs::read(office.home.join("queue/mess").join(id)).unwrap();
        assert!(number(&mail) >= FIRST);
    }
    assert_eq!(office.home.queue("todo").len(), 30);
    assert_eq!(service.stop(), End::Exit(0));
}
