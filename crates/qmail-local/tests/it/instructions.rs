//! Which file counts, and what each kind of line does. Expectations were taken from the original.

use crate::recipient::Recipient;

const NO_MAILBOX: &str = "Sorry, no mailbox here by that name. (#5.1.1)\n";
const BLANK: &str = "Uh-oh: first line of .qmail file is blank. (#4.2.1)\n";

#[test]
fn every_kind_of_line_is_shown() {
    let me = Recipient::new("local-lines");
    for (text, want, code) in [
        ("# comment\n", "did 0+0+0\n", 0),
        ("./mbox\n", "mbox ./mbox\ndid 1+0+0\n", 0),
        ("/abs/mbox", "mbox /abs/mbox\ndid 1+0+0\n", 0),
        ("./dir/\n", "maildir ./dir/\ndid 1+0+0\n", 0),
        ("./dir/ \t\n", "maildir ./dir/\ndid 1+0+0\n", 0),
        ("/\n", "maildir /\ndid 1+0+0\n", 0),
        (
            "|prog a\n| b\n",
            "program prog a\nprogram  b\ndid 0+0+2\n",
            0,
        ),
        ("&a@b\nc@d\n", "forward a@b\nforward c@d\ndid 0+2+0\n", 0),
        ("& a@b\n", "forward  a@b\ndid 0+1+0\n", 0),
        ("&\n", "forward \ndid 0+1+0\n", 0),
        ("  x\n", "forward   x\ndid 0+1+0\n", 0),
        ("./x\r\n", "mbox ./x\r\ndid 1+0+0\n", 0),
        ("./a\0b\n", "mbox ./a\0b\ndid 1+0+0\n", 0),
        ("+list\n&a@b\n+other\n", "forward a@b\ndid 0+1+0\n", 0),
        ("./x\n\n./y\n", "mbox ./x\nmbox ./y\ndid 2+0+0\n", 0),
        ("\n./x\n", BLANK, 111),
        (" \t \n./x\n", BLANK, 111),
        ("\n", BLANK, 111),
        (
            "&a@b\n+list\n./x\n",
            "forward a@b\nUh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n",
            111,
        ),
        ("", "mbox ./Mailbox\ndid 1+0+0\n", 0),
    ] {
        me.qmail("-k", text);
        assert_eq!(me.shown(Some("k")), (want.to_owned(), code), "{text:?}");
    }
}

#[test]
fn the_first_regular_file_counts() {
    let me = Recipient::new("local-search");
    let shown = |ext: &str| me.shown(Some(ext)).0;
    assert_eq!(
        me.shown(None),
        ("mbox ./Mailbox\ndid 1+0+0\n".to_owned(), 0)
    );
    assert_eq!(me.shown(Some("x")), (NO_MAILBOX.to_owned(), 100));
    me.qmail("-default", "./default\n");
    me.qmail("-a-default", "./a-default\n");
    me.qmail("-a-b:c", "./exact\n");
    me.qmail("-a-dir/x", "");
    std::os::unix::fs::symlink("nowhere", me.home.join(".qmail-a-gone")).unwrap();
    for (ext, want) in [
        ("A-B.C", "mbox ./exact"),
        ("a-b", "mbox ./a-default"),
        ("a-", "mbox ./a-default"),
        ("a-b-c-d", "mbox ./a-default"),
        ("a-dir", "mbox ./a-default"),
        ("a-gone", "mbox ./a-default"),
        ("a", "mbox ./default"),
        ("", "mbox ./default"),
        ("../../etc/passwd", "mbox ./default"),
        ("a-dir/x", "mbox ./Mailbox"),
    ] {
        assert!(
            shown(ext).starts_with(&format!("{want}\n")),
            "{ext}: {}",
            shown(ext)
        );
    }
    sys::Dir::open(&me.home)
        .unwrap()
        .make_fifo(b".qmail-a-fifo", 0o600)
        .unwrap();
    assert!(shown("a-fifo").starts_with("mbox ./a-default\n"));
}

#[test]
fn modes_hold_back_or_restrict() {
    let me = Recipient::new("local-modes");
    me.qmail("-x", "&a@b\n|prog\n");
    for (mode, want, code) in [
        (0o664, "forward a@b\nprogram prog\ndid 0+1+1\n", 0),
        (0o666, "Uh-oh: .qmail file is writable. (#4.7.0)\n", 111),
        (
            0o744,
            "forward a@b\nUh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)\n",
            111,
        ),
    ] {
        me.chmod(".qmail-x", mode);
        assert_eq!(me.shown(Some("x")), (want.to_owned(), code), "{mode:o}");
    }
    // The execute bit of an empty file says nothing about the default delivery.
    me.qmail("-x", "");
    assert_eq!(me.shown(Some("x")).1, 0);
    me.chmod("", 0o1755);
    assert_eq!(
        me.shown(None),
        (
            "mbox ./Mailbox\ndid 1+0+0\nWarning: home directory is sticky.\n".to_owned(),
            0
        )
    );
    let output = me.delivered(None);
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "Home directory is sticky: user is editing his .qmail file. (#4.2.1)\n"
    );
    me.chmod("", 0o757);
    assert_eq!(
        me.shown(None),
        (
            "Uh-oh: home directory is writable. (#4.7.0)\n".to_owned(),
            111
        )
    );
}

#[test]
fn mailboxes_get_the_lines_of_the_delivery() {
    let mut me = Recipient::new("local-boxes");
    me.maildir();
    me.sender = "a b@c".to_owned();
    me.qmail("", "./Maildir/\n./box\n");
    let output = me.delivered(None);
    assert_eq!(
        (output.code(), output.out_text().as_str()),
        (0, "did 2+0+0\n")
    );
    let header = "Return-Path: <\"a b\"@c>\nDelivered-To: me@h.test\n";
    let [file] = me.names("Maildir/new").try_into().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text, format!("{header}Subject: x\n\nbody\n"));
    let text = me.read("box");
    assert!(text.starts_with("From a-b@c "), "{text}");
    let (_, rest) = text.split_once('\n').unwrap();
    assert_eq!(rest, format!("{header}Subject: x\n\nbody\n\n"));
}

#[test]
fn forwards_go_out_last_in_one_message() {
    let mut me = Recipient::new("local-forward");
    me.qmail("-f", "&a@b\n|cat >copy\nc@d\n");
    let output = me.delivered(Some("f"));
    assert_eq!(output.code(), 0, "{}", output.err_text());
    let out = output.out_text();
    assert!(out.starts_with("did 0+2+1\nqp "), "{out}");
    let sent = |me: &Recipient| {
        String::from_utf8(std::fs::read(me.office.join("q.envelope")).unwrap()).unwrap()
    };
    assert_eq!(sent(&me), "Fs@x.test\0Ta@b\0Tc@d\0\0");
    assert_eq!(
        std::fs::read(me.office.join("q.message")).unwrap(),
        b"Delivered-To: me-f@h.test\nSubject: x\n\nbody\n"
    );
    // A program gets the message as it came.
    assert_eq!(me.read("copy"), "Subject: x\n\nbody\n");

    me.qmail("-f-owner", "");
    me.delivered(Some("f"));
    assert!(sent(&me).starts_with("Fme-f-owner@h.test\0"));
    me.qmail("-f-owner-default", "");
    me.delivered(Some("f"));
    assert!(sent(&me).starts_with("Fme-f-owner-@h.test-@[]\0"));
    for sender in ["", "#@[]"] {
        sender.clone_into(&mut me.sender);
        me.delivered(Some("f"));
        assert!(sent(&me).starts_with(&format!("F{sender}\0")));
    }
    me.office.write("q.code", "31");
    let output = me.delivered(Some("f"));
    assert_eq!(output.code(), 100);
    assert_eq!(
        output.err_text(),
        "Unable to forward message: mail server permanently rejected message (#5.3.0).\n"
    );
}

#[test]
fn exit_codes_of_programs_mean_what_they_meant() {
    let me = Recipient::new("local-codes");
    for (code, want, next) in [
        (0, 0, true),
        (99, 0, false),
        (100, 100, false),
        (64, 100, false),
        (65, 100, false),
        (70, 100, false),
        (76, 100, false),
        (77, 100, false),
        (78, 100, false),
        (112, 100, false),
        (1, 111, false),
        (71, 111, false),
        (111, 111, false),
        (127, 111, false),
    ] {
        let _ = std::fs::remove_file(me.home.join("next"));
        me.qmail("-p", &format!("|echo said; exit {code}\n./next\n"));
        let output = me.delivered(Some("p"));
        assert_eq!(output.code(), want, "{code}");
        assert!(output.out_text().starts_with("said\n"), "{code}");
        assert_eq!(me.home.join("next").exists(), next, "{code}");
    }
    me.qmail("-p", "|kill -9 $$\n");
    let output = me.delivered(Some("p"));
    assert_eq!(output.code(), 111);
    assert_eq!(output.err_text(), "Aack, child crashed. (#4.3.0)\n");
}

#[test]
fn a_message_that_was_here_does_not_come_again() {
    let me = Recipient::new("local-loop");
    let long = "x".repeat(100_000);
    for (text, code) in [
        ("Delivered-To: me@h.test\n\n".to_owned(), 100),
        (format!("A: {long}\nDelivered-To: me@h.test\n\n"), 100),
        ("A: b\n\nDelivered-To: me@h.test\n".to_owned(), 0),
        ("Delivered-To: me@h.test ".to_owned(), 0),
        ("Delivered-To: you@h.test\n\n".to_owned(), 0),
    ] {
        me.office.write("message", &text);
        assert_eq!(me.delivered(None).code(), code, "{}", &text[..20]);
    }
}

#[test]
fn eight_words_or_usage() {
    let office = kit::Home::new("local-usage");
    let usage = "qmail-local: usage: qmail-local [ -nN ] user homedir local dash ext domain sender aliasempty\n";
    for words in [
        "",
        "u /tmp l d e h s",
        "u /tmp l d e h s a b",
        "u tmp l d e h s a",
    ] {
        let output = office
            .run("qmail-local")
            .args(words.split_whitespace())
            .output();
        assert_eq!(
            (output.code(), output.err_text().as_str()),
            (100, usage),
            "{words}"
        );
    }
    let output = office.run("qmail-local").arg("-x").output();
    assert_eq!(
        output.err_text(),
        format!("qmail-local: illegal option -- x\n{usage}")
    );
}
