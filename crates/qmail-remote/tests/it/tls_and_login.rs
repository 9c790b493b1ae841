//! TLS as control/tlspolicy wants it, and logins.

use std::fmt::Write as _;
use std::sync::Arc;

use kit::Home;
use tls::server::tickets::Tickets;
use tls::server::{Config, Identity, Settings, Store};

use crate::server::{Script, Server};
use crate::{MESSAGE, home, send, send_from};

/// A certificate for these names, and a server that shows it.
struct Secret {
    pem: String,
    pin: String,
    config: Config,
}

fn secret(names: &[&str]) -> Secret {
    secret_until(names, 2100)
}

fn secret_until(names: &[&str], year: i32) -> Secret {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let made = params.self_signed(&key).unwrap();
    let pem = made.pem();
    let identity = Identity::read(pem.as_bytes(), key.serialize_pem().as_bytes(), None).unwrap();
    let mut store = Store::default();
    store.add_default(&identity);
    let tickets = Arc::new(Tickets::new(b"test").unwrap());
    let mut pin = String::new();
    for byte in tls::client::pin(made.der()) {
        write!(pin, "{byte:02x}").unwrap();
    }
    Secret {
        config: Config::new(&Settings::default(), Arc::new(store), tickets).unwrap(),
        pem,
        pin,
    }
}

/// A home where everything goes to `server`, under the name of localhost, with this policy.
fn place(server: &Server, policy: &str, secret: &Secret) -> Home {
    let home = home(&server.route());
    home.control("tlspolicy", policy);
    home.control("tlsroots.pem", &secret.pem);
    home
}

fn mail(home: &Home) -> String {
    send(home, "h.test", &["r@h.test"], MESSAGE)
}

const UNDER_TLS: &str = "r^K127.0.0.1 accepted message.\nRemote host said: 250 taken\n\
                         Sent under TLSv1.3, TLS_AES_256_GCM_SHA384.\n^";
const IN_CLEAR: &str = "r^K127.0.0.1 accepted message.\nRemote host said: 250 taken\n^";

#[test]
fn tls_is_used_where_it_is_offered_and_what_was_said_before_is_forgotten() {
    let secret = secret(&["other.test"]);
    let script = Script::default()
        .with_tls(&secret.config)
        .on("EHLO", "250-hello\r\n250-SIZE 1\r\n250 STARTTLS");
    let server = Server::local(script);
    let home = home(&server.route());
    assert_eq!(mail(&home), UNDER_TLS);
    assert_eq!(
        server.session(),
        "EHLO host.test\r\nSTARTTLS\r\n[TLS]\r\nEHLO host.test\r\nMAIL FROM:<s@a.test>\r\n\
         RCPT TO:<r@h.test>\r\nDATA\r\nSubject: test\r\n\r\nbody\r\n.\r\nQUIT\r\n"
    );
}

#[test]
fn a_large_message_goes_through_whole() {
    let secret = secret(&["x.test"]);
    let server = Server::local(Script::default().with_tls(&secret.config));
    let message = [
        b"Subject: x\n\n".to_vec(),
        b"0123456789abcde\n".repeat(40_000),
    ]
    .concat();
    let got = send(&home(&server.route()), "h", &["r@h"], &message);
    assert!(got.starts_with("r^K"), "{got}");
    assert_eq!(
        server.session().matches("0123456789abcde\r\n").count(),
        40_000
    );
}

#[test]
fn tls_that_does_not_work_is_left_out_unless_it_is_wanted() {
    let (secret, nobody) = (secret(&["x.test"]), secret(&["x.test"]));
    for (name, script) in [
        (
            "refused",
            Script::default()
                .with_tls(&secret.config)
                .on("STARTTLS", "454 not now"),
        ),
        (
            "broken",
            Script::default()
                .on("EHLO", "250-hello\r\n250 STARTTLS")
                .on("STARTTLS", "220 x"),
        ),
        (
            "gone",
            Script::default()
                .on("EHLO", "250-hello\r\n250 STARTTLS")
                .close_on("STARTTLS"),
        ),
    ] {
        let server = Server::local(script.clone());
        let got = mail(&home(&server.route()));
        if name == "gone" {
            // No word about TLS: this host is just not there.
            assert!(got.contains("connection died"), "{name}: {got}");
        } else {
            assert_eq!(got, IN_CLEAR, "{name}");
            assert_eq!(server.finish().len(), 2, "{name}");
        }
        let server = Server::local(script);
        let got = mail(&place(&server, "127.0.0.1:encrypt\n", &nobody));
        assert!(
            got.starts_with("ZConnected to 127.0.0.1 but "),
            "{name}: {got}"
        );
        let seen = server.finish();
        assert!(
            !String::from_utf8_lossy(&seen.concat()).contains("MAIL"),
            "{name}"
        );
    }
}

#[test]
fn a_server_that_hides_starttls_gets_nothing_when_tls_is_wanted() {
    let secret = secret(&["x.test"]);
    for level in ["encrypt", "verify", &format!("pin:{}", secret.pin)] {
        let server = Server::local(Script::default());
        let got = mail(&place(&server, &format!(":{level}\n"), &secret));
        assert_eq!(
            got,
            "ZConnected to 127.0.0.1 but it offers no TLS, and control/tlspolicy asks for it. (#4.7.4)\n^"
        );
        assert_eq!(server.session(), "EHLO host.test\r\nQUIT\r\n");
    }
}

#[test]
fn words_behind_starttls_are_not_taken_for_words_under_tls() {
    let secret = secret(&["x.test"]);
    let script = Script::default()
        .with_tls(&secret.config)
        .on("STARTTLS", "220 go ahead\r\n250-hello\r\n250 SIZE 1");
    let server = Server::local(script);
    let got = mail(&home(&server.route()));
    assert_eq!(
        got,
        "ZConnected to 127.0.0.1 but it spoke between STARTTLS and TLS. (#4.7.5)\n^"
    );
    assert!(!server.session().contains("MAIL"));
}

#[test]
fn certificates_are_verified_when_they_are_to_be() {
    let (good, other) = (secret(&["127.0.0.1", "mx.a.test"]), secret(&["127.0.0.1"]));
    let old = secret_until(&["127.0.0.1"], 2021);
    for (shown, known, level, why) in [
        (&good, &good, "verify", ""),
        (&good, &good, "verify:mx.a.test", ""),
        (&good, &good, "verify:b.test,.a.test", ""),
        (
            &good,
            &good,
            "verify:b.test",
            "its certificate is for other names",
        ),
        (&other, &good, "verify", "certificate"),
        (&old, &old, "verify", "its certificate has expired"),
        (&good, &good, "pin:GOOD", ""),
        (
            &other,
            &good,
            "pin:GOOD",
            "its certificate is none of those that are pinned",
        ),
        (&old, &good, "encrypt", ""),
    ] {
        let server = Server::local(Script::default().with_tls(&shown.config));
        let policy = format!("127.0.0.1:{}\n", level.replace("GOOD", &good.pin));
        let got = mail(&place(&server, &policy, known));
        if why.is_empty() {
            assert_eq!(got, UNDER_TLS, "{level}");
        } else {
            assert!(
                got.starts_with("ZConnected to 127.0.0.1 but "),
                "{level}: {got}"
            );
            assert!(
                got.contains(why) && got.ends_with("(#4.7.5)\n^"),
                "{level}: {got}"
            );
            assert!(!server.session().contains("MAIL"), "{level}");
        }
    }
}

#[test]
fn a_policy_that_makes_no_sense_defers() {
    let secret = secret(&["x.test"]);
    let server = Server::local(Script::default().with_tls(&secret.config));
    let got = mail(&place(&server, ":sometimes\n", &secret));
    assert_eq!(got, "ZUnable to read control files. (#4.3.0)\n^");
    assert!(server.finish().is_empty());
    let server = Server::local(Script::default().with_tls(&secret.config));
    assert_eq!(mail(&place(&server, ":none\n", &secret)), IN_CLEAR);
    // Nothing for other hosts.
    assert_eq!(
        mail(&place(&server, "other.test:verify\n.0.0.1:may\n", &secret)),
        UNDER_TLS
    );
}

/// Only port 465 is meant so, and it can be had by root only.
#[test]
fn at_port_465_tls_comes_first() {
    if !kit::is_root("at_port_465_tls_comes_first") {
        return;
    }
    let at = ("127.0.46.5", 465);
    let secret = secret(&["127.0.46.5"]);
    let script = Script::default().with_tls(&secret.config).implicit();
    let server = Server::start(at, script);
    let home = place(&server, ":verify\n", &secret);
    let got = mail(&home);
    assert_eq!(got, UNDER_TLS.replace("127.0.0.1", at.0));
    assert!(
        server
            .session()
            .starts_with("[TLS]\r\nEHLO host.test\r\nMAIL")
    );

    // Nothing is said in clear there.
    let server = Server::start(at, Script::default());
    let got = mail(&crate::home(&server.route()));
    assert!(got.starts_with("ZConnected to 127.0.46.5 but "), "{got}");
    assert!(!server.session().contains("EHLO"));
}

#[test]
fn a_login_is_made_before_mail() {
    // The name and the password, as PLAIN sends them.
    const PLAIN: &str = "AUTH PLAIN AGpvZQBzZWNyZXQ=\r\n";
    let secret = secret(&["x.test"]);
    let script = Script::default()
        .with_tls(&secret.config)
        .on("TLS EHLO", "250-hello\r\n250 AUTH LOGIN PLAIN")
        .on("AUTH", "235 welcome");
    for (name, routes, senders, secrets) in [
        ("spaces", ":R joe secret\n", "", ""),
        ("bars", ":R|joe|secret\n", "", ""),
        ("elsewhere", ":R\n", "", "127.0.0.1:joe:secret\n"),
        ("by sender", "", "s@a.test:R|joe|secret\n", ""),
        ("by host of sender", "", "@a.test:R|joe|secret\n", ""),
    ] {
        let server = Server::local(script.clone());
        let relay = format!("127.0.0.1:{}", server.port());
        let home = home(&routes.replace('R', &relay));
        home.control("authsenders", &senders.replace('R', &relay));
        home.control("remotesecrets", secrets);
        assert_eq!(mail(&home), UNDER_TLS, "{name}");
        let seen = server.session();
        assert_eq!(seen.matches(PLAIN).count(), 1, "{name}: {seen}");
        assert!(seen.find(PLAIN) < seen.find("MAIL"), "{name}");
    }
}

#[test]
fn a_password_never_goes_in_clear() {
    let offers = "250-hello\r\n250 AUTH PLAIN LOGIN";
    // Loopback is not on the way; nobody else is at hand, so the rule itself is held by a unit test of the choice.
    let server = Server::local(
        Script::default()
            .on("EHLO", offers)
            .on("AUTH", "535 5.7.8 no"),
    );
    let home = home(&format!(":127.0.0.1:{}|joe|secret\n", server.port()));
    let got = mail(&home);
    assert_eq!(
        got,
        "ZConnected to 127.0.0.1 but it did not accept our login.\nRemote host said: 535 5.7.8 no\n^"
    );
    assert!(!server.session().contains("MAIL"));
    let server = Server::local(Script::default().on("EHLO", "250-x\r\n250 AUTH GSSAPI"));
    let home = crate::home(&format!(":127.0.0.1:{}|joe|secret\n", server.port()));
    assert_eq!(
        mail(&home),
        "ZConnected to 127.0.0.1 but it offers no way to log in that I may use there. (#4.7.11)\n^"
    );
}

#[test]
fn a_bounce_does_not_log_in_as_anybody() {
    let server = Server::local(Script::default().on("EHLO", "250-x\r\n250 AUTH PLAIN"));
    let home = home(&server.route());
    home.control(
        "authsenders",
        &format!(":127.0.0.1:{}|joe|x\n", server.port()),
    );
    let got = send_from(&home, "h.test", "", &["r@h.test"], MESSAGE);
    assert_eq!(got, IN_CLEAR);
    assert!(!server.session().contains("AUTH"));
}

#[test]
fn cram_md5_answers_the_challenge() {
    // The example of RFC 2195.
    let server = Server::playing(("127.0.0.1", 0), |session| {
        session.say("220 hi\r\n");
        session.line();
        session.say("250-x\r\n250 AUTH=CRAM-MD5\r\n");
        assert_eq!(session.line(), b"AUTH CRAM-MD5\r\n");
        session.say("334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\r\n");
        let answer = session.line();
        let right = b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n";
        session.say(if answer == right {
            "235 ok\r\n"
        } else {
            "535 no\r\n"
        });
        while let line = session.line()
            && !line.is_empty()
        {
            let verb = String::from_utf8_lossy(&line[..4]).into_owned();
            if verb == "DATA" {
                session.say("354 go\r\n");
                session.text();
            }
            session.say("250 taken\r\n");
        }
    });
    let home = home(&format!(
        ":127.0.0.1:{} tim tanstaaftanstaaf\n",
        server.port()
    ));
    assert_eq!(mail(&home), IN_CLEAR);
}
