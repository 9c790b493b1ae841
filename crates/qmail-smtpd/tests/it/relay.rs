//! The 43 ways to ask a mail server to relay, each with its answer, over TCP.
//!
//! The server is mx.host.test at 198.51.100.5, with the one domain host.test and the one user `v` in it; the client
//! is a stranger, and out.example is somebody else's.

use crate::server::Server;

fn server(name: &str) -> Server {
    let server = Server::new(name);
    server.home.control("me", "mx.host.test\n");
    server
}

/// MAIL and RCPT in a session of their own: the code of RCPT, after which there must be no way to DATA.
fn ask(server: &Server, sender: &[u8], recipient: &[u8]) -> u16 {
    let mut client = server.connect();
    assert!(client.reply().starts_with("220 "));
    assert_eq!(client.say([b"MAIL FROM:", sender].concat()), 250);
    let code = client.say([b"RCPT ", recipient].concat());
    if code >= 400 {
        assert_eq!(client.say("DATA"), 503, "{recipient:?}");
    } else {
        assert_eq!(client.say("RSET"), 250);
    }
    assert_eq!(client.say("QUIT"), 221);
    code
}

#[test]
fn no_form_of_relaying_is_accepted() {
    let server = server("relay");
    // (row of the list, argument of RCPT, answer)
    let rows: &[(u32, &[u8], u16)] = &[
        (1, b"TO:<v@out.example>", 553),
        (5, b"TO:<v%out.example@host.test>", 550),
        (6, b"TO:<v%out.example@[198.51.100.5]>", 553),
        (7, b"TO:<v%out.example@mx.host.test>", 553),
        (8, b"TO:<\"v@out.example\">", 553),
        (9, b"TO:<\"v%out.example\">", 553),
        (10, b"TO:<v@out.example@host.test>", 501),
        (11, b"TO:<\"v@out.example\"@host.test>", 550),
        (12, b"TO:<\"v@out.example\"@[198.51.100.5]>", 553),
        (13, b"TO:<v@out.example@[198.51.100.5]>", 501),
        (14, b"TO:<@host.test:v@out.example>", 553),
        (15, b"TO:<@[198.51.100.5]:v@out.example>", 553),
        (16, b"TO:<@host.test,@b.example:v@out.example>", 553),
        (17, b"TO:<out.example!v>", 553),
        (18, b"TO:<out.example!v@host.test>", 550),
        (19, b"TO:<out.example!v@[198.51.100.5]>", 553),
        (20, b"TO:<postmaster@[198.51.100.5]>", 250),
        (21, b"TO:<v@[127.0.0.1]>", 553),
        (22, b"TO:<v@[IPv6:::1]>", 553),
        (22, b"TO:<v@[::ffff:127.0.0.1]>", 553),
        (22, b"TO:<v@[IPv6:::ffff:127.0.0.1]>", 553),
        (23, b"TO:<v@127.0.0.1>", 553),
        (23, b"TO:<v@2130706433>", 553),
        (23, b"TO:<v@1.2.3.4>", 553),
        (23, b"TO:<v@[1.2.3.4]>", 553),
        (24, b"TO:<v@localhost>", 553),
        (25, b"TO:<v>", 553),
        (25, b"TO:<postmaster>", 250),
        (26, b"TO:<>", 501),
        (27, b"TO:<@host.test>", 501),
        (28, b"TO:<v@>", 501),
        (29, b"TO:<v@host.test.>", 250),
        (29, b"TO:<w@host.test.>", 550),
        (30, b"TO:<v@HOST.test>", 250),
        (30, b"TO:<w@HOST.test>", 550),
        (31, b"TO:<v@out.example.>", 553),
        (32, b"TO:<v@sub.host.test>", 553),
        (33, b"TO:<v@host.test\0@out.example>", 501),
        (34, b"TO:<v@host.test>,<v@out.example>", 501),
        (35, b"TO:<v\\@out.example@host.test>", 550),
        (36, b"TO:<v=out.example@host.test>", 550),
        (36, b"TO:<v+out.example@host.test>", 550),
        (37, b"TO:<v@host.test%out.example>", 501),
        (38, b"TO:<v @host.test>", 501),
        (38, b"TO:<\"v\" @host.test>", 501),
        (39, b"TO:v@host.test", 501),
        (39, b"<v@host.test>", 501),
        (39, b"TO:<v@host.test> and more", 501),
        (39, b"TO:<v@host.test> NOTIFY=NEVER", 555),
        // Tolerated unless strictaddress says otherwise, see below.
        (39, b"TO: <v@host.test>", 250),
        (40, "TO:<v@h\u{f6}st.test>".as_bytes(), 553),
        (40, "TO:<v@h\u{43e}st.test>".as_bytes(), 553),
        (40, b"TO:<v@xn--hst-sna.test>", 553),
    ];
    for (row, recipient, code) in rows {
        let got = ask(&server, b"<s@remote.example>", recipient);
        let shown = String::from_utf8_lossy(recipient);
        assert_eq!(got, *code, "row {row}: {shown}");
    }
}

#[test]
fn the_sender_opens_nothing() {
    let server = server("relay-sender");
    // Rows 2 to 4.
    for sender in [
        "<>",
        "<x@host.test>",
        "<x@mx.host.test>",
        "<x@[198.51.100.5]>",
        "<x@localhost>",
        "<x>",
    ] {
        let got = ask(&server, sender.as_bytes(), b"TO:<v@out.example>");
        assert_eq!(got, 553, "{sender}");
    }
}

#[test]
fn our_own_address_is_our_own_name() {
    // Row 20, with localiphost a domain of ours: a user is found there, and nobody else.
    let server = server("relay-literal");
    server.home.control("localiphost", "host.test\n");
    for (recipient, code) in [
        (&b"TO:<v@[198.51.100.5]>"[..], 250),
        (b"TO:<w@[198.51.100.5]>", 550),
        (b"TO:<v%out.example@[198.51.100.5]>", 550),
        (b"TO:<v@[127.0.0.1]>", 553),
        (b"TO:<v@[0.0.0.0]>", 553),
    ] {
        assert_eq!(ask(&server, b"<>", recipient), code, "{recipient:?}");
    }
}

#[test]
fn spaces_behind_the_colon_are_an_option() {
    let server = server("relay-strict");
    server.home.control("strictaddress", "1\n");
    assert_eq!(ask(&server, b"<>", b"TO: <v@host.test>"), 501);
    assert_eq!(ask(&server, b"<>", b"TO:<v@host.test>"), 250);
}

#[test]
fn nothing_else_in_a_session_opens_it() {
    // Row 41.
    let server = server("relay-verbs");
    for commands in [
        &["AUTH PLAIN AHgAeA=="][..],
        &["AUTH LOGIN", "STARTTLS"],
        &["XCLIENT ADDR=127.0.0.1"],
        &["XFORWARD ADDR=127.0.0.1"],
        &["PROXY TCP4 127.0.0.1 127.0.0.1 1 25"],
    ] {
        let mut client = server.connect();
        client.reply();
        for command in commands {
            assert_eq!(client.say(command), 502, "{command}");
        }
        assert_eq!(client.say("EHLO localhost"), 250);
        assert_eq!(client.say("MAIL FROM:<x@host.test>"), 250);
        assert_eq!(client.say("RCPT TO:<v@out.example>"), 553);
        assert_eq!(client.say("RSET"), 250);
        assert_eq!(client.say("RCPT TO:<v@host.test>"), 503);
        assert_eq!(client.say("MAIL FROM:<x@host.test>"), 250);
        assert_eq!(client.say("RCPT TO:<v@host.test>"), 250);
        assert_eq!(client.say("RCPT TO:<v@out.example>"), 553);
        assert_eq!(client.say("DATA"), 354);
        assert_eq!(client.say("\r\n."), 250);
        assert_eq!(client.say("RCPT TO:<v@out.example>"), 503);
        assert_eq!(client.say("MAIL FROM:<>"), 250);
        assert_eq!(client.say("RCPT TO:<v@out.example>"), 553);
        assert_eq!(client.say("DATA"), 503);
        assert_eq!(client.say("QUIT"), 221);
    }
    for message in server.stored() {
        assert_eq!(message.envelope, b"Fx@host.test\0Tv@host.test\0\0");
    }
}

#[test]
fn old_verbs_are_unknown() {
    // Row 43.
    let mut client = server("relay-old").connect();
    client.reply();
    for command in [
        "ETRN out.example",
        "EXPN v",
        "SEND FROM:<v@host.test>",
        "SOML FROM:<v@host.test>",
        "SAML FROM:<v@host.test>",
        "TURN",
    ] {
        assert_eq!(client.say(command), 502, "{command}");
    }
    assert_eq!(client.say("VRFY v"), 252);
    assert_eq!(client.say("VRFY nobody"), 252);
}

#[test]
fn only_relayclient_relays() {
    // Row 42: here the address of the client means nothing; the rules of tcpserver set RELAYCLIENT or do not.
    for ip in ["127.0.0.1", "::ffff:127.0.0.1", "::1"] {
        let server = server("relay-client").env("TCPREMOTEIP", ip);
        assert_eq!(ask(&server, b"<>", b"TO:<v@out.example>"), 553);
        let server = server.env("RELAYCLIENT", "");
        assert_eq!(ask(&server, b"<>", b"TO:<v@out.example>"), 250);
        assert_eq!(ask(&server, b"<>", b"TO:<v@[127.0.0.1]>"), 250);
        assert_eq!(ask(&server, b"<>", b"TO:<w@host.test>"), 550);
    }
    let server = server("relay-suffix").env("RELAYCLIENT", "@fix.me");
    let (_, end) =
        server.run("MAIL FROM:<>\r\nRCPT TO:<v@out.example>\r\nDATA\r\n\r\n.\r\nQUIT\r\n");
    assert!(end.is_success());
    assert_eq!(server.stored()[0].envelope, b"F\0Tv@out.example@fix.me\0\0");
}

#[test]
fn without_rcpthosts_only_local_domains_are_taken() {
    let server = server("relay-norcpthosts");
    std::fs::remove_file(server.home.join("control/rcpthosts")).unwrap();
    assert_eq!(ask(&server, b"<>", b"TO:<v@out.example>"), 553);
    assert_eq!(ask(&server, b"<>", b"TO:<v@host.test>"), 250);
    assert_eq!(ask(&server, b"<>", b"TO:<w@host.test>"), 550);
    std::fs::remove_file(server.home.join("control/locals")).unwrap();
    assert_eq!(ask(&server, b"<>", b"TO:<v@host.test>"), 553);
    assert_eq!(ask(&server, b"<>", b"TO:<v@mx.host.test>"), 250);
    assert_eq!(ask(&server, b"<>", b"TO:<v@out.example>"), 553);
}

#[test]
fn percenthack_does_not_reach_beyond_rcpthosts() {
    let server = server("relay-percenthack");
    server.home.control("percenthack", "host.test\n");
    server.home.control("rcpthosts", "host.test\nsecond.test\n");
    for checked in ["1", "0"] {
        server.home.control("checkrecipients", checked);
        let say = |to: &[u8]| ask(&server, b"<>", to);
        assert_eq!(say(b"TO:<v%out.example@host.test>"), 553);
        assert_eq!(say(b"TO:<v%second.test@host.test>"), 250);
        assert_eq!(say(b"TO:<v%host.test@host.test>"), 250);
    }
}
