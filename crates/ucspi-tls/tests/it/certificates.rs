//! Which certificate a client sees, and certificates of clients.

use std::os::unix::fs::PermissionsExt;

use kit::{Run, Scratch, program};
use sys::signal::Signal;

use crate::server::{PATIENCE, Server, certificate, run, scratch};

/// The hosts in the certificate that a client sees that asks for `host`.
fn seen(server: &Server, host: &str) -> String {
    server.python(&format!(
        "
s = context.wrap_socket(plain(), server_hostname='{host}')
der = s.getpeercert(True)
names = [n for n in (b'one.test', b'two.test', b'three.test', b'mail.test') if n in der]
print(b','.join(names).decode())
"
    ))
}

#[test]
fn each_host_has_its_own() {
    let scratch = Scratch::new("sni");
    certificate(&scratch, "a", &["mail.test"]);
    certificate(&scratch, "b", &["one.test", "*.two.test"]);
    scratch.write("live/README", "not a certificate");
    scratch.write("live/broken/fullchain.pem", "junk");
    let key = scratch.join("live/b/privkey.pem");
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let server = Server::start(&scratch, &[], &["echo", "hi"]);
    assert!(
        !server.log().contains("live/a/privkey.pem"),
        "{}",
        server.log()
    );
    server.logged("live/b/privkey.pem: every user can read this key");
    assert_eq!(seen(&server, "one.test"), "one.test,two.test\n");
    assert_eq!(seen(&server, "x.two.test"), "one.test,two.test\n");
    assert_eq!(seen(&server, "else.test"), "mail.test\n");
    assert_eq!(seen(&server, "MAIL.test"), "mail.test\n");
    server.logged("live/broken/privkey.pem: file does not exist");
}

#[test]
fn a_renewed_certificate_is_used_at_once_and_sessions_go_on() {
    let scratch = scratch("reload");
    let server = Server::start(
        &scratch,
        &["--processes=2"],
        &["sh", "-c", "read x; echo $x"],
    );
    assert_eq!(seen(&server, "mail.test"), "mail.test\n");
    let script = format!(
        "
import subprocess, os
s = tls()
subprocess.check_call(['{}', '-f', '{}', 'three.test'])
os.kill({}, 1)
for n in range(600):
    other = tls()
    if b'three.test' in other.getpeercert(True): break
    other.close()
    time.sleep(0.1)
print(n < 599)
s.send(b'still here\\n')
print(rest(s))
",
        program("tlscert").display(),
        scratch.join("live/a").display(),
        server.daemon.pid(),
    );
    assert_eq!(server.python(&script), "True\nb'still here\\n'\n");
    assert!(!server.log().contains("died"), "{}", server.log());
    // Without a signal, by looking.
    certificate(&scratch, "a", &["one.test"]);
    let found = kit::until(PATIENCE, || {
        (seen(&server, "x") == "one.test\n").then_some(())
    });
    assert!(found.is_some());
    // What cannot be used changes nothing.
    std::fs::write(scratch.join("live/a/privkey.pem"), "junk").unwrap();
    server.daemon.signal(Signal::SIGHUP);
    server.logged("live/a/fullchain.pem: no usable key: the old one stays in use");
    assert_eq!(seen(&server, "x"), "one.test\n");
}

#[test]
fn without_a_certificate_nothing_begins() {
    let scratch = scratch("none");
    certificate(&scratch, "b", &["one.test"]);
    let fails = |run: Run, want: &str| {
        let done = run
            .args(["-lme", "127.0.0.1", "0", "echo"])
            .dir(scratch.path())
            .output();
        assert_eq!(done.code(), 111);
        assert!(done.err_text().contains(want), "{}", done.err_text());
    };
    let plain = || Run::new(program("sslserver"));
    fails(plain(), "no certificate: set CERTFILE or CERTDIR");
    fails(
        plain().env("CERTFILE", "none.pem"),
        "unable to read none.pem",
    );
    fails(
        plain().env("CERTFILE", "live/a/fullchain.pem"),
        "live/a/fullchain.pem: no usable key",
    );
    fails(
        plain()
            .env("CERTFILE", "live/a/fullchain.pem")
            .env("KEYFILE", "live/b/privkey.pem"),
        "live/a/fullchain.pem: key does not match certificate",
    );
    fails(run().args(["-m"]), "no usable certificate of an authority");
    let done = run().args(["-3", "0", "0", "x"]).output();
    assert_eq!(done.code(), 100);
}

#[test]
fn a_certificate_at_its_end_is_told() {
    let scratch = Scratch::new("old");
    std::fs::create_dir_all(scratch.join("live")).unwrap();
    let done = Run::new(program("tlscert"))
        .args(["-d", "2", "live/a", "mail.test"])
        .dir(scratch.path())
        .output();
    assert_eq!(done.code(), 0);
    let server = Server::start(&scratch, &[], &["echo", "hi"]);
    server.logged("live/a: certificate expires in ");
    assert_eq!(server.talk(&[], ""), "hi\n");
}

#[test]
fn rsa_is_for_clients_that_know_nothing_else() {
    let scratch = Scratch::new("rsa");
    certificate(&scratch, "ec", &["mail.test"]);
    let made = Run::new("/usr/bin/openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "9",
            "-subj",
            "/CN=mail.test",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:mail.test",
            "-keyout",
            "rsa.key",
            "-out",
            "rsa.pem",
        ])
        .dir(scratch.path())
        .output();
    assert_eq!(made.code(), 0, "{}", made.err_text());
    let both = Run::new(program("sslserver"))
        .env("CERTFILE", "rsa.pem")
        .env("KEYFILE", "rsa.key")
        .env("CERTFILEEC", "live/ec/fullchain.pem")
        .env("KEYFILEEC", "live/ec/privkey.pem");
    let server = Server::start_as(&scratch, both, &[], &["sh", "-c", "echo $SSL_CIPHER"]);
    let old = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"];
    assert_eq!(server.talk(&old, ""), "ECDHE-RSA-AES128-GCM-SHA256\n");
    let got = server.talk(&["-tls1_2"], "");
    assert!(got.starts_with("ECDHE-ECDSA-"), "{got}");
}

#[test]
fn an_answer_of_the_authority_is_passed_on() {
    let scratch = scratch("ocsp");
    scratch.write("live/a/ocsp.der", [0x30, 0x03, 0x0a, 0x01, 0x06]);
    let server = Server::start(&scratch, &[], &["echo", "hi"]);
    let got = server.client(&["-status"], "").out_text();
    assert!(got.contains("OCSP Response Status: unauthorized"), "{got}");
}

#[test]
fn certificates_of_clients() {
    let scratch = scratch("client");
    certificate(&scratch, "client", &["client.test"]);
    certificate(&scratch, "stranger", &["stranger.test"]);
    let live = |name: &str| scratch.join("live").join(name).to_str().unwrap().to_owned();
    let with = |name: &str| {
        let (chain, key) = (
            live(&format!("{name}/fullchain.pem")),
            live(&format!("{name}/privkey.pem")),
        );
        ["-cert".to_owned(), chain, "-key".to_owned(), key]
    };
    let script = "echo $SSL_CLIENT_VERIFY $SSL_CLIENT_S_DN $SSL_CLIENT_SAN_DNS_0";
    for (option, anonymous) in [("-m", ""), ("--client-cert=ask", "NONE\n")] {
        let run = run().env("CCAFILE", "live/client/fullchain.pem");
        let server = Server::start_as(&scratch, run, &[option], &["sh", "-c", script]);
        let talk = |words: &[String]| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            server.talk(&words, "")
        };
        assert_eq!(
            talk(&with("client")),
            "SUCCESS /CN=client.test client.test\n"
        );
        assert_eq!(talk(&with("stranger")), "");
        assert_eq!(talk(&[]), anonymous);
    }
}
