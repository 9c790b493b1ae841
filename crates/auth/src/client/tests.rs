#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::sasl::{Exchange, Request, Setup, Step};
use crate::scram::Stored;

fn binding() -> Binding {
    Binding {
        kind: b"tls-exporter".to_vec(),
        data: vec![5; 32],
    }
}

/// A server that knows one password, and the client against it. Whether the server was content, and the client.
fn both(
    mechanism: &str,
    ours: Option<Binding>,
    theirs: Option<Binding>,
    password: &str,
) -> (bool, bool) {
    let mechanism = Mechanism::parse(mechanism.as_bytes()).unwrap();
    let credentials = Credentials {
        name: b"a,b=c".to_vec(),
        password: password.into(),
    };
    let (mut client, initial) = Client::begin(mechanism, credentials, ours, b"clientnonce");
    let setup = Setup {
        challenge: b"<1@h>".to_vec(),
        nonce: b"servernonce".to_vec(),
        binding: theirs,
    };
    let (mut server, mut step) = Exchange::begin(mechanism, setup, initial.as_deref());
    loop {
        step = match step {
            Step::Challenge(text) => match client.answer(&text) {
                Some(response) => server.step(&response),
                None => return (false, false),
            },
            Step::Ask(Request::Password { name, password }) => {
                return (
                    name == b"a,b=c" && password == b"tanstaaf",
                    client.is_complete(),
                );
            }
            Step::Ask(Request::Response {
                name,
                challenge,
                response,
            }) => {
                let right = cram_digest(b"tanstaaf", &challenge) == response;
                return (name == b"a,b=c" && right, client.is_complete());
            }
            Step::Ask(Request::Token { token, .. }) => {
                return (token == b"tanstaaf", client.is_complete());
            }
            Step::Ask(Request::Scram { name, .. }) => {
                assert_eq!(name, b"a,b=c");
                server.salted(b"salt", 4096)
            }
            Step::Prove { message, proof } => {
                let Mechanism::Scram(hash, _) = mechanism else {
                    panic!()
                };
                match Stored::make(hash, b"tanstaaf", b"salt", 4096).prove(&message, &proof) {
                    Some(signature) => server.signed(&signature),
                    None => return (false, client.is_complete()),
                }
            }
            Step::Done => return (true, client.is_complete()),
            Step::Refused | Step::Malformed => return (false, client.is_complete()),
        };
    }
}

#[test]
fn our_client_and_our_server_agree() {
    for mechanism in [
        "PLAIN",
        "LOGIN",
        "CRAM-MD5",
        "XOAUTH2",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
    ] {
        assert_eq!(
            both(mechanism, None, None, "tanstaaf"),
            (true, true),
            "{mechanism}"
        );
        assert!(!both(mechanism, None, None, "tanstaag").0, "{mechanism}");
    }
    for mechanism in ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"] {
        assert_eq!(
            both(mechanism, Some(binding()), Some(binding()), "tanstaaf"),
            (true, true)
        );
        let other = Binding {
            data: vec![6; 32],
            ..binding()
        };
        assert_eq!(
            both(mechanism, Some(other), Some(binding()), "tanstaaf"),
            (false, false)
        );
    }
    assert_eq!(
        both("SCRAM-SHA-256", Some(binding()), None, "tanstaaf"),
        (true, true)
    );
    assert_eq!(
        both(
            "SCRAM-SHA-256",
            Some(binding()),
            Some(binding()),
            "tanstaaf"
        ),
        (false, false),
        "downgraded"
    );
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let begin = || {
        let mechanism = Mechanism::parse(b"SCRAM-SHA-256").unwrap();
        let credentials = Credentials {
            name: b"u".to_vec(),
            password: b"p".to_vec(),
        };
        Client::begin(mechanism, credentials, None, b"nonce").0
    };
    let first = b"r=nonceX,s=c2FsdA==,i=4096";
    for bad in [
        &b""[..],
        b"r=nonce,s=c2FsdA==,i=4096",
        b"r=XnonceX,s=c2FsdA==,i=4096",
        b"r=nonceX,s=,i=4096",
        b"r=nonceX,s=c2FsdA==,i=0",
        b"r=nonceX,s=c2FsdA==,i=99999999",
        b"r=nonceX",
        b"v=AAAA",
    ] {
        let mut client = begin();
        assert_eq!(client.answer(bad), None, "{}", bad.escape_ascii());
        assert!(!client.is_complete());
    }
    let mut client = begin();
    assert!(client.answer(first).is_some() && !client.is_complete());
    assert_eq!(client.answer(b"v=AAAA"), None);
    assert!(!client.is_complete());
    assert_eq!(client.answer(b"v=AAAA"), None);
}

#[test]
fn the_best_that_may_be_used() {
    let all = [
        "LOGIN",
        "PLAIN",
        "CRAM-MD5",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256-PLUS",
    ]
    .map(|m| Mechanism::parse(m.as_bytes()).unwrap());
    let name = |offered: &[Mechanism], line, binding: Option<&Binding>| {
        choose(offered, line, binding).map(Mechanism::name)
    };
    assert_eq!(
        name(&all, Line::Encrypted, Some(&binding())),
        Some("SCRAM-SHA-256-PLUS")
    );
    assert_eq!(name(&all, Line::Encrypted, None), Some("SCRAM-SHA-256"));
    assert_eq!(name(&all[..3], Line::Encrypted, None), Some("CRAM-MD5"));
    assert_eq!(name(&all[..2], Line::Encrypted, None), Some("PLAIN"));
    assert_eq!(name(&all[..2], Line::Clear, None), None);
    assert_eq!(name(&all[..1], Line::Encrypted, None), Some("LOGIN"));
    assert_eq!(name(&[], Line::Encrypted, None), None);
}
