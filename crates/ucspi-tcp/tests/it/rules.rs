//! tcprules and tcprulescheck.

use kit::{Output, Run, Scratch, program};

use crate::server::rules;

fn compile(scratch: &Scratch, text: impl AsRef<[u8]>) -> Output {
    Run::new(program("tcprules"))
        .args(["r.cdb", "r.tmp"])
        .dir(scratch.path())
        .stdin(text)
        .output()
}

fn check(scratch: &Scratch, table: &str, variables: &[(&str, &str)]) -> String {
    let run = Run::new(program("tcprulescheck"))
        .arg(table)
        .dir(scratch.path());
    let run = variables
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let done = run.output();
    assert_eq!(done.code(), 0, "{}", done.err_text());
    done.out_text()
}

const STEPS: [&str; 8] = [
    "u@1.2.3.4",
    "u@=h.a.test",
    "1.2.3.4",
    "=h.a.test",
    "1.2.",
    "=.test",
    "=",
    "",
];

#[test]
fn the_eight_steps_first_hit_wins() {
    let scratch = Scratch::new("steps");
    let client = [
        ("TCPREMOTEIP", "1.2.3.4"),
        ("TCPREMOTEHOST", "h.a.test"),
        ("TCPREMOTEINFO", "u"),
    ];
    for first in 0..STEPS.len() {
        // Written backwards: the order in the file does not matter.
        let line = |key: &&str| format!("{key}:allow,KEY=\"{key}\"\n");
        let lines: Vec<String> = STEPS[first..].iter().rev().map(line).collect();
        rules(&scratch, "steps.cdb", &lines.concat());
        let key = STEPS[first];
        assert_eq!(
            check(&scratch, "steps.cdb", &client),
            format!("rule {key}:\nset environment variable KEY={key}\nallow connection\n")
        );
    }
    rules(&scratch, "steps.cdb", "");
    assert_eq!(
        check(&scratch, "steps.cdb", &client),
        "default:\nallow connection\n"
    );
}

#[test]
fn the_first_of_two_lines_wins() {
    let scratch = Scratch::new("first");
    rules(&scratch, "r.cdb", "1.:deny\n1.:allow\n");
    assert_eq!(
        check(&scratch, "r.cdb", &[("TCPREMOTEIP", "1.1.1.1")]),
        "rule 1.:\ndeny connection\n"
    );
    assert_eq!(
        check(&scratch, "r.cdb", &[]),
        "default:\nallow connection\n"
    );
}

#[test]
fn a_bad_line_ends_at_once_and_keeps_the_old_table() {
    let scratch = Scratch::new("bad");
    rules(&scratch, "r.cdb", ":deny\n");
    let before = scratch.read("r.cdb");
    for line in [
        "1.2.3.4:frob",
        "1.2.3.4:ALLOW",
        "::1",
        "1.2.3.4:allow,X",
        "1.2.3.4:allow,X=\"y",
        "1.2.3.4:deny\r",
    ] {
        let done = compile(&scratch, format!("2.:allow\n{line}\n3.:allow\n"));
        let want = format!("tcprules: fatal: unable to parse this line: {line}\n");
        assert_eq!((done.code(), done.err_text()), (100, want));
        assert_eq!(scratch.read("r.cdb"), before);
    }
}

#[test]
fn a_line_without_a_colon_is_skipped() {
    let scratch = Scratch::new("colonless");
    for text in [
        "1.2.3.4\n:deny\n",
        "  \n:deny",
        "  # x\n#:allow\n\n:deny \t\n",
    ] {
        assert_eq!(compile(&scratch, text).code(), 0);
        let got = check(&scratch, "r.cdb", &[("TCPREMOTEIP", "1.2.3.4")]);
        assert_eq!(got, "rule :\ndeny connection\n");
    }
}

#[test]
fn a_line_has_a_limit() {
    let scratch = Scratch::new("long");
    let done = compile(&scratch, vec![b'x'; (1 << 20) + 1]);
    assert_eq!(done.code(), 100);
}

#[test]
fn a_damaged_table_is_no_answer() {
    let scratch = Scratch::new("damaged");
    scratch.write("zero", "");
    scratch.write("broken", vec![b'x'; 4096]);
    for (table, why) in [
        ("nosuch", "file does not exist"),
        ("zero", "invalid argument"),
        ("broken", "protocol error"),
    ] {
        let done = Run::new(program("tcprulescheck"))
            .arg(table)
            .dir(scratch.path())
            .output();
        let want = format!("tcprulescheck: fatal: unable to read {table}: {why}\n");
        assert_eq!((done.code(), done.err_text()), (111, want));
    }
}

#[test]
fn misuse() {
    for (name, usage) in [
        ("tcprules", "rules.cdb rules.tmp"),
        ("tcprulescheck", "rules.cdb"),
    ] {
        let done = Run::new(program(name)).output();
        let want = format!("{name}: usage: {name} {usage}\n");
        assert_eq!((done.code(), done.err_text()), (100, want));
    }
}

/// What tcprulescheck says with `--both-rules`.
fn check_both(scratch: &Scratch, variables: &[(&str, &str)]) -> String {
    let run = Run::new(program("tcprulescheck"))
        .args(["--both-rules", "r.cdb"])
        .dir(scratch.path());
    let run = variables
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    run.output().out_text()
}

#[test]
fn a_client_is_judged_from_both_sides() {
    let scratch = Scratch::new("bothsides");
    rules(
        &scratch,
        "r.cdb",
        "192.0.2.:allow,A=\"ip\"\n=.bad.test:deny\n=.good.test:allow,A=\"host\",B=\"host\"\n:deny\n",
    );
    let from = |host| [("TCPREMOTEIP", "192.0.2.1"), ("TCPREMOTEHOST", host)];
    let ip = "rule 192.0.2.:\nset environment variable A=ip\n";
    assert_eq!(
        check_both(&scratch, &from("h.good.test")),
        format!("{ip}rule =.good.test:\nset environment variable B=host\nallow connection\n")
    );
    assert_eq!(
        check_both(&scratch, &from("h.bad.test")),
        format!("{ip}rule =.bad.test:\ndeny connection\n")
    );
    let alone = format!("{ip}allow connection\n");
    assert_eq!(check_both(&scratch, &from("h.test")), alone);
    assert_eq!(check(&scratch, "r.cdb", &from("h.bad.test")), alone);
    assert_eq!(check_both(&scratch, &[]), "rule :\ndeny connection\n");
}

#[test]
fn networks_have_rules() {
    let scratch = Scratch::new("networks");
    rules(
        &scratch,
        "r.cdb",
        "192.0.2.64/26:deny\n192.0.2.:allow,A=\"1\"\n2001:db8:8000::/33:deny\n:allow\n",
    );
    for (ip, key, verdict) in [
        ("192.0.2.127", "192.0.2.64/26", "deny"),
        ("192.0.2.128", "192.0.2.", "allow"),
        ("::ffff:192.0.2.64", "192.0.2.64/26", "deny"),
        ("2001:db8:8001::1", "2001:db8:8000::/33", "deny"),
        ("2001:db8:7fff::1", "", "allow"),
    ] {
        let said = check(&scratch, "r.cdb", &[("TCPREMOTEIP", ip)]);
        assert!(said.starts_with(&format!("rule {key}:\n")), "{ip}: {said}");
        assert!(said.ends_with(&format!("{verdict} connection\n")), "{ip}");
    }
    let done = compile(&scratch, "192.0.2.0/33:deny\n");
    assert_eq!(done.code(), 100);
}
