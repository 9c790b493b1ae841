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
