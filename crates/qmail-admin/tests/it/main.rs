//! The programs of this room, black box.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends by a panic"
)]

mod config_fast;
mod queue;
mod showctl;
mod splogger;
mod tables;

use std::os::unix::fs::symlink;

use kit::{Home, Output, program};

/// Runs one of ours with this home and no arguments.
fn run(home: &Home, name: &str) -> Output {
    home.run(name).output()
}

/// Replaces a file or directory of the home by a symbolic link to itself: nobody can read that, not even root.
fn make_unreadable(home: &Home, name: &str) {
    let path = home.join(name);
    let _ = std::fs::remove_file(&path);
    symlink(&path, &path).unwrap();
}

#[test]
fn every_program_wants_its_home() {
    for name in [
        "qmail-newmrh",
        "qmail-newu",
        "qmail-qread",
        "qmail-showctl",
        "qmail-tcpok",
        "qmail-tcpto",
    ] {
        let output = kit::Run::new(program(name))
            .env("QMAILHOME", "/nonexistent/qmail")
            .output();
        assert_eq!(output.code(), 111, "{name}");
        let said = format!("{}{}", output.out_text(), output.err_text());
        assert!(said.contains("chdir"), "{name}: {said}");
    }
}

#[test]
fn a_closed_output_is_an_error_and_not_a_crash() {
    let home = Home::new("admin-closed");
    for name in ["qmail-qread", "qmail-qstat", "qmail-showctl", "qmail-tcpto"] {
        let output = home.run(name).closed(1).output();
        assert_eq!(output.code(), 111, "{name}");
        assert_eq!(
            output.err_text(),
            format!("{name}: fatal: unable to write output: file descriptor not open\n")
        );
    }
}
