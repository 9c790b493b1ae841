//! Every control file: missing, empty, a directory, unreadable. A server that does not know its rules takes no mail.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::server::Server;

/// All that the program reads before the first command.
const AT_START: [&str; 17] = [
    "me",
    "smtpgreeting",
    "localiphost",
    "timeoutsmtpd",
    "timeoutsmtpdtotal",
    "timeoutsmtpdprogress",
    "rcpthosts",
    "morercpthosts.cdb",
    "badmailfrom",
    "databytes",
    "checkrecipients",
    "ownsender",
    "strictaddress",
    "maxrcpt",
    "maxerrors",
    "maxheaderbytes",
    "maxheaderlines",
];
/// All that it reads at the first recipient.
const AT_RECIPIENT: [&str; 4] = ["locals", "virtualdomains", "percenthack", "envnoathost"];

const DIALOGUE: &str = "MAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nQUIT\r\n";

fn remove(path: &std::path::Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// The codes of the replies.
fn codes(told: &str) -> Vec<&str> {
    told.lines().map(|l| l.split(' ').next().unwrap()).collect()
}

#[test]
fn a_file_that_cannot_be_read_stops_everything() {
    let server = Server::new("controls-bad");
    for name in AT_START.into_iter().chain(AT_RECIPIENT) {
        let path = server.home.join("control").join(name);
        let old = fs::read(&path).ok();
        let mut ways: Vec<&dyn Fn()> = vec![];
        let directory = || fs::create_dir(&path).unwrap();
        let circle = || symlink(name, &path).unwrap();
        let closed = || {
            fs::write(&path, "host.test\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        };
        ways.push(&directory);
        ways.push(&circle);
        // Nothing is closed to root.
        if sys::ids::euid() != 0 {
            ways.push(&closed);
        }
        for way in ways {
            remove(&path);
            way();
            let (told, end) = server.run(DIALOGUE);
            let expected: &[&str] = if AT_START.contains(&name) {
                &["421"]
            } else {
                &["220", "250", "421"]
            };
            assert_eq!(codes(&told), expected, "{name}");
            assert!(told.ends_with("421 4.3.0 unable to read controls (#4.3.0)\r\n"));
            assert_eq!(end, sys::process::End::Exit(1));
            let log = server.log();
            let line = log.lines().find(|l| l.contains("detail=")).unwrap();
            assert!(line.contains("code=421 status=4.3.0 reason=control detail="));
            if AT_START.contains(&name) {
                assert!(line.contains(&format!("detail=control/{name}:")), "{line}");
            }
            fs::remove_file(server.log_path()).unwrap();
        }
        remove(&path);
        if let Some(old) = old {
            fs::write(&path, old).unwrap();
        }
    }
    assert!(server.stored().is_empty());
}

#[test]
fn a_missing_or_empty_file_has_a_meaning() {
    let server = Server::new("controls-none");
    for name in AT_START.into_iter().chain(AT_RECIPIENT) {
        let path = server.home.join("control").join(name);
        let old = fs::read(&path).ok();
        remove(&path);
        let (missing, _) = server.run(DIALOGUE);
        fs::write(&path, "").unwrap();
        let (empty, _) = server.run(DIALOGUE);
        fs::write(&path, "\n").unwrap();
        let (blank, _) = server.run(DIALOGUE);
        // Dangling: as missing.
        remove(&path);
        symlink("nowhere", &path).unwrap();
        let (dangling, _) = server.run(DIALOGUE);
        assert_eq!(codes(&missing), codes(&dangling), "{name}");

        let fine = vec!["220", "250", "250", "221"];
        let (if_missing, if_empty) = match name {
            "me" => (vec!["421"], vec!["421"]),
            "rcpthosts" => (fine.clone(), vec!["220", "250", "553", "221"]),
            // No domain is local then: the recipient is another host's, and admitted by rcpthosts.
            "locals" => (fine.clone(), fine.clone()),
            // An empty table is no table.
            "morercpthosts.cdb" => (fine.clone(), vec!["421"]),
            _ => (fine.clone(), fine.clone()),
        };
        assert_eq!(codes(&missing), if_missing, "{name} missing");
        assert_eq!(codes(&empty), if_empty, "{name} empty");
        assert_eq!(codes(&blank), if_empty, "{name} blank");
        remove(&path);
        if let Some(old) = old {
            fs::write(&path, old).unwrap();
        }
    }
}

#[test]
fn odd_contents_are_taken_literally() {
    let server = Server::new("controls-odd");
    for (name, text, code) in [
        ("rcpthosts", "host.test\r\n", "553"),
        ("rcpthosts", "\0host.test\n", "553"),
        ("rcpthosts", "other.test\nHOST.TEST", "250"),
        ("rcpthosts", ".test\n", "250"),
        ("badmailfrom", "@b.test\r\n", "250"),
        ("badmailfrom", "@B.TEST", "553"),
    ] {
        server.home.control("rcpthosts", "host.test\n");
        server.home.control("badmailfrom", "");
        server.home.control(name, text);
        let (told, _) = server.run(DIALOGUE);
        assert_eq!(codes(&told)[2], code, "{name} {text:?}");
    }
    // Ten megabytes are read, not refused.
    let large = format!("{}host.test\n", "other.test\n".repeat(1_000_000));
    server.home.control("badmailfrom", "");
    server.home.control("rcpthosts", &large);
    assert_eq!(codes(&server.run(DIALOGUE).0)[2], "250");
}

#[test]
fn more_hosts_are_looked_up_in_the_table() {
    let server = Server::new("controls-more");
    let path = server.home.join("control/morercpthosts.cdb");
    let records = [("more.test", ""), (".wild.test", "")];
    let temporary = server.home.join("control/tmp");
    control::table::make(&path, &temporary, 0o644, records).unwrap();
    for (domain, code) in [
        ("more.test", "250"),
        ("MORE.test", "250"),
        ("sub.more.test", "553"),
        ("a.b.Wild.test", "250"),
        ("wild.test", "553"),
        ("out.example", "553"),
    ] {
        let (told, _) = server.run(format!("MAIL FROM:<>\r\nRCPT TO:<v@{domain}>\r\nQUIT\r\n"));
        assert_eq!(codes(&told)[2], code, "{domain}");
    }
    // A damaged table is found at the start or when it is asked: never an acceptance.
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[..2048] {
        *byte = 0xff;
    }
    fs::write(&path, bytes).unwrap();
    let (told, _) = server.run("MAIL FROM:<>\r\nRCPT TO:<v@more.test>\r\nQUIT\r\n");
    assert!(
        !codes(&told).contains(&"250") || codes(&told)[2] != "250",
        "{told}"
    );
}

#[test]
fn numbers_do_what_they_say() {
    let server = Server::new("controls-numbers");
    let rcpt = "RCPT TO:<v@host.test>\r\n";
    server.home.control("maxrcpt", "2\n");
    let (told, _) = server.run(format!("MAIL FROM:<>\r\n{rcpt}{rcpt}{rcpt}QUIT\r\n"));
    assert_eq!(codes(&told), ["220", "250", "250", "250", "452", "221"]);
    server.home.control("maxerrors", "2\n");
    let (told, _) = server.run("A\r\nB\r\nC\r\n");
    assert_eq!(codes(&told), ["220", "502", "502", "421"]);
    server.home.control("databytes", "7\n");
    let (told, _) = server.run("MAIL FROM:<> SIZE=8\r\nEHLO x\r\nQUIT\r\n");
    assert!(told.contains("552 5.3.4") && told.contains("250-SIZE 7\r\n"));
    let text = format!("MAIL FROM:<>\r\n{rcpt}DATA\r\n\r\n12345\r\n.\r\nQUIT\r\n");
    assert!(server.run(&text).0.contains("250 2.0.0 ok "));
    server.home.control("databytes", "6\n");
    assert!(server.run(&text).0.contains("552 5.3.4 sorry"));
    let server = server.env("DATABYTES", "0");
    assert!(server.run(&text).0.contains("250 2.0.0 ok "));
    server.home.control("maxheaderlines", "1\n");
    let two = text.replace("DATA\r\n", "DATA\r\nA: b\r\nC: d\r\n");
    assert!(server.run(two).0.contains("554 5.6.0 sorry"));
    server.home.control("smtpgreeting", "hello.test here\n");
    let (told, _) = server.run("HELO x\r\nQUIT\r\n");
    assert_eq!(
        told,
        "220 hello.test here ESMTP\r\n250 hello.test here\r\n221 2.0.0 hello.test here\r\n"
    );
    server.home.control("timeoutsmtpd", "1\n");
    let mut client = server.connect();
    client.reply();
    assert_eq!(client.reply(), "451 4.4.2 timeout (#4.4.2)\r\n");
    server.home.control("timeoutsmtpd", "20\n");
    server.home.control("timeoutsmtpdtotal", "1\n");
    let mut client = server.connect();
    client.reply();
    assert_eq!(
        client.reply(),
        "421 4.4.2 session took too long (#4.4.2)\r\n"
    );
}

#[test]
fn the_check_of_recipients_can_be_switched_off() {
    let server = Server::new("controls-check");
    let ask = "MAIL FROM:<>\r\nRCPT TO:<w@host.test>\r\nQUIT\r\n";
    assert_eq!(codes(&server.run(ask).0)[2], "550");
    server.home.control("checkrecipients", "0\n");
    assert_eq!(codes(&server.run(ask).0)[2], "250");
}

#[test]
fn a_file_about_auth_that_cannot_be_read_stops_everything() {
    let server = Server::new("controls-auth");
    let checker = server.home.script("checker", "exit 1");
    let server = server.args(&["mail.test", checker.to_str().unwrap(), "true"]);
    server.home.control("ownsender", "1\n");
    for name in ["checkerknows", "maxlogins", "senderlogins"] {
        let path = server.home.join("control").join(name);
        fs::create_dir(&path).unwrap();
        let (told, _) = server.run(DIALOGUE);
        assert_eq!(codes(&told), ["421"], "{name}");
        assert!(server.log().contains(&format!("detail=control/{name}:")));
        fs::remove_dir(&path).unwrap();
    }
    assert_eq!(codes(&server.run(DIALOGUE).0), ["220", "250", "250", "221"]);
}
