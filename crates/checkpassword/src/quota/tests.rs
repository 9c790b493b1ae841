#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn quotas_in_every_form() {
    let q = |text: &str| Quota::parse(text.as_bytes()).map(|q| (q.bytes, q.messages));
    for (text, expected) in [
        ("", (0, 0)),
        ("NOQUOTA", (0, 0)),
        ("1000000", (1_000_000, 0)),
        ("10MB", (10 << 20, 0)),
        ("500KB", (500 << 10, 0)),
        ("1000000S,1000C", (1_000_000, 1000)),
        ("1000C", (0, 1000)),
        ("20971520S", (20_971_520, 0)),
    ] {
        assert_eq!(q(text), Some(expected), "{text}");
    }
    for bad in [
        "x",
        "10X",
        "S",
        "99999999999999999999",
        "18446744073709551615MB",
    ] {
        assert_eq!(q(bad), None, "{bad}");
    }
    assert_eq!(Quota::parse(b"1MB,5C").unwrap().text(), b"1048576S,5C");
}

#[test]
fn sizes_in_names() {
    assert_eq!(told_size(b"1.u,S=123:2,S"), Some(123));
    assert_eq!(told_size(b"1.u,S=123,W=130:2,"), Some(123));
    assert_eq!(told_size(b"1.u"), None);
    assert!(is_trashed(b"1.u:2,ST") && !is_trashed(b"1.uT:2,S"));
}
