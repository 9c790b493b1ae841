//! Dialogues with servers that keep to the protocol.

use crate::server::{Script, Server};
use crate::{MESSAGE, home, report, send, send_from};

#[test]
fn uses_what_the_server_offers() {
    let server = Server::local(Script::default().on(
        "EHLO",
        "250-sink.test\r\n250-pipelining\r\n250-Size 10240000\r\n250 8bitmime",
    ));
    let home = home(&server.route());
    let message = b"Subject: \xc3\xa4\n\n.dot\r\nline\n";
    assert_eq!(
        send(&home, "h.test", &["r@h.test"], message),
        "r^K127.0.0.1 accepted message.\nRemote host said: 250 taken\n^"
    );
    assert_eq!(
        server.session(),
        "EHLO host.test\r\nMAIL FROM:<s@a.test> SIZE=27 BODY=8BITMIME\r\nRCPT TO:<r@h.test>\r\nDATA\r\n\
         Subject: \u{e4}\r\n\r\n..dot\r\nline\r\n.\r\nQUIT\r\n"
    );
}

#[test]
fn a_plain_server_gets_plain_commands() {
    let server = Server::local(Script::default().on("EHLO", "502 what?"));
    let home = home(&server.route());
    home.control("helohost", "helo.test\n");
    send_from(&home, "h.test", "", &["a b@h.test", "c"], b"\xff\n");
    let session = server.finish().remove(0);
    let wanted =
        b"EHLO helo.test\r\nHELO helo.test\r\nMAIL FROM:<>\r\nRCPT TO:<\"a b\"@h.test>\r\n\
        RCPT TO:<c>\r\nDATA\r\n\xff\r\n.\r\nQUIT\r\n";
    assert_eq!(session, wanted, "{}", session.escape_ascii());
}

#[test]
fn extensions_named_by_helo_count_for_nothing() {
    let script = Script::default()
        .on("EHLO", "502 what?")
        .on("HELO", "250-hi\r\n250 SIZE 1");
    let server = Server::local(script);
    let home = home(&server.route());
    assert!(send(&home, "h", &["r@h"], MESSAGE).starts_with("r^K"));
    assert!(server.session().contains("MAIL FROM:<s@a.test>\r\n"));
}

#[test]
fn a_message_over_the_servers_limit_is_not_offered() {
    let server = Server::local(Script::default().on("EHLO", "250-hi\r\n250 SIZE 22"));
    let home = home(&server.route());
    // 23 bytes over the wire.
    assert_eq!(
        send(&home, "h", &["r@h"], MESSAGE),
        "DConnected to 127.0.0.1 but it takes no message over 22 bytes. (#5.3.4)\n^"
    );
    assert_eq!(server.session(), "EHLO host.test\r\nQUIT\r\n");
    for size in ["23", "0", "", "99999999999999999999999", "x"] {
        let server =
            Server::local(Script::default().on("EHLO", &format!("250-hi\r\n250 SIZE {size}")));
        home.control("smtproutes", &server.route());
        assert!(
            send(&home, "h", &["r@h"], MESSAGE).starts_with("r^K"),
            "SIZE {size}"
        );
    }
}

/// Each reply that says no, with and without pipelining, and what is reported.
#[test]
fn every_refusal_has_its_report() {
    let plain = Script::default();
    let table: &[(&str, &str, &str)] = &[
        (
            "greeting",
            "421 no",
            "ZConnected to 127.0.0.1 but greeting failed.\nRemote host said: 421 no\n^",
        ),
        (
            "greeting",
            "554 no",
            "ZConnected to 127.0.0.1 but greeting failed.\nRemote host said: 554 no\n^",
        ),
        (
            "greeting",
            "SSH-2.0-x",
            "ZConnected to 127.0.0.1 but greeting failed.\nRemote host said: SSH-2.0-x\n^",
        ),
        (
            "EHLO",
            "450 no",
            "ZConnected to 127.0.0.1 but my name was rejected.\nRemote host said: 450 no\n^",
        ),
        (
            "MAIL",
            "451 no",
            "ZConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 451 no\n^",
        ),
        (
            "MAIL",
            "550-no\r\n550 never",
            "DConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 550-no\n550 never\n^",
        ),
        (
            "MAIL",
            "ok",
            "ZConnected to 127.0.0.1 but sender was rejected.\nRemote host said: ok\n^",
        ),
        (
            "RCPT",
            "450 no",
            "s127.0.0.1 does not like recipient.\nRemote host said: 450 no\n^DGiving up on 127.0.0.1.\n^",
        ),
        (
            "RCPT",
            "550 no",
            "h127.0.0.1 does not like recipient.\nRemote host said: 550 no\n^DGiving up on 127.0.0.1.\n^",
        ),
        (
            "DATA",
            "451 no",
            "r^Z127.0.0.1 failed on DATA command.\nRemote host said: 451 no\n^",
        ),
        (
            "DATA",
            "554 no",
            "r^D127.0.0.1 failed on DATA command.\nRemote host said: 554 no\n^",
        ),
        // A text after this would be read as commands.
        (
            "DATA",
            "250 ok",
            "r^Z127.0.0.1 failed on DATA command.\nRemote host said: 250 ok\n^",
        ),
        (
            ".",
            "451 no",
            "r^Z127.0.0.1 failed after I sent the message.\nRemote host said: 451 no\n^",
        ),
        (
            ".",
            "554 no",
            "r^D127.0.0.1 failed after I sent the message.\nRemote host said: 554 no\n^",
        ),
    ];
    for (verb, reply, wanted) in table {
        for ehlo in ["250 hi", "250-hi\r\n250 PIPELINING"] {
            let server = Server::local(plain.clone().on("EHLO", ehlo).on(verb, reply));
            let home = home(&server.route());
            let got = send(&home, "h.test", &["r@h.test"], MESSAGE);
            assert_eq!(got, *wanted, "{verb} {reply} {ehlo}");
            let session = server.session();
            assert_eq!(
                session.contains("body"),
                *verb == ".",
                "{verb} {reply} {ehlo}: {session}"
            );
        }
    }
    let server = Server::local(plain.on("EHLO", "500 ?").on("HELO", "550 no"));
    assert_eq!(
        send(&home(&server.route()), "h.test", &["r@h.test"], MESSAGE),
        "ZConnected to 127.0.0.1 but my name was rejected.\nRemote host said: 550 no\n^"
    );
}

#[test]
fn a_lost_connection_is_a_duplicate_only_after_the_end() {
    for (verb, wanted) in [
        (
            "greeting",
            "ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^",
        ),
        (
            "EHLO",
            "ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^",
        ),
        (
            "MAIL",
            "ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^",
        ),
        (
            "RCPT",
            "ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^",
        ),
        (
            "DATA",
            "r^ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^",
        ),
        (
            ".",
            "r^ZConnected to 127.0.0.1 but connection died. Possible duplicate! (#4.4.2)\n^",
        ),
    ] {
        let server = Server::local(Script::default().close_on(verb));
        let home = home(&server.route());
        assert_eq!(send(&home, "h", &["r@h"], MESSAGE), wanted, "{verb}");
    }
}

#[test]
fn recipients_are_reported_one_by_one() {
    for ehlo in ["250 hi", "250-hi\r\n250 PIPELINING"] {
        let script = Script::default()
            .on("EHLO", ehlo)
            .on("bad@h", "550 no")
            .on("later@h", "450 wait");
        let server = Server::local(script);
        let home = home(&server.route());
        assert_eq!(
            send(
                &home,
                "h",
                &["bad@h", "good@h", "x\n@h", "later@h"],
                MESSAGE
            ),
            "h127.0.0.1 does not like recipient.\nRemote host said: 550 no\n^r^\
             hSorry, that recipient address cannot be sent by SMTP. (#5.1.3)\n^\
             s127.0.0.1 does not like recipient.\nRemote host said: 450 wait\n^\
             K127.0.0.1 accepted message.\nRemote host said: 250 taken\n^"
        );
        assert_eq!(server.session().matches("RCPT").count(), 3);
    }
}

#[test]
fn a_go_ahead_for_nobody_gets_an_empty_end() {
    let script = Script::default()
        .on("EHLO", "250-hi\r\n250 PIPELINING")
        .on("RCPT", "550 no");
    let server = Server::local(script);
    let home = home(&server.route());
    assert!(send(&home, "h", &["r@h"], MESSAGE).ends_with("^DGiving up on 127.0.0.1.\n^"));
    assert!(server.session().ends_with("DATA\r\n.\r\nQUIT\r\n"));
}

#[test]
fn many_recipients_go_in_batches() {
    let recipients: Vec<String> = (0..250).map(|n| format!("r{n}@h.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let server = Server::local(Script::default().on("EHLO", "250-hi\r\n250 PIPELINING"));
    let home = home(&server.route());
    let got = send(&home, "h", &recipients, MESSAGE);
    assert!(
        got.starts_with(&"r^".repeat(250)) && got.contains("^K127.0.0.1"),
        "{got}"
    );
    assert_eq!(server.session().matches("RCPT TO:").count(), 250);
}

#[test]
fn large_messages_arrive_whole_from_file_and_pipe() {
    // Lines of all lengths, many of them with dots in front.
    let mut message = b"Subject: large\n\n".to_vec();
    for n in 0..20_000usize {
        message.extend(std::iter::repeat_n(b'.', n % 4));
        message.extend(std::iter::repeat_n(b'x', n % 211));
        message.push(b'\n');
    }
    let mut wanted = Vec::new();
    for line in message.split_inclusive(|&b| b == b'\n') {
        if line.starts_with(b".") {
            wanted.push(b'.');
        }
        wanted.extend_from_slice(line.strip_suffix(b"\n").unwrap());
        wanted.extend_from_slice(b"\r\n");
    }
    wanted.extend_from_slice(b".\r\nQUIT\r\n");
    for from_file in [true, false] {
        let server = Server::local(Script::default().on("EHLO", "250-hi\r\n250 SIZE"));
        let home = home(&server.route());
        let got = if from_file {
            let path = home.write("m", &message);
            let command = format!(
                "exec {} h.test s@a.test r@h.test <{}",
                kit::program("qmail-remote").display(),
                path.display()
            );
            let run = kit::Run::new("sh").env("QMAILHOME", home.path().to_str().unwrap());
            report(&run.args(["-c", &command]).output())
        } else {
            send(&home, "h.test", &["r@h.test"], &message)
        };
        assert!(got.starts_with("r^K"), "{got}");
        let session = server.finish().remove(0);
        assert!(session.ends_with(&wanted), "from file: {from_file}");
        let declared = session.windows(6).any(|w| w == b" SIZE=");
        assert_eq!(declared, from_file, "a pipe cannot be measured");
    }
}

#[test]
fn a_partial_last_line_is_never_offered() {
    let server = Server::local(Script::default());
    let home = home(&server.route());
    for message in [&b"a"[..], b"a\nb", b"a\r"] {
        assert_eq!(
            send(&home, "h", &["r@h"], message),
            "DSMTP cannot transfer messages with partial final lines. (#5.6.2)\n^"
        );
    }
    assert!(server.finish().is_empty());
    // Too large to be looked over in a pipe: the end is not sent.
    let server = Server::local(Script::default());
    home.control("smtproutes", &server.route());
    assert_eq!(
        send(&home, "h", &["r@h"], &b"line\n".repeat(30_000)[..149_999]),
        "r^DSMTP cannot transfer messages with partial final lines. (#5.6.2)\n^"
    );
    let session = server.session();
    assert!(!session.contains("\r\n.\r\n") && !session.contains("QUIT"));
}

#[test]
fn misuse_and_bad_homes_are_reported_too() {
    let home = home("");
    for args in [&[][..], &["h"], &["h", "s"]] {
        assert_eq!(
            report(&home.run("qmail-remote").args(args).output()),
            "DI (qmail-remote) was invoked improperly. (#5.3.5)\n^"
        );
    }
    assert_eq!(
        send_from(&home, "h", "a@b>\nDATA", &["r@h"], MESSAGE),
        "DSorry, the sender address cannot be sent by SMTP. (#5.1.7)\n^"
    );
    let unreadable = "ZUnable to read control files. (#4.3.0)\n^";
    home.control("smtproutes", ":relay:port\n");
    assert_eq!(send(&home, "h", &["r@h"], MESSAGE), unreadable);
    std::fs::remove_file(home.join("control/smtproutes")).unwrap();
    std::fs::create_dir(home.join("control/smtproutes")).unwrap();
    assert_eq!(send(&home, "h", &["r@h"], MESSAGE), unreadable);
    std::fs::remove_dir(home.join("control/smtproutes")).unwrap();
    std::fs::remove_file(home.join("control/me")).unwrap();
    assert_eq!(send(&home, "h", &["r@h"], MESSAGE), unreadable);
    let closed = home
        .run("qmail-remote")
        .args(["h", "s", "r"])
        .closed(1)
        .output();
    assert_eq!(closed.code(), 0);
    let nowhere = home.run("qmail-remote").env("QMAILHOME", "/nonexistent");
    assert_eq!(
        report(&nowhere.args(["h", "s", "r"]).output()),
        "ZUnable to switch to home directory. (#4.3.0)\n^"
    );
}

#[test]
fn a_closed_standard_input_is_no_message() {
    let home = home("");
    let output = home
        .run("qmail-remote")
        .args(["h", "s", "r"])
        .closed(0)
        .output();
    assert_eq!(report(&output), "ZUnable to read message. (#4.3.0)\n^");
}

#[test]
fn the_sink_of_another_mail_system_takes_it() {
    let Some(sink) = ["/usr/sbin/smtp-sink", "/usr/libexec/postfix/smtp-sink"]
        .into_iter()
        .find(|p| std::path::Path::new(p).exists())
    else {
        eprintln!("SKIPPED (no smtp-sink): the_sink_of_another_mail_system_takes_it");
        return;
    };
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let home = home(&format!(":127.0.0.1:{port}\n"));
    let listen = format!("inet:127.0.0.1:{port}");
    let dump = home.join("dump").to_str().unwrap().to_owned();
    let me = ["-u", "root"];
    let mut run = kit::Run::new(sink).dir(home.path());
    if sys::ids::euid() == 0 {
        run = run.args(me);
    }
    let mut daemon = run
        .args(["-D", &dump, &listen, "10"])
        .start(home.join("log"));
    kit::eventually("smtp-sink listens", || {
        !daemon.is_running() || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    if !daemon.is_running() {
        eprintln!(
            "SKIPPED (smtp-sink does not run here): the_sink_of_another_mail_system_takes_it"
        );
        return;
    }
    let got = send(
        &home,
        "h.test",
        &["r@h.test"],
        b"Subject: x\n\n.dot\nlast\r\n",
    );
    assert!(got.starts_with("r^K127.0.0.1 accepted message."), "{got}");
    kit::eventually("the message is in the file of the sink", || {
        std::fs::read(&dump).is_ok_and(|text| {
            let text = String::from_utf8_lossy(&text);
            text.contains("\n.dot\nlast\n") && text.contains("X-Rcpt-Args: <r@h.test>")
        })
    });
    daemon.stop();
}
