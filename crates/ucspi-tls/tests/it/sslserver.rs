//! TLS from the first byte.

use kit::{Run, program};
use sys::process::End;
use sys::signal::Signal;

use crate::server::{PATIENCE, Server, run, scratch};

#[test]
fn a_program_sees_plain_text_and_is_told_of_the_session() {
    let scratch = scratch("plain");
    let script =
        "read line; echo \"got $line\"; env | grep -E '^(SSL_|TCP|PROTO|UCSPI|SSLCTL)' | sort";
    let server = Server::start(&scratch, &[], &["sh", "-c", script]);
    let got = server.talk(&["-tls1_3"], "hello\n");
    for line in [
        "got hello",
        "PROTO=TCP",
        "SSL_PROTOCOL=TLSv1.3",
        "SSL_TLS_SNI=mail.test",
        "SSL_CLIENT_VERIFY=NONE",
        "TCPREMOTEIP=127.0.0.1",
        "TCPLOCALHOST=me",
    ] {
        assert!(got.lines().any(|l| l == line), "{line} in {got}");
    }
    assert!(
        !got.contains("UCSPITLS") && !got.contains("SSLCTLFD"),
        "{got}"
    );
    let got = server.talk(&["-tls1_2"], "hello\n");
    assert!(got.contains("SSL_PROTOCOL=TLSv1.2\n"), "{got}");
    server.logged("ssl ok 127.0.0.1 TLSv1.3 TLS_");
    server.logged("mail.test");
}

#[test]
fn without_e_there_are_no_variables_of_tcp() {
    let scratch = scratch("ssl");
    let script = "env | grep -E '^(TCP|PROTO|SSLREMOTEIP|SSLLOCAL)' | grep -v PORT | sort";
    let server = Server::start(&scratch, &["-E"], &["sh", "-c", script]);
    assert_eq!(
        server.talk(&[], ""),
        "PROTO=SSL\nSSLLOCALHOST=me\nSSLLOCALIP=127.0.0.1\nSSLREMOTEIP=127.0.0.1\n"
    );
}

#[test]
fn much_goes_through_both_ways() {
    let scratch = scratch("much");
    let server = Server::start(&scratch, &[], &["cat"]);
    let got = server.python(
        "
import select
data = bytes(range(256)) * 40000
s = tls()
s.setblocking(False)
rest = memoryview(data + b'END')
got = bytearray()
while not got.endswith(b'END'):
    select.select([s], [s] if rest else [], [], 30)
    try:
        while rest: rest = rest[s.send(rest[:65536]):]
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError): pass
    try:
        while True:
            piece = s.recv(65536)
            if not piece: sys.exit('it ends too early')
            got += piece
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError): pass
print(got[:-3] == data)
s.setblocking(True)
s = s.unwrap()
print(s.recv(10))
",
    );
    assert_eq!(got, "True\nb''\n");
}

#[test]
fn what_a_program_says_last_arrives_before_the_end() {
    let scratch = scratch("last");
    let script = "head -c 3000000 /dev/zero; exec 1>&-; exit 0";
    let server = Server::start(&scratch, &[], &["sh", "-c", script]);
    let got =
        server.python("s = tls(); s.send(b'unread' * 1000); time.sleep(1); print(len(rest(s)))");
    assert_eq!(got, "3000000\n");
}

#[test]
fn rules_and_limits_are_those_of_tcpserver() {
    if !program("tcprules").exists() {
        eprintln!("SKIPPED (build the workspace first): rules_and_limits_are_those_of_tcpserver");
        return;
    }
    let scratch = scratch("rules");
    let done = Run::new(program("tcprules"))
        .args(["r.cdb", "r.tmp"])
        .dir(scratch.path())
        .stdin("127.0.0.1:allow,RULE=\"yes\"\n:deny\n")
        .output();
    assert_eq!(done.code(), 0);
    let options = ["-xr.cdb", "--per-address=1", "--refusal=421 no"];
    let server = Server::start(&scratch, &options, &["sh", "-c", "echo $RULE; read x"]);
    let got = server.python(
        "
s = tls()
print(s.recv(100))
print(rest(plain()))
s.send(b'\\n')
s.close()
",
    );
    assert_eq!(got, "b'yes\\n'\nb'421 no\\r\\n'\n");
    server.logged("refuse 127.0.0.1: too many connections at once");
}

#[test]
fn who_does_not_finish_a_handshake_counts_too() {
    let scratch = scratch("pending");
    let server = Server::start(&scratch, &["--per-address=1", "-T30"], &["echo", "hi"]);
    let slow = server.connect();
    server.logged("status: 1/40");
    let got = crate::server::rest(server.connect());
    assert_eq!(got, b"");
    server.logged("refuse 127.0.0.1: too many connections at once");
    drop(slow);
    server.logged("unable to accept SSL from 127.0.0.1: the client has gone");
    server.logged("status: 0/40\n");
    assert_eq!(server.talk(&[], ""), "hi\n");
}

#[test]
fn a_front_end_tells_before_the_handshake() {
    let scratch = scratch("front");
    let script = "echo $TCPREMOTEIP $TCPREMOTEPORT $TCPLOCALIP $SSL_PROTOCOL";
    let server = Server::start(&scratch, &["--proxy=127.0.0.1"], &["sh", "-c", script]);
    let got = server.python(
        "
s = plain()
s.sendall(b'PROXY TCP4 192.0.2.7 192.0.2.8 4000 465\\r\\n')
print(rest(context.wrap_socket(s, server_hostname='mail.test')))
s = plain()
for byte in b'PROXY TCP4 192.0.2.9 192.0.2.8 4001 465\\r\\n':
    s.send(bytes([byte])); time.sleep(0.005)
print(rest(context.wrap_socket(s, server_hostname='mail.test')))
try: print(tls())
except (ssl.SSLError, OSError): print('no')
",
    );
    assert_eq!(
        got,
        "b'192.0.2.7 4000 192.0.2.8 TLSv1.3\\n'\nb'192.0.2.9 4001 192.0.2.8 TLSv1.3\\n'\nno\n"
    );
    server.logged("no PROXY header");
}

#[test]
fn tickets_work_in_every_process_and_for_one_service_only() {
    let scratch = scratch("tickets");
    scratch.write("secret", [7; 32]);
    let options = ["--processes=4", "--ticket-key=secret"];
    let script = "echo $SSL_SESSION_RESUMED";
    let start = || Server::start(&scratch, &options, &["sh", "-c", script]);
    let (one, other) = (start(), start());
    let session = scratch.join("session");
    let session = session.to_str().unwrap();
    for version in ["-tls1_3", "-tls1_2"] {
        assert_eq!(one.talk(&[version, "-sess_out", session], ""), "Initial\n");
        for _ in 0..8 {
            assert_eq!(one.talk(&[version, "-sess_in", session], ""), "Resumed\n");
        }
        assert_eq!(other.talk(&[version, "-sess_in", session], ""), "Initial\n");
    }
}

#[test]
fn a_secret_for_tickets_outlives_a_restart() {
    let scratch = scratch("restart");
    scratch.write("secret", [7; 32]);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    drop(holder);
    let session = scratch.join("session");
    let session = session.to_str().unwrap();
    for (secret, want) in [
        ("secret", "Initial\n"),
        ("secret", "Resumed\n"),
        ("", "Initial\n"),
    ] {
        let log = scratch.join("log");
        let _ = std::fs::remove_file(&log);
        let mut daemon = run()
            .env("TICKETKEYFILE", secret)
            .args([
                "-1RHlme",
                "127.0.0.1",
                &port,
                "sh",
                "-c",
                "echo $SSL_SESSION_RESUMED",
            ])
            .dir(scratch.path())
            .start(&log);
        kit::until(PATIENCE, || {
            std::fs::metadata(&log).ok().filter(|m| m.len() > 0)
        })
        .unwrap();
        let server_port = format!("127.0.0.1:{port}");
        let mut words = vec![
            "s_client",
            "-quiet",
            "-servername",
            "mail.test",
            "-connect",
            &server_port,
        ];
        words.extend(if want == "Initial\n" && secret == "secret" {
            ["-sess_out", session]
        } else {
            ["-sess_in", session]
        });
        let got = Run::new("/usr/bin/openssl").args(words).output().out_text();
        assert_eq!(got, want, "{secret}");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait(PATIENCE), End::Exit(0));
    }
}

#[test]
fn old_versions_and_foreign_protocols_are_refused() {
    let scratch = scratch("old");
    let server = Server::start(&scratch, &["--alpn=smtp,esmtp"], &["echo", "hi"]);
    for words in [
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-SHA"],
        &["-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"],
        &["-alpn", "http/1.1"],
        &["-alpn", "pop3"],
    ] {
        assert_eq!(server.talk(words, ""), "", "{words:?}");
    }
    assert_eq!(server.talk(&["-alpn", "smtp"], ""), "hi\n");
    assert_eq!(server.talk(&[], ""), "hi\n");
    server.logged("unable to accept SSL from 127.0.0.1: ");
    let server = Server::start(&scratch, &["--min-tls=1.3"], &["echo", "hi"]);
    assert_eq!(server.talk(&["-tls1_2"], ""), "");
    assert_eq!(server.talk(&["-tls1_3"], ""), "hi\n");
}

#[test]
fn sslscan_finds_nothing_weak() {
    if !std::path::Path::new("/usr/bin/sslscan").exists() {
        eprintln!("SKIPPED (no sslscan): sslscan_finds_nothing_weak");
        return;
    }
    let scratch = scratch("scan");
    let server = Server::start(&scratch, &["-c200"], &["echo", "hi"]);
    let found = Run::new("/usr/bin/sslscan")
        .args(["--no-colour", &format!("127.0.0.1:{}", server.port)])
        .limit(PATIENCE)
        .output()
        .out_text();
    for version in ["SSLv2 ", "SSLv3 ", "TLSv1.0 ", "TLSv1.1 "] {
        let line = found.lines().find(|l| l.starts_with(version)).unwrap();
        assert!(line.ends_with("disabled"), "{line}");
    }
    let is_cipher = |l: &&str| l.starts_with("Accepted") || l.starts_with("Preferred");
    let ciphers: Vec<&str> = found.lines().filter(is_cipher).collect();
    assert!(ciphers.len() >= 6, "{found}");
    for line in ciphers {
        let good = line.contains("GCM") || line.contains("CHACHA20");
        assert!(good && !line.contains(" 112 bits"), "{line}");
    }
    assert!(
        found.contains("Session renegotiation not supported"),
        "{found}"
    );
    assert!(
        !found.contains(" vulnerable to") || found.contains("not vulnerable"),
        "{found}"
    );
}

#[test]
fn the_order_of_ciphers_that_is_written_down_counts() {
    let scratch = scratch("order");
    let run = run().env(
        "CIPHERS",
        "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:HIGH",
    );
    let server = Server::start_as(&scratch, run, &[], &["sh", "-c", "echo $SSL_CIPHER"]);
    assert_eq!(server.talk(&["-tls1_3"], ""), "TLS_AES_128_GCM_SHA256\n");
    assert_eq!(
        server.talk(&["-tls1_2"], ""),
        "ECDHE-ECDSA-AES128-GCM-SHA256\n"
    );
    assert_eq!(
        server.talk(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], ""),
        ""
    );
    server.logged("CIPHERS: no such cipher here: HIGH");
}
