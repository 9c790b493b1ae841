//! forward, condredirect, bouncesaying, except and preline as .qmail files call them.

use crate::recipient::Recipient;

/// Delivers through one program line; what the queue got stands in the envelope.
fn through(me: &Recipient, line: &str) -> (u8, String, Option<String>) {
    let envelope = me.office.join("q.envelope");
    let _ = std::fs::remove_file(&envelope);
    me.qmail("-p", &format!("|{line}\n|echo next\n"));
    let output = me.delivered(Some("p"));
    (
        output.code(),
        output.out_text() + &output.err_text(),
        std::fs::read_to_string(envelope).ok(),
    )
}

#[test]
fn forward_sends_on_with_the_new_sender() {
    let me = Recipient::new("helper-forward");
    me.qmail("-p-owner", "");
    let (code, said, sent) = through(&me, "forward a@b 'c d@e'");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("forward: qp "), "{said}");
    assert_eq!(sent.unwrap(), "Fme-p-owner@h.test\0Ta@b\0Tc d@e\0\0");
    assert_eq!(
        std::fs::read(me.office.join("q.message")).unwrap(),
        b"Delivered-To: me-p@h.test\nSubject: x\n\nbody\n"
    );
    me.office.write("q.code", "53");
    assert_eq!(through(&me, "forward a@b").0, 111);
    me.office.write("q.code", "31");
    assert_eq!(through(&me, "forward a@b").0, 100);
}

#[test]
fn condredirect_ends_the_file_when_it_redirects() {
    let me = Recipient::new("helper-condredirect");
    let (code, said, sent) = through(&me, "condredirect a@b grep -q ^Subject");
    assert_eq!(code, 0);
    assert!(!said.contains("next"), "{said}");
    assert_eq!(sent.unwrap(), "Fs@x.test\0Ta@b\0\0");
    let (code, said, sent) = through(&me, "condredirect a@b false");
    assert_eq!((code, sent), (0, None));
    assert!(said.contains("next"), "{said}");
    assert_eq!(through(&me, "condredirect a@b sh -c 'exit 111'").0, 111);
    assert_eq!(through(&me, "condredirect a@b").0, 100);
}

#[test]
fn bouncesaying_and_except_turn_answers_into_bounces() {
    let me = Recipient::new("helper-bouncesaying");
    let (code, said, _) = through(&me, "bouncesaying 'go away'");
    assert_eq!((code, said.as_str()), (100, "go away\n"));
    assert_eq!(through(&me, "bouncesaying no true").0, 100);
    assert_eq!(through(&me, "bouncesaying no false").0, 0);
    assert_eq!(through(&me, "bouncesaying no sh -c 'exit 111'").0, 111);
    assert_eq!(through(&me, "bouncesaying no sh -c 'kill -9 $$'").0, 111);
    assert_eq!(through(&me, "bouncesaying no ./nosuch").0, 0);
    assert_eq!(through(&me, "except true").0, 100);
    assert_eq!(through(&me, "except false").0, 0);
    assert_eq!(through(&me, "except sh -c 'exit 111'").0, 111);
    assert_eq!(through(&me, "except").0, 100);
}

#[test]
fn preline_puts_the_lines_in_front() {
    let me = Recipient::new("helper-preline");
    let (code, said, _) = through(&me, "preline cat");
    assert_eq!(code, 0);
    assert!(said.starts_with("From s@x.test "), "{said}");
    assert!(
        said.contains(
            "\nReturn-Path: <s@x.test>\nDelivered-To: me-p@h.test\nSubject: x\n\nbody\nnext\n"
        ),
        "{said}"
    );
    let (_, said, _) = through(&me, "preline -fd cat");
    assert!(
        said.starts_with("Return-Path: <s@x.test>\nSubject: x\n"),
        "{said}"
    );
    assert_eq!(through(&me, "preline sh -c 'exit 7'").0, 111);
    assert_eq!(through(&me, "preline ./nosuch").0, 100);
    // A program that does not read a message larger than a pipe is left in peace.
    me.office.write("message", "x\n".repeat(500_000));
    assert_eq!(through(&me, "preline true").0, 0);
}
