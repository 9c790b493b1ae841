//! Servers that want to harm: none of them may break the frame of the reports or hold us for ever.

use std::time::{Duration, Instant};

use crate::server::{Script, Server, Session};
use crate::{MESSAGE, home, send};

/// Checks that reports are framed: recipients first, then exactly one on the message, each printable.
fn check_frame(got: &str, recipients: usize) {
    let reports: Vec<&str> = got
        .strip_suffix('^')
        .unwrap_or_else(|| panic!("{got:?}"))
        .split('^')
        .collect();
    assert!(reports.len() <= recipients + 1, "{got:?}");
    let (last, first) = reports.split_last().unwrap();
    assert!(last.starts_with(['K', 'Z', 'D']), "{got:?}");
    assert!(
        first.iter().all(|r| r.starts_with(['r', 'h', 's'])),
        "{got:?}"
    );
    assert!(
        !got.chars()
            .any(|c| c.is_control() && c != '\n' && c != '\t'),
        "{got:?}"
    );
    assert!(got.len() < 12_000, "{}", got.len());
}

#[test]
fn the_words_of_a_reply_stay_words() {
    let evil: Vec<Vec<u8>> = vec![
        b"550 no\0Kaccepted\0\r\n".to_vec(),
        b"550-\0r\0\r\n550 \0\0\0K\r\n".to_vec(),
        b"550 \r\rK\x1b]0;x\x07\x7f\r\n".to_vec(),
        b"550\r\n".to_vec(),
        b"550-T\n550-K\n550-Z\n550 \n".to_vec(),
        [&b"550 "[..], &vec![b'\0'; 60_000], b"\n"].concat(),
        [&b"550-"[..], &b"\n550-K".repeat(9000), b"\n550 end\n"].concat(),
    ];
    for reply in evil {
        for verb in ["MAIL", "RCPT", "DATA", "."] {
            let reply = reply.clone();
            let server = Server::playing(("127.0.0.1", 0), move |session: &mut Session| {
                session.say("220 hi\r\n");
                loop {
                    let line = String::from_utf8_lossy(&session.line()).into_owned();
                    if line.is_empty() {
                        return;
                    }
                    let at_end = line == ".\r\n";
                    if (at_end && verb == ".") || (!at_end && line.starts_with(verb)) {
                        session.say(&reply);
                    } else if line.starts_with("DATA") {
                        session.say("354 go\r\n");
                        if session.text() {
                            session.say(if verb == "." {
                                &reply[..]
                            } else {
                                b"250 ok\r\n"
                            });
                        }
                    } else {
                        session.say("250 ok\r\n");
                    }
                }
            });
            let home = home(&server.route());
            let got = send(&home, "h", &["r@h"], MESSAGE);
            check_frame(&got, 1);
            assert!(!got.contains("^K"), "{got:?}");
        }
    }
}

/// A server that sends `bytes` again and again, with a pause, once `verb` has come.
fn endless(verb: &'static str, bytes: &'static [u8], pause: Duration) -> Server {
    Server::playing(("127.0.0.1", 0), move |session: &mut Session| {
        let flood = |session: &mut Session| {
            // The client must go: this has an end of its own, far away.
            let end = Instant::now() + Duration::from_secs(100);
            while session.say(bytes) && Instant::now() < end {
                std::thread::sleep(pause);
            }
        };
        if verb == "greeting" {
            return flood(session);
        }
        session.say("220 hi\r\n");
        loop {
            let line = String::from_utf8_lossy(&session.line()).into_owned();
            if line.is_empty() {
                return;
            }
            if line.starts_with(verb) {
                return flood(session);
            }
            if line.starts_with("DATA") {
                session.say("354 go\r\n");
                if !session.text() {
                    return;
                }
                if verb == "." {
                    return flood(session);
                }
            }
            session.say("250 ok\r\n");
        }
    })
}

#[test]
fn replies_without_end_are_given_up() {
    for verb in ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        for bytes in [
            &b"250-more\r\n"[..],
            b"2",
            b"\0\r\n",
            b"250-\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let server = endless(verb, bytes, Duration::ZERO);
            let home = home(&server.route());
            let start = Instant::now();
            let got = send(&home, "h", &["r@h"], MESSAGE);
            assert!(start.elapsed() < Duration::from_secs(90));
            check_frame(&got, 1);
            assert_eq!(
                got.contains("Possible duplicate! "),
                verb == "." && !bytes.starts_with(b"\0"),
                "{verb} {got}"
            );
        }
    }
}

#[test]
fn slow_replies_have_a_limit_as_a_whole() {
    for verb in ["greeting", "MAIL", "."] {
        let server = endless(verb, b"250-x\r\n", Duration::from_millis(100));
        let home = home(&server.route());
        home.control("timeoutremote", "1\n");
        let start = Instant::now();
        let got = send(&home, "h", &["r@h"], MESSAGE);
        assert!(start.elapsed() < Duration::from_secs(90), "{verb}");
        assert!(got.contains("but connection died."), "{got}");
        check_frame(&got, 1);
    }
}

#[test]
fn silence_has_a_limit() {
    let server = Server::playing(("127.0.0.1", 0), |session| {
        session.line();
    });
    let home = home(&server.route());
    home.control("timeoutremote", "1\n");
    assert_eq!(
        send(&home, "h", &["r@h"], MESSAGE),
        "ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^"
    );
}

#[test]
fn a_server_that_stops_reading_has_a_limit() {
    let (gone, over) = std::sync::mpsc::channel::<()>();
    let over = std::sync::Mutex::new(over);
    let server = Server::playing(("127.0.0.1", 0), move |session| {
        session.say("220 hi\r\n");
        for reply in ["250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            session.line();
            session.say(reply);
        }
        // Until the client has gone.
        let _ = over.lock().unwrap().recv_timeout(kit::LIMIT);
    });
    let home = home(&server.route());
    // Enough for each answer of the server on a busy machine.
    home.control("timeoutremote", "5\n");
    let got = send(&home, "h", &["r@h"], &b"x\n".repeat(10_000_000));
    drop(gone);
    assert_eq!(
        got,
        "r^ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^"
    );
}

#[test]
fn a_refusal_in_the_middle_of_the_text_is_heard() {
    let server = Server::playing(("127.0.0.1", 0), |session| {
        session.say("220 hi\r\n");
        for reply in ["250 hi\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            session.line();
            session.say(reply);
        }
        session.line();
        session.say("552 too much\r\n");
        // Take the rest for a while, so that the words arrive before the connection breaks.
        for _ in 0..100_000 {
            session.line();
        }
    });
    let home = home(&server.route());
    let got = send(&home, "h", &["r@h"], &b"x\n".repeat(10_000_000));
    // Which of the two it is depends on what the kernel still hands over after the reset.
    let heard =
        got == "r^D127.0.0.1 failed after I sent the message.\nRemote host said: 552 too much\n^";
    assert!(
        heard || got == "r^ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n^",
        "{got}"
    );
}

#[test]
fn strange_extensions_do_no_harm() {
    for ehlo in [
        "250-hi\r\n250-SIZE -1\r\n250-SIZE 1\r\n250 PIPELINING",
        "250-\r\n250-\r\n250 ",
        "250-hi\r\n250-SIZE\0 1\r\n250-\u{ff}\r\n250 8BITMIME\0",
        "250-hi\r\nno code here\r\n250 PIPELINING",
        "250-hi\r\n250-size\t\t99999999\r\n250 PIPELINING x y z",
    ] {
        let server = Server::local(Script::default().on("EHLO", ehlo));
        let home = home(&server.route());
        let got = send(&home, "h", &["r@h"], MESSAGE);
        assert!(got.starts_with("r^K"), "{ehlo:?} {got}");
    }
}
