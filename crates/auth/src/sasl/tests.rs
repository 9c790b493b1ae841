#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use super::*;
use crate::encoding::{decode, encode};
use crate::scram::Stored;

fn setup() -> Setup {
    Setup {
        challenge: b"<1896.697170952@postoffice.reston.mci.net>".to_vec(),
        nonce: b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_vec(),
        binding: None,
    }
}

fn begin(mechanism: Mechanism, initial: Option<&[u8]>) -> (Exchange, Step) {
    Exchange::begin(mechanism, setup(), initial)
}

fn password(name: &str, password: &str) -> Step {
    Step::Ask(Request::Password {
        name: name.into(),
        password: password.into(),
    })
}

#[test]
fn names_are_known_in_any_case() {
    for (name, mechanism) in NAMES {
        assert_eq!(
            Mechanism::parse(name.to_lowercase().as_bytes()),
            Some(mechanism)
        );
        assert_eq!(mechanism.name(), name);
    }
    assert_eq!(Mechanism::parse(b"DIGEST-MD5"), None);
    assert_eq!(Mechanism::parse(b""), None);
}

#[test]
fn plain_is_three_strings() {
    let first = |response: &[u8]| begin(Mechanism::Plain, Some(response)).1;
    assert_eq!(first(b"\0tim\0tanstaaf"), password("tim", "tanstaaf"));
    assert_eq!(first(b"other\0tim\0tanstaaf"), password("tim", "tanstaaf"));
    assert_eq!(
        first(b"\0tim\0tanstaaf\0\0"),
        password("tim", "tanstaaf"),
        "NULs at the end"
    );
    for bad in [
        &b""[..],
        b"\0",
        b"\0\0",
        b"tim\0x",
        b"\0tim\0",
        b"\0\0x",
        b"\0tim\0a\0b",
        b"tim",
    ] {
        assert_eq!(first(bad), Step::Malformed, "{}", bad.escape_ascii());
    }
    let (mut exchange, step) = begin(Mechanism::Plain, None);
    assert_eq!(step, Step::Challenge(vec![]));
    assert_eq!(exchange.step(b"\0tim\0x"), password("tim", "x"));
    assert_eq!(exchange.step(b"\0tim\0x"), Step::Malformed, "it is over");
}

#[test]
fn login_asks_twice() {
    let (mut exchange, step) = begin(Mechanism::Login, None);
    assert_eq!(step, Step::Challenge(b"Username:".to_vec()));
    assert_eq!(
        exchange.step(b"tim"),
        Step::Challenge(b"Password:".to_vec())
    );
    assert_eq!(exchange.step(b"pass word"), password("tim", "pass word"));
    let (mut exchange, step) = begin(Mechanism::Login, Some(b"tim\0"));
    assert_eq!(step, Step::Challenge(b"Password:".to_vec()));
    assert_eq!(exchange.step(b""), Step::Malformed);
    assert_eq!(begin(Mechanism::Login, Some(b"")).1, Step::Malformed);
    assert_eq!(begin(Mechanism::Login, Some(b"t\0m")).1, Step::Malformed);
}

#[test]
fn cram_md5_of_rfc_2195() {
    let (mut exchange, step) = begin(Mechanism::CramMd5, None);
    assert_eq!(step, Step::Challenge(setup().challenge));
    let digest = "b913a602c7eda7a495b4e6e7334d3890";
    let asked = |name: &str| {
        Step::Ask(Request::Response {
            name: name.into(),
            challenge: setup().challenge,
            response: digest.into(),
        })
    };
    assert_eq!(
        exchange.step(format!("tim {digest}").as_bytes()),
        asked("tim")
    );
    assert_eq!(
        cram_digest(b"tanstaaftanstaaf", &setup().challenge),
        digest.as_bytes()
    );
    let answer = |text: &str| begin(Mechanism::CramMd5, None).0.step(text.as_bytes());
    assert_eq!(
        answer(&format!("a b {}", digest.to_uppercase())),
        asked("a b")
    );
    for bad in [
        "",
        "tim",
        "tim ",
        &format!(" {digest}"),
        &digest[1..],
        &format!("tim {}", &digest[1..]),
    ] {
        assert_eq!(answer(bad), Step::Malformed, "{bad}");
    }
    assert_eq!(
        answer("tim g913a602c7eda7a495b4e6e7334d3890"),
        Step::Malformed
    );
    assert_eq!(begin(Mechanism::CramMd5, Some(b"tim x")).1, Step::Malformed);
    // RFC 1939 7
    let stamp = b"<1896.697170952@dbc.mtview.ca.us>";
    assert_eq!(
        apop_digest(b"tanstaaf", stamp),
        b"c4c9334bac560ecc979e58001b3e22fb"
    );
}

#[test]
fn xoauth2_is_a_name_and_a_token() {
    let first = |response: &[u8]| begin(Mechanism::Xoauth2, Some(response)).1;
    assert_eq!(
        first(b"user=a@b.example\x01auth=Bearer ya29.x\x01\x01"),
        Step::Ask(Request::Token {
            name: b"a@b.example".to_vec(),
            token: b"ya29.x".to_vec()
        })
    );
    for bad in [
        "",
        "user=a\x01auth=Bearer x",
        "user=\x01auth=Bearer x\x01\x01",
        "user=a\x01auth=Basic x\x01\x01",
        "user=a\x01auth=Bearer \x01\x01",
        "user=a\x01auth=Bearer x\x01y=z\x01\x01",
        "user=a\x01\x01",
    ] {
        assert_eq!(
            first(bad.as_bytes()),
            Step::Malformed,
            "{}",
            bad.escape_debug()
        );
    }
}

const SCRAM: Mechanism = Mechanism::Scram(Hash::Sha256, Bound::Free);
const PLUS: Mechanism = Mechanism::Scram(Hash::Sha256, Bound::ToTls);
const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const LAST: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn user() -> Stored {
    Stored::make(
        Hash::Sha256,
        b"pencil",
        &decode(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
        4096,
    )
}

fn salted() -> (Exchange, Step) {
    let (mut exchange, step) = begin(SCRAM, Some(FIRST));
    assert_eq!(
        step,
        Step::Ask(Request::Scram {
            name: b"user".to_vec(),
            hash: Hash::Sha256
        })
    );
    let step = exchange.salted(&user().salt, 4096);
    (exchange, step)
}

#[test]
fn scram_sha_256_of_rfc_7677() {
    let (mut exchange, step) = salted();
    let said =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(step, Step::Challenge(said.to_vec()));
    let Step::Prove { message, proof } = exchange.step(LAST) else {
        panic!("no proof");
    };
    let signature = user().prove(&message, &proof).unwrap();
    let last = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(exchange.signed(&signature), Step::Challenge(last.to_vec()));
    assert_eq!(exchange.step(b""), Step::Done);
    assert_eq!(exchange.step(b""), Step::Malformed);
}

#[test]
fn scram_steps_cannot_be_left_out() {
    // Done before the proof was checked, by every shortcut that comes to mind.
    let (mut exchange, _) = begin(SCRAM, Some(FIRST));
    assert_eq!(exchange.step(b""), Step::Malformed);
    assert_eq!(exchange.signed(b"x"), Step::Malformed);
    let (mut exchange, _) = salted();
    assert_eq!(exchange.step(b""), Step::Malformed);
    let (mut exchange, _) = salted();
    assert!(matches!(exchange.step(LAST), Step::Prove { .. }));
    assert_eq!(exchange.step(b""), Step::Malformed, "nobody has signed");
    let (mut exchange, _) = salted();
    exchange.step(LAST);
    exchange.signed(b"x");
    assert_eq!(exchange.step(b"x"), Step::Malformed);
}

#[test]
fn scram_that_was_changed_is_refused() {
    let last = |text: &str| salted().0.step(text.as_bytes());
    let good = std::str::from_utf8(LAST).unwrap();
    assert_eq!(
        last(&good.replace("c=biws", "c=eSws")),
        Step::Refused,
        "y,,"
    );
    assert_eq!(last(&good.replace("$k0", "$k1")), Step::Refused);
    assert_eq!(
        last(&good.replace("r=rOprNGfwEbeRWgbNEkqO%", "r=%")),
        Step::Refused
    );
    for bad in [
        "",
        ",",
        "c=biws",
        "p=x",
        "c=biws,p=x",
        &good.replace("p=", "q="),
        &good.replace("c=", "d="),
        &good.replace("VQ=", "V"),
        &good.replace("Ute9", ""),
    ] {
        assert_eq!(last(bad), Step::Malformed, "{bad}");
    }
}

#[test]
fn scram_first_messages() {
    let first = |text: &str| begin(SCRAM, Some(text.as_bytes())).1;
    let asks = |name: &str| {
        Step::Ask(Request::Scram {
            name: name.into(),
            hash: Hash::Sha256,
        })
    };
    assert_eq!(first("n,,n=a=2Cb=3Dc,r=x"), asks("a,b=c"));
    assert_eq!(first("y,,n=u,r=x"), asks("u"));
    assert_eq!(first("n,a=u,n=u,r=x"), asks("u"));
    assert_eq!(first("n,a=root,n=u,r=x"), Step::Refused);
    assert_eq!(first("n,,n=u,r=x,ext=1"), asks("u"));
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=u",
        "n,,n=,r=x",
        "n,,n=u,r=",
        "n,,r=x,n=u",
        "x,,n=u,r=x",
        "n,b,n=u,r=x",
        "p=tls-exporter,,n=u,r=x",
        "n,,m=1,n=u,r=x",
        "n,,n=u=2c,r=x",
        "n,,n=u=,r=x",
        "n,,n=u\0,r=x",
        "n,,n=u,r=a b",
    ] {
        assert_eq!(first(bad), Step::Malformed, "{bad}");
    }
    assert_eq!(
        first(&format!("n,,n=u,r={}", "x".repeat(300))),
        Step::Malformed
    );
}

#[test]
fn scram_is_bound_to_the_session() {
    let binding = Binding {
        kind: b"tls-exporter".to_vec(),
        data: vec![7; 32],
    };
    let bound = || Setup {
        binding: Some(binding.clone()),
        ..setup()
    };
    let begin = |mechanism, text: &str| Exchange::begin(mechanism, bound(), Some(text.as_bytes()));
    assert_eq!(
        begin(SCRAM, "y,,n=u,r=x").1,
        Step::Refused,
        "-PLUS was taken out on the way"
    );
    assert!(matches!(begin(SCRAM, "n,,n=u,r=x").1, Step::Ask(_)));
    assert_eq!(begin(PLUS, "n,,n=u,r=x").1, Step::Malformed);
    assert_eq!(begin(PLUS, "p=tls-unique,,n=u,r=x").1, Step::Malformed);
    let last = |data: &[u8]| {
        let (mut exchange, step) = begin(PLUS, "p=tls-exporter,,n=u,r=x");
        assert!(matches!(step, Step::Ask(_)));
        exchange.salted(b"salt", 4096);
        let channel = encode(&[b"p=tls-exporter,,".as_slice(), data].concat());
        let proof = encode(&[0; 32]);
        exchange.step(
            &[
                b"c=",
                channel.as_slice(),
                b",r=x%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=",
                &proof,
            ]
            .concat(),
        )
    };
    assert!(matches!(last(&[7; 32]), Step::Prove { .. }));
    assert_eq!(last(&[8; 32]), Step::Refused, "another session");
    assert_eq!(last(&[]), Step::Refused);
}

#[test]
fn stamps_are_never_the_same() {
    let (one, two) = (
        stamp(b"host.example").unwrap(),
        stamp(b"host.example").unwrap(),
    );
    assert_ne!(one, two);
    assert!(one.starts_with(b"<") && one.ends_with(b"@host.example>") && one.len() < 60);
    assert_ne!(nonce().unwrap(), nonce().unwrap());
}

/// A generator of bytes that are always the same for one seed.
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// One question at most, with words that the checkpassword protocol can carry.
fn asked(step: &Step) -> usize {
    let Step::Ask(request) = step else { return 0 };
    let words = match request {
        Request::Password { name, password } => [name, password],
        Request::Response { name, response, .. } => [name, response],
        Request::Token { name, token } => [name, token],
        Request::Scram { name, .. } => [name, name],
    };
    assert!(words.iter().all(|w| !w.is_empty() && !w.contains(&0)));
    1
}

#[test]
fn every_length_and_every_place_of_a_nul() {
    for length in 0..4096 {
        for fill in [b'x', 0] {
            let response = vec![fill; length];
            for (_, mechanism) in NAMES {
                let (mut exchange, step) = begin(mechanism, Some(&response));
                let mut questions = asked(&step);
                for _ in 0..3 {
                    questions += asked(&exchange.step(&response));
                }
                assert!(questions <= 1, "{mechanism:?} {length}");
            }
        }
    }
    for at in 0..40 {
        for other in 0..40 {
            let mut response = vec![b'x'; 40];
            response[at] = 0;
            response[other] = 0;
            let step = begin(Mechanism::Plain, Some(&response)).1;
            let (first, second) = (at.min(other), at.max(other));
            let is_plain = second > first + 1 && second < 39;
            assert_eq!(matches!(step, Step::Ask(_)), is_plain, "{at} {other}");
        }
    }
}

#[test]
fn whatever_comes_nothing_breaks_and_nobody_is_asked_twice() {
    let seeds: [&[u8]; 6] = [
        b"\0tim\0tanstaaf",
        b"tim b913a602c7eda7a495b4e6e7334d3890",
        FIRST,
        LAST,
        b"user=a\x01auth=Bearer x\x01\x01",
        b"p=tls-exporter,,n=a=2Cb,r=nonce",
    ];
    let mut bits = Bits(0x9e37_79b9_7f4a_7c15);
    for _ in 0..40_000 {
        let (_, mechanism) = NAMES[bits.below(NAMES.len())];
        let mut exchange = None;
        let mut questions = 0;
        for _ in 0..4 {
            let mut response = seeds[bits.below(seeds.len())].to_vec();
            for _ in 0..bits.below(4) {
                if response.is_empty() {
                    break;
                }
                let at = bits.below(response.len());
                match bits.below(4) {
                    0 => response[at] = bits.next() as u8,
                    1 => drop(response.remove(at)),
                    2 => response.insert(at, b",=\0\x01*"[bits.below(5)]),
                    _ => response.truncate(at + 1),
                }
            }
            let step = match &mut exchange {
                None => {
                    let (begun, step) = begin(mechanism, Some(&response));
                    exchange = Some(begun);
                    step
                }
                Some(exchange) => exchange.step(&response),
            };
            questions += asked(&step);
            assert!(step != Step::Done, "nobody has signed");
            if matches!(step, Step::Ask(Request::Scram { .. })) {
                exchange.as_mut().unwrap().salted(b"salt", 4096);
            }
        }
        assert!(questions <= 1);
    }
}
