use auth::sasl::{apop_digest, cram_digest};

use super::*;

/// A vpopmail with the domain pop.test, whose tables were made by its own programs in the past.
fn vpopmail(name: &str) -> Home {
    let home = Home::new(name);
    let dir = home.join("vpopmail/domains/pop.test");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::create_dir_all(home.join("vpopmail/etc")).unwrap();
    home.write("vpopmail/etc/defaultdomain", "pop.test\n");
    let at = |user: &str| dir.join(user).to_str().unwrap().to_owned();
    // mkpasswd -m md5crypt, -m sha512crypt, -m descrypt of "tanstaaf", as in old and newer tables.
    let users = [
        (
            "tim",
            format!(
                "$1$saltsalt$roN2lUfEbZqZad1NpG.Zy1:1:0:Tim:{}:NOQUOTA:tanstaaf",
                at("tim")
            ),
        ),
        (
            "new",
            format!("{{CRYPT}}{}:1:0:New:{}:NOQUOTA", crypt(), at("new")),
        ),
        ("des", format!("ab/TdqTfG5VbQ:1:0:Old:{}:200S", at("des"))),
        (
            "nopop",
            format!("{}:1:2:x:{}:NOQUOTA:", crypt(), at("nopop")),
        ),
        (
            "nosmtp",
            format!("{}:1:2080:x:{}:NOQUOTA:", crypt(), at("nosmtp")),
        ),
        (
            "bounce",
            format!("{}:1:16:x:{}:NOQUOTA:", crypt(), at("bounce")),
        ),
        ("empty", format!(":1:0:x:{}:NOQUOTA:", at("empty"))),
        ("short", crypt()),
        (
            "rules",
            format!("{}:1:0:x:{}:NOQUOTA:", crypt(), at("rules")),
        ),
    ];
    let path = dir.join("vpasswd.cdb");
    control::table::make(&path, &dir.join("cdb.tmp"), 0o600, users).unwrap();
    give(&home.join("vpopmail"));
    let line = format!(
        "pop.test\0{}\0{}\0{}\0-\0",
        owner(),
        owner_gid(),
        dir.to_str().unwrap()
    );
    let records = [("", "-"), ("!pop.test-", &line), ("!alias.test-", &line)];
    control::table::make(
        &home.join("users/cdb"),
        &home.join("users/tmp"),
        0o644,
        records,
    )
    .unwrap();
    home
}

fn crypt() -> String {
    String::from_utf8(auth::scheme::new_crypt(b"tanstaaf").unwrap()).unwrap()
}

fn vchkpw(home: &Home, port: &str, strings: &[&str]) -> Output {
    let text = strings.join("\0") + "\0";
    let run = home
        .run("vchkpw")
        .env("VPOPMAILHOME", home.join("vpopmail").to_str().unwrap());
    let run = run
        .env("VCHKPWLOG", "y stderr")
        .env("TCPLOCALPORT", port)
        .env("TCPREMOTEIP", "192.0.2.7");
    run.args([
        "/bin/sh",
        "-c",
        "echo $USER:$HOME:$SHELL:$VPOPUSER:$(id -u):$(pwd)",
    ])
    .input(3, text)
    .output()
}

/// The line on descriptor 2 without the process id.
fn logged(out: &Output) -> String {
    let text = out.err_text();
    match text
        .strip_prefix("vpopmail[")
        .and_then(|rest| rest.split_once("]: "))
    {
        Some((pid, line)) if pid.parse::<u32>().is_ok() => line.to_owned(),
        _ => text,
    }
}

#[test]
fn log_lines_and_exit_codes_are_those_of_vpopmail() {
    let home = vpopmail("vchkpw");
    let stamp = "<1.2@h.test>";
    let digest = |b: Vec<u8>| String::from_utf8(b).unwrap();
    let cram = digest(cram_digest(b"tanstaaf", stamp.as_bytes()));
    let apop = digest(apop_digest(b"tanstaaf", stamp.as_bytes()));
    for (port, strings, code, line) in [
        (
            "587",
            ["tim@pop.test", "tanstaaf", ""],
            0,
            "vchkpw-submission: (PLAIN) login success tim@pop.test:192.0.2.7",
        ),
        (
            "25",
            ["TIM@Pop.Test", "tanstaaf", ""],
            0,
            "vchkpw-smtp: (PLAIN) login success tim@pop.test:192.0.2.7",
        ),
        (
            "465",
            ["tim@pop.test", &cram, stamp],
            0,
            "vchkpw-smtps: (CRAM-MD5) login success tim@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["tim@pop.test", &apop, stamp],
            0,
            "vchkpw-pop3: (APOP) login success tim@pop.test:192.0.2.7",
        ),
        (
            "995",
            ["tim", "tanstaaf", stamp],
            0,
            "vchkpw-pop3s: (PLAIN) login success tim@pop.test:192.0.2.7",
        ),
        (
            "143",
            ["tim@alias.test", "tanstaaf", ""],
            0,
            "vchkpw-imap: (PLAIN) login success tim@pop.test:192.0.2.7",
        ),
        (
            "993",
            ["new@pop.test", "tanstaaf", ""],
            0,
            "vchkpw-imaps: (PLAIN) login success new@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["des@pop.test", "tanstaaf", ""],
            0,
            "vchkpw-pop3: (PLAIN) login success des@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["tim@pop.test", "wrong", ""],
            3,
            "vchkpw-pop3: password fail tim@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["new@pop.test", &apop, stamp],
            3,
            "vchkpw-pop3: password fail new@pop.test:192.0.2.7",
        ),
        (
            "587",
            ["eve@pop.test", "tanstaaf", ""],
            3,
            "vchkpw-submission: vpopmail user not found eve@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["tim@other.test", "tanstaaf", ""],
            3,
            "vchkpw-pop3: vpopmail user not found tim@other.test:192.0.2.7",
        ),
        ("110", ["", "tanstaaf", ""], 13, ""),
        (
            "110",
            ["tim@pop.test", "", ""],
            13,
            "vchkpw-pop3: null password given tim@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["@pop.test", "x", ""],
            12,
            "vchkpw-pop3: null user name given @pop.test:192.0.2.7",
        ),
        (
            "110",
            ["../tim@pop.test", "x", ""],
            20,
            "vchkpw-pop3: invalid user/domain characters ../tim@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["ti%m:\n@pop.test", "x", ""],
            20,
            "vchkpw-pop3: invalid user/domain characters ti#m:?@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["nopop@pop.test", "tanstaaf", ""],
            1,
            "vchkpw-pop3: pop access denied nopop@pop.test:192.0.2.7",
        ),
        (
            "587",
            ["nosmtp@pop.test", "tanstaaf", ""],
            1,
            "vchkpw-submission: smtp access denied nosmtp@pop.test:192.0.2.7",
        ),
        (
            "110",
            ["empty@pop.test", "x", ""],
            15,
            "vchkpw-pop3: user has no password empty@pop.test:192.0.2.7",
        ),
    ] {
        let out = vchkpw(&home, port, &strings);
        assert_eq!(
            (out.code(), logged(&out).trim_end()),
            (code, line),
            "{strings:?} {}",
            out.err_text()
        );
        assert_eq!(out.out.is_empty(), code != 0);
        assert!(!out.err_text().contains("tanstaaf"));
    }
    let domain = home.join("vpopmail/domains/pop.test");
    let out = vchkpw(&home, "587", &["tim@pop.test", "tanstaaf", ""]);
    assert!(
        out.out_text().starts_with(&format!(
            "tim:{}/tim:NOLOGIN:tim@pop.test:{}:",
            domain.display(),
            owner()
        )),
        "{}",
        out.out_text()
    );
    assert!(!home.join("vpopmail/etc/open-smtp").exists());
}

#[test]
fn the_domain_decides_what_is_forbidden() {
    let home = vpopmail("vchkpw-limits");
    home.write("vpopmail/etc/vlimits.default", "disable_imap 1\n");
    let code = |port| vchkpw(&home, port, &["tim@pop.test", "tanstaaf", ""]).code();
    assert_eq!((code("143"), code("110")), (1, 0));
    home.write(
        "vpopmail/domains/pop.test/.qmailadmin-limits",
        "disable_pop 1\n",
    );
    assert_eq!((code("143"), code("110")), (0, 1));
}

#[test]
fn pop_before_smtp() {
    let home = vpopmail("open-smtp");
    for (name, text) in [
        ("open-smtp", ""),
        ("tcp.smtp", "10.:allow,RELAYCLIENT=\"\"\n"),
    ] {
        give(&home.write(&format!("vpopmail/etc/{name}"), text));
    }
    home.own_bin();
    home.fake("tcprules", "cat > $1\n");
    let tables = || String::from_utf8(home.read("vpopmail/etc/open-smtp")).unwrap();
    assert_eq!(
        vchkpw(&home, "587", &["tim@pop.test", "tanstaaf", ""]).code(),
        0
    );
    assert_eq!(
        vchkpw(&home, "110", &["tim@pop.test", "wrong", ""]).code(),
        3
    );
    assert_eq!(
        vchkpw(&home, "110", &["nosmtp@pop.test", "tanstaaf", ""]).code(),
        0,
        "it may read, but not relay"
    );
    assert_eq!(tables(), "");
    for _ in 0..2 {
        let out = vchkpw(&home, "110", &["tim@pop.test", "tanstaaf", ""]);
        assert_eq!(
            (out.code(), out.err_text().lines().count()),
            (0, 1),
            "{}",
            out.err_text()
        );
    }
    let line = tables();
    let (rule, time) = line.trim_end().split_once('\t').unwrap();
    assert_eq!(rule, "192.0.2.7:allow,RELAYCLIENT=\"\",RBLSMTPD=\"\"");
    assert!(time.parse::<i64>().unwrap() > 1_700_000_000);
    let rules = home.read("vpopmail/etc/tcp.smtp.cdb");
    assert_eq!(
        String::from_utf8(rules).unwrap(),
        format!("{rule}\n10.:allow,RELAYCLIENT=\"\"\n")
    );

    give(&home.write(
        "vpopmail/etc/open-smtp",
        format!("192.0.2.1:allow,X\t1000\n{line}"),
    ));
    let clear = || {
        home.run("clearopensmtp")
            .env("VPOPMAILHOME", home.join("vpopmail").to_str().unwrap())
            .output()
    };
    assert_eq!(clear().code(), 0);
    assert_eq!(tables(), line);
    assert!(!home.join("vpopmail/etc/tcp.smtp.all").exists());
}

fn deliver(home: &Home, user: &str, action: &[&str], message: &str) -> Output {
    let file = home.write("message", message);
    let script = format!(
        "exec {} \"$@\" < {}",
        kit::program("vdelivermail").display(),
        file.display()
    );
    let mut run = Run::new("/bin/sh").args(["-c", &script, "sh"]).args(action);
    run = run.dir(home.join("vpopmail/domains/pop.test"));
    for (name, value) in [
        ("EXT", user),
        ("HOST", "pop.test"),
        ("SENDER", "s@h.test"),
        ("DTLINE", "Delivered-To: me@pop.test\n"),
        ("RPLINE", "Return-Path: <s@h.test>\n"),
    ] {
        run = run.env(name, value);
    }
    run = run.env("LOCAL", &format!("pop.test-{user}"));
    if sys::ids::euid() == 0 {
        run = run.ids(owner(), owner_gid());
    }
    let vpopmail = home.join("vpopmail");
    run.env("QMAILHOME", home.path().to_str().unwrap())
        .env("VPOPMAILHOME", vpopmail.to_str().unwrap())
        .output()
}

#[test]
fn mail_for_accounts_and_for_nobody() {
    let home = vpopmail("vdelivermail");
    let bounces = &["", "bounce-no-mailbox"][..];
    let message = "Subject: x\n\nbody\n";
    let new = |user: &str| {
        let dir = home.join(format!("vpopmail/domains/pop.test/{user}/Maildir/new"));
        std::fs::read_dir(dir).map_or(0, |d| d.count())
    };
    let out = deliver(&home, "Tim", bounces, message);
    assert_eq!(out.code(), 0, "{}", out.err_text());
    assert_eq!(new("tim"), 1);
    let dir = home.join("vpopmail/domains/pop.test/tim/Maildir/new");
    let file = std::fs::read_dir(dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        format!("Return-Path: <s@h.test>\nDelivered-To: me@pop.test\n{message}")
    );

    let says = |out: &Output, code: u8, text: &str| {
        assert_eq!((out.code(), out.err_text().as_str()), (code, text));
    };
    says(
        &deliver(&home, "eve", bounces, message),
        100,
        "Sorry, no mailbox here by that name. (#5.1.1)\n",
    );
    says(
        &deliver(&home, "bounce", bounces, message),
        100,
        "account is locked email bounced (#5.2.1)\n",
    );
    says(
        &deliver(&home, "tim", bounces, "Delivered-To: me@pop.test\n\n"),
        100,
        "mail is looping (#5.4.6)\n",
    );
    assert_eq!(
        deliver(&home, "tim", bounces, "X: y\n\nDelivered-To: me@pop.test\n").code(),
        0,
        "a body is a body"
    );
    assert_eq!(deliver(&home, "../tim", bounces, message).code(), 100);
    assert_eq!(deliver(&home, "eve", &["", "delete"], message).code(), 0);
    let catch = home.join("vpopmail/domains/pop.test/tim");
    assert_eq!(
        deliver(&home, "eve", &["", catch.to_str().unwrap()], message).code(),
        0
    );
    assert_eq!(new("tim"), 3);
    assert_eq!(
        deliver(&home, "eve", &["", "nonsense"], message).code(),
        111
    );
    assert_eq!(
        deliver(&home, "tim", &["bounce-no-mailbox"], message).code(),
        111
    );
    assert_eq!(
        deliver(&home, "short", bounces, message).code(),
        111,
        "no directory"
    );

    // A quota of 200 bytes.
    assert_eq!(deliver(&home, "des", bounces, &"x".repeat(100)).code(), 0);
    says(
        &deliver(&home, "des", bounces, &"x".repeat(100)),
        100,
        "user is over quota (#5.2.2)\n",
    );
    home.write("vpopmail/domains/.over-quota.msg", "too full\n");
    says(
        &deliver(&home, "des", bounces, &"x".repeat(100)),
        100,
        "too full\n",
    );
    home.write(
        "vpopmail/domains/pop.test/.no-user.msg",
        "nobody of that name\n",
    );
    says(
        &deliver(&home, "eve", bounces, message),
        100,
        "nobody of that name\n",
    );

    // Programs of qmail, with the message from its start.
    home.fake("forward", "echo to $1; cat\n");
    home.fake("qmail-local", "echo local $*; cat\n");
    assert_eq!(
        deliver(&home, "eve", &["", "x@y.test"], message).out_text(),
        format!("to x@y.test\n{message}")
    );
    home.write("vpopmail/domains/pop.test/rules/.qmail", "./Maildir/\n");
    give(&home.join("vpopmail/domains/pop.test/rules"));
    let out = deliver(&home, "rules", bounces, message).out_text();
    let rules = home.join("vpopmail/domains/pop.test/rules");
    assert_eq!(
        out,
        format!(
            "local -- rules {} pop.test-rules pop.test s@h.test ./Maildir/\n{message}",
            rules.display()
        )
    );
}
