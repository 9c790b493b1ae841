//! The process: exit codes, the queue program, limits of the machine, clients that misbehave.

use std::fs;

use sys::process::End;

use crate::server::{MOMENT, Server};

const MESSAGE: &str =
    "MAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\nSubject: x\r\n\r\n..body\r\n.\r\n";

#[test]
fn a_message_reaches_the_queue() {
    let server = Server::new("program-message")
        .env("TCPREMOTEHOST", "client.test")
        .env("TCPREMOTEINFO", "joe");
    let (told, end) = server.run(format!("EHLO me (x)\r\n{MESSAGE}QUIT\r\nNOOP\r\n"));
    assert!(end.is_success());
    let last: Vec<&str> = told.lines().rev().take(2).collect();
    assert_eq!(last[0], "221 2.0.0 host.test");
    assert!(last[1].starts_with("250 2.0.0 ok ") && last[1].contains(" qp "));
    let stored = server.stored();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].envelope, b"Fa@b.test\0Tv@host.test\0\0");
    let text = String::from_utf8(stored[0].text.clone()).unwrap();
    let head =
        "Received: from client.test (HELO me??x?) (joe@203.0.113.9)\n  by mx.host.test with SMTP; ";
    assert!(text.starts_with(head), "{text}");
    assert!(text.ends_with(" -0000\nSubject: x\n\n.body\n"));
    let log = server.log();
    let qp = last[1].rsplit(' ').next().unwrap();
    assert_eq!(log.lines().count(), 1);
    assert!(log.contains(&format!(" reason=ok qp={qp} time=")), "{log}");
}

#[test]
fn arguments_without_a_meaning_change_nothing() {
    let server = Server::new("program-words").args(&["a", "b"]);
    let (told, end) = server.run("EHLO x\r\nQUIT\r\n");
    assert!(end.is_success() && !told.contains("AUTH"), "{told}");
}

#[test]
fn only_quit_is_a_success() {
    let server = Server::new("program-exit");
    for (wire, code) in [
        ("QUIT\r\n", 0),
        ("quit\r\nNOOP", 0),
        ("", 1),
        ("NOOP\r\n", 1),
        ("QUIT", 1),
        ("GET / HTTP/1.0\r\n\r\n", 1),
        ("MAIL FROM:<>\r\nRCPT TO:<v@host.test>\r\nDATA\r\na\nb", 1),
    ] {
        assert_eq!(server.run(wire).1, End::Exit(code), "{wire:?}");
    }
    let run = server.home.run("qmail-smtpd").closed(0).output();
    assert_eq!((run.code(), run.out.len()), (1, 0));
    let run = server.home.run("qmail-smtpd").closed(1).output();
    assert_eq!(run.code(), 1);
    let run = server
        .home
        .run("qmail-smtpd")
        .closed(2)
        .stdin("QUIT\r\n")
        .output();
    assert_eq!(run.code(), 0);
    let run = server
        .home
        .run("qmail-smtpd")
        .env("QMAILHOME", "/dev/null/nowhere")
        .output();
    assert_eq!(run.code(), 1);
    assert_eq!(
        run.out_text(),
        "421 4.3.0 unable to read controls (#4.3.0)\r\n"
    );
    assert!(run.err_text().contains("detail=home:not-a-directory"));
}

#[test]
fn the_queue_program_decides() {
    let server = Server::new("program-queue");
    for (script, reply) in [
        (
            "exit 31",
            "554 5.3.0 mail server permanently rejected message (#5.3.0)",
        ),
        (
            "exit 11",
            "554 5.1.3 envelope address too long for qq (#5.1.3)",
        ),
        ("exit 53", "451 4.3.0 qq write error or disk full (#4.3.0)"),
        (
            "exit 65",
            "451 4.3.0 qq trouble creating files in queue (#4.3.0)",
        ),
        ("exit 111", "451 4.3.0 qq temporary problem (#4.3.0)"),
        ("kill -9 $$", "451 4.3.0 qq crashed (#4.3.0)"),
        (
            "echo 'Dno spam here (#5.7.1)' >&4; exit 82",
            "554 5.7.1 no spam here (#5.7.1)",
        ),
        ("echo 'Zwait' >&6; exit 82", "451 4.3.0 wait"),
    ] {
        server
            .home
            .fake("qmail-queue", &format!("cat >/dev/null; {script}"));
        let (told, end) = server.run(format!("{MESSAGE}QUIT\r\n"));
        assert!(end.is_success());
        assert!(told.contains(&format!("\r\n{reply}\r\n221 ")), "{told}");
    }
    fs::remove_file(server.home.join("bin/qmail-queue")).unwrap();
    let (told, _) = server.run(MESSAGE);
    assert!(told.contains("451 4.3.0 qqt failure (#4.3.0)\r\n"));
    assert!(!told.contains("354"));
    server.home.script("filter", "cat >/dev/null; exit 0");
    let server = server.env("QMAILQUEUE", "./filter");
    assert!(server.run(MESSAGE).0.contains("250 2.0.0 ok "));
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let server = Server::new("program-vanish");
    for wire in [
        "",
        "EHLO x\r\n",
        "MAIL FROM:<>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n",
        "MAIL FROM:<>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n\r\nhalf a message\r\n.\r",
    ] {
        let mut client = server.connect();
        client.send(wire);
        client.reply();
        // Neither a signal nor a success.
        assert_eq!(client.vanish(), End::Exit(1), "{wire:?}");
    }
    std::thread::sleep(MOMENT);
    assert!(server.stored().is_empty());
}

#[test]
fn pipelined_segments_are_answered_in_order() {
    let server = Server::new("program-pipeline");
    let mut client = server.connect();
    client.reply();
    client.send(
        "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<v@host.test>\r\nRCPT TO:<w@host.test>\r\nDATA\r\n",
    );
    assert!(client.reply().contains("PIPELINING"));
    let codes: Vec<String> = (0..4)
        .map(|_| client.reply().get(..3).unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["250", "250", "550", "354"]);
    client.send("\r\none\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n");
    let codes: Vec<String> = (0..4)
        .map(|_| client.reply().get(..3).unwrap().to_owned())
        .collect();
    assert_eq!(codes, ["250", "250", "250", "354"]);
    client.send("\r\ntwo\r\n.\r\nQUIT\r\nMAIL FROM:<>\r\n");
    assert_eq!(client.reply().get(..3), Some("250"));
    let (told, end) = client.finish();
    assert_eq!(
        (told.as_str(), end),
        ("221 2.0.0 host.test\r\n", End::Exit(0))
    );
    assert_eq!(server.stored().len(), 2);
}

#[test]
fn a_second_envelope_is_not_smuggled_in() {
    let server = Server::new("program-smuggle");
    let second =
        "MAIL FROM:<evil@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n";
    let mut stored = 0;
    for (tail, messages) in [
        ("\n.\n", 0),
        ("\n.\r\n", 0),
        ("\r\n.\n", 0),
        ("\r.\r", 0),
        ("\r\n.\r", 0),
        ("\r\n\0.\r\n", 0),
        ("\r\n.\0\r\n", 0),
        ("\r\r\n.\r\n", 0),
        ("\r\n.\r\r\n", 0),
        ("\r\n..\r\n", 1),
        ("\r\n. \r\n", 1),
        ("\r\n.x.\r\n", 1),
    ] {
        let (told, end) = server.run(format!(
            "MAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\nfirst{tail}{second}"
        ));
        stored += messages;
        assert_eq!(server.stored().len(), stored, "{tail:?} {told}");
        assert_eq!(end.is_success(), messages == 1, "{tail:?}");
    }
    assert!(
        server
            .stored()
            .iter()
            .all(|m| m.envelope.starts_with(b"Fa@b.test\0"))
    );
}

#[test]
fn other_protocols_are_hung_up_on() {
    let server = Server::new("program-alien");
    for wire in [
        &b"GET / HTTP/1.1\r\nHost: host.test\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\nx\r\n.\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"SSH-2.0-client\r\n",
    ] {
        let mut client = server.connect();
        client.reply();
        client.send(wire);
        // The client keeps its side open: the server must not wait.
        assert_eq!(client.reply(), "421 4.7.0 this is SMTP (#4.7.0)\r\n");
        assert_eq!(client.reply(), "");
        assert_eq!(client.finish().1, End::Exit(1));
    }
    assert!(server.stored().is_empty());
}

#[test]
fn small_limits_of_memory_are_enough() {
    let server = Server::new("program-memory");
    let limit = ["/bin/sh", "-c", "ulimit -d 927 && exec \"$0\""];
    let mut client = server.connect_through(&limit);
    let lines = format!("{}\r\n", "0123456789abcdef".repeat(4)).repeat(1000);
    client.send("EHLO x\r\nMAIL FROM:<>\r\n");
    for n in 0..300 {
        client.send(format!("RCPT TO:<v@host.test> {}\r\n", " ".repeat(n)));
    }
    client.send("DATA\r\n\r\n");
    for _ in 0..40 {
        client.send(&lines);
    }
    client.send(".\r\nQUIT\r\n");
    let (told, end) = client.finish();
    assert!(told.contains("\r\n250 2.0.0 ok "), "{told}");
    assert!(end.is_success());
    assert!(server.stored()[0].text.len() > 2_000_000);
}

/// Memory of its own that an idle session holds, by the kernel's account. A debug build needs a little more than the one
/// that is installed.
#[test]
fn an_idle_session_is_small() {
    let server = Server::new("program-idle");
    let mut client = server.connect();
    client.reply();
    assert_eq!(client.say("EHLO x"), 250);
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", client.pid())).unwrap();
    let own: u64 = rollup
        .lines()
        .find_map(|l| l.strip_prefix("Anonymous:"))
        .map(|rest| rest.trim().trim_end_matches(" kB").parse().unwrap())
        .unwrap();
    assert!((1..300).contains(&own), "{own} KB\n{rollup}");
}
