use super::*;
use crate::client::tests::client;
use crate::rules::tests::rules;

/// Knows one name's salt and takes every proof.
#[derive(Default)]
struct Fake {
    cancelled: u32,
    proofs: u32,
}

impl Back for Fake {
    fn salted(&mut self, _: Mechanism, request: &Request) -> Option<(Bytes, u32)> {
        (request.name() == b"joe").then(|| (b"salt".to_vec(), 4096))
    }

    fn prove(&mut self, _: &[u8], _: &[u8]) -> Option<Bytes> {
        self.proofs += 1;
        Some(vec![7; 32])
    }

    fn cancel(&mut self) {
        self.cancelled += 1;
    }
}

/// What a client gets, without the greeting, and what it ends with.
fn play(rules: &Rules, lines: &str) -> (Vec<String>, Wish, String) {
    let mut client = client(lines.replace('|', "\r\n") + "\r\n", 1);
    let wish = front(&mut client, rules, &mut Fake::default(), true);
    let link = client.into_link();
    let rest = String::from_utf8(link.rest().to_vec()).unwrap();
    let said = String::from_utf8(link.said).unwrap();
    assert!(said.ends_with("\r\n"));
    let mut replies: Vec<String> = said.split("\r\n").map(str::to_owned).collect();
    replies.pop();
    (replies.split_off(1), wish, rest)
}

fn response(name: &str, secret: &str) -> Request {
    Request::Response {
        name: name.into(),
        challenge: b"<7.1700000000@h.test>".to_vec(),
        response: secret.into(),
    }
}

#[test]
fn nothing_behind_the_password_is_read() {
    let (said, wish, rest) = play(&rules(&[]), "user joe|pass a b|stat|retr 1");
    assert_eq!(said, ["+OK "]);
    assert_eq!(wish, Wish::Ask(Method::Pass, response("joe", "a b")));
    assert_eq!(rest, "stat\r\nretr 1\r\n");
    let (_, wish, rest) = play(&rules(&[]), "apop joe 0123|stat");
    assert_eq!(wish, Wish::Ask(Method::Apop, response("joe", "0123")));
    assert_eq!(rest, "stat\r\n");
}

#[test]
fn nothing_behind_stls_is_read_and_what_was_before_is_forgotten() {
    let mut with = rules(&[]);
    with.offered = true;
    let (said, wish, rest) = play(&with, "user joe|STLS|pass x");
    assert_eq!(said, ["+OK ", "+OK begin TLS"]);
    assert_eq!((wish, rest.as_str()), (Wish::Tls, "pass x\r\n"));
    with.offered = false;
    with.tls = true;
    // The front that follows knows no USER, and does not greet.
    let mut client = client("pass x\r\nstls\r\nquit\r\n", 1);
    let wish = front(&mut client, &with, &mut Fake::default(), false);
    assert_eq!(wish, Wish::Leave);
    assert_eq!(
        String::from_utf8(client.into_link().said).unwrap(),
        "-ERR USER first\r\n-ERR TLS is on\r\n+OK \r\n"
    );
    let (said, ..) = play(&rules(&[]), "stls");
    assert_eq!(said, ["-ERR authorization first"]);
}

#[test]
fn capa_tells_what_would_be_taken() {
    let mut rules = rules(&[("POP3PLAIN", "0"), ("POP3AUTH", "+cram")]);
    rules.offered = true;
    let (said, ..) = play(&rules, "capa");
    let all = ["RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "UTF8", "."];
    assert_eq!(said[..3], ["+OK ", "TOP", "UIDL"]);
    assert_eq!(said[3..5], ["SASL CRAM-MD5 SCRAM-SHA-256", "STLS"]);
    assert_eq!(said[5..], all);
    rules.tls = true;
    let (said, ..) = play(&rules, "capa");
    assert_eq!(
        said[3..5],
        ["USER", "SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256"]
    );
    assert_eq!(said[5..], all);
}

#[test]
fn a_password_in_clear_is_refused_where_it_must_not_be() {
    let outside = rules(&[("POP3PLAIN", "0")]);
    let (said, wish, _) = play(
        &outside,
        "user joe|pass x|auth plain AGpvZQB4|auth login|quit",
    );
    let no = "-ERR no password without TLS here";
    assert_eq!(said, [no, no, no, no, "+OK "]);
    assert_eq!(wish, Wish::Leave);
    let mut strict = rules(&[("UCSPITLS", "!")]);
    strict.offered = true;
    let (said, wish, _) = play(
        &strict,
        "user joe|apop joe x|auth|auth scram-sha-256|noop|stls",
    );
    let no = "-ERR STLS first";
    assert_eq!(said, [no, no, no, no, "+OK ", "+OK begin TLS"]);
    assert_eq!(wish, Wish::Tls);
    let (said, ..) = play(&rules(&[("POP3AUTH", "apop")]), "user joe|auth plain|quit");
    assert_eq!(
        said,
        ["-ERR authorization first", "-ERR no such mechanism", "+OK "]
    );
}

#[test]
fn plain_and_login() {
    let ask = |wish: Wish| match wish {
        Wish::Ask(Method::Sasl(mechanism), Request::Password { name, password }) => Some((
            mechanism.name(),
            String::from_utf8(name).unwrap(),
            String::from_utf8(password).unwrap(),
        )),
        _ => None,
    };
    let want = |name| Some((name, "joe".to_owned(), "x".to_owned()));
    for lines in ["auth PLAIN AGpvZQB4", "AUTH plain|AGpvZQB4"] {
        let (_, wish, _) = play(&rules(&[]), lines);
        assert_eq!(ask(wish), want("PLAIN"), "{lines}");
    }
    let (said, ..) = play(&rules(&[]), "auth plain =|quit");
    assert_eq!(said, ["-ERR syntax error", "+OK "]);
    let (said, wish, _) = play(&rules(&[]), "auth login|am9l|eA==");
    assert_eq!(said, ["+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6"]);
    assert_eq!(ask(wish), want("LOGIN"));
}

#[test]
fn an_exchange_can_be_given_up_and_nonsense_is_counted() {
    let (said, wish, _) = play(
        &rules(&[]),
        "auth login|*|auth plain %%%|auth plain *|auth frob|auth login|am9|auth login|am9l|====|quit",
    );
    assert_eq!(
        said,
        [
            "+ VXNlcm5hbWU6",
            "-ERR cancelled",
            "-ERR syntax error",
            "-ERR cancelled",
            "-ERR no such mechanism",
            "+ VXNlcm5hbWU6",
            "-ERR syntax error",
            "+ VXNlcm5hbWU6",
            "+ UGFzc3dvcmQ6",
            "-ERR syntax error",
            "+OK ",
        ]
    );
    assert_eq!(wish, Wish::Leave);
    let many = "frob|".repeat(30);
    let (said, wish, rest) = play(&rules(&[]), &many);
    assert_eq!(said.len(), ERRORS_LIMIT as usize + 1);
    assert_eq!(said.last().unwrap(), "-ERR too many errors");
    assert_eq!(wish, Wish::Leave);
    assert!(!rest.is_empty());
    let (said, ..) = play(&rules(&[]), &"noop|".repeat(300));
    assert_eq!(said.len(), COMMANDS_LIMIT as usize + 1);
}

#[test]
fn auth_of_every_length_is_survived() {
    for length in (0..40).chain((40..4080).step_by(101)).chain(4080..4200) {
        let text = "A".repeat(length);
        for lines in [format!("auth plain {text}"), format!("auth plain|{text}")] {
            let (said, wish, _) = play(&rules(&[]), &lines);
            assert!(matches!(wish, Wish::Leave), "{length}");
            assert!(said.iter().all(|l| !l.starts_with("+OK")), "{length}");
        }
    }
    for bytes in 0..=255u8 {
        let mut sends = b"auth plain\r\n".to_vec();
        sends.extend_from_slice(&[bytes; 8]);
        sends.extend_from_slice(b"\r\n");
        let mut client = client(sends, 1);
        let wish = front(&mut client, &rules(&[]), &mut Fake::default(), true);
        assert_eq!(wish, Wish::Leave);
    }
}

#[test]
fn scram_asks_who_is_behind() {
    let mut fake = Fake::default();
    let first = encoding::encode(b"n,,n=joe,r=abc");
    let text = [
        b"auth scram-sha-256 ".as_slice(),
        &first,
        b"\r\n*\r\nquit\r\n",
    ]
    .concat();
    let mut talking = client(text, 1);
    let wish = front(&mut talking, &rules(&[]), &mut fake, true);
    assert_eq!(wish, Wish::Leave);
    assert_eq!((fake.cancelled, fake.proofs), (1, 0));
    let said = String::from_utf8(talking.into_link().said).unwrap();
    let challenge = said.lines().nth(1).unwrap().strip_prefix("+ ").unwrap();
    let challenge = encoding::decode(challenge.as_bytes()).unwrap();
    assert!(challenge.starts_with(b"r=abc"));
    assert!(challenge.ends_with(b",s=c2FsdA==,i=4096"));
    // Of an unknown name whoever is behind tells.
    let first = encoding::encode(b"n,,n=eve,r=abc");
    let text = [b"auth scram-sha-256 ".as_slice(), &first, b"\r\n"].concat();
    let mut talking = client(text, 1);
    assert_eq!(
        front(&mut talking, &rules(&[]), &mut fake, true),
        Wish::Leave
    );
}

#[test]
fn other_protocols_are_sent_away_at_once() {
    for line in [
        "GET / HTTP/1.1",
        "POST /x HTTP/1.0",
        "EHLO x",
        "SSH-2.0-OpenSSH_9.2",
        "\u{80}\u{9e}",
        "CONNECT a:25 HTTP/1.1",
    ] {
        let (said, wish, rest) = play(&rules(&[]), &format!("{line}|user joe|pass x"));
        if line.starts_with('\u{80}') {
            // A byte above 127 may begin a name in another encoding: an error like others.
            assert_eq!(said[0], "-ERR authorization first");
            continue;
        }
        assert_eq!(said, ["-ERR this is POP3"], "{line}");
        assert_eq!(
            (wish, rest.as_str()),
            (Wish::Leave, "user joe\r\npass x\r\n")
        );
    }
    // A handshake of TLS has no line end that one could wait for.
    let (said, wish, rest) = play(&rules(&[]), "\u{16}\u{3}\u{1}");
    assert_eq!(
        (&said[..], wish),
        (&["-ERR this is POP3".to_owned()][..], Wish::Leave)
    );
    assert_eq!(rest, "\u{3}\u{1}\r\n");
    let (said, ..) = play(&rules(&[]), "noop|get 1|quit");
    assert_eq!(said, ["+OK ", "-ERR authorization first", "+OK "]);
}
