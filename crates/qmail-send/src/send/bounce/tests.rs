use super::*;

fn settings() -> Settings {
    Settings {
        lifetime: 1,
        bounce_from: b"MAILER-DAEMON".to_vec(),
        bounce_host: b"host.test".to_vec(),
        double_bounce_to: Some(b"postmaster@host.test".to_vec()),
    }
}

fn text(recipient: &str, report: &str) -> String {
    let rewrite = Rewrite::from_texts(b"e.test", b"", b"host.test", b"v.test:alice\n");
    let found = paragraph(&rewrite, recipient.as_bytes(), report.as_bytes());
    String::from_utf8(found).unwrap()
}

#[test]
fn a_paragraph_has_no_blank_line_but_its_last() {
    let table = [
        ("Sorry.\n", "<a@b>:\nSorry.\n\n"),
        ("Sorry.", "<a@b>:\nSorry.\n\n"),
        ("", "<a@b>:\n\n"),
        ("a\n\nb\n", "<a@b>:\na\n/b\n\n"),
        ("a\n\n\nb\n", "<a@b>:\na\n//b\n\n"),
        ("\na\n", "<a@b>:\n/a\n\n"),
        ("a\n\n", "<a@b>:\na\n\n\n"),
        ("a\n\n\n", "<a@b>:\na\n/\n\n"),
        ("\n", "<a@b>:\n\n\n"),
    ];
    for (report, expected) in table {
        assert_eq!(text("a@b", report), expected, "{report:?}");
    }
}

#[test]
fn addresses_lose_their_prefix_and_their_line_ends() {
    assert_eq!(text("alice-joe@v.test", "x\n"), "<joe@v.test>:\nx\n\n");
    assert_eq!(
        text("alice-joe@other.test", "x\n"),
        "<alice-joe@other.test>:\nx\n\n"
    );
    assert_eq!(text("a\nb@c\n", "x\n"), "<a_b@c_>:\nx\n\n");
}

#[test]
fn bounces_find_their_way() {
    let find = |sender: &str| target(&settings(), sender.as_bytes());
    assert_eq!(
        find("a@b"),
        (b"a@b".to_vec(), Target::Single(b"a@b".to_vec()))
    );
    assert_eq!(
        find("list-@host-@[]"),
        (
            b"list-@host".to_vec(),
            Target::Single(b"list-@host".to_vec())
        )
    );
    assert_eq!(
        find(""),
        (
            Bytes::new(),
            Target::Double(b"postmaster@host.test".to_vec())
        )
    );
    assert!(matches!(
        find("#@[]").1,
        Target::Nowhere("triple bounce: discarding ")
    ));
    let silent = Settings {
        double_bounce_to: None,
        ..settings()
    };
    assert!(matches!(
        target(&silent, b"").1,
        Target::Nowhere("double bounce: discarding ")
    ));
}
