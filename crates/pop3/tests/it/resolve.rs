//! Which maildir: the argument, or what the controlling .qmail file names.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::mailbox::Mailbox;

/// A home with a maildir for each of three addresses, each with one message of another size.
fn home(name: &str) -> Mailbox {
    let mailbox = Mailbox::new(name);
    for (dir, size) in [("lists", 1), ("ext", 2), ("rest", 3)] {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(mailbox.scratch.join(dir).join(part)).unwrap();
        }
        let file = format!("{dir}/new/1000000001.x.h,S={size}");
        mailbox.scratch.write(&file, "");
    }
    mailbox.put("new/1000000001.x.h,S=9", "");
    let scratch = &mailbox.scratch;
    scratch.write(
        ".qmail-ext",
        "# comment\n|program ./x/\n&a@b\n./mbox\n./ext/ \n./lists/\n",
    );
    scratch.write(".qmail-a:b-default", "./lists/\n");
    scratch.write(".qmail-default", "./rest/\n");
    scratch.write(".qmail-forward", "&joe@example.org\n");
    scratch.write(".qmail-empty", "");
    mailbox.give();
    mailbox
}

fn stat(mailbox: &Mailbox, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let run = mailbox.run().args(arguments).stdin("stat\r\n");
    let run = variables.iter().fold(run, |run, (n, v)| run.env(n, v));
    let output = run.output();
    assert_eq!((output.code(), output.err_text()), (0, String::new()));
    output.out_text().lines().last().unwrap_or("").to_owned()
}

#[test]
fn the_first_maildir_line_of_the_controlling_file_counts() {
    let mailbox = home("pop3-dotqmail");
    const NONE: &str = "-ERR this user has no $HOME/Maildir";
    for (variables, want) in [
        (&[][..], "+OK 1 9"),
        (&[("EXT", "ext")], "+OK 1 2"),
        (&[("EXT", "EXT")], "+OK 1 2"),
        (&[("EXT", "A.b-c")], "+OK 1 1"),
        (&[("EXT", "other")], "+OK 1 3"),
        (&[("EXT", "../../etc")], "+OK 1 3"),
        (&[("EXT", "forward")], NONE),
        (&[("EXT", "empty")], "+OK 1 9"),
        (&[("EXT", "ext"), ("DASH", "=")], NONE),
    ] {
        assert_eq!(stat(&mailbox, &[], variables), want, "{variables:?}");
        let all = [variables, &[("POP3DOTQMAIL", "")]].concat();
        assert_eq!(stat(&mailbox, &["Maildir"], &all), want, "{variables:?}");
        assert_eq!(stat(&mailbox, &["Maildir"], variables), "+OK 1 9");
    }
    mailbox.scratch.write(".qmail", "./lists/\n");
    assert_eq!(stat(&mailbox, &[], &[]), "+OK 1 1");
    fs::set_permissions(
        mailbox.scratch.join(".qmail"),
        fs::Permissions::from_mode(0o666),
    )
    .unwrap();
    assert_eq!(
        stat(&mailbox, &[], &[]),
        "-ERR [SYS/TEMP] unable to read .qmail"
    );
}

#[test]
fn root_is_refused() {
    if !kit::is_root("root_is_refused") {
        return;
    }
    let output = kit::Run::new(kit::program("qmail-pop3d"))
        .arg("Maildir")
        .output();
    assert_eq!(output.code(), 1);
    assert_eq!(
        output.err_text(),
        "qmail-pop3d invoked as uid 0, terminating\n"
    );
}
