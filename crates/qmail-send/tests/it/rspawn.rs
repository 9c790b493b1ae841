//! qmail-rspawn.

use std::fs;

use kit::Home;

/// A home with message 24 and a qmail-remote of our own.
fn home(script: &str) -> Home {
    let home = Home::new("rspawn");
    home.write("queue/mess/1/24", "Subject: x\n\nbody\n");
    if sys::ids::euid() == 0
        && let Ok(owners) = control::Owners::find()
    {
        let path = home.join("queue/mess/1/24");
        std::os::unix::fs::chown(path, Some(owners.qmailq), None).unwrap();
    }
    home.fake("qmail-remote", script);
    home
}

/// The greeting taken off, each report as a line of its own: slot, text.
fn reports(home: &Home, orders: &[u8]) -> Vec<(u8, String)> {
    let output = home.run("qmail-rspawn").stdin(orders).output();
    assert_eq!(output.code(), 0);
    assert_eq!(output.out[0], 120);
    let mut rest = &output.out[1..];
    let mut found = Vec::new();
    while let Some((slot, more)) = rest.split_first() {
        let end = more.iter().position(|&b| b == 0).unwrap();
        found.push((*slot, String::from_utf8(more[..end].to_vec()).unwrap()));
        rest = &more[end + 1..];
    }
    found.sort();
    found
}

#[test]
fn qmail_remote_gets_host_sender_recipient_and_the_message() {
    let home = home(
        r#"printf 'r%s|%s|%s|%s|' "$#" "$1" "$2" "$3"; tr '\n' '/'; printf err >&2; printf '\0Kfine\0'"#,
    );
    assert_eq!(
        reports(&home, b"\x051/24\0s@a\0x@y@b.test\0"),
        [(
            5,
            "K3|b.test|s@a|x@y@b.test|Subject: x//body/errfine".to_owned()
        )]
    );
}

#[test]
fn several_run_at_a_time_and_each_has_its_own_place_in_the_message() {
    // Each goes on when all have begun, and has read its own place by then.
    let home = home(
        r#"read -r first; begun=${0%/*}/../begun; echo >>"$begun"; n=0
           until [ "$(wc -l <"$begun")" -ge 20 ]; do
             n=$((n+1)); [ $n -lt 1000 ] || first=alone; [ $n -lt 1000 ] || break; sleep 0.05
           done; printf 'r%s\0K\0' "$first""#,
    );
    let mut orders = Vec::new();
    for slot in 0..20 {
        orders.extend([slot]);
        orders.extend(b"1/24\0s\0a@b\0");
    }
    let found = reports(&home, &orders);
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|(_, t)| t == "KSubject: x"), "{found:?}");
}

#[test]
fn bad_orders_are_answered_and_do_no_harm() {
    let home = home("exit 0");
    fs::create_dir(home.join("queue/mess/1/47")).unwrap();
    let long = [b"\x01".as_slice(), &[b'1'; 100], b"\0s\0a@b\0"].concat();
    for (order, text) in [
        (
            &b"\x011/24\0s\0a@b\0"[..],
            "Zqmail-remote produced no output.\n",
        ),
        (
            b"\x011/24\0s\0nohost\0",
            "DSorry, address must include host name. (#5.1.3)\n",
        ),
        (
            b"\x011/99\0s\0a@b\0",
            "Zqmail-spawn unable to open message. (#4.3.0)\n",
        ),
        (
            b"\x011/47\0s\0a@b\0",
            "ZSorry, message has wrong type. (#4.3.5)\n",
        ),
        (
            b"\x01\0s\0a@b\0",
            "DInternal error: messid too short. (#5.3.5)\n",
        ),
        (
            b"\x01../24\0s\0a@b\0",
            "DInternal error: messid has nonnumerics. (#5.3.5)\n",
        ),
        (
            b"\x01/1/24\0s\0a@b\0",
            "DInternal error: messid has nonnumerics. (#5.3.5)\n",
        ),
        (&long, "DInternal error: messid too long. (#5.3.5)\n"),
        (
            b"\x781/24\0s\0a@b\0",
            "ZInternal error: delnum too big. (#4.3.5)\n",
        ),
    ] {
        assert_eq!(reports(&home, order)[0].1, text, "{order:?}");
    }
    assert!(reports(&home, b"\x011/24\0s\0a@").is_empty());
}

#[test]
fn a_message_of_somebody_else_is_not_sent() {
    if !kit::is_root("a_message_of_somebody_else_is_not_sent") {
        return;
    }
    let home = home("printf 'r\\0K\\0'");
    std::os::unix::fs::chown(home.join("queue/mess/1/24"), Some(65_534), None).unwrap();
    assert_eq!(
        reports(&home, b"\x011/24\0s\0a@b\0")[0].1,
        "ZSorry, message has wrong owner. (#4.3.5)\n"
    );
}

#[test]
fn ends_of_qmail_remote() {
    for (script, text) in [
        ("kill -9 $$", "Zqmail-remote crashed.\n"),
        ("exit 111", "ZUnable to run qmail-remote.\n"),
        ("exit 7", "DUnable to run qmail-remote.\n"),
        ("printf 'hno\\0Kx\\0'", "Dno"),
        ("printf 'slater\\0Dx\\0'", "Zlaterx"),
        ("yes | head -c 100000; printf '\\0Kx\\0'", "Z"),
    ] {
        let home = home(script);
        assert_eq!(reports(&home, b"\x011/24\0s\0a@b\0")[0].1, text, "{script}");
    }
    let home = home("");
    fs::remove_file(home.join("bin/qmail-remote")).unwrap();
    let lost = home
        .run("qmail-rspawn")
        .env("PATH", "/nowhere")
        .stdin(b"\x011/24\0s\0a@b\0")
        .output();
    assert_eq!(&lost.out[1..], b"\x01DUnable to run qmail-remote.\n\0");
    let other = home.script("other", "printf 'rother\\0K\\0'");
    let other = home
        .run("qmail-rspawn")
        .env("QMAILREMOTE", other.to_str().unwrap())
        .stdin(b"\x011/24\0s\0a@b\0")
        .output();
    assert_eq!(&other.out[1..], b"\x01Kother\0");
}

#[test]
fn without_a_queue_it_says_nothing() {
    let home = home("");
    fs::rename(home.join("queue"), home.join("gone")).unwrap();
    let output = home.run("qmail-rspawn").output();
    assert_eq!(
        (output.code(), output.out.len(), output.err.len()),
        (111, 0, 0)
    );
}

#[test]
fn the_table_of_timeouts_is_cleared() {
    let home = home("");
    fs::write(home.join("queue/lock/tcpto"), [7u8; 1024]).unwrap();
    assert!(reports(&home, b"").is_empty());
    let table = fs::read(home.join("queue/lock/tcpto")).unwrap();
    assert!(table.iter().take(1024).all(|&b| b == 0));
}
