//! Accounts in a whole post office: made by their managers, mail for them taken or refused at the door, delivered, and
//! fetched by who knows the password.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use kit::office::{Office, wait_for};
use kit::smtp::Client;

/// An office with more programs, and the virtual domain virtual.test, whose users live in `domain`.
fn office(name: &str, programs: &[&str]) -> Office {
    let office = Office::new(name);
    for program in programs {
        let to = office.home.join("bin").join(program);
        kit::copy_executable(kit::program(program), to);
    }
    office.give();
    office
}

/// The name of the account that runs an office.
fn account() -> String {
    let uid = if sys::ids::euid() == 0 {
        65_534
    } else {
        sys::ids::euid()
    };
    let found = sys::users::any_by_uid(uid)
        .unwrap()
        .expect("an account for this uid");
    String::from_utf8(found.name).unwrap()
}

/// Runs a program of the office; its output.
fn ran(office: &Office, program: &str, args: &[&str], input: &str) -> String {
    let out = office.run(program).args(args).stdin(input).output();
    assert_eq!(out.code(), 0, "{program} {args:?}: {}", out.err_text());
    out.out_text()
}

/// Base64 of `\0name\0password`.
fn plain(name: &str, password: &str) -> String {
    String::from_utf8(auth::encoding::encode(
        format!("\0{name}\0{password}").as_bytes(),
    ))
    .unwrap()
}

/// Reads the first message of an account, as qmail-popup would have it read.
fn fetch(office: &Office, checker: &str, name: &str, password: &str) -> String {
    let text = format!("{name}\0{password}\0<1.2@h.test>\0");
    let run = office.run(checker).args(["qmail-pop3d", "Maildir"]);
    let out = run.input(3, text).stdin("RETR 1\r\nQUIT\r\n").output();
    assert_eq!(out.code(), 0, "{}", out.err_text());
    out.out_text()
}

#[test]
fn virtual_users_from_the_manager_to_the_mailbox() {
    let mut office = office(
        "accounts",
        &["vuser", "vusercheck", "deliverquota", "qmail-pop3d"],
    );
    let dir = office.home.join("domain");
    let dir = dir.to_str().unwrap().to_owned();
    for _ in 0..2 {
        // Once more changes nothing.
        ran(
            &office,
            "vuser",
            &["domain", "Virtual.test", &account(), &dir],
            "",
        );
    }
    let mode = fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(
        mode & 0o777,
        0o711,
        "names can be asked for, by qmail-smtpd too"
    );
    for (file, line) in [
        ("control/virtualdomains", "virtual.test:virtual.test\n"),
        ("control/rcpthosts", "virtual.test\n"),
    ] {
        let text = String::from_utf8(office.home.read(file)).unwrap();
        assert_eq!(text.matches(line).count(), 1, "{file}: {text}");
    }
    ran(
        &office,
        "vuser",
        &["-D", "virtual.test", "add", "ann"],
        "tanstaaf\n",
    );
    ran(
        &office,
        "vuser",
        &["-D", "virtual.test", "add", "-q", "400S", "small"],
        "tanstaaf\n",
    );
    ran(
        &office,
        "vuser",
        &["-d", &dir, "alias", "info", "ann@virtual.test"],
        "",
    );
    office.start_send();
    let env = [("SMTPAUTH", ""), ("INTRANET", "")];
    office.start_server(
        "tcpserver",
        &[],
        &env,
        &["mail.host.test", "vusercheck", "/bin/true"],
    );

    // The door: who is there, who is not.
    let mut client = Client::connect(office.smtp());
    client.say("HELO me.test");
    client.say("MAIL FROM:<s@elsewhere.test>");
    for (name, code) in [
        ("ann", 250),
        ("Ann", 250),
        ("info", 250),
        ("small", 250),
        ("eve", 550),
        ("ann-x", 550),
    ] {
        let reply = client.say(&format!("RCPT TO:<{name}@virtual.test>"));
        assert_eq!(reply.code, code, "{name} {reply:?}");
    }
    client.say("RSET");
    let message = format!("Subject: x\n\n{}\n", "body ".repeat(20));
    assert_eq!(
        client.mail(
            "s@elsewhere.test",
            &[
                "ann@virtual.test",
                "info@virtual.test",
                "small@virtual.test"
            ],
            message.as_bytes()
        ),
        250
    );
    wait_for(&office, "domain/ann/Maildir", 2);
    wait_for(&office, "domain/small/Maildir", 1);
    assert!(
        String::from_utf8(office.home.read("domain/small/Maildir/maildirsize"))
            .unwrap()
            .starts_with("400S\n")
    );

    // A full mailbox bounces; removed users are unknown.
    assert_eq!(
        client.mail(
            "alice@host.test",
            &["small@virtual.test"],
            message.as_bytes()
        ),
        250
    );
    wait_for(&office, "alice/Maildir", 1);
    let bounce = String::from_utf8(office.mails("alice/Maildir").pop().unwrap()).unwrap();
    assert!(bounce.contains("The mailbox is full. (#5.2.2)"), "{bounce}");

    // By its password an account may send anywhere, and no other.
    let mut client = Client::connect(office.smtp());
    client.say("EHLO me.test");
    assert_eq!(
        client
            .say(&format!(
                "AUTH PLAIN {}",
                plain("ann@virtual.test", "wrong")
            ))
            .code,
        535
    );
    assert_eq!(
        client
            .say(&format!(
                "AUTH PLAIN {}",
                plain("eve@virtual.test", "tanstaaf")
            ))
            .code,
        535
    );
    assert_eq!(
        client
            .say(&format!(
                "AUTH PLAIN {}",
                plain("ann@virtual.test", "tanstaaf")
            ))
            .code,
        235
    );
    client.say("MAIL FROM:<ann@virtual.test>");
    assert_eq!(client.say("RCPT TO:<x@elsewhere.test>").code, 250);

    // And read its mail.
    let text = fetch(&office, "vusercheck", "ann@virtual.test", "tanstaaf");
    assert!(
        text.contains("Delivered-To: ") && text.contains("Subject: x\r\n"),
        "{text}"
    );

    ran(&office, "vuser", &["-D", "virtual.test", "del", "ann"], "");
    let mut client = Client::connect(office.smtp());
    client.say("HELO me.test");
    client.say("MAIL FROM:<s@elsewhere.test>");
    assert_eq!(client.say("RCPT TO:<ann@virtual.test>").code, 550);
    office.drain(Duration::from_mins(1));
    office.stop();
}

#[test]
fn a_vpopmail_domain_as_it_was_found() {
    let mut office = office(
        "accounts-vpopmail",
        &[
            "vchkpw",
            "vdelivermail",
            "qmail-pop3d",
            "qmail-local",
            "forward",
        ],
    );
    let domain = office.home.join("vpopmail/domains/pop.test");
    fs::create_dir_all(&domain).unwrap();
    fs::create_dir_all(office.home.join("vpopmail/etc")).unwrap();
    office.home.control(
        "vpopmailhome",
        &format!("{}\n", office.home.join("vpopmail").display()),
    );
    office.home.control("vchkpwlog", "n\n");
    // MD5 crypts of "tanstaaf", the usual thing then.
    let line = |name: &str, quota: &str| {
        format!(
            "$1$saltsalt$roN2lUfEbZqZad1NpG.Zy1:1:0:x:{}/{name}:{quota}:",
            domain.display()
        )
    };
    let users = [
        ("tim", line("tim", "NOQUOTA")),
        ("full", line("full", "10S")),
        ("rules", line("rules", "NOQUOTA")),
    ];
    let table = domain.join("vpasswd.cdb");
    control::table::make(&table, &domain.join("cdb.tmp"), 0o600, users).unwrap();
    fs::write(
        domain.join(".qmail-default"),
        "| vdelivermail '' bounce-no-mailbox\n",
    )
    .unwrap();
    fs::create_dir(domain.join("rules")).unwrap();
    fs::write(domain.join("rules/.qmail"), "./Other/\n").unwrap();
    for place in ["tmp", "new", "cur"] {
        fs::create_dir_all(domain.join("rules/Other").join(place)).unwrap();
    }
    let uid = if sys::ids::euid() == 0 {
        65_534
    } else {
        sys::ids::euid()
    };
    let gid = if sys::ids::euid() == 0 {
        65_534
    } else {
        sys::ids::gid()
    };
    let assign = String::from_utf8(office.home.read("users/assign")).unwrap();
    let pop = format!(
        "+pop.test-:pop.test:{uid}:{gid}:{}:-::\n.\n",
        domain.display()
    );
    office
        .home
        .write("users/assign", assign.replace("\n.\n", "\n") + &pop);
    office.home.control("virtualdomains", "pop.test:pop.test\n");
    office.home.control("rcpthosts", "host.test\npop.test\n");
    office.give();
    ran(&office, "qmail-newu", &[], "");
    office.start_send();
    let env = [("SMTPAUTH", ""), ("INTRANET", "")];
    office.start_server(
        "tcpserver",
        &[],
        &env,
        &["mail.host.test", "vchkpw", "/bin/true"],
    );

    let mut client = Client::connect(office.smtp());
    client.say("EHLO me.test");
    let recipients = [
        "Tim@pop.test",
        "full@pop.test",
        "nobody@pop.test",
        "rules@pop.test",
    ];
    assert_eq!(
        client.mail("alice@host.test", &recipients, b"Subject: x\n\nbody\n"),
        250
    );
    // It is made by the first delivery.
    kit::eventually("tim has a mailbox", || {
        domain.join("tim/Maildir/cur").exists()
    });
    wait_for(&office, "vpopmail/domains/pop.test/tim/Maildir", 1);
    wait_for(&office, "vpopmail/domains/pop.test/rules/Other", 1);
    wait_for(&office, "alice/Maildir", 1);
    let bounce = String::from_utf8(office.mails("alice/Maildir").pop().unwrap()).unwrap();
    for text in [
        "user is over quota (#5.2.2)",
        "Sorry, no mailbox here by that name. (#5.1.1)",
    ] {
        assert!(bounce.contains(text), "{bounce}");
    }
    assert_eq!(
        client
            .say(&format!("AUTH PLAIN {}", plain("tim@pop.test", "tanstaag")))
            .code,
        535
    );
    assert_eq!(
        client
            .say(&format!("AUTH PLAIN {}", plain("tim@pop.test", "tanstaaf")))
            .code,
        235
    );
    let text = fetch(&office, "vchkpw", "tim@pop.test", "tanstaaf");
    assert!(
        text.contains("Delivered-To: ") && text.contains("body\r\n"),
        "{text}"
    );
    office.drain(Duration::from_mins(1));
    office.stop();
    let mode = fs::metadata(domain.join("tim/Maildir"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads it");
}
