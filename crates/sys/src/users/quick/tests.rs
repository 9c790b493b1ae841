//! What is plain is found; what is not is left to the service.

use super::*;

#[test]
fn only_where_files_come_first() {
    for (text, expected) in [
        ("passwd: files\n", true),
        ("group: x\npasswd:\tfiles systemd\n", true),
        ("  passwd : files sss # first\n", true),
        ("passwd:files", true),
        ("passwd: sss files\n", false),
        ("passwd: compat\n", false),
        ("passwd: files [SUCCESS=continue] sss\n", false),
        ("passwd: files[SUCCESS=continue] sss\n", false),
        ("passwd: filesystem\n", false),
        ("#passwd: files\n", false),
        ("passwd_compat: files\n", false),
        ("passwd:\n", false),
        ("passwd: files\npasswd: sss\n", false),
        ("", false),
    ] {
        assert_eq!(is_first(text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn the_first_line_of_a_name_counts() {
    let text = b"root:x:0:0:root:/root:/bin/sh\n\
        bobby:x:7:7:::\n\
        bob:x:1001:1002:Bob,,,:/home/bob:/bin/false\n\
        bob:x:5:5::/:\n\
        #hash:x:1:1::/:\n\
        ann:x:1003:1003::/home/ann:";
    let bob = account(text, b"bob").unwrap();
    assert_eq!((bob.uid, bob.gid), (1001, 1002));
    assert_eq!(
        (&bob.home[..], &bob.shell[..]),
        (&b"/home/bob"[..], &b"/bin/false"[..])
    );
    assert_eq!(account(text, b"ann").unwrap().uid, 1003);
    for absent in [&b"bo"[..], b"", b"x", b"hash", b"#hash", b"Bob", b"bob:x"] {
        assert_eq!(account(text, absent), None, "{absent:?}");
    }
}

#[test]
fn a_line_that_is_not_plain_is_left_to_the_service() {
    for line in [
        "bob:x:1001:1002:Bob:/home/bob",
        "bob:x:1001:1002:Bob:/home/bob:/bin/sh:more",
        "bob:x:-1:1002:Bob:/home/bob:/bin/sh",
        "bob:x:+1:1002:Bob:/home/bob:/bin/sh",
        "bob:x: 1:1002:Bob:/home/bob:/bin/sh",
        "bob:x::1002:Bob:/home/bob:/bin/sh",
        "bob:x:4294967296:1002:Bob:/home/bob:/bin/sh",
        "bob:x:1001:1002:B\0ob:/home/bob:/bin/sh",
        "+bob:x:1001:1002:Bob:/home/bob:/bin/sh",
        "bob",
    ] {
        // The line behind is not asked: the service decides what the first one is worth.
        let text = format!("{line}\nbob:x:7:7::/:\n");
        let name: &[u8] = if line.starts_with('+') {
            b"+bob"
        } else {
            b"bob"
        };
        let found = account(text.as_bytes(), name);
        let passed_over = line == "bob";
        assert_eq!(found.is_some(), passed_over, "{line}");
    }
    let indented = account(b" bob:x:1001:1002::/home/bob:/bin/sh\n", b"bob").unwrap();
    assert_eq!((indented.name, indented.uid), (b"bob".to_vec(), 1001));
}

/// The service of this machine and we find the same.
#[test]
fn the_service_finds_the_same() {
    let text = std::fs::read("/etc/passwd").unwrap();
    for line in text.split(|&b| b == b'\n').filter(|l| !l.is_empty()) {
        let name = line.split(|&b| b == b':').next().unwrap();
        if let Some(found) = find(name) {
            assert_eq!(Some(found), super::super::service(name).unwrap());
        }
    }
}
