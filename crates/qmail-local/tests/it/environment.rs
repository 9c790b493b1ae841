//! What programs are told, and that a stranger's words stay words.

use std::collections::BTreeMap;

use crate::recipient::Recipient;

fn variables(me: &Recipient, ext: Option<&str>) -> BTreeMap<String, String> {
    let output = me.delivered(ext);
    assert_eq!(output.code(), 0, "{}", output.err_text());
    me.read("env")
        .split('\0')
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn programs_know_the_delivery() {
    let me = Recipient::new("local-env");
    me.qmail("-a-default", "|env -0 >env; pwd >where; umask >>where\n");
    let all = variables(&me, Some("A-b-C"));
    for (name, value) in [
        ("SENDER", "s@x.test"),
        ("NEWSENDER", "s@x.test"),
        ("RECIPIENT", "me-A-b-C@h.test"),
        ("USER", "me"),
        ("HOST", "h.test"),
        ("HOST2", "h"),
        ("HOST3", "h"),
        ("LOCAL", "me-A-b-C"),
        ("EXT", "A-b-C"),
        ("EXT2", "b-C"),
        ("EXT3", "C"),
        ("EXT4", ""),
        ("DEFAULT", "b-C"),
        ("DTLINE", "Delivered-To: me-A-b-C@h.test\n"),
        ("RPLINE", "Return-Path: <s@x.test>\n"),
        ("HOME", me.home.to_str().unwrap()),
    ] {
        assert_eq!(all.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(all["UFLINE"].starts_with("From s@x.test "));
    assert_eq!(me.read("where"), format!("{}\n0077\n", me.home.display()));
}

#[test]
fn no_stranger_reaches_the_shell() {
    let mut me = Recipient::new("local-shellshock");
    // A shell that imports functions runs them here, if there are any.
    me.qmail("-default", "|env -0 >env; bash -c : || :\n");
    for evil in [
        "() { :;}; touch canary",
        "() { :;}; touch canary\n() { :;}; touch canary",
        "$(touch canary)@`touch canary`",
        "'; touch canary; '\"; touch canary; \"",
        "() { :;}; touch canary-() { :;}; touch canary@() { :;}; touch canary",
    ] {
        evil.clone_into(&mut me.sender);
        let all = variables(&me, Some(evil));
        assert!(!me.home.join("canary").exists(), "{evil}");
        for (name, value) in all {
            assert!(!value.starts_with("()"), "{name}={value}");
            let value = value.strip_suffix('\n').unwrap_or(&value);
            assert!(!value.contains('\n'), "{name}={value}");
        }
    }
}

#[test]
fn a_program_may_ignore_the_message() {
    let me = Recipient::new("local-pipe");
    me.office.write("message", "x\n".repeat(500_000));
    // SIGPIPE has its default action again: head ends the writer quietly.
    me.qmail("-p", "|yes | head -1 >/dev/null; exit 0\n|true\n");
    let output = me.delivered(Some("p"));
    assert_eq!((output.code(), output.err_text().as_str()), (0, ""));
}
