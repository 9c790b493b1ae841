#![allow(clippy::unwrap_used)]

use super::check::Service;
use super::*;

#[test]
fn lines_of_vpasswd_may_be_short() {
    let entry = Entry::parse(b"$1$x$y:1:34:Tim:/home/vpopmail/domains/d/tim:10MB:clear:text");
    assert_eq!(
        (entry.flags, entry.quota.as_slice(), entry.clear.as_slice()),
        (34, &b"10MB"[..], &b"clear:text"[..])
    );
    assert_eq!(entry.dir, b"/home/vpopmail/domains/d/tim");
    assert_eq!(Entry::parse(b"").password, b"");
    assert_eq!(Entry::parse(b"x:1:0:g:/d").clear, b"");
}

#[test]
fn limits_of_a_domain() {
    let text = b"maxpopaccounts 5\ndisable_pop 1\ndisable_imap 0\ndisable_smtp\ndisable_external_relay\t1\n";
    assert_eq!(
        limit_flags(text),
        flag::NO_POP | flag::NO_SMTP | flag::NO_RELAY
    );
    let free = Entry {
        flags: flag::OVERRIDE,
        ..Entry::default()
    };
    assert_eq!(free.flags_under(flag::NO_POP), flag::OVERRIDE);
    assert_eq!(Entry::default().flags_under(flag::NO_POP), flag::NO_POP);
}

#[test]
fn services_go_by_port() {
    let name = |port, program: &str, client: &str| {
        format!(
            "{:?}",
            Service::of(port, program.as_bytes(), client.parse().ok())
        )
    };
    for (port, expected) in [
        (25, "smtp"),
        (110, "pop3"),
        (143, "imap"),
        (465, "smtps"),
        (587, "submission"),
        (993, "imaps"),
        (995, "pop3s"),
        (2525, "2525"),
    ] {
        assert!(
            name(Some(port), "x", "192.0.2.1").contains(&format!("\"vchkpw-{expected}\"")),
            "{port}"
        );
    }
    assert!(name(Some(110), "x", "127.0.0.1").contains("webmail"));
    assert!(name(Some(2587), "/bin/true", "127.0.0.1").contains("Smtp"));
    assert!(name(None, "imapd", "").contains("Imap"));
    assert!(name(None, "pop3d", "").contains("Pop"));
}
