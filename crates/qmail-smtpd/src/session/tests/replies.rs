//! Single commands and their replies.

use super::*;

/// (what is sent, the whole reply); the C program says the same without the enhanced code.
#[test]
fn every_reply_has_its_code_and_the_classic_words() {
    let cases = [
        ("NOOP", "250 2.0.0 ok"),
        ("noop x", "250 2.0.0 ok"),
        ("RSET", "250 2.0.0 flushed"),
        ("VRFY root", "252 2.0.0 send some mail, i'll try my best"),
        ("HELP", "214 2.0.0 qmail-rs: see qmail-smtpd(8)"),
        ("", "502 5.5.1 unimplemented (#5.5.1)"),
        ("EXPN x", "502 5.5.1 unimplemented (#5.5.1)"),
        ("BDAT 1 LAST", "502 5.5.1 unimplemented (#5.5.1)"),
        ("STARTTLS", "502 5.5.1 unimplemented (#5.5.1)"),
        ("RCPT TO:<v@host.test>", "503 5.5.1 MAIL first (#5.5.1)"),
        ("RCPT nonsense", "503 5.5.1 MAIL first (#5.5.1)"),
        ("DATA", "503 5.5.1 MAIL first (#5.5.1)"),
        ("MAIL FROM:<a@b.test>", "250 2.1.0 ok"),
        ("mail from:<>", "250 2.1.0 ok"),
        ("MAIL FROM: <a@b.test>", "250 2.1.0 ok"),
        ("MAIL FROM:<a@b.test> SIZE=9 BODY=8BITMIME", "250 2.1.0 ok"),
        (
            "MAIL FROM:<a@b.test> X=1",
            "555 5.5.4 syntax error (#5.5.4)",
        ),
        (
            "MAIL FROM:<a@b.test> x",
            "501 5.5.4 syntax error in a parameter (#5.5.4)",
        ),
        (
            "MAIL FROM:<a@b.test>x",
            "501 5.1.7 syntax error in the sender's address (#5.1.7)",
        ),
        (
            "MAIL FROM:a@b.test",
            "501 5.1.7 syntax error in the sender's address (#5.1.7)",
        ),
        (
            "MAIL FROM:<\"a@b\">",
            "501 5.1.7 syntax error in the sender's address (#5.1.7)",
        ),
        (
            "MAIL",
            "501 5.1.7 syntax error in the sender's address (#5.1.7)",
        ),
        ("HELO x", "250 mx.host.test"),
        ("HELO", "250 mx.host.test"),
        ("GET / HTTP/1.1", "421 4.7.0 this is SMTP (#4.7.0)"),
        ("post / HTTP/1.1", "421 4.7.0 this is SMTP (#4.7.0)"),
        ("Host: x", "421 4.7.0 this is SMTP (#4.7.0)"),
        ("SSH-2.0-x", "421 4.7.0 this is SMTP (#4.7.0)"),
        ("QUIT", "221 2.0.0 mx.host.test"),
        ("quit now", "221 2.0.0 mx.host.test"),
    ];
    for (command, reply) in cases {
        let left = run(format!("{command}\r\n"));
        assert_eq!(
            left.told,
            format!("220 mx.host.test ESMTP\r\n{reply}\r\n"),
            "{command}"
        );
    }
}

#[test]
fn every_recipient_gets_its_verdict() {
    const GATEWAY: &str =
        "553 5.7.1 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)";
    const UNKNOWN: &str = "550 5.1.1 sorry, no mailbox here by that name (#5.1.1)";
    let long = |n: usize| format!("<{}@host.test>", "a".repeat(n - 10));
    let cases = [
        ("<v@host.test>", "250 2.1.5 ok"),
        (" <v@HOST.test>", "250 2.1.5 ok"),
        ("<v@host.test.>", "250 2.1.5 ok"),
        ("<Postmaster>", "250 2.1.5 ok"),
        ("<postmaster@[198.51.100.5]>", "250 2.1.5 ok"),
        ("<v@[198.51.100.5]>", "250 2.1.5 ok"),
        ("<unknown@[198.51.100.5]>", UNKNOWN),
        ("<unknown@host.test>", UNKNOWN),
        (
            "<trouble@host.test>",
            "451 4.3.0 unable to check that address now (#4.3.0)",
        ),
        (
            "<broken@host.test>",
            "421 4.3.0 unable to read controls (#4.3.0)",
        ),
        ("<v@out.example>", GATEWAY),
        ("<hack%out.example@host.test>", GATEWAY),
        (
            "<v>",
            "553 5.1.3 sorry, that address has no domain (#5.1.3)",
        ),
        (
            "<\"v@host.test\">",
            "553 5.1.3 sorry, that address has no domain (#5.1.3)",
        ),
        (
            "<>",
            "501 5.1.3 syntax error in the recipient's address (#5.1.3)",
        ),
        (
            "<v@host.test> NOTIFY=NEVER",
            "555 5.5.4 syntax error (#5.5.4)",
        ),
        (
            "<v\u{e9}@host.test>",
            "553 5.6.7 sorry, I take ASCII addresses only (#5.6.7)",
        ),
        (&long(899), "250 2.1.5 ok"),
        (&long(900), "555 5.5.4 syntax error (#5.5.4)"),
    ];
    for (address, reply) in cases {
        let left = run(format!("MAIL FROM:<a@b.test>\r\nRCPT TO:{address}\r\n"));
        let got = left.told.lines().nth(2).unwrap();
        assert_eq!(got, reply, "{address}");
    }
}

#[test]
fn ehlo_tells_what_is_offered() {
    let mut play = Play::new(settings());
    let offers = |size: &str| {
        format!(
            "220 mx.host.test ESMTP\r\n250-mx.host.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
             250-SIZE {size}\r\n250 ENHANCEDSTATUSCODES\r\n"
        )
    };
    assert_eq!(play.run([send("EHLO x\r\n")]).told, offers("0"));
    play.settings.data.databytes = 1234;
    assert_eq!(play.run([send("EHLO x\r\n")]).told, offers("1234"));
}

#[test]
fn bad_senders_are_told_at_each_recipient() {
    for sender in ["spam@bad.test", "SPAM@bad.test", "any@worse.test"] {
        let left = run(format!(
            "MAIL FROM:<{sender}>\r\nRCPT TO:<v@host.test>\r\nRCPT TO:<x@out.example>\r\nDATA\r\n"
        ));
        assert_eq!(left.codes(), [250, 553, 553, 503]);
        assert!(left.told.contains("badmailfrom list"));
        assert!(left.log.contains("reason=badmailfrom"));
    }
}

#[test]
fn a_relay_client_writes_to_anybody_and_gets_its_suffix() {
    let mut play = Play::new(settings());
    for (suffix, expected) in [
        ("", ["x@out.example", "v@host.test", "bare"]),
        (
            "@fix.me",
            ["x@out.example@fix.me", "v@host.test@fix.me", "bare@fix.me"],
        ),
    ] {
        play.settings.relay = Some(suffix.into());
        let left = play.run([send(
            "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@out.example>\r\nRCPT TO:<v@host.test>\r\n\
             RCPT TO:<bare>\r\nRCPT TO:<\"v@out.example\">\r\nRCPT TO:<unknown@host.test>\r\n\
             DATA\r\n\r\nx\r\n.\r\nQUIT\r\n",
        )]);
        // The fourth recipient meets its own refusal, the fifth the limit of three.
        assert_eq!(left.codes(), [250, 250, 250, 250, 553, 452, 354, 250, 221]);
        assert_eq!(left.stored[0].recipients, expected);
    }
    play.settings.relay = Some(Bytes::new());
    let left = play.run([send(
        "MAIL FROM:<>\r\nRCPT TO:<unknown@host.test>\r\nRCPT TO:<postmaster>\r\n",
    )]);
    assert_eq!(left.codes(), [250, 550, 250]);
}

#[test]
fn a_message_is_stored_as_it_was_meant() {
    let left = run(format!(
        "EHLO x\r\n{ENVELOPE}Subject: x\r\n\r\n..dot\r\n\u{e9}\r\n.\r\nQUIT\r\nNOOP\r\n"
    ));
    assert_eq!(left.end, End::Quit);
    assert_eq!(left.codes(), [250, 250, 250, 354, 250, 221]);
    assert!(
        left.told
            .contains("\r\n354 go ahead\r\n250 2.0.0 ok 0 qp 77\r\n")
    );
    assert_eq!(
        left.stored,
        [Stored {
            sender: "a@b.test".into(),
            recipients: vec!["v@host.test".into()],
            text: "Subject: x\n\n.dot\n\u{e9}\n".as_bytes().to_vec(),
        }]
    );
    assert_eq!(
        left.log,
        "qmail-smtpd: pid=4 ip=192.0.2.1 host=client.test info=- helo=x tls=- auth=- from=<a@b.test> \
         to=<v@host.test> rcpt=1 refused=0 bytes=20 result=accepted code=250 status=2.0.0 \
         reason=ok qp=77 time=0.000\n"
    );
}

#[test]
fn the_queue_has_the_last_word() {
    let mut play = Play::new(settings());
    for (verdict, reply) in [
        (
            Outcome::Permanent(b"no (#5.7.1)".to_vec()),
            "554 5.7.1 no (#5.7.1)\r\n",
        ),
        (
            Outcome::Temporary(b"qq write error or disk full (#4.3.0)".to_vec()),
            "451 4.3.0 qq write error or disk full (#4.3.0)\r\n",
        ),
    ] {
        play.verdict = verdict;
        let left = play.run([send(&message("\r\nx"))]);
        assert!(left.told.contains(reply), "{}", left.told);
        assert!(left.stored.is_empty());
        assert!(left.log.contains("qp=77"));
    }
    play.closed = true;
    let left = play.run([send(&format!("{ENVELOPE}QUIT\r\n"))]);
    assert!(left.told.contains("451 4.3.0 qqt failure (#4.3.0)\r\n221"));
}

#[test]
fn unclean_lines_are_never_obeyed() {
    for (line, code) in [
        ("NOOP\n", 500),
        ("RSET\r\r\n", 501),
        ("NO\rOP\r\n", 501),
        ("NOOP\0\r\n", 501),
        ("\0\r\n", 501),
    ] {
        assert_eq!(run(line).codes(), [code], "{line:?}");
        let left = run(format!("{line}NOOP\r\n{line}NOOP\r\n"));
        assert_eq!(left.codes(), [code, 250, code, 421], "{line:?}");
        assert!(matches!(left.end, End::Closed(_)));
    }
    let left = run("MAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test\0@out.example>\r\nDATA\r\n");
    assert_eq!(left.codes(), [250, 501, 503]);
    let left = run("MAIL FROM:<a@b.test>\nRCPT TO:<v@host.test>\r\nDATA\r\n");
    assert_eq!(left.codes(), [500, 503, 503]);
}

#[test]
fn other_protocols_are_sent_away_at_once() {
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\x80\x2e\x01",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b>\r\n",
        b"PUT /x HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let left = run(bytes);
        assert_eq!(left.codes(), [421], "{bytes:?}");
        assert!(left.log.contains("code=421 status=4.7.0 reason=notsmtp"));
    }
}

#[test]
fn replies_wait_for_a_pause_in_the_input() {
    let acts = [
        send("MAIL FROM:<a@b>\r\nRCPT TO:<v@host.test>\r\nRCPT TO:<w@host.test>\r\nDATA\r\n"),
        send("\r\n.\r\nNOOP\r\nNOOP\r\n"),
    ];
    let left = run_acts(acts);
    assert_eq!(left.writes, 3, "greeting, envelope, message");
}

#[test]
fn a_helo_name_is_shown_only_if_it_differs() {
    for (helo, shown) in [
        ("", ""),
        ("HELO Client.Test\r\n", ""),
        ("HELO other\r\n", " (HELO other)"),
        ("EHLO\r\n", " (HELO )"),
        ("EHLO x) by (y\r\n", " (HELO x??by??y)"),
        ("EHLO x\r\nHELO client.test\r\n", ""),
    ] {
        let left = run(format!("{helo}{}", message("")));
        assert_eq!(
            left.stored_received(),
            format!(
                "Received: from client.test{shown} (192.0.2.1)\n  \
                 by mx.host.test with SMTP; 1 Jan 1970 00:00:00 -0000\n"
            )
        );
    }
}
