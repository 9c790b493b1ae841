//! tcpclient without names.

use std::net::{IpAddr, TcpListener};
use std::time::{Duration, Instant};

use kit::{Output, Run, Scratch, program};

use crate::fake_dns::{FakeDns, Record};
use crate::server::Server;

fn client(words: &[&str]) -> Output {
    Run::new(program("tcpclient")).args(words).output()
}

#[test]
fn the_connection_is_on_6_and_7() {
    let scratch = Scratch::new("six-seven");
    let server = Server::start(&scratch, &["-RHl0", "0", "0", "cat"]);
    let port = server.port.to_string();
    let script = "echo hello >&7; head -n 1 <&6; cat; exit 9";
    for host in ["0", "", "127.0.0.1", "::1", "[127.0.0.1]", "localhost"] {
        let done = Run::new(program("tcpclient"))
            .args(["-RHl0", host, &port, "sh", "-c", script])
            .stdin("own input\n")
            .output();
        assert_eq!(done.out_text(), "hello\nown input\n", "{host}");
        assert_eq!((done.code(), done.err_text()), (9, String::new()));
    }
}

#[test]
fn the_environment_of_the_program() {
    let scratch = Scratch::new("client-env");
    let server = Server::start(&scratch, &["-RHl0", "0", "0", "cat"]);
    let port = server.port.to_string();
    let script = "env | grep -E '^(TCP|PROTO)' | grep -v LOCALPORT | sort";
    let shown = |words: &[&str]| {
        let done = client(&[words, &[&port, "sh", "-c", script]].concat());
        done.out_text().replace(&port, "PORT")
    };
    assert_eq!(
        shown(&["-RH", "-l", "me", "127.0.0.1"]),
        "PROTO=TCP\nTCPLOCALHOST=me\nTCPLOCALIP=127.0.0.1\nTCPREMOTEIP=127.0.0.1\nTCPREMOTEPORT=PORT\n"
    );
    assert_eq!(
        shown(&["-6RHl0", "127.0.0.1"]),
        "PROTO=TCP6\nTCPLOCALHOST=0\nTCPLOCALIP=::ffff:127.0.0.1\nTCPREMOTEIP=::ffff:127.0.0.1\n\
         TCPREMOTEPORT=PORT\n"
    );
    assert_eq!(
        shown(&["-RHl0", "-i::1", "::1"]),
        "PROTO=TCP6\nTCPLOCALHOST=0\nTCPLOCALIP=::1\nTCPREMOTEIP=::1\nTCPREMOTEPORT=PORT\n"
    );
    assert!(shown(&["-4RHl0", "0"]).starts_with("PROTO=TCP\n"));
    assert!(shown(&["-RHl0", "-i127.0.0.2", "127.0.0.1"]).contains("TCPLOCALIP=127.0.0.2\n"));
}

#[test]
fn what_it_says() {
    let scratch = Scratch::new("client-says");
    let server = Server::start(&scratch, &["-RHl0", "0", "0", "cat"]);
    let port = server.port.to_string();
    let done = client(&["-vRHl0", "127.0.0.1", &port, "true"]);
    let want = format!("tcpclient: connected to 127.0.0.1 port {port}\n");
    assert_eq!((done.code(), done.err_text()), (0, want));

    let closed_port = kit::free_port().to_string();
    let done = client(&["-RHl0", "127.0.0.1", &closed_port, "true"]);
    let want = format!(
        "tcpclient: unable to connect to 127.0.0.1 port {closed_port}: connection refused\n"
    );
    assert_eq!((done.code(), done.err_text()), (111, want));
    let done = client(&["-qRHl0", "127.0.0.1", &closed_port, "true"]);
    assert_eq!((done.code(), done.err_text()), (111, String::new()));

    for (words, text) in [
        (
            vec!["-RHl0", "-i192.0.2.1", "127.0.0.1", &port, "true"],
            "unable to bind socket: address not available",
        ),
        (
            vec!["-RHl0", "127.0.0.1", "nosuchport", "true"],
            "unable to figure out port number for nosuchport",
        ),
        (
            vec!["-RHl0", "127.0.0.1", &port, "./nosuch"],
            "unable to run ./nosuch: file does not exist",
        ),
    ] {
        let done = client(&words);
        let want = format!("tcpclient: fatal: {text}\n");
        assert_eq!((done.code(), done.err_text()), (111, want));
    }
    for words in [
        &["127.0.0.1", "25"][..],
        &["-ix", "0", "0", "true"],
        &["-Z"],
    ] {
        let done = client(words);
        assert_eq!(done.code(), 100);
        assert!(
            done.err_text()
                .contains("usage: tcpclient [ -46hHrRdDqQv ]")
        );
    }
}

#[test]
fn closed_descriptors_stay_closed() {
    let scratch = Scratch::new("client-closed");
    let server = Server::start(&scratch, &["-RHl0", "0", "0", "echo", "hello"]);
    let port = server.port.to_string();
    let script = "head -n 1 <&6; test -e /proc/$$/fd/0 && echo open; true";
    let done = Run::new(program("tcpclient"))
        .args(["-RHl0", "127.0.0.1", &port, "sh", "-c", script])
        .closed(0)
        .output();
    assert_eq!(done.out_text(), "hello\n");
}

/// A listener whose queue is full: connections to it time out.
fn full(ip: IpAddr, port: u16) -> (std::os::fd::OwnedFd, Vec<std::os::fd::OwnedFd>) {
    let listener = sys::socket::listen(&(ip, port).into(), 0, sys::socket::Families::One).unwrap();
    let address = (ip, port).into();
    let mut queue = Vec::new();
    for _ in 0..8 {
        let socket = sys::socket::bound(&(ip, 0).into()).unwrap();
        let time = Duration::from_millis(50);
        if sys::socket::connect_on(&socket, &address, time).is_err() {
            return (listener, queue);
        }
        queue.push(socket);
    }
    panic!("the queue has no end");
}

#[test]
fn an_address_that_does_not_answer_lets_others_have_their_turn() {
    let port = kit::free_port();
    let (_listener, _queue) = full([127, 0, 0, 31].into(), port);
    let good = TcpListener::bind(("127.0.0.32", port)).unwrap();
    let dns = FakeDns::start(vec![
        Record::A("two.test", [127, 0, 0, 31]),
        Record::A("two.test", [127, 0, 0, 32]),
        Record::A("slow.test", [127, 0, 0, 31]),
    ]);
    let port = port.to_string();
    let run = |words: &[&str]| {
        Run::new(program("tcpclient"))
            .env("DNSCACHEIP", &dns.address())
            .args(words)
            .output()
    };
    let start = Instant::now();
    let script = "echo $TCPREMOTEIP";
    let done = run(&["-RHl0", "-T1+59", "two.test", &port, "sh", "-c", script]);
    assert_eq!(done.out_text(), "127.0.0.32\n", "{}", done.err_text());
    assert_eq!(done.err_text(), "");
    assert!(start.elapsed() < Duration::from_secs(50));
    drop(good);
    let done = run(&["-RHl0", "-T1", "slow.test", &port, "true"]);
    let want = format!("tcpclient: unable to connect to 127.0.0.31 port {port}: timed out\n");
    assert_eq!((done.code(), done.err_text()), (111, want));
}
