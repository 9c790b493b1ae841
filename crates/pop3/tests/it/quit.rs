//! QUIT: durable before it is acknowledged, and never more than what was deleted, wherever it is cut short.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use kit::program;

use crate::mailbox::{Mailbox, user};

const STRACE: &str = "/usr/bin/strace";

fn filled(name: &str) -> Mailbox {
    let mailbox = Mailbox::new(name);
    for n in 1..=3 {
        mailbox.put(&format!("new/100000000{n}.x.h,S=10"), "0123456789");
        mailbox.put(&format!("cur/100000001{n}.x.h:2,S"), "01234");
    }
    mailbox
}

/// A session that deletes one message in new and two in cur, under strace. `None`: it cannot be done here.
fn traced(mailbox: &Mailbox, options: &[&str], trace: &Path) -> Option<String> {
    if !Path::new(STRACE).exists() {
        return None;
    }
    let mut command = Command::new(STRACE);
    command
        .args(["-f", "-o"])
        .arg(trace)
        .args(options)
        .arg(program("qmail-pop3d"))
        .arg("Maildir")
        .env_clear()
        .current_dir(mailbox.scratch.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .stdout(Stdio::piped());
    if sys::ids::euid() == 0 {
        command.uid(user()).gid(user());
    }
    let mut child = command.spawn().unwrap();
    let lines = b"dele 1\r\ndele 4\r\ndele 6\r\nquit\r\n";
    let _ = child.stdin.take().unwrap().write_all(lines);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.starts_with("+OK ").then_some(said)
}

fn skip(test: &str) {
    eprintln!("SKIPPED (needs strace): {test}");
}

#[test]
fn removals_are_flushed_before_quit_is_answered() {
    let mailbox = filled("pop3-flush");
    let trace = mailbox.scratch.write("trace", "");
    mailbox.give();
    let calls = "trace=unlinkat,unlink,fsync,write,renameat2";
    let Some(said) = traced(&mailbox, &["-e", calls], &trace) else {
        return skip("removals_are_flushed_before_quit_is_answered");
    };
    assert_eq!(said, "+OK \r\n".repeat(5));
    let trace = fs::read_to_string(trace).unwrap();
    let line = |what: &str| {
        let found = trace.lines().enumerate().filter(|(_, l)| l.contains(what));
        found.map(|(n, _)| n).collect::<Vec<_>>()
    };
    let unlinks = line("unlink");
    let flushes = line("fsync(");
    let answer = *line("write(1").last().unwrap();
    assert_eq!((unlinks.len(), flushes.len()), (3, 2), "{trace}");
    assert!(unlinks[2] < flushes[0] && flushes[1] < answer, "{trace}");
    let directories = |lines: &[usize], call: &str| {
        let all: Vec<&str> = trace.lines().collect();
        let number = |n: &usize| {
            let (_, rest) = all[*n].split_once(call).unwrap();
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
            digits.unwrap().to_owned()
        };
        lines
            .iter()
            .map(number)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        directories(&unlinks, "unlinkat("),
        directories(&flushes, "fsync("),
        "{trace}"
    );
}

#[test]
fn killed_at_any_call_of_quit_nothing_else_is_lost() {
    let test = "killed_at_any_call_of_quit_nothing_else_is_lost";
    for call in ["unlinkat", "fsync", "renameat2", "write"] {
        for when in 1..=8 {
            let mailbox = filled("pop3-kill");
            mailbox.scratch.write("Maildir/maildirsize", "100S\n45 6\n");
            let trace = mailbox.scratch.write("trace", "");
            mailbox.give();
            let fault = format!("inject={call}:signal=KILL:when={when}");
            let Some(said) = traced(&mailbox, &["-e", &fault], &trace) else {
                if call == "write" && when == 1 {
                    // Not even greeted.
                    continue;
                }
                return skip(test);
            };
            let acknowledged = said == "+OK \r\n".repeat(5);
            let names: Vec<String> = [mailbox.list("new"), mailbox.list("cur")].concat();
            let has = |base: &str| names.iter().filter(|n| n.starts_with(base)).count();
            for kept in ["1000000002", "1000000003", "1000000012"] {
                assert_eq!(has(kept), 1, "{call} {when}: {names:?}");
            }
            for gone in ["1000000001", "1000000011", "1000000013"] {
                assert!(has(gone) <= 1);
                assert!(!acknowledged || has(gone) == 0, "{call} {when}: {names:?}");
            }
            // The next session goes on from there.
            let left = names.len();
            assert!(mailbox.replies("stat")[0].starts_with(&format!("+OK {left} ")));
        }
    }
}

#[test]
fn without_quit_nothing_goes() {
    let mailbox = filled("pop3-noquit");
    let before = [mailbox.list("new"), mailbox.list("cur")];
    for end in ["", "qui", "frob", "quit\0", "rset|dele 9"] {
        mailbox.say(&format!("dele 1|dele 2|{end}"));
        assert_eq!([mailbox.list("new"), mailbox.list("cur")], before, "{end}");
    }
    mailbox.say("dele 1|rset|dele 2|quit");
    assert_eq!(mailbox.list("cur").len(), 5);
    assert_eq!(mailbox.replies("uidl 1"), ["+OK 1 1000000001.x.h,S=10"]);
}

#[test]
fn the_sums_of_a_quota_are_kept() {
    let mailbox = filled("pop3-quota");
    mailbox.say("dele 1|quit");
    assert!(!mailbox.path("maildirsize").exists(), "none is made");
    mailbox
        .scratch
        .write("Maildir/maildirsize", "1000000S,100C\n45 6\n");
    mailbox.give();
    mailbox.say("noop|quit");
    mailbox.say("dele 1|dele 3|dele 5|dele 5|quit");
    let text = fs::read_to_string(mailbox.path("maildirsize")).unwrap();
    // One of 10 bytes by its name, two of 5 by their files.
    assert_eq!(text, "1000000S,100C\n45 6\n-20 -3\n");
}
