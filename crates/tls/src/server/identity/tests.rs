use rcgen::{CertificateParams, KeyPair};

use super::*;

/// Chain and key, PEM.
pub(crate) fn made(names: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let chain = params.self_signed(&key).unwrap().pem();
    (chain.into(), key.serialize_pem().into())
}

pub(crate) fn identity(names: &[&str]) -> Identity {
    let (chain, key) = made(names);
    Identity::read(&chain, &key, None).unwrap()
}

#[test]
fn a_certificate_tells_of_itself() {
    let about = identity(&["Mail.Example.org", "*.example.net", "1.2.3.4"]);
    let about = about.about();
    assert_eq!(about.hosts, ["mail.example.org", "*.example.net"]);
    assert_eq!(about.subject, b"/CN=rcgen self signed cert");
    assert_eq!(about.subject, about.issuer);
    assert_eq!(about.begins, 1_577_836_800);
    assert_eq!(about.ends, 4_102_444_800);
    assert!(!about.serial.is_empty());
}

#[test]
fn what_does_not_fit_is_refused() {
    let (chain, key) = made(&["a.test"]);
    let (_, other) = made(&["a.test"]);
    let read = |chain: &[u8], key: &[u8]| Identity::read(chain, key, None).unwrap_err();
    assert_eq!(read(&chain, &other), Unusable::Mismatch);
    assert_eq!(read(&chain, b""), Unusable::Key);
    assert_eq!(read(&chain, &chain), Unusable::Key);
    assert_eq!(read(b"", &key), Unusable::Certificate);
    assert_eq!(read(b"junk", &key), Unusable::Certificate);
    assert_eq!(read(&key, &key), Unusable::Certificate);
    let damaged = String::from_utf8(chain).unwrap().replacen("MII", "MIX", 1);
    assert_eq!(read(damaged.as_bytes(), &key), Unusable::Certificate);
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(read(&made(&["a.test"]).0, locked.as_bytes()), Unusable::Key);
}

#[test]
fn hosts_get_their_own_certificate() {
    let mut store = Store::default();
    assert!(!store.has_default());
    store.add_default(&identity(&["one.test"]));
    store.add(&identity(&["two.test", "*.three.test"]));
    store.add(&identity(&["x.three.test"]));
    let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
    let name = |host| {
        let found = store.pick(host, &schemes).unwrap();
        found.about().hosts.first().unwrap().clone()
    };
    assert_eq!(name(None), "one.test");
    assert_eq!(name(Some("one.test")), "one.test");
    assert_eq!(name(Some("Two.Test.")), "two.test");
    assert_eq!(name(Some("a.three.test")), "two.test");
    assert_eq!(name(Some("x.three.test")), "x.three.test");
    assert_eq!(name(Some("a.b.three.test")), "one.test");
    assert_eq!(name(Some("three.test")), "one.test");
    assert_eq!(name(Some("else.test")), "one.test");
    assert!(Store::default().pick(None, &schemes).is_none());
}
