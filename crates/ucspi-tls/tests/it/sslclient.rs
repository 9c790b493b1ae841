//! sslclient, with our own server.

use kit::{Output, Run, Scratch, program};

use crate::server::{PATIENCE, Server, certificate, run, scratch};

fn sslclient(scratch: &Scratch, server: &Server, options: &[&str], words: &[&str]) -> Output {
    Run::new(program("sslclient"))
        .args(["-RHlme"])
        .args(options)
        .args(["127.0.0.1", &server.port.to_string()])
        .args(words)
        .dir(scratch.path())
        .limit(PATIENCE)
        .output()
}

const TRUST: [&str; 2] = ["-a", "live/a/fullchain.pem"];

#[test]
fn the_connection_is_plain_on_6_and_7() {
    let scratch = scratch("client");
    let server = Server::start(&scratch, &[], &["sh", "-c", "read x; echo got $x; cat"]);
    let script = "echo hello >&7; read x <&6; echo $x; echo more >&7; read x <&6; echo $x; \
                  env | grep -E '^(SSL_|PROTO|TCP|SSLREMOTEIP)' | grep -v CERT_ | sort; exit 7";
    let done = sslclient(
        &scratch,
        &server,
        &[&TRUST[..], &["-e"]].concat(),
        &["sh", "-c", script],
    );
    let out = done.out_text();
    assert!(out.starts_with("got hello\nmore\nPROTO=TCP\n"), "{out}");
    for line in [
        "SSLREMOTEIP=127.0.0.1",
        "SSL_PROTOCOL=TLSv1.3",
        "TCPREMOTEIP=127.0.0.1",
    ] {
        assert!(out.lines().any(|l| l == line), "{line} in {out}");
    }
    assert_eq!(done.code(), 7, "{}", done.err_text());
}

#[test]
fn much_goes_through() {
    let scratch = scratch("through");
    let server = Server::start(&scratch, &[], &["cat"]);
    let script = "head -c 5000000 /dev/zero >&7 & head -c 5000000 <&6 | wc -c";
    let done = sslclient(&scratch, &server, &TRUST, &["sh", "-c", script]);
    assert_eq!(done.out_text().trim(), "5000000", "{}", done.err_text());
    let server = Server::start(&scratch, &[], &["sh", "-c", "head -c 5000000 /dev/zero"]);
    let done = sslclient(&scratch, &server, &TRUST, &["sh", "-c", "wc -c <&6"]);
    assert_eq!(done.out_text().trim(), "5000000", "{}", done.err_text());
}

#[test]
fn the_end_of_the_server_is_the_end_of_file() {
    let scratch = scratch("end");
    let server = Server::start(&scratch, &[], &["echo", "hi"]);
    let done = sslclient(&scratch, &server, &TRUST, &["sh", "-c", "cat <&6"]);
    assert_eq!((done.out_text().as_str(), done.code()), ("hi\n", 0));
}

#[test]
fn who_cannot_be_believed_gets_no_program() {
    let scratch = scratch("trust");
    certificate(&scratch, "b", &["other.test", "127.0.0.2"]);
    let server = Server::start(&scratch, &[], &["echo", "hi"]);
    let fails = |options: &[&str], why: &str| {
        let done = sslclient(&scratch, &server, options, &["echo", "ran"]);
        assert_eq!(
            (done.out_text().as_str(), done.code()),
            ("", 111),
            "{options:?}"
        );
        assert!(done.err_text().contains(why), "{}", done.err_text());
    };
    fails(
        &["-a", "live/b/fullchain.pem"],
        "not signed by an authority that we know",
    );
    fails(&[], "not signed by an authority that we know");
    fails(&["-a", "none"], "unable to read none: file does not exist");
    let pin = "00".repeat(32);
    fails(&[&format!("--pin={pin}")], "none of those that are pinned");
    let done = sslclient(&scratch, &server, &["-X"], &["sh", "-c", "cat <&6"]);
    assert_eq!(done.out_text(), "hi\n");

    let shown = Run::new("/usr/bin/openssl")
        .args([
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            "live/a/fullchain.pem",
        ])
        .dir(scratch.path())
        .output()
        .out_text();
    let pin = format!("--pin={}", shown.trim().split_once('=').unwrap().1);
    let done = sslclient(&scratch, &server, &[&pin], &["sh", "-c", "cat <&6"]);
    assert_eq!(done.out_text(), "hi\n", "{}", done.err_text());

    // The right authority, but another name.
    let other = run()
        .env("CERTDIR", "")
        .env("CERTFILE", "live/b/fullchain.pem")
        .env("KEYFILE", "live/b/privkey.pem");
    let server = Server::start_as(&scratch, other, &[], &["echo", "hi"]);
    let done = sslclient(
        &scratch,
        &server,
        &["-a", "live/b/fullchain.pem"],
        &["echo", "ran"],
    );
    assert!(
        done.err_text().contains("for other names"),
        "{}",
        done.err_text()
    );
    assert_eq!(done.code(), 111);
}

#[test]
fn a_client_shows_its_certificate() {
    let scratch = scratch("shows");
    certificate(&scratch, "client", &["client.test"]);
    let asks = run().env("CCAFILE", "live/client/fullchain.pem");
    let server = Server::start_as(
        &scratch,
        asks,
        &["-m"],
        &["sh", "-c", "echo $SSL_CLIENT_S_DN"],
    );
    let mine = [
        "-c",
        "live/client/fullchain.pem",
        "-k",
        "live/client/privkey.pem",
    ];
    let done = sslclient(
        &scratch,
        &server,
        &[&TRUST[..], &mine].concat(),
        &["sh", "-c", "cat <&6"],
    );
    assert_eq!(done.out_text(), "/CN=client.test\n", "{}", done.err_text());
}

#[test]
fn a_server_without_tls_is_no_server() {
    let scratch = scratch("notls");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let talk = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 plain\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let done = Run::new(program("sslclient"))
        .args(["-RHlmeX", "127.0.0.1", &port, "echo", "ran"])
        .dir(scratch.path())
        .output();
    assert_eq!((done.out_text().as_str(), done.code()), ("", 111));
    assert!(
        done.err_text().contains("unable to speak TLS"),
        "{}",
        done.err_text()
    );
    talk.join().unwrap();
}

#[test]
fn a_page_comes_without_its_header() {
    let scratch = scratch("https");
    let serve = "while read -r l; do printf '%s\\n' \"$l\" >>request; \
         test \"$l\" = \"$(printf '\\r')\" && break; done; \
         printf 'HTTP/1.0 200 ok\\r\\nX: y\\r\\n\\r\\none\\r\\n\\r\\ntwo\\n'";
    let server = Server::start(&scratch, &[], &["sh", "-c", serve]);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/https@");
    let page = |authorities: &str| {
        Run::new(&path)
            .env(
                "PATH",
                &format!("{}:/usr/bin:/bin", kit::bin_dir().display()),
            )
            .env("CAFILE", authorities)
            .args(["127.0.0.1", "a%20b?c", &server.port.to_string()])
            .dir(scratch.path())
            .output()
    };
    let done = page("live/a/fullchain.pem");
    assert_eq!(done.out_text(), "one\n\ntwo\n", "{}", done.err_text());
    let want = format!(
        "GET /a%20b?c HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n\r\n",
        server.port
    );
    assert_eq!(String::from_utf8(scratch.read("request")).unwrap(), want);
    let done = page("");
    assert_eq!(done.out_text(), "");
    assert!(
        done.err_text().contains("unable to speak TLS"),
        "{}",
        done.err_text()
    );
}
