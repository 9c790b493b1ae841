#![allow(clippy::unwrap_used, clippy::panic, clippy::exit, clippy::string_slice)]

use std::time::Duration;

use super::*;
use crate::checker::{Client, Order};
use crate::claim::{Proof, read};
use crate::digest::Hash;
use crate::encoding::{decode, encode};
use crate::sasl::{Binding, Bound};
use crate::scram::{Stored, proof};

const SALT: &[u8] = b"0123456789abcdef";

/// Not a test: the checker of the tests below, which run this program again. It knows one name and one password.
#[test]
#[ignore = "a role that other tests play"]
fn as_checker() {
    if std::env::var_os("AUTH_TEST_CHECKER").is_none() {
        return;
    }
    let claim = read().unwrap();
    let right = match claim.proof {
        Proof::Secret {
            secret,
            challenge: None,
        } => secret == b"pencil",
        Proof::Secret {
            secret,
            challenge: Some(c),
        } => secret == crate::sasl::cram_digest(b"pencil", &c),
        Proof::Token(token) => token == b"token",
        Proof::Scram(talk) => {
            let stored = Stored::make(talk.hash(), b"pencil", SALT, 4096);
            talk.is_proved(&stored).unwrap_or(false)
        }
    };
    std::process::exit(i32::from(!right || claim.name != b"user"));
}

fn checker() -> Checker {
    let this = std::env::current_exe()
        .unwrap()
        .into_os_string()
        .into_encoded_bytes();
    let words = [
        "--exact",
        "dialogue::tests::as_checker",
        "--ignored",
        "--test-threads=1",
    ];
    Checker {
        words: std::iter::once(this)
            .chain(words.map(|w| w.as_bytes().to_vec()))
            .collect(),
        order: Order::default(),
        client: Client::Hidden,
        limit: Some(Duration::from_mins(1)),
        environment: vec![(b"AUTH_TEST_CHECKER".to_vec(), b"1".to_vec())],
    }
}

fn setup() -> Setup {
    Setup {
        challenge: b"<1.2@host.example>".to_vec(),
        nonce: b"servernonce".to_vec(),
        binding: Some(Binding {
            kind: b"tls-exporter".to_vec(),
            data: vec![9; 32],
        }),
    }
}

const ACCEPTED: Event = Event::End(End::Verdict(Verdict::Accepted));
const REFUSED: Event = Event::End(End::Verdict(Verdict::Refused));

fn begin<'a>(
    checker: &'a Checker,
    mechanism: &str,
    initial: Option<&str>,
) -> (Dialogue<'a>, Event) {
    let mechanism = Mechanism::parse(mechanism.as_bytes()).unwrap();
    Dialogue::begin(mechanism, setup(), initial.map(str::as_bytes), checker)
}

fn b64(text: &str) -> String {
    String::from_utf8(encode(text.as_bytes())).unwrap()
}

#[test]
fn classic_mechanisms_from_line_to_verdict() {
    let checker = checker();
    let (dialogue, event) = begin(&checker, "PLAIN", Some(&b64("\0user\0pencil")));
    assert_eq!((event, dialogue.name()), (ACCEPTED, &b"user"[..]));
    assert_eq!(
        begin(&checker, "PLAIN", Some(&b64("\0user\0pencils"))).1,
        REFUSED
    );
    assert_eq!(
        begin(&checker, "PLAIN", Some(&b64("\0other\0pencil"))).1,
        REFUSED
    );
    let (mut dialogue, event) = begin(&checker, "LOGIN", None);
    assert_eq!(event, Event::Challenge(b"VXNlcm5hbWU6".to_vec()));
    assert_eq!(
        dialogue.line(b64("user").as_bytes()),
        Event::Challenge(b"UGFzc3dvcmQ6".to_vec())
    );
    assert_eq!(dialogue.line(b64("pencil").as_bytes()), ACCEPTED);
    let (mut dialogue, _) = begin(&checker, "CRAM-MD5", None);
    let digest = crate::sasl::cram_digest(b"pencil", &setup().challenge);
    let line = encode(&[b"user ", digest.as_slice()].concat());
    assert_eq!(dialogue.line(&line), ACCEPTED);
    let token = b64("user=user\x01auth=Bearer token\x01\x01");
    assert_eq!(begin(&checker, "XOAUTH2", Some(&token)).1, ACCEPTED);
}

#[test]
fn clients_may_give_up_or_talk_nonsense() {
    let checker = checker();
    let cancelled = Event::End(End::Cancelled);
    let malformed = Event::End(End::Malformed);
    assert_eq!(begin(&checker, "LOGIN", None).0.line(b"*"), cancelled);
    assert_eq!(begin(&checker, "PLAIN", Some("*")).1, cancelled);
    assert_eq!(begin(&checker, "PLAIN", Some("=")).1, malformed);
    assert_eq!(begin(&checker, "PLAIN", Some("====")).1, malformed);
    assert_eq!(begin(&checker, "CRAM-MD5", Some("AAAA")).1, malformed);
    assert_eq!(begin(&checker, "PLAIN", None).0.line(b"!"), malformed);
    assert_eq!(begin(&checker, "PLAIN", None).1, Event::Challenge(vec![]));
}

/// The client's part of SCRAM; the last event.
fn scram(mechanism: &str, header: &str, password: &str, data: &[u8]) -> Event {
    let checker = checker();
    let first = format!("{header}n=user,r=clientnonce");
    let (mut dialogue, event) = begin(&checker, mechanism, Some(&b64(&first)));
    let Event::Challenge(said) = event else {
        return event;
    };
    let said = String::from_utf8(decode(&said).unwrap()).unwrap();
    assert_eq!(
        said,
        format!(
            "r=clientnonceservernonce,s={},i=4096",
            b64(std::str::from_utf8(SALT).unwrap())
        )
    );
    let hash = if mechanism.contains("256") {
        Hash::Sha256
    } else {
        Hash::Sha1
    };
    let channel = encode(&[header.as_bytes(), data].concat());
    let bare = format!(
        "c={},r=clientnonceservernonce",
        std::str::from_utf8(&channel).unwrap()
    );
    let message = format!("n=user,r=clientnonce,{said},{bare}");
    let (proof, signature) = proof(hash, password.as_bytes(), SALT, 4096, message.as_bytes());
    let last = [bare.as_bytes(), b",p=", &encode(&proof)].concat();
    match dialogue.line(&encode(&last)) {
        Event::Challenge(said) => {
            assert_eq!(
                decode(&said).unwrap(),
                [b"v=", encode(&signature).as_slice()].concat()
            );
            dialogue.line(b"")
        }
        event @ Event::End(_) => event,
    }
}

#[test]
fn scram_from_line_to_verdict() {
    for name in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        assert_eq!(scram(name, "n,,", "pencil", b""), ACCEPTED, "{name}");
        assert_eq!(scram(name, "n,,", "pen", b""), REFUSED, "{name}");
    }
    assert_eq!(
        scram("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "pencil", &[9; 32]),
        ACCEPTED
    );
    assert_eq!(
        scram("SCRAM-SHA-256-PLUS", "p=tls-exporter,,", "pencil", &[8; 32]),
        REFUSED
    );
    assert_eq!(scram("SCRAM-SHA-256", "y,,", "pencil", b""), REFUSED);
}

#[test]
fn no_checker_outlives_a_dialogue_that_was_left() {
    let checker = checker();
    let (mut dialogue, event) = begin(&checker, "SCRAM-SHA-256", Some(&b64("n,,n=user,r=x")));
    assert!(matches!(event, Event::Challenge(_)));
    assert_eq!(dialogue.line(b"*"), Event::End(End::Cancelled));
    assert!(dialogue.running.is_none());
    assert_eq!(
        Mechanism::parse(b"SCRAM-SHA-256"),
        Some(Mechanism::Scram(Hash::Sha256, Bound::Free))
    );
}
