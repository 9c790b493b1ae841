//! One queue, two qmails: what the original left, ours finishes, and the other way round.
//!
//! `QMAIL_C_HOME` names the home of an original whose queue is empty and idle; without it there is nothing to compare.

use std::fs;
use std::path::{Path, PathBuf};

use kit::{Run, program};
use sys::process::End;
use sys::signal::Signal;

use crate::office::*;

fn original() -> Option<PathBuf> {
    let home = std::env::var_os("QMAIL_C_HOME").map(PathBuf::from);
    if home.is_none() || sys::ids::euid() != 0 {
        #[allow(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("SKIPPED (needs root and QMAIL_C_HOME): interchange");
        }
        return None;
    }
    home
}

fn inject(queue: PathBuf, home: &Path, recipients: &[&str]) {
    let mut envelope = "Fs@x.test\0".to_owned();
    for r in recipients {
        envelope.push_str(&format!("T{r}\0"));
    }
    envelope.push('\0');
    let output = Run::new(queue)
        .env("QMAILHOME", home.to_str().unwrap())
        .stdin("Subject: x\n\nbody\n")
        .input(1, envelope)
        .output();
    assert_eq!(output.code(), 0);
}

fn count(home: &Path, dir: &str) -> usize {
    let mut dirs = vec![home.join("queue").join(dir)];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            } else {
                files += 1;
            }
        }
    }
    files
}

#[test]
fn both_serve_the_same_queue() {
    let Some(home) = original() else { return };
    let parts = [
        "pid", "mess", "intd", "todo", "info", "local", "remote", "bounce",
    ];
    let is_empty = || parts.iter().all(|p| count(&home, p) == 0);
    assert!(is_empty(), "the queue of the original is in use");
    let theirs = |name: &str| home.join("bin").join(name);
    for (first, second) in [(true, false), (false, true)] {
        let send = |ours: bool| Setup {
            send: if ours {
                program("qmail-send")
            } else {
                theirs("qmail-send")
            },
            clean: if ours {
                program("qmail-clean")
            } else {
                theirs("qmail-clean")
            },
            ..Setup::default()
        };
        let queue = |ours: bool| {
            let built = kit::bin_dir().join("qmail-queue");
            if ours && built.exists() {
                built
            } else {
                theirs("qmail-queue")
            }
        };
        // Queued by one, taken in and half served by the other, finished by the first.
        inject(queue(first), &home, &["a@far.test", "wait@far.test"]);
        let mut office = Office::open_with(&home, send(second), |o| {
            report(if o.recipient.starts_with("wait") {
                "Zno\n"
            } else {
                "Kok\n"
            })
        });
        office.await_log("success: ok/");
        office.await_log("deferral: no/");
        assert_eq!(office.stop(), End::Exit(0));
        inject(queue(first), &home, &["b@far.test"]);
        let mut office = Office::open_with(&home, send(first), |_| report("Kok\n"));
        office.await_count("end msg", 1);
        office.signal(Signal::SIGALRM);
        office.await_count("end msg", 2);
        let mut all = office.recipients();
        all.sort();
        assert_eq!(all, ["b@far.test", "wait@far.test"]);
        assert_eq!(office.stop(), End::Exit(0));
        assert!(is_empty());
    }
}
