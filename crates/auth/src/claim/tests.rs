#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice)]

use super::*;

fn told(text: &[u8]) -> Result<Claim, NoClaim> {
    let (reader, writer) = sys::fd::pipe().unwrap();
    sys::fd::write_all(&writer, text).unwrap();
    drop(writer);
    read_from(reader)
}

fn is(text: &[u8], name: &str, secret: &str, challenge: Option<&str>) {
    let claim = told(text).unwrap();
    assert_eq!(claim.name, name.as_bytes());
    let Proof::Secret {
        secret: s,
        challenge: c,
    } = claim.proof
    else {
        panic!("not a secret");
    };
    assert_eq!(s, secret.as_bytes());
    assert_eq!(c.as_deref(), challenge.map(str::as_bytes));
}

#[test]
fn three_strings() {
    is(b"u\0p\0\0", "u", "p", None);
    is(b"u\0p\0Y123456\0", "u", "p", None);
    is(b"u\0p\0Y123", "u", "p", None);
    is(b"u\0p\0", "u", "p", None);
    is(b"u\0\0\0", "u", "", None);
    is(b"a/../b\n\0p\0\0", "a/../b\n", "p", None);
    for bad in [&b""[..], b"u", b"u\0", b"u\0p", b"\0p\0\0", b"\0\0\0"] {
        assert!(
            matches!(told(bad), Err(NoClaim::Malformed)),
            "{}",
            bad.escape_ascii()
        );
    }
}

#[test]
fn both_orders_of_a_challenge() {
    let digest = "b913a602c7eda7a495b4e6e7334d3890";
    is(
        format!("u\0{digest}\0<1.2@h>\0").as_bytes(),
        "u",
        digest,
        Some("<1.2@h>"),
    );
    is(
        format!("u\0<1.2@h>\0{digest}\0").as_bytes(),
        "u",
        digest,
        Some("<1.2@h>"),
    );
    is(b"u\0<p@ss>\0\0", "u", "<p@ss>", None);
    is(b"u\0<p@ss>\0<1.2@h>\0", "u", "<p@ss>", Some("<1.2@h>"));
}

#[test]
fn not_more_than_512_bytes() {
    let of = |count: usize| told(&[&vec![b'u'; count - 4][..], b"\0p\0\0"].concat());
    assert!(of(511).is_ok() && of(512).is_ok());
    assert!(matches!(of(513), Err(NoClaim::Malformed)));
    assert!(matches!(of(60_000), Err(NoClaim::Malformed)));
    let token = |count: usize| told(&[b"u\0", &vec![b't'; count][..], b"\0XOAUTH2\0"].concat());
    assert!(matches!(token(3000).unwrap().proof, Proof::Token(t) if t.len() == 3000));
    assert!(matches!(token(5000), Err(NoClaim::Malformed)));
}

#[test]
fn scram_over_a_pipe_leads_nowhere() {
    // A server of the oldest order would let a client write the third string.
    let claim = told(b"u\0\0SCRAM-SHA-256\0").unwrap();
    let Proof::Scram(talk) = claim.proof else {
        panic!("no conversation");
    };
    assert!(
        talk.is_proved(&Stored::imaginary(Hash::Sha256, b"u"))
            .is_err()
    );
    is(b"u\0p\0SCRAM-SHA-256\0", "u", "p", None);
}
