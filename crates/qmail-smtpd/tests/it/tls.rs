//! STARTTLS under a server that stands ready for TLS (UCSPI-TLS).

use std::fs;

use sys::process::End;

use crate::server::Server;

#[test]
fn the_session_goes_on_inside_tls() {
    let server = Server::new("tls-session").env("QMAILQUEUE", "filter");
    let filter = "env >env.seen; exec bin/qmail-queue";
    server.home.fake("../filter", filter);
    let (mut client, tls) = server.connect_ready_for_tls();
    client.reply();
    client.send("EHLO x\r\n");
    assert!(client.reply().contains("250-STARTTLS\r\n"));
    client.send("STARTTLS\r\n");
    assert_eq!(client.reply(), "220 2.0.0 ready for tls\r\n");
    tls.agree(&mut client);
    assert_eq!(client.say("MAIL FROM:<a@b.test>"), 503);
    client.send("EHLO y\r\n");
    assert!(!client.reply().contains("STARTTLS"));
    assert_eq!(client.say("STARTTLS"), 503);
    assert_eq!(client.say("MAIL FROM:<a@b.test>"), 250);
    assert_eq!(client.say("RCPT TO:<v@host.test>"), 250);
    assert_eq!(client.say("DATA"), 354);
    assert_eq!(client.say("Subject: x\r\n\r\nbody\r\n."), 250);
    assert_eq!(client.say("QUIT"), 221);
    let (_, end) = client.finish();
    assert!(end.is_success());
    let text = String::from_utf8(server.stored()[0].text.clone()).unwrap();
    let with = " with ESMTPS (TLSv1.3 TLS_AES_128_GCM_SHA256 encrypted); ";
    assert!(text.contains(with), "{text}");
    assert!(server.log().contains(" helo=y tls=TLSv1.3 "));
    let seen = fs::read_to_string(server.home.join("env.seen")).unwrap();
    assert!(
        seen.contains("SSL_CIPHER=TLS_AES_128_GCM_SHA256\n"),
        "{seen}"
    );
    assert!(!seen.contains("UCSPITLS") && !seen.contains("SSLCTLFD"));
}

#[test]
fn words_sent_ahead_are_never_taken_for_words_under_tls() {
    let server = Server::new("tls-ahead");
    let (mut client, tls) = server.connect_ready_for_tls();
    client.reply();
    client.send("EHLO x\r\nSTARTTLS\r\nMAIL FROM:<e@b.test>\r\n");
    client.reply();
    assert!(client.reply().starts_with("421 5.5.1 nothing may follow"));
    assert_eq!(client.finish().1, End::Exit(1));
    assert!(!tls.was_asked());
}

#[test]
fn a_tls_server_that_gives_up_ends_the_session() {
    let server = Server::new("tls-lost");
    let (mut client, tls) = server.connect_ready_for_tls();
    client.reply();
    assert_eq!(client.say("STARTTLS"), 220);
    drop(tls);
    client.send("EHLO x\r\n");
    assert_eq!(client.finish(), (String::new(), End::Exit(1)));
    assert!(server.log().contains(" reason=tls "), "{}", server.log());
}

/// CVE-2026-45185 and its kind: the end of TLS anywhere in a message leaves nothing.
#[test]
fn the_end_of_tls_in_the_middle_of_a_message_leaves_nothing() {
    let server = Server::new("tls-cut");
    let text = "Subject: x\r\n\r\nbody\r\n.\r";
    for at in 0..=text.len() {
        let (mut client, tls) = server.connect_ready_for_tls();
        client.reply();
        assert_eq!(client.say("STARTTLS"), 220);
        tls.agree(&mut client);
        client.send("EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n");
        client.send(&text.as_bytes()[..at]);
        let (told, end) = client.finish();
        assert!(told.ends_with("354 go ahead\r\n"), "{at} {told}");
        assert_eq!(end, End::Exit(1), "{at}");
    }
    assert!(server.stored().is_empty());
}

#[test]
fn nothing_is_offered_without_the_descriptors() {
    let server = Server::new("tls-nobody")
        .env("UCSPITLS", "")
        .env("SSLCTLFD", "5")
        .env("SSLREADFD", "6")
        .env("SSLWRITEFD", "7");
    let (told, _) = server.run("EHLO x\r\nSTARTTLS\r\nQUIT\r\n");
    assert!(!told.contains("STARTTLS"), "{told}");
    assert!(told.contains("502 5.5.1 "));
}
