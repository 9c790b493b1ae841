//! qmail-lmtp as a .qmail file calls it, against a server that says what a test wants.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use crate::recipient::Recipient;

/// A server for one session: its replies in order, `None` for the end of the connection. What came, as text.
fn server(me: &Recipient, replies: &[&'static str]) -> JoinHandle<String> {
    let path = me.office.join("lmtp");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let replies = replies.to_vec();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut seen = String::new();
        for reply in replies {
            write!(reader.get_mut(), "{reply}\r\n").unwrap();
            let end = if reply.starts_with("354") {
                ".\r\n"
            } else {
                ""
            };
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 {
                    return seen;
                }
                seen.push_str(&line);
                if end.is_empty() || line == end {
                    break;
                }
            }
        }
        seen
    })
}

const ACCEPTING: [&str; 6] = [
    "220 here",
    "250-x\r\n250 PIPELINING",
    "250 ok",
    "250 ok",
    "354 go",
    "250 2.0.0 saved",
];

fn deliver(me: &Recipient, line: &str) -> (u8, String) {
    me.qmail("-p-default", &format!("|{line}\n"));
    let output = me.delivered(Some("p-joe"));
    (output.code(), output.out_text() + &output.err_text())
}

#[test]
fn a_delivery_is_handed_over() {
    let me = Recipient::new("lmtp");
    let seen = server(&me, &ACCEPTING);
    let line = format!("qmail-lmtp {}", me.office.join("lmtp").display());
    let (code, said) = deliver(&me, &line);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("qmail-lmtp: 2.0.0 saved\n"), "{said}");
    let seen = seen.join().unwrap();
    let (hello, rest) = seen.split_once("\r\n").unwrap();
    assert!(hello.starts_with("LHLO "), "{hello}");
    assert_eq!(
        rest,
        "MAIL FROM:<s@x.test>\r\nRCPT TO:<joe@h.test>\r\nDATA\r\n\
         Delivered-To: me-p-joe@h.test\r\nSubject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    );

    let seen = server(&me, &ACCEPTING);
    let socket = me.office.join("lmtp");
    let (code, _) = deliver(&me, &format!("qmail-lmtp -r 'a b@c' {}", socket.display()));
    assert_eq!(code, 0);
    assert!(seen.join().unwrap().contains("RCPT TO:<\"a b\"@c>\r\n"));
}

#[test]
fn the_code_of_the_server_decides() {
    let me = Recipient::new("lmtp-codes");
    let line = format!("qmail-lmtp {}", me.office.join("lmtp").display());
    for at in 0..ACCEPTING.len() {
        for (reply, code) in [
            ("550 5.1.1 no\x1b", 100),
            ("452 4.2.2 full", 111),
            ("nonsense", 111),
        ] {
            let mut replies = ACCEPTING;
            replies[at] = reply;
            let seen = server(&me, &replies[..=at]);
            let (got, said) = deliver(&me, &line);
            assert_eq!(got, code, "{at} {reply}: {said}");
            assert!(
                said.contains("server said: ") && !said.contains('\x1b'),
                "{said}"
            );
            seen.join().unwrap();
        }
    }
}

#[test]
fn without_a_server_the_message_waits() {
    let me = Recipient::new("lmtp-nobody");
    let (code, said) = deliver(&me, "qmail-lmtp /nowhere/at/all");
    assert_eq!(code, 111, "{said}");
    assert!(
        said.contains("unable to connect to /nowhere/at/all"),
        "{said}"
    );
    assert_eq!(deliver(&me, "qmail-lmtp <&- 6<&- 7<&-").0, 111);
    assert_eq!(deliver(&me, "qmail-lmtp a b").0, 100);
    assert_eq!(deliver(&me, "qmail-lmtp -x").0, 100);
    // The server goes away in the middle.
    for at in 1..ACCEPTING.len() {
        let seen = server(&me, &ACCEPTING[..at]);
        let line = format!("qmail-lmtp {}", me.office.join("lmtp").display());
        assert_eq!(deliver(&me, &line).0, 111, "{at}");
        seen.join().unwrap();
    }
}
