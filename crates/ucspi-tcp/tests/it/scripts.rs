//! mconnect, tcpcat, http@ and the others that are shell scripts.

use std::path::PathBuf;

use kit::{Run, Scratch, bin_dir};

use crate::server::Server;

fn script(name: &str) -> Run {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name);
    Run::new(path).env("PATH", &format!("{}:/usr/bin:/bin", bin_dir().display()))
}

#[test]
fn tcpcat_and_mconnect_with_a_port() {
    let scratch = Scratch::new("scripts");
    let talk = "printf '220 hi\\r\\n'; read -r l; printf 'got %s\\n' \"$l\" | cat -v";
    let server = Server::start(&scratch, &["-RHl0", "127.0.0.1", "0", "sh", "-c", talk]);
    let port = server.port.to_string();
    let done = script("mconnect")
        .args(["127.0.0.1", &port])
        .stdin("quit\n")
        .output();
    assert_eq!(done.out_text(), "220 hi\r\ngot quit^M\n");
    assert_eq!((done.code(), done.err_text()), (0, String::new()));

    let quote = ["-RHl0", "127.0.0.1", "0", "printf", "a\\r\\nb"];
    let server = Server::start(&scratch, &quote);
    let done = script("tcpcat")
        .args(["127.0.0.1", &server.port.to_string()])
        .output();
    assert_eq!((done.out_text(), done.code()), ("a\r\nb".into(), 0));
}

#[test]
fn a_page_comes_without_its_header() {
    let scratch = Scratch::new("http");
    let serve = "while read -r l; do printf '%s\\n' \"$l\" >>request; \
         test \"$l\" = \"$(printf '\\r')\" && break; done; \
         printf 'HTTP/1.0 200 ok\\r\\nX: y\\r\\n\\r\\none\\r\\n\\r\\ntwo\\n'";
    let server = Server::start(&scratch, &["-RHl0", "127.0.0.1", "0", "sh", "-c", serve]);
    let port = server.port.to_string();
    let done = script("http@")
        .args(["127.0.0.1", "a%20b?c", &port])
        .output();
    assert_eq!(done.out_text(), "one\n\ntwo\n");
    let want = format!("GET /a%20b?c HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    assert_eq!(String::from_utf8(scratch.read("request")).unwrap(), want);
}

#[test]
fn a_host_is_never_an_option() {
    for name in ["mconnect", "tcpcat", "who@", "date@", "finger@", "http@"] {
        let done = script(name).args(["-v", "-v"]).output();
        assert!(done.err_text().starts_with("tcpclient: fatal: "), "{name}");
        assert!(!done.err_text().contains("usage"), "{name}");
    }
}
