//! Black-box tests of the checkers and managers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test ends by a panic"
)]

mod apop;
mod descriptor;
mod dovecot;
mod poppasswd;
mod system;
mod virtual_users;
mod vpopmail;

use std::path::Path;

use kit::{Home, Output, Run};

/// What the checkers of these tests become: it tells who it is and where.
const TELLS: [&str; 3] = [
    "/bin/sh",
    "-c",
    "echo $USER:$HOME:$SHELL:$(id -u):$(pwd):$EXT:$DASH",
];

/// Somebody who is neither root nor the owner of these tests.
const UID: u32 = 65_534;

/// The uid that owns mail in these tests, and may be become.
fn owner() -> u32 {
    if sys::ids::euid() == 0 {
        UID
    } else {
        sys::ids::euid()
    }
}

fn owner_gid() -> u32 {
    if sys::ids::euid() == 0 {
        UID
    } else {
        sys::ids::gid()
    }
}

/// Gives everything below `path` to the owner of mail.
fn give(path: &Path) {
    let _ = std::os::unix::fs::lchown(path, Some(owner()), Some(owner_gid()));
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A home with the domain virtual.test in `dir`, and the user tim at home in `tim`.
fn home(name: &str) -> Home {
    let home = Home::new(name);
    home.control("virtualdomains", "virtual.test:virtual.test\n");
    for dir in ["dir", "tim"] {
        std::fs::create_dir(home.join(dir)).unwrap();
        give(&home.join(dir));
    }
    let user = |name: &str, dir: &str, dash: &str| {
        let dir = home.join(dir);
        let dir = dir.to_str().unwrap();
        format!("{name}\0{}\0{}\0{dir}\0{dash}\0", owner(), owner_gid())
    };
    let records = [
        (b"".to_vec(), b"-".to_vec()),
        (
            b"!virtual.test-".to_vec(),
            user("virtual", "dir", "-").into_bytes(),
        ),
        (b"!tim\0".to_vec(), user("tim", "tim", "").into_bytes()),
        (b"!tim-".to_vec(), user("tim", "tim", "-").into_bytes()),
        (
            b"!root\0".to_vec(),
            format!("root\x000\x000\0{}\0\0", home.join("dir").display()).into_bytes(),
        ),
    ];
    let path = home.join("users/cdb");
    control::table::make(&path, &home.join("users/tmp"), 0o644, records).unwrap();
    home
}

/// Runs a checker with three strings on descriptor 3.
fn ask(home: &Home, checker: &str, strings: &[&str]) -> Output {
    let text = strings.join("\0") + "\0";
    ask_bytes(home, checker, text.as_bytes())
}

fn ask_bytes(home: &Home, checker: &str, text: &[u8]) -> Output {
    home.run(checker).args(TELLS).input(3, text).output()
}

/// Runs a manager in `dir` with a password to read.
fn manage(home: &Home, program: &str, dir: &str, args: &[&str], password: &str) -> Output {
    let mut run: Run = home
        .run(program)
        .args(args)
        .dir(home.join(dir))
        .stdin(format!("{password}\n"));
    if sys::ids::euid() == 0 {
        run = run.ids(owner(), owner_gid());
    }
    run.env("HOME", home.join(dir).to_str().unwrap()).output()
}
