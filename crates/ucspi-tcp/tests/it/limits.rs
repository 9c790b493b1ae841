//! tcpserver when more come than should.

use std::io::{Read, Write};
use std::net::TcpStream;

use kit::Scratch;

use crate::server::Server;

const CAT: [&str; 5] = ["0", "0", "sh", "-c", "echo in; exec cat"];

/// Waits until the program behind `stream` runs.
fn is_in(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 3];
    stream.read_exact(&mut bytes).is_ok() && &bytes == b"in\n"
}

#[test]
fn one_address_has_its_share() {
    let scratch = Scratch::new("share");
    let options = ["-vRHl0", "--per-address=2", "--refusal=421 busy (#4.7.0)"];
    let server = Server::start(&scratch, &[&options[..], &CAT].concat());
    let mut held: Vec<TcpStream> = (0..2).map(|_| server.connect("127.0.0.1")).collect();
    assert!(held.iter_mut().all(is_in));
    assert_eq!(server.get("127.0.0.1"), "421 busy (#4.7.0)\r\n");
    server.logged("tcpserver: refuse 127.0.0.1: too many connections at once");
    assert!(is_in(&mut server.connect("::1")));

    drop(held.pop());
    kit::eventually("there is room again", || {
        let mut stream = server.connect("127.0.0.1");
        is_in(&mut stream) && stream.write_all(b"x").is_ok()
    });
}

#[test]
fn refusal_is_silent_unless_asked() {
    let scratch = Scratch::new("silent");
    let server = Server::start(
        &scratch,
        &[&["-RHl0", "--per-address=0"][..], &CAT].concat(),
    );
    assert_eq!(server.get("127.0.0.1"), "");
}

#[test]
fn one_address_has_its_rate() {
    let scratch = Scratch::new("rate");
    let options = ["-vRHl0", "--rate=2/3600", "0", "0", "echo", "hi"];
    let server = Server::start(&scratch, &options);
    assert_eq!(server.get("127.0.0.1"), "hi\n");
    assert_eq!(server.get("127.0.0.1"), "hi\n");
    assert_eq!(server.get("127.0.0.1"), "");
    assert_eq!(server.get("::1"), "hi\n");
    server.logged("tcpserver: refuse 127.0.0.1: too many connections");
}
