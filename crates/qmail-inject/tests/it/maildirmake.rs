use std::fs;
use std::os::unix::fs::PermissionsExt;

use kit::{Run, Scratch, program};

#[test]
fn makes_a_tree_for_its_owner_only() {
    let scratch = Scratch::new("maildirmake");
    let run = |name: &str| {
        Run::new(program("maildirmake"))
            .dir(scratch.path())
            .arg(name)
            .output()
    };
    assert_eq!(run("m").code(), 0);
    for dir in ["m", "m/tmp", "m/new", "m/cur"] {
        let mode = fs::metadata(scratch.join(dir))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700, "{dir}");
    }
    let again = run("m");
    assert_eq!(again.code(), 111);
    assert_eq!(
        again.err_text(),
        "maildirmake: fatal: unable to mkdir m: file already exists\n"
    );
    let nowhere = run("no/m");
    assert_eq!(nowhere.code(), 111);
    assert_eq!(
        nowhere.err_text(),
        "maildirmake: fatal: unable to mkdir no/m: file does not exist\n"
    );
    assert_eq!(run("-x").code(), 0);
}

#[test]
fn wants_a_name() {
    let output = Run::new(program("maildirmake")).output();
    assert_eq!(output.code(), 100);
    assert_eq!(output.err_text(), "maildirmake: usage: maildirmake name\n");
}

#[test]
fn never_follows_a_dangling_link() {
    let scratch = Scratch::new("maildirmake-link");
    std::os::unix::fs::symlink(scratch.join("elsewhere"), scratch.join("m")).unwrap();
    let output = Run::new(program("maildirmake"))
        .arg(scratch.join("m").to_str().unwrap())
        .output();
    assert_eq!(output.code(), 111);
    assert!(!scratch.join("elsewhere").exists());
}
