use std::time::{Duration, Instant};

use auth::checker::{Checker, Client, Order, Verdict};
use auth::client::{Client as Login, Credentials};
use auth::dialogue::{Dialogue, End, Event};
use auth::sasl::{Mechanism, Setup, cram_digest};

use super::*;

fn vuser(home: &Home, args: &[&str], password: &str) -> Output {
    manage(home, "vuser", "dir", args, password)
}

fn done(out: &Output) {
    assert_eq!(out.code(), 0, "{}", out.err_text());
}

#[test]
fn from_adding_to_removing() {
    let home = home("vuser");
    let check = |login: &str, password: &str| ask(&home, "vusercheck", &[login, password, ""]);
    done(&vuser(&home, &["add", "Alice"], "tanstaaf"));
    done(&vuser(
        &home,
        &["add", "-q", "10MB", "-c", "bob.lee@virtual.test"],
        "other",
    ));
    let out = check("alice@virtual.test", "tanstaaf");
    done(&out);
    let dir = home.join("dir/alice");
    let text = out.out_text();
    assert!(
        text.starts_with(&format!(
            "alice@virtual.test:{}:/bin/false:{}:",
            dir.display(),
            owner()
        )),
        "{text}"
    );
    done(&check("ALICE@Virtual.Test", "tanstaaf"));
    done(&check("bob.lee@virtual.test", "other"));
    for (login, password) in [
        ("alice@virtual.test", "other"),
        ("alice@virtual.test", ""),
        ("alice", "tanstaaf"),
        ("alice@host.test", "tanstaaf"),
        ("eve@virtual.test", "tanstaaf"),
        ("@virtual.test", "tanstaaf"),
        ("alice@other.test", "tanstaaf"),
    ] {
        let out = check(login, password);
        assert_eq!(
            (out.code(), out.out_text()),
            (1, String::new()),
            "{login} {password} {}",
            out.err_text()
        );
    }
    // Stored so that nobody else reads it, and without the password.
    for file in [".vusers", ".vusers.cdb"] {
        use std::os::unix::fs::MetadataExt;
        let path = home.join("dir").join(file);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(base::bytes::find(&std::fs::read(&path).unwrap(), b"tanstaaf").is_none());
    }
    assert_eq!(
        vuser(&home, &["list"], "").out_text(),
        "alice - CRYPT,SCRAM-SHA-256\nbob.lee 10485760S CRYPT,SCRAM-SHA-256,CRAM-MD5\n"
    );
    // CRAM only for who asked for it.
    let stamp = "<1.2@h.test>";
    let digest = |p: &str| String::from_utf8(cram_digest(p.as_bytes(), stamp.as_bytes())).unwrap();
    done(&ask(
        &home,
        "vusercheck",
        &["bob.lee@virtual.test", &digest("other"), stamp],
    ));
    assert_eq!(
        ask(
            &home,
            "vusercheck",
            &["alice@virtual.test", &digest("tanstaaf"), stamp]
        )
        .code(),
        1
    );
    // Mail goes to the same place: the door knows who is there.
    assert_eq!(home.read("dir/.qmail-alice"), b"./alice/Maildir/\n");
    assert_eq!(
        home.read("dir/.qmail-bob:lee"),
        b"|deliverquota -w 90 './bob:lee/Maildir/' 10485760S\n"
    );
    assert!(home.join("dir/alice/Maildir/new").is_dir());
    done(&vuser(
        &home,
        &["alias", "info", "alice@virtual.test", "x@elsewhere.test"],
        "",
    ));
    assert_eq!(
        home.read("dir/.qmail-info"),
        b"&alice@virtual.test\n&x@elsewhere.test\n"
    );

    done(&vuser(&home, &["passwd", "alice"], "changed"));
    assert_eq!(check("alice@virtual.test", "tanstaaf").code(), 1);
    done(&check("alice@virtual.test", "changed"));
    done(&vuser(&home, &["quota", "bob.lee", "NOQUOTA"], ""));
    assert_eq!(home.read("dir/.qmail-bob:lee"), b"./bob:lee/Maildir/\n");
    done(&vuser(&home, &["del", "alice"], ""));
    assert_eq!(check("alice@virtual.test", "changed").code(), 1);
    assert!(!home.join("dir/.qmail-alice").exists() && home.join("dir/alice/Maildir").exists());
    done(&vuser(&home, &["unalias", "info"], ""));
    assert!(!home.join("dir/.qmail-info").exists());
    // A user's own home has a password too.
    done(&manage(&home, "vuser", "tim", &["add", "."], "mine"));
    let out = ask(&home, "vusercheck", &["tim@host.test", "mine", ""]);
    done(&out);
    assert!(
        out.out_text()
            .contains(&format!(":{}:", home.join("tim").display()))
    );
}

#[test]
fn what_a_manager_refuses() {
    let home = home("vuser-refuses");
    for name in [
        "..",
        ".x/../y",
        "/etc",
        "a/b",
        "a:b",
        "",
        "-x",
        "...",
        "a'b\"",
        "a b",
        "a|b",
        "@virtual.test",
    ] {
        let out = vuser(&home, &["add", "--", name], "x");
        assert_eq!(out.code(), 100, "{name} {}", out.err_text());
    }
    for password in ["", "a\tb", &"x".repeat(161)] {
        assert_ne!(
            vuser(&home, &["add", "alice"], password).code(),
            0,
            "{password}"
        );
    }
    assert!(!home.join("dir/.qmail-alice").exists() && !home.join("dir/alice").exists());
    done(&vuser(&home, &["add", "alice"], "x"));
    for args in [
        &["add", "alice"][..],
        &["add", "-q", "10XB", "eve"],
        &["passwd", "eve"],
        &["del", "eve"],
        &["quota", "eve", "1MB"],
        &["alias", "alice", "x@y"],
        &["alias", "eve", "|prog"],
        &["unalias", "alice"],
        &["unalias", "eve"],
        &["frob"],
        &[],
    ] {
        assert_eq!(vuser(&home, args, "x").code(), 100, "{args:?}");
    }
    assert_eq!(
        vuser(&home, &["list"], "").out_text(),
        "alice - CRYPT,SCRAM-SHA-256\n"
    );
}

#[test]
fn root_manages_as_the_owner_and_leaves_nothing_of_its_own() {
    if !kit::is_root("root_manages_as_the_owner") {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let home = home("vuser-root");
    let run = |args: &[&str]| home.run("vuser").args(args).stdin("x\n").output();
    done(&run(&["-D", "virtual.test", "add", "alice"]));
    done(&run(&[
        "-d",
        home.join("dir").to_str().unwrap(),
        "add",
        "bob",
    ]));
    for file in [".vusers", ".vusers.cdb", ".qmail-alice", "bob/Maildir/new"] {
        assert_eq!(
            std::fs::metadata(home.join("dir").join(file))
                .unwrap()
                .uid(),
            UID,
            "{file}"
        );
    }
    assert_eq!(run(&["-D", "other.test", "add", "x"]).code(), 100);
    assert_eq!(
        run(&["-d", home.path().to_str().unwrap(), "add", "x"]).code(),
        100,
        "a directory of root"
    );
}

/// Logs in by SCRAM, through the server's side and the checker, as qmail-smtpd does.
fn scram(home: &Home, name: &str, password: &str) -> Event {
    let words = [
        kit::program("vusercheck").to_str().unwrap().to_owned(),
        "/bin/true".to_owned(),
    ];
    let checker = Checker {
        words: words.map(String::into_bytes).to_vec(),
        order: Order::default(),
        client: Client::Hidden,
        limit: Some(Duration::from_mins(1)),
        environment: vec![(
            b"QMAILHOME".to_vec(),
            home.path().as_os_str().as_encoded_bytes().to_vec(),
        )],
    };
    let mechanism = Mechanism::parse(b"SCRAM-SHA-256").unwrap();
    let credentials = Credentials {
        name: name.into(),
        password: password.into(),
    };
    let (mut client, initial) = Login::begin(mechanism, credentials, None, b"nonce-of-a-client");
    let setup = Setup {
        nonce: auth::sasl::nonce().unwrap(),
        ..Setup::default()
    };
    let initial = auth::encoding::encode(&initial.unwrap());
    let (mut dialogue, mut event) = Dialogue::begin(mechanism, setup, Some(&initial), &checker);
    while let Event::Challenge(text) = event {
        let answer = client.answer(&auth::encoding::decode(&text).unwrap());
        event = dialogue.line(&answer.map_or(b"*".to_vec(), |a| auth::encoding::encode(&a)));
    }
    assert_eq!(
        event == Event::End(End::Verdict(Verdict::Accepted)),
        client.is_complete()
    );
    event
}

#[test]
fn scram_from_client_to_table() {
    let home = home("vuser-scram");
    home.control("scramsecret", "of this site\n");
    done(&vuser(&home, &["add", "alice"], "tanstaaf"));
    let is = |verdict| Event::End(End::Verdict(verdict));
    assert_eq!(
        scram(&home, "alice@virtual.test", "tanstaaf"),
        is(Verdict::Accepted)
    );
    for (name, password) in [
        ("alice@virtual.test", "wrong"),
        ("eve@virtual.test", "tanstaaf"),
        ("nobody-at-all", "x"),
        ("x@elsewhere.test", "x"),
    ] {
        assert_eq!(scram(&home, name, password), is(Verdict::Refused), "{name}");
    }
}

#[test]
fn unknown_names_take_as_long_as_wrong_passwords() {
    let home = home("vuser-time");
    done(&vuser(&home, &["add", "alice"], "tanstaaf"));
    let time = |name: &str| {
        let began = Instant::now();
        assert_eq!(ask(&home, "vusercheck", &[name, "wrong", ""]).code(), 1);
        began.elapsed()
    };
    // The least of many, by turns: what the machine does besides only adds.
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    let mut ratio = 0.0;
    for round in 1..=400 {
        known = known.min(time("alice@virtual.test"));
        unknown = unknown.min(time("eve@virtual.test"));
        ratio = known.as_secs_f64() / unknown.as_secs_f64();
        if round >= 40 && (0.7..1.4).contains(&ratio) {
            break;
        }
    }
    eprintln!("wrong password {known:?}, unknown name {unknown:?}, ratio {ratio:.3}");
    assert!((0.7..1.4).contains(&ratio), "{known:?} {unknown:?}");
}

fn deliver(home: &Home, args: &[&str], message: &str) -> Output {
    let file = home.write("message", message);
    let script = format!(
        "exec {} \"$@\" < {}",
        kit::program("deliverquota").display(),
        file.display()
    );
    Run::new("/bin/sh")
        .args(["-c", &script, "sh"])
        .args(args)
        .dir(home.join("dir"))
        .env("DTLINE", "Delivered-To: x\n")
        .output()
}

#[test]
fn a_mailbox_takes_what_fits() {
    let home = home("quota");
    for place in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(home.join("dir/box").join(place)).unwrap();
    }
    home.write("dir/box/cur/1.old,S=50:2,S", "not fifty");
    home.write("dir/.quotawarn.msg", "Subject: nearly full\n\n");
    let count = || std::fs::read_dir(home.join("dir/box/new")).unwrap().count();
    let message = "x".repeat(85);
    done(&deliver(&home, &["./box", "300S"], &message));
    assert_eq!(home.read("dir/box/maildirsize"), b"300S\n50 1\n101 1\n");
    done(&deliver(&home, &["-w", "80", "./box/", "300S"], &message));
    assert_eq!(count(), 3, "with a warning");
    let out = deliver(&home, &["-w", "80", "./box", "300S"], &message);
    assert_eq!((out.code(), out.out.len()), (77, 0));
    assert_eq!(count(), 3);
    // By number of messages, and without a quota.
    assert_eq!(deliver(&home, &["./box", "2C"], "x").code(), 77);
    done(&deliver(&home, &["./box"], &message));
    assert_eq!(deliver(&home, &["./none", "5S"], "x").code(), 111);
    assert_eq!(deliver(&home, &["./box", "5Q"], "x").code(), 111);
    assert_eq!(deliver(&home, &[], "x").code(), 100);
    // Nonsense in the file is made good.
    home.write("dir/box/maildirsize", "300S\nabc\n");
    assert_eq!(deliver(&home, &["./box", "300S"], "x").code(), 77);
    assert!(home.read("dir/box/maildirsize").starts_with(b"300S\n"));
    assert!(!home.read("dir/box/maildirsize").ends_with(b"abc\n"));
}
