//! Our programs beside Debian's, where those are installed.

use std::path::Path;

use kit::{Run, Scratch, program};

use crate::server::Server;

const DEBIAN: &str = "/usr/bin";

fn debian(name: &str) -> Option<Run> {
    let path = Path::new(DEBIAN).join(name);
    if path.exists() {
        return Some(Run::new(path));
    }
    eprintln!("SKIPPED (no {name} in {DEBIAN})");
    None
}

const RULES: &str = "u@1.2.3.4:allow,A=\"1\"\nu@=h.test:deny\n1.2.3.4:allow,A=\"2\",B=/3/\n1.2.3-90.:deny\n\
                     =h.test:allow\n1.2.:allow,X=\"\"\n=.test:deny\n=:allow\n:deny\n2001:db8::1:allow\n\
                     2001:db8::deny\n1.2.:deny\n";

#[test]
fn the_table_is_the_same_byte_for_byte() {
    if debian("tcprules").is_none() {
        return;
    }
    let scratch = Scratch::new("bytes");
    let line = |n: u32| format!("10.{}.{}.7:allow,N=\"{n}\"\n", n % 7, n % 250);
    let many = (0..2000).map(line).collect::<Vec<_>>().concat();
    for text in ["", ":allow\n", RULES, &many] {
        for (run, table) in [
            (debian("tcprules").unwrap(), "c.cdb"),
            (Run::new(program("tcprules")), "r.cdb"),
        ] {
            let done = run.args([table, "tmp"]).dir(scratch.path()).stdin(text);
            assert_eq!(done.output().code(), 0);
        }
        assert!(scratch.read("c.cdb") == scratch.read("r.cdb"), "{text}");
    }
}

#[test]
fn both_find_the_same_rule() {
    if debian("tcprulescheck").is_none() {
        return;
    }
    let scratch = Scratch::new("same-rule");
    crate::server::rules(&scratch, "r.cdb", RULES);
    let ips = [
        "1.2.3.4",
        "1.2.90.1",
        "1.2.91.1",
        "9.9.9.9",
        "2001:db8::1",
        "2001:db8::2",
        "::",
    ];
    for ip in ips {
        for host in [
            None,
            Some(""),
            Some("h.test"),
            Some("x.h.test"),
            Some("other"),
        ] {
            for info in [None, Some("u"), Some("")] {
                let answer = |path| {
                    let mut run = Run::new(path).arg("r.cdb").dir(scratch.path());
                    run = run.env("TCPREMOTEIP", ip);
                    if let Some(host) = host {
                        run = run.env("TCPREMOTEHOST", host);
                    }
                    if let Some(info) = info {
                        run = run.env("TCPREMOTEINFO", info);
                    }
                    run.output().out_text()
                };
                let theirs = answer(Path::new(DEBIAN).join("tcprulescheck"));
                assert_eq!(answer(program("tcprulescheck")), theirs);
            }
        }
    }
}

#[test]
fn their_client_talks_to_our_server() {
    let Some(client) = debian("tcpclient") else {
        return;
    };
    let scratch = Scratch::new("their-client");
    let server = Server::start(&scratch, &["-RHl0", "0", "0", "cat"]);
    let port = server.port.to_string();
    let done = client
        .args(["-RHl0", "::1", &port, "sh", "-c"])
        .arg("echo hello >&7; head -n 1 <&6")
        .output();
    assert_eq!((done.code(), done.out_text()), (0, "hello\n".into()));
}

#[test]
fn our_client_talks_to_their_server() {
    let Some(server) = debian("tcpserver") else {
        return;
    };
    let scratch = Scratch::new("their-server");
    let server = Server::start_as(&scratch, server, &["-RHl0", "0", "0", "cat"]);
    let port = server.port.to_string();
    for host in ["0", "127.0.0.1", "::1"] {
        let done = Run::new(program("tcpclient"))
            .args(["-RHl0", host, &port, "sh", "-c"])
            .arg("echo hello >&7; head -n 1 <&6")
            .output();
        assert_eq!((done.code(), done.out_text()), (0, "hello\n".into()));
    }
}
