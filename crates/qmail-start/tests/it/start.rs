//! qmail-start: who runs as whom, with which descriptors.

use std::fs;

use kit::Home;

/// Daemons that say who they are, and send something round: send writes a line to each, which they answer.
fn fake_daemons(home: &Home) {
    let says = |name: &str| {
        format!(
            "cd \"$OUT\"; {{ echo \"args $*\"; id -u; id -g; id -G; umask; pwd -P; test -e /proc/$$/fd/9 && echo 9; }} >{name}.tmp; \
             mv {name}.tmp {name}"
        )
    };
    for (name, id) in [
        ("qmail-lspawn", "l"),
        ("qmail-rspawn", "r"),
        ("qmail-clean", "c"),
    ] {
        home.fake(
            name,
            &format!(
                "({})\nread order; echo \"{id} $order\"; echo {id}-complains >&2",
                says(name)
            ),
        );
    }
    home.fake(
        "qmail-send",
        &format!(
            "({})\n\
             echo one >&1; read a <&2; echo two >&3; read b <&4; echo three >&5; read c <&6\n\
             echo \"log $a $b $c\" >&0",
            says("qmail-send")
        ),
    );
}

fn says(home: &Home, name: &str) -> Vec<String> {
    let mut text = String::new();
    kit::eventually(name, || {
        fs::read_to_string(home.join("out").join(name)).is_ok_and(|t| {
            text = t;
            true
        })
    });
    text.lines().map(str::to_owned).collect()
}

fn out(home: &Home) -> String {
    let out = home.join("out");
    fs::create_dir_all(&out).unwrap();
    fs::set_permissions(&out, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    out.display().to_string()
}

/// Ids for a tester who is root: single-uid mode is for others.
fn as_user(home: &Home, run: kit::Run) -> kit::Run {
    if sys::ids::euid() != 0 {
        return run;
    }
    for place in ["", "queue", "out"] {
        std::os::unix::fs::chown(home.join(place), Some(54_321), Some(54_321)).unwrap();
    }
    run.ids(54_321, 54_321)
}

#[test]
fn without_root_one_user_runs_everything() {
    let home = Home::new("start-single");
    let place = out(&home);
    fake_daemons(&home);
    let run = home.run("qmail-start").arg("./Maildir/").env("OUT", &place);
    let output = as_user(&home, run).output();
    assert_eq!(output.code(), 0, "{}", output.err_text());
    let log = output.out_text();
    let (warning, rest) = log.split_once('\n').unwrap();
    assert!(
        warning.starts_with("qmail-start: warning: not started by root"),
        "{log}"
    );
    assert!(rest.contains("log l one r two c three\n"), "{log}");
    let lspawn = says(&home, "qmail-lspawn");
    assert_eq!(lspawn[0], "args ./Maildir/");
    for name in ["qmail-rspawn", "qmail-clean", "qmail-send"] {
        let said = says(&home, name);
        assert_eq!(said[0], "args ");
        assert_eq!(said[1], lspawn[1]);
        assert_eq!(said[4], "0077");
    }
    // What daemons say on descriptor 2 is in the log.
    kit::eventually("complaints", || log.contains("-complains"));
}

#[test]
fn the_logger_gets_the_log() {
    let home = Home::new("start-logger");
    let place = out(&home);
    fake_daemons(&home);
    home.fake("my-logger", "pwd -P; echo \"$1\"; cat");
    let run = home
        .run("qmail-start")
        .args(["./Mailbox", "my-logger", "word"])
        .env("OUT", &place);
    let output = as_user(&home, run).output();
    assert_eq!(output.code(), 0, "{}", output.err_text());
    let log = output.out_text();
    assert!(log.starts_with("/\nword\nqmail-start: warning: "), "{log}");
    assert!(log.contains("log l one r two c three\n"), "{log}");
}

#[test]
fn programs_come_from_home_and_not_from_the_path() {
    let home = Home::new("start-path");
    let place = out(&home);
    fake_daemons(&home);
    let run = home
        .run("qmail-start")
        .env("OUT", &place)
        .env("PATH", "/usr/bin:/bin");
    assert_eq!(as_user(&home, run).output().code(), 0);
    assert_eq!(says(&home, "qmail-lspawn")[0], "args ./Mailbox");

    for gone in ["qmail-send", "qmail-clean", "qmail-lspawn"] {
        fs::remove_file(home.join("bin").join(gone)).unwrap();
        let output = as_user(&home, home.run("qmail-start").env("OUT", &place)).output();
        assert_eq!(output.code(), 111);
        assert_eq!(
            output.err_text(),
            format!("qmail-start: fatal: unable to run bin/{gone}: file does not exist\n")
        );
    }
}

#[test]
fn trouble_is_told() {
    let home = Home::new("start-trouble");
    let place = out(&home);
    fake_daemons(&home);
    let output = as_user(
        &home,
        home.run("qmail-start")
            .args(["./Mailbox", "no-such-logger"]),
    )
    .output();
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "qmail-start: fatal: unable to run no-such-logger: file does not exist\n"
    );
    let run = home
        .run("qmail-start")
        .env("OUT", &place)
        .env("QMAILHOME", "/no/such/home");
    let output = as_user(&home, run).output();
    assert_eq!(output.code(), 111);
    assert!(
        output
            .err_text()
            .contains("home of qmail: file does not exist")
    );
}

#[test]
fn with_root_each_daemon_has_its_own_user() {
    let test = "with_root_each_daemon_has_its_own_user";
    if !kit::is_root(test) {
        return;
    }
    let Ok(owners) = control::Owners::find() else {
        eprintln!("SKIPPED (needs the users of qmail): {test}");
        return;
    };
    let home = Home::new("start-root");
    let place = out(&home);
    fake_daemons(&home);
    home.fake("my-logger", "id -u; id -g; id -G; cat");
    let output = home
        .run("qmail-start")
        .args(["./Mailbox", "my-logger"])
        .env("OUT", &place)
        .input(9, "not for daemons")
        .output();
    assert_eq!(output.code(), 0, "{}", output.err_text());
    let (l, n) = (owners.qmaill, owners.nofiles);
    let log = output.out_text();
    assert!(log.starts_with(&format!("{l}\n{n}\n{n}\n")), "{log}");
    assert!(!log.contains("warning"));
    for (name, uid) in [
        ("qmail-lspawn", 0),
        ("qmail-rspawn", owners.qmailr),
        ("qmail-clean", owners.qmailq),
        ("qmail-send", owners.qmails),
    ] {
        let said = says(&home, name);
        let ids = [
            uid.to_string(),
            owners.qmail.to_string(),
            owners.qmail.to_string(),
        ];
        assert_eq!(said[1..4], ids, "{name}");
        // qmail-send alone keeps what its caller gave (9).
        assert_eq!(said.len() == 7, name == "qmail-send", "{name}: {said:?}");
    }
}
