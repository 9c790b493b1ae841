//! AUTH: the words, the order, and what a success is worth.

use super::*;
use crate::tls::Cover;
use crate::words::Words;

/// A service with AUTH, under TLS from the start, and these variables.
pub(super) fn service(list: &[(&str, &str)]) -> Settings {
    let words = Words {
        host: Some(b"mail.test".to_vec()),
        command: vec![b"checker".to_vec(), b"true".to_vec()],
        by_place: true,
    };
    let env = |name: &str| {
        list.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_bytes().to_vec())
    };
    let mut rules = settings();
    rules.tls.cover = Some(cover());
    rules.login = LoginRules::new(&Ok(Some(words)), env, &[], b"mx.host.test");
    rules.login.max_failures = 3;
    rules
}

fn in_clear(list: &[(&str, &str)]) -> Settings {
    let mut settings = service(list);
    settings.tls.cover = None;
    settings
}

pub(super) fn base64(text: &str) -> String {
    String::from_utf8(auth::encoding::encode(text.as_bytes())).unwrap()
}

pub(super) fn plain(name: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", base64(&format!("\0{name}\0{password}")))
}

fn talk(rules: &Settings, lines: &[&str]) -> Left {
    let mut play = Play::new(settings());
    play.settings.login = rules.login.clone();
    play.settings.tls = rules.tls.clone();
    play.settings.senders.clone_from(&rules.senders);
    play.settings.relay.clone_from(&rules.relay);
    play.run(lines.iter().map(|l| send(&format!("{l}\r\n"))))
}

/// The replies, without the greeting.
fn replies(left: &Left) -> Vec<&str> {
    left.told.lines().skip(1).collect()
}

const OK: &str = "235 2.0.0 ok, go ahead (#2.0.0)";
const FAILED: &str = "535 5.7.0 authorization failed (#5.7.0)";
const MALFORMED: &str = "501 5.5.4 malformed auth input (#5.5.4)";
const CANCELLED: &str = "501 5.0.0 auth exchange cancelled (#5.0.0)";

#[test]
fn the_words_are_the_classic_ones() {
    let good = plain("alice", "secret");
    let bad = plain("alice", "wrong");
    let broken = plain("broken", "secret");
    let long = "A".repeat(12_290);
    let cases: [(&[&str], &[&str]); 24] = [
        (
            &["AUTH LOGIN", "YWxpY2U=", "c2VjcmV0"],
            &["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", OK],
        ),
        (
            &["auth login YWxpY2U=", "c2VjcmV0"],
            &["334 UGFzc3dvcmQ6", OK],
        ),
        (
            &["AUTH LOGIN YWxpY2U", "c2VjcmV0"],
            &["334 UGFzc3dvcmQ6", OK],
        ),
        (&["AUTH PLAIN", "AGFsaWNlAHNlY3JldA=="], &["334 ", OK]),
        (&[&good], &[OK]),
        (&[&bad], &[FAILED]),
        (&[&plain("nobody", "secret")], &[FAILED]),
        (
            &[&broken],
            &["454 4.3.0 unable to check the password now (#4.3.0)"],
        ),
        (&["AUTH PLAIN", "*"], &["334 ", CANCELLED]),
        (&["AUTH LOGIN", "*"], &["334 VXNlcm5hbWU6", CANCELLED]),
        (
            &["AUTH LOGIN YWxpY2U=", "*"],
            &["334 UGFzc3dvcmQ6", CANCELLED],
        ),
        (&["AUTH PLAIN *"], &[CANCELLED]),
        (&["AUTH PLAIN ="], &[MALFORMED]),
        (&["AUTH PLAIN !!!!"], &[MALFORMED]),
        (&["AUTH PLAIN AGFsaWNlAHNlY3JldA== x"], &[MALFORMED]),
        (&["AUTH LOGIN", ""], &["334 VXNlcm5hbWU6", MALFORMED]),
        (&["AUTH PLAIN AGFsaWNl"], &[MALFORMED]),
        (&["AUTH CRAM-MD5 YWxpY2U="], &[MALFORMED]),
        (
            &["AUTH PLAIN", &long],
            &["334 ", "500 5.5.6 auth exchange line is too long (#5.5.6)"],
        ),
        (&["AUTH"], &["504 5.5.1 auth type unimplemented (#5.5.1)"]),
        (
            &["AUTH GSSAPI"],
            &["504 5.5.1 auth type unimplemented (#5.5.1)"],
        ),
        (
            &["AUTH SCRAM-SHA-256"],
            &["504 5.5.1 auth type unimplemented (#5.5.1)"],
        ),
        (
            &[&good, &good],
            &[OK, "503 5.5.0 you're already authenticated (#5.5.0)"],
        ),
        (
            &["MAIL FROM:<a@b.test>", &good, "RSET", &good],
            &[
                "250 2.1.0 ok",
                "503 5.5.0 no auth during mail transaction (#5.5.0)",
                "250 2.0.0 flushed",
                OK,
            ],
        ),
    ];
    for (lines, expected) in cases {
        let left = talk(&service(&[]), lines);
        assert_eq!(replies(&left), expected, "{lines:?}");
    }
}

#[test]
fn cram_md5_has_a_challenge_of_its_own() {
    let mut seen = Vec::new();
    for password in ["secret", "wrong"] {
        let left = talk(&service(&[]), &["AUTH CRAM-MD5", &base64("alice 00")]);
        assert_eq!(replies(&left)[1], MALFORMED);
        let left = talk(
            &service(&[]),
            &["AUTH CRAM-MD5", &base64(&format!("alice {:032}", 0))],
        );
        let told = replies(&left);
        assert_eq!(told[1], FAILED, "{password}");
        let challenge = auth::encoding::decode(&told[0].as_bytes()[4..]).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        assert!(challenge.starts_with('<') && challenge.ends_with("@mail.test>"));
        assert!(!seen.contains(&challenge));
        let Question::Ask(Request::Response {
            challenge: asked, ..
        }) = &left.asked[0]
        else {
            panic!("{:?}", left.asked);
        };
        assert_eq!(asked, challenge.as_bytes());
        seen.push(challenge);
    }
}

#[test]
fn ehlo_offers_what_may_be_used() {
    for (settings, offer) in [
        (service(&[]), Some("LOGIN CRAM-MD5 PLAIN")),
        (in_clear(&[]), Some("CRAM-MD5")),
        (in_clear(&[("INTRANET", "")]), Some("LOGIN CRAM-MD5 PLAIN")),
        (in_clear(&[("AUTHTLS", "1")]), None),
        (in_clear(&[("SMTPAUTH", "!")]), None),
        (service(&[("SMTPAUTH", "-")]), None),
        (settings(), None),
    ] {
        let left = talk(&settings, &["EHLO x"]);
        let lines: Vec<&str> = left.told.lines().filter(|l| l.contains("AUTH")).collect();
        match offer {
            Some(list) => {
                let expected = [format!("250-AUTH {list}"), format!("250-AUTH={list}")];
                assert_eq!(lines, expected);
            }
            None => assert!(lines.is_empty(), "{lines:?}"),
        }
    }
}

#[test]
fn passwords_are_not_taken_in_clear() {
    let good = plain("alice", "secret");
    for settings in [in_clear(&[]), in_clear(&[("AUTHTLS", "1")])] {
        for line in [good.as_str(), "AUTH LOGIN"] {
            let left = talk(&settings, &[line]);
            assert_eq!(left.codes(), [538], "{line}");
            assert!(left.asked.is_empty());
        }
    }
    let left = talk(&in_clear(&[("INTRANET", "")]), &[&good]);
    assert_eq!(left.codes(), [235]);
    // Behind STARTTLS it may come.
    let mut settings = in_clear(&[]);
    settings.tls.offer = Offer::May;
    let left = talk(&settings, &["EHLO x", "STARTTLS", &good, "EHLO x", &good]);
    assert_eq!(left.codes(), [250, 220, 503, 250, 235]);
    settings.tls.offer = Offer::Must;
    let left = talk(&settings, &["EHLO x", "AUTH CRAM-MD5"]);
    assert_eq!(left.codes(), [250, 530]);
}

#[test]
fn where_nobody_checks_there_is_no_auth() {
    let good = plain("alice", "secret");
    assert_eq!(talk(&settings(), &[&good]).codes(), [502]);
    let off = talk(&service(&[("SMTPAUTH", "-")]), &[&good]);
    assert_eq!(replies(&off), ["503 5.3.3 auth not available (#5.3.3)"]);
    let mut unclear = settings();
    let words = Err(crate::words::Unclear::SaysYes);
    unclear.login = LoginRules::new(&words, |_| None, &[], b"");
    let left = talk(
        &unclear,
        &[
            "EHLO x",
            &good,
            "MAIL FROM:<a@b.test>",
            "RCPT TO:<x@out.example>",
        ],
    );
    assert_eq!(left.codes(), [250, 503, 250, 553]);
}

#[test]
fn a_success_opens_the_relay_and_nothing_else_does() {
    const RELAY: [&str; 2] = ["MAIL FROM:<a@b.test>", "RCPT TO:<x@out.example>"];
    let relay = |lines: &[&str]| {
        let lines: Vec<&str> = lines.iter().copied().chain(RELAY).collect();
        talk(&service(&[]), &lines).codes().last().copied()
    };
    let good = plain("alice", "secret");
    assert_eq!(relay(&[&good]), Some(250));
    assert_eq!(relay(&[&good, "RSET"]), Some(250));
    assert_eq!(relay(&[&good, "EHLO y"]), Some(250));
    for lines in [
        &[][..],
        &[plain("alice", "wrong").as_str()],
        &[plain("broken", "secret").as_str()],
        &["AUTH PLAIN", "*"],
        &["AUTH LOGIN", "YWxpY2U=", "*"],
        &["AUTH PLAIN", "!"],
        &["MAIL FROM:<a@b.test>", &good, "RSET"],
        &["AUTH GSSAPI", "YWxpY2U="],
    ] {
        assert_eq!(relay(lines), Some(553), "{lines:?}");
    }
    // RELAYCLIENT with a suffix is replaced, as in the patches.
    let mut suffix = service(&[]);
    suffix.relay = Some(b".suffix".to_vec());
    let lines = [good.as_str(), ENVELOPE.trim_end(), "x\r\n.", "QUIT"];
    let left = talk(&suffix, &lines);
    assert_eq!(left.stored[0].recipients, ["v@host.test"]);
    let left = talk(&suffix, &lines[1..]);
    assert_eq!(left.stored[0].recipients, ["v@host.test.suffix"]);
}

/// RFC 3207: what was proved in clear is forgotten as well.
#[test]
fn tls_forgets_who_it_was() {
    let mut settings = in_clear(&[("INTRANET", "")]);
    settings.tls.offer = Offer::May;
    let left = talk(
        &settings,
        &[
            "EHLO x",
            &plain("alice", "secret"),
            "STARTTLS",
            "EHLO x",
            "MAIL FROM:<a@b.test>",
            "RCPT TO:<x@out.example>",
            "RSET",
            &plain("alice", "secret"),
        ],
    );
    assert_eq!(left.codes(), [250, 235, 220, 250, 250, 553, 250, 235]);
}

#[test]
fn auth_can_be_required() {
    for switch in ["!", "!cram", "!-"] {
        let mut settings = service(&[("SMTPAUTH", switch)]);
        settings.relay = Some(Bytes::new());
        let left = talk(
            &settings,
            &[
                "EHLO x",
                "MAIL FROM:<>",
                "RCPT TO:<v@host.test>",
                "DATA",
                "NOOP",
            ],
        );
        assert_eq!(left.codes(), [250, 530, 503, 503, 250], "{switch}");
        assert!(
            left.told
                .contains("530 5.7.0 authentication required (#5.7.0)\r\n")
        );
    }
    let left = talk(
        &service(&[("SMTPAUTH", "!")]),
        &[
            &plain("alice", "secret"),
            "MAIL FROM:<a@b.test>",
            "RCPT TO:<x@out.example>",
        ],
    );
    assert_eq!(left.codes(), [235, 250, 250]);
}

#[test]
fn the_name_is_told_and_the_password_is_not() {
    let lines = [
        "EHLO y",
        &plain("alice", "wrong"),
        &plain("alice", "secret"),
        ENVELOPE.trim_end(),
        "x\r\n.",
        "QUIT",
    ];
    let left = talk(&service(&[]), &lines);
    assert!(
        left.stored_received().starts_with(
            "Received: from client.test (HELO y) (alice@192.0.2.1)\n  by mx.host.test with ESMTPSA \
             (TLSv1.3 TLS_AES_256_GCM_SHA384 encrypted); "
        ),
        "{}",
        left.stored_received()
    );
    assert_eq!(
        left.log,
        "qmail-smtpd: pid=4 ip=192.0.2.1 host=client.test info=- helo=y tls=TLSv1.3 auth=- \
         login=alice method=plain result=refused code=535 status=5.7.0 reason=badlogin netfails=3 accountfails=1 time=2.000\n\
         qmail-smtpd: pid=4 ip=192.0.2.1 host=client.test info=- helo=y tls=TLSv1.3 auth=alice \
         login=alice method=plain result=accepted code=235 status=2.0.0 reason=login time=0.000\n\
         qmail-smtpd: pid=4 ip=192.0.2.1 host=client.test info=- helo=y tls=TLSv1.3 auth=alice \
         from=<a@b.test> to=<v@host.test> rcpt=1 refused=0 bytes=2 result=accepted code=250 \
         status=2.0.0 reason=ok qp=77 time=0.000\n"
    );
    let clear = [
        &plain("alice", "secret"),
        ENVELOPE.trim_end(),
        "x\r\n.",
        "QUIT",
    ];
    let left = talk(&in_clear(&[("INTRANET", "")]), &clear);
    assert!(left.stored_received().contains(" with ESMTPA; "));
    // A name cannot leave its place in the log or in the header.
    let evil = plain("alice\r\nqmail-smtpd: x=y (\u{1b}[1m", "wrong");
    let left = talk(&service(&[]), &[&evil]);
    assert_eq!(left.log.lines().count(), 1);
    assert!(
        left.log
            .contains(" login=alice??qmail-smtpd:?x=y?(?[1m method="),
        "{}",
        left.log
    );
}

#[test]
fn a_session_has_so_many_failures() {
    let bad = plain("alice", "wrong");
    let good = plain("alice", "secret");
    let left = talk(&service(&[]), &[&bad, &bad, &bad, &good]);
    assert_eq!(left.codes(), [535, 535, 535, 421]);
    assert!(
        left.told
            .ends_with("421 4.7.0 too many failed logins (#4.7.0)\r\n")
    );
    let left = talk(&service(&[]), &[&bad, &bad, &good]);
    assert_eq!(left.codes(), [535, 535, 235]);
    // What did not even reach the checker is a mistake like any other.
    let broken = ["AUTH PLAIN !"; 30];
    let left = talk(&service(&[]), &broken);
    assert_eq!(left.codes().len(), 21);
    assert!(
        left.told
            .ends_with("421 4.7.0 too many errors (#4.7.0)\r\n")
    );
    // STARTTLS does not begin a new count.
    let mut settings = in_clear(&[("INTRANET", "")]);
    settings.tls.offer = Offer::May;
    let left = talk(&settings, &[&bad, &bad, "STARTTLS", "EHLO x", &bad, &good]);
    assert_eq!(left.codes(), [535, 535, 220, 250, 535, 421]);
}

#[test]
fn mail_may_name_an_author_where_there_is_auth() {
    let lines = [
        "MAIL FROM:<a@b.test> AUTH=<>",
        "MAIL FROM:<a@b.test> AUTH=+",
    ];
    assert_eq!(talk(&service(&[]), &lines).codes(), [250, 501]);
    assert_eq!(talk(&settings(), &lines).codes(), [555, 555]);
}

#[test]
fn the_sender_can_be_held_to_the_account() {
    let mut settings = service(&[]);
    settings.senders = Some(crate::senders::Senders {
        more: Vec::new(),
        local: List::new(b"host.test\n".to_vec()),
        separator: b'-',
    });
    let good = plain("alice", "secret");
    for (sender, code) in [
        ("alice@host.test", 250),
        ("alice-x@host.test", 250),
        ("", 250),
        ("bob@host.test", 553),
        ("alice@out.example", 553),
    ] {
        let left = talk(&settings, &[&good, &format!("MAIL FROM:<{sender}>")]);
        assert_eq!(left.codes(), [235, code], "{sender}");
    }
    // Who did not log in is not held to anything but the other rules.
    assert_eq!(
        talk(&settings, &["MAIL FROM:<bob@host.test>"]).codes(),
        [250]
    );
}

/// CVE-2018-6789 and its kind: responses of every length, with every sort of padding.
#[test]
fn no_length_of_a_response_breaks_anything() {
    let mut play = Play::new(service(&[]));
    play.settings.max_errors = 0;
    play.settings.login.max_failures = 0;
    for length in 0..=4096 {
        for fill in ["A", "/", "="] {
            let word = fill.repeat(length);
            let lines = format!("AUTH PLAIN {word}\r\nAUTH LOGIN\r\n{word}\r\n*\r\nNOOP\r\n");
            let left = play.run([send(&lines)]);
            assert_eq!(left.end, End::Gone(crate::channel::Gone::Disconnect));
            assert!(left.told.ends_with("250 2.0.0 ok\r\n"), "{length} {fill}");
            assert!(left.asked.is_empty(), "{length} {fill}");
            assert!(!left.told.contains("235"));
        }
    }
}

#[test]
fn nuls_and_long_lines_reach_no_checker() {
    for text in [
        "\0",
        "\0\0",
        "\0\0\0",
        "a",
        "\0alice",
        "\0alice\0",
        "\0\0secret",
        "alice\0secret",
    ] {
        let left = talk(&service(&[]), &[&format!("AUTH PLAIN {}", base64(text))]);
        assert_eq!(left.codes(), [501], "{text:?}");
        assert!(left.asked.is_empty());
    }
    // NULs at the end come from clients that count them in.
    let left = talk(
        &service(&[]),
        &[&format!("AUTH PLAIN {}", base64("\0alice\0secret\0"))],
    );
    assert_eq!(left.codes(), [235]);
    for inside in ["\0ali\0ce\0secret", "\0alice\0sec\0ret"] {
        let left = talk(&service(&[]), &[&format!("AUTH PLAIN {}", base64(inside))]);
        assert_ne!(left.codes(), [235], "{inside:?}");
    }
    let flood = Play::new(service(&[])).run([
        send("AUTH LOGIN\r\n"),
        Act::Send(vec![b'A'; (1 << 20) + 32_768]),
    ]);
    assert!(
        flood
            .told
            .ends_with("421 4.7.0 line far too long (#4.7.0)\r\n")
    );
    // A line of a command other than AUTH has its old limit.
    let noop = format!("NOOP {}", "x".repeat(3000));
    assert_eq!(talk(&service(&[]), &[&noop]).codes(), [500]);
    let long = format!(
        "AUTH PLAIN {}",
        base64(&format!("\0alice\0{}", "x".repeat(6000)))
    );
    assert_eq!(talk(&service(&[]), &[&long]).codes(), [535]);
    // What is unclean ends the exchange, and is not a password.
    for line in ["c2VjcmV0\n", "c2Vj\rcmV0\r\n", "c2Vj\0cmV0\r\n"] {
        let left = Play::new(service(&[])).run([
            send("AUTH LOGIN YWxpY2U=\r\n"),
            send(line),
            send("NOOP\r\n"),
        ]);
        assert!([500, 501].contains(&left.codes()[1]), "{line:?}");
        assert!(left.asked.is_empty());
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_has_not_logged_in() {
    for cover in [None, Some(Cover::default())] {
        let mut settings = service(&[("INTRANET", "")]);
        settings.tls.cover = cover;
        let left = talk(&settings, &["AUTH LOGIN", "YWxpY2U="]);
        assert_eq!(left.codes(), [334, 334]);
        assert!(left.asked.is_empty());
        assert!(left.log.contains(" auth=- ") && left.log.lines().count() == 1);
    }
}
