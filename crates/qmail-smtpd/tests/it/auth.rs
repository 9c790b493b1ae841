//! AUTH with checkers that are programs: what they get, what their end means, and who never is one.

use std::fs;
use std::time::{Duration, Instant};

use sys::process::End;

use crate::server::Server;

/// alice has the password `secret`. Everything that came is kept in `got`.
const CHECKER: &str = r#"
tr '\0' '\n' <&3 >"$QMAILHOME/got"
env >"$QMAILHOME/env.checker"
{ read -r user; read -r password; } <"$QMAILHOME/got"
case "$user" in
crash) kill -9 $$;;
slow) sleep 100;;
later) exit 111;;
misuse) exit 2;;
denied) exit 3;;
esac
[ "$user:$password" = alice:secret ] || exit 1
exec "$@"
"#;

const GOOD: &str = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";

fn base64(text: &str) -> String {
    String::from_utf8(auth::encoding::encode(text.as_bytes())).unwrap()
}

fn plain(name: &str, password: &str) -> String {
    format!(
        "AUTH PLAIN {}\r\n",
        base64(&format!("\0{name}\0{password}"))
    )
}

/// A service whose checker is the script, called as HOST CHECKER PROGRAM.
fn service(name: &str) -> Server {
    let server = Server::new(name).env("INTRANET", "");
    let checker = server.home.script("checker", CHECKER);
    server.args(&["mail.test", checker.to_str().unwrap(), "/bin/true"])
}

/// The reply to the AUTH command that is sent first.
fn first(server: &Server, auth: &str) -> String {
    let (told, _) = server.run(format!("{auth}QUIT\r\n"));
    told.lines().nth(1).unwrap().to_owned()
}

/// Whether a client may relay after `auth`.
fn relays(server: &Server, auth: &str) -> bool {
    let (told, _) = server.run(format!(
        "{auth}MAIL FROM:<a@b.test>\r\nRCPT TO:<x@out.example>\r\nQUIT\r\n"
    ));
    let rcpt = told.lines().rev().nth(1).unwrap().to_owned();
    assert!(
        rcpt.starts_with("250 2.1.5 ") || rcpt.starts_with("553 5.7.1 "),
        "{told}"
    );
    rcpt.starts_with("250 ")
}

#[test]
fn the_checker_gets_three_strings_and_decides() {
    let server = service("auth-checker").env("TCPLOCALPORT", "587");
    assert_eq!(first(&server, GOOD), "235 2.0.0 ok, go ahead (#2.0.0)");
    assert_eq!(server.home.read("got"), b"alice\nsecret\n\n");
    let seen = String::from_utf8(server.home.read("env.checker")).unwrap();
    assert!(seen.contains("TCPREMOTEIP=203.0.113.9\n") && seen.contains("TCPLOCALPORT=587\n"));
    assert!(relays(&server, GOOD));
    const FAILED: &str = "535 5.7.0 authorization failed (#5.7.0)";
    const TROUBLE: &str = "454 4.3.0 unable to check the password now (#4.3.0)";
    for (name, reply) in [
        ("alice", FAILED),
        ("bob", FAILED),
        ("denied", FAILED),
        ("crash", TROUBLE),
        ("later", TROUBLE),
        ("misuse", TROUBLE),
    ] {
        assert_eq!(first(&server, &plain(name, "wrong")), reply, "{name}");
        assert!(!relays(&server, &plain(name, "wrong")), "{name}");
    }
    // More than the protocol carries is refused without a question.
    fs::remove_file(server.home.join("got")).unwrap();
    assert_eq!(first(&server, &plain("alice", &"x".repeat(505))), FAILED);
    assert!(!server.home.join("got").exists());
    let log = server.log();
    assert!(
        log.contains(" login=alice method=plain result=accepted code=235 "),
        "{log}"
    );
    assert!(log.contains(" login=bob method=plain result=refused code=535 "));
    assert!(!log.contains("secret") && !log.contains("wrong"));
}

#[test]
fn cram_md5_comes_in_the_order_of_its_custom() {
    let server = service("auth-cram");
    let checker = server.home.join("checker");
    let checker = checker.to_str().unwrap();
    let digest = "0".repeat(32);
    let answer = format!(
        "AUTH CRAM-MD5\r\n{}\r\nQUIT\r\n",
        base64(&format!("alice {digest}"))
    );
    let lines = |server: &Server| {
        server.run(&answer);
        let got = String::from_utf8(server.home.read("got")).unwrap();
        got.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let old = lines(&server);
    assert!(
        old[1].ends_with("@mail.test>") && old[2] == digest,
        "{old:?}"
    );
    let server = server.args(&[checker, "/bin/true"]);
    let new = lines(&server);
    assert!(
        new[2].ends_with("@mx.host.test>") && new[1] == digest,
        "{new:?}"
    );
    let server = server.env("CRAMORDER", "challenge");
    assert_eq!(lines(&server)[2], digest);
}

/// The trap of 0.31, and everything that looks like it.
#[test]
fn no_arguments_make_an_open_relay() {
    let server = service("auth-trap");
    let bin = server.home.join("checkers");
    fs::create_dir(&bin).unwrap();
    for name in ["cmd5apoppw", "checkpassword"] {
        server.home.script(&format!("checkers/{name}"), CHECKER);
    }
    server.home.script("checkers/careless", "exec \"$@\"");
    std::os::unix::fs::symlink("/bin/true", bin.join("yes")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let mut server = server.env("PATH", path);
    for words in [
        &["mail.test", "/bin/true"][..],
        &["mail.test", "true", "true"],
        &["mail.test", "/bin/true", "/bin/true"],
        &["mail.test", "yes", "/bin/true"],
        &["nosuchchecker", "/bin/true"],
        &["cmd5apopppw", "/bin/true"],
        &["true", "true"],
        &["/bin/true", "x"],
        &["mail.test"],
        &["mail.test", "nosuchchecker", "/bin/true"],
        &["checkpassword", "cmd5apoppw", "/bin/true"],
        &[],
    ] {
        server = server.args(words);
        assert!(!relays(&server, GOOD), "{words:?}");
        let (told, _) = server.run("EHLO x\r\nQUIT\r\n");
        assert!(!told.contains("AUTH"), "{words:?}");
    }
    assert!(server.log().contains(
        "qmail-smtpd: warning: AUTH is off: the checker would say yes to everybody: is the host name forgotten?\n"
    ));
    // As it stands in the wild, with the host forgotten: the checker is the checker.
    server = server.args(&["cmd5apoppw", "/bin/true"]);
    assert!(!relays(&server, &plain("alice", "wrong")));
    assert!(!relays(&server, &plain("bob", "secret")));
    assert!(relays(&server, GOOD));
    // A program that is no checker, in a place where a host might be meant: it cannot say no.
    server = server.args(&["careless", "/bin/true"]);
    assert_eq!(
        first(&server, GOOD),
        "454 4.3.0 unable to check the password now (#4.3.0)"
    );
    assert!(!relays(&server, GOOD));
}

#[test]
fn the_second_tree_of_the_paper_takes_mail_of_its_accounts_only() {
    let server = service("auth-tree");
    server
        .home
        .control("rcpthosts", "nobody.may.write.here.invalid\n");
    let (told, _) = server.run("MAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nQUIT\r\n");
    assert!(told.contains("\r\n553 5.7.1 "), "{told}");
    let (told, end) = server.run(format!(
        "EHLO x\r\n{GOOD}MAIL FROM:<a@b.test>\r\nRCPT TO:<x@out.example>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n\r\n.\r\nQUIT\r\n"
    ));
    assert!(end.is_success() && told.contains("250 2.0.0 ok "), "{told}");
    let stored = server.stored();
    assert_eq!(
        stored[0].envelope,
        b"Fa@b.test\0Tx@out.example\0Tv@host.test\0\0"
    );
    let text = String::from_utf8(stored[0].text.clone()).unwrap();
    assert!(
        text.starts_with(
            "Received: from unknown (HELO x) (alice@203.0.113.9)\n  by mx.host.test with ESMTPA; "
        ),
        "{text}"
    );
}

#[test]
fn a_queue_program_hears_who_it_was() {
    let server = service("auth-filter")
        .env("QMAILQUEUE", "filter")
        .env("TCPREMOTEINFO", "ident");
    server
        .home
        .script("filter", "env >env.seen; exec bin/qmail-queue");
    server.run(format!(
        "{GOOD}MAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n\r\n.\r\nQUIT\r\n"
    ));
    let seen = String::from_utf8(server.home.read("env.seen")).unwrap();
    for line in [
        "TCPREMOTEINFO=alice",
        "RELAYCLIENT=",
        "AUTHUSER=alice",
        "AUTHPROTOCOL=plain",
        "SMTPAUTHUSER=alice",
        "SMTPAUTHMETHOD=plain",
    ] {
        assert!(seen.lines().any(|l| l == line), "{line}\n{seen}");
    }
    assert!(server.log().contains(" info=ident "));
}

#[test]
fn the_session_ends_with_its_launcher_and_the_launcher_with_it() {
    let server = service("auth-launcher");
    let mut client = server.connect();
    client.reply();
    let children = format!("/proc/{0}/task/{0}/children", client.pid());
    let launcher: u32 = kit::until(kit::LIMIT, || {
        fs::read_to_string(&children).ok()?.trim().parse().ok()
    })
    .unwrap();
    let sockets = || {
        let fds = fs::read_dir(format!("/proc/{launcher}/fd"));
        fds.into_iter()
            .flatten()
            .filter_map(|e| fs::read_link(e.unwrap().path()).ok())
            .filter(|to| to.to_string_lossy().starts_with("socket:"))
            .count()
    };
    // Nobody of its own user may look; root may. There is one socket: its line to the session. It does not hold the
    // connection.
    let expected = usize::from(kit::is_root("what the launcher holds"));
    kit::eventually("the launcher has let go", || sockets() == expected);
    client.send(GOOD);
    assert!(client.reply().starts_with("235 "));
    assert_eq!(client.say("QUIT"), 221);
    assert!(client.finish().1.is_success());
    let gone = kit::until(kit::LIMIT, || {
        let state = fs::read_to_string(format!("/proc/{launcher}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
    assert!(gone.is_some(), "the launcher stays");
    // Killed: AUTH fails for now, and the session goes on.
    let mut client = server.connect();
    client.reply();
    let children = format!("/proc/{0}/task/{0}/children", client.pid());
    let launcher: u32 = kit::until(kit::LIMIT, || {
        fs::read_to_string(&children).ok()?.trim().parse().ok()
    })
    .unwrap();
    sys::signal::send(launcher, sys::signal::Signal::SIGKILL).unwrap();
    client.send(GOOD);
    assert!(client.reply().starts_with("454 "));
    assert_eq!(client.say("MAIL FROM:<a@b.test>"), 250);
    assert_eq!(client.say("RCPT TO:<x@out.example>"), 553);
    assert_eq!(client.say("QUIT"), 221);
    assert_eq!(client.finish().1, End::Exit(0));
}

/// The same words after the same wait, and a line in the log for each.
#[test]
fn failures_wait_and_are_counted() {
    let server = service("auth-wait");
    let tables = server.home.join("run/throttle");
    fs::create_dir_all(tables.parent().unwrap()).unwrap();
    auth::throttle::Throttle::create(&tables, 0o600).unwrap();
    let mut client = server.connect();
    client.reply();
    for (name, least) in [("alice", 1), ("nobody", 1), ("alice", 2)] {
        let begun = Instant::now();
        client.send(plain(name, "wrong"));
        assert_eq!(
            client.reply(),
            "535 5.7.0 authorization failed (#5.7.0)\r\n"
        );
        assert!(begun.elapsed() >= Duration::from_secs(least), "{name}");
    }
    client.send(GOOD);
    assert_eq!(
        client.reply(),
        "421 4.7.0 too many failed logins (#4.7.0)\r\n"
    );
    client.finish();
    // The next session knows of them, and the owner gets in.
    assert!(first(&server, GOOD).starts_with("235 "));
    let log = server.log();
    for counts in ["1 accountfails=1", "2 accountfails=1", "3 accountfails=2"] {
        let words = format!(" reason=badlogin netfails={counts} time=");
        assert!(log.contains(&words), "{log}");
    }
}

#[test]
fn required_means_required() {
    let server = service("auth-required")
        .env("SMTPAUTH", "!")
        .env("RELAYCLIENT", "");
    let (told, _) =
        server.run("EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\nQUIT\r\n");
    assert!(
        told.contains("\r\n530 5.7.0 authentication required (#5.7.0)\r\n"),
        "{told}"
    );
    assert!(!told.contains("354"));
    assert!(told.contains("250-AUTH LOGIN PLAIN\r\n"));
    let (told, _) = server.run(format!("{GOOD}MAIL FROM:<a@b.test>\r\nQUIT\r\n"));
    assert!(told.contains("\r\n250 2.1.0 ok\r\n"));
}

#[test]
fn senders_can_be_held_to_their_accounts() {
    let server = service("auth-senders");
    server.home.control("locals", "host.test\n");
    server.home.control("ownsender", "1\n");
    server
        .home
        .control("senderlogins", "sales@host.test:alice\n");
    for (sender, code) in [
        ("alice@host.test", "250"),
        ("sales@host.test", "250"),
        ("bob@host.test", "553"),
    ] {
        let (told, _) = server.run(format!("{GOOD}MAIL FROM:<{sender}>\r\nQUIT\r\n"));
        let line = told.lines().nth(2).unwrap();
        assert!(line.starts_with(code), "{sender} {told}");
    }
}

/// The paper's services run under `softlimit -d950000`, this one too.
#[test]
fn small_limits_of_memory_are_enough_for_auth() {
    let server = service("auth-memory");
    let limit = ["/bin/sh", "-c", "ulimit -d 927 && exec \"$0\" \"$@\""];
    let mut client = server.connect_through(&limit);
    client.reply();
    client.send(GOOD);
    assert!(client.reply().starts_with("235 "), "{}", server.log());
    let long = format!("AUTH PLAIN {}\r\n", "A".repeat(12_000));
    client.send(long);
    assert!(client.reply().starts_with("503 "));
    assert_eq!(client.say("QUIT"), 221);
    assert!(client.finish().1.is_success());
}
