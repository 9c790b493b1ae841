//! Names and users of clients: DNS and ident.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use kit::{Run, Scratch, program};

use crate::fake_dns::{FakeDns, Record};
use crate::server::{Server, rules, with_dns};

const SHOW: &str = "echo ${TCPREMOTEHOST-unset} ${TCP6REMOTEHOST-unset} ${TCPLOCALHOST-unset}";

fn zone() -> FakeDns {
    FakeDns::start(vec![
        Record::Ptr("1.0.0.127.in-addr.arpa", "Server.Test"),
        Record::Ptr("21.0.0.127.in-addr.arpa", "good.test"),
        Record::A("good.test", [127, 0, 0, 99]),
        Record::A("good.test", [127, 0, 0, 21]),
        Record::Ptr("22.0.0.127.in-addr.arpa", "liar.test"),
        Record::A("liar.test", [127, 0, 0, 23]),
        Record::Ptr("24.0.0.127.in-addr.arpa", "nowhere.test"),
    ])
}

#[test]
fn names_come_from_the_dns() {
    let (scratch, dns) = (Scratch::new("names"), zone());
    let words = ["-R", "127.0.0.1", "0", "sh", "-c", SHOW];
    let server = Server::start_as(&scratch, with_dns(&dns), &words);
    assert_eq!(
        server.get_from("127.0.0.21"),
        "good.test good.test server.test\n"
    );
    assert_eq!(
        server.get_from("127.0.0.22"),
        "liar.test liar.test server.test\n"
    );
    assert_eq!(server.get_from("127.0.0.25"), "unset unset server.test\n");
}

#[test]
fn paranoia_believes_only_names_that_lead_back() {
    let (scratch, dns) = (Scratch::new("paranoid"), zone());
    let words = ["-pRl0", "127.0.0.1", "0", "sh", "-c", SHOW];
    let server = Server::start_as(&scratch, with_dns(&dns), &words);
    assert_eq!(server.get_from("127.0.0.21"), "good.test good.test 0\n");
    for liar in ["127.0.0.22", "127.0.0.24"] {
        assert_eq!(server.get_from(liar), "unset unset 0\n");
    }
}

#[test]
fn inherited_names_do_not_count() {
    let (scratch, dns) = (Scratch::new("inherited"), zone());
    let run = with_dns(&dns)
        .env("TCPREMOTEHOST", "old")
        .env("TCP6REMOTEHOST", "old")
        .env("TCPLOCALHOST", "old");
    let words = ["-RH", "127.0.0.1", "0", "sh", "-c", SHOW];
    let server = Server::start_as(&scratch, run, &words);
    assert_eq!(server.get_from("127.0.0.21"), "unset unset server.test\n");
}

#[test]
fn rules_know_names() {
    let (scratch, dns) = (Scratch::new("name-rules"), zone());
    rules(
        &scratch,
        "r.cdb",
        "=good.test:allow,R=\"host\"\n127.0.0.22:allow,R=\"ip\"\n=.test:deny\n:allow,R=\"rest\"\n",
    );
    let words = ["-vRl0", "-xr.cdb", "127.0.0.1", "0", "sh", "-c", "echo $R"];
    let server = Server::start_as(&scratch, with_dns(&dns), &words);
    assert_eq!(server.get_from("127.0.0.21"), "host\n");
    assert_eq!(server.get_from("127.0.0.22"), "ip\n");
    assert_eq!(server.get_from("127.0.0.24"), "");
    assert_eq!(server.get_from("127.0.0.25"), "rest\n");
    server.logged("tcpserver: deny PID 0:::ffff:127.0.0.1:PORT nowhere.test:::ffff:127.0.0.24::");
}

#[test]
fn a_slow_lookup_delays_nobody_else() {
    let scratch = Scratch::new("slow");
    let dns = FakeDns::start(vec![
        Record::Ptr("21.0.0.127.in-addr.arpa", "good.test"),
        Record::Silence("26.0.0.127.in-addr.arpa"),
    ]);
    let words = ["-vRl0", "127.0.0.1", "0", "sh", "-c", SHOW];
    let server = Server::start_as(&scratch, with_dns(&dns), &words);
    let socket = sys::socket::bound(&"127.0.0.26:0".parse().unwrap()).unwrap();
    let to = ([127, 0, 0, 1], server.port).into();
    sys::socket::connect_on(&socket, &to, Duration::from_secs(5)).unwrap();
    server.logged("pid PID from 127.0.0.26");
    assert_eq!(server.get_from("127.0.0.21"), "good.test good.test 0\n");
    // It is still at it, for a minute.
    assert!(!server.log().iter().any(|l| l.contains("127.0.0.26::")));
}

#[test]
fn hosts_are_looked_up_too() {
    let (scratch, dns) = (
        Scratch::new("host"),
        FakeDns::start(vec![
            Record::A("here.test", [127, 0, 0, 1]),
            Record::A("here.suffix.test", [127, 0, 0, 1]),
        ]),
    );
    let words = ["-RHl0", "here.test", "0", "echo", "hi"];
    let server = Server::start_as(&scratch, with_dns(&dns), &words);
    assert_eq!(server.get("127.0.0.1"), "hi\n");
    let port = server.port.to_string();
    let client = |host: &str| {
        Run::new(program("tcpclient"))
            .env("DNSCACHEIP", &dns.address())
            .env("LOCALDOMAIN", "suffix.test")
            .args(["-RHl0", host, &port, "sh", "-c", "head -n 1 <&6"])
            .output()
    };
    for host in ["here.test", "here", "here.test."] {
        let done = client(host);
        assert_eq!(done.code(), 0, "{host}: {}", done.err_text());
    }
    let done = client("nobody.test");
    let want = "tcpclient: fatal: no IP address for nobody.test\n";
    assert_eq!((done.code(), done.err_text()), (111, want.into()));
    let done = Run::new(program("tcpserver"))
        .env("DNSCACHEIP", &dns.address())
        .args(["nobody.test", "0", "true"])
        .output();
    let want = "tcpserver: fatal: no IP address for nobody.test\n";
    assert_eq!((done.code(), done.err_text()), (111, want.into()));
}

/// An ident server on `ip`; it reads one question and gives this answer, or none.
fn ident(ip: &'static str, answer: Option<&'static str>) -> std::thread::JoinHandle<String> {
    // Another checkout may run the same test at this moment.
    let listener = kit::until(kit::LIMIT, || TcpListener::bind((ip, 113)).ok()).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 64];
        let count = stream.read(&mut question).unwrap();
        match answer {
            Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
            // Wait until the other side gives up.
            None => {
                let _ = stream.read(&mut question);
            }
        }
        String::from_utf8_lossy(&question[..count]).into_owned()
    })
}

#[test]
fn ident_names_the_user() {
    if !kit::is_root("ident_names_the_user") {
        return;
    }
    let scratch = Scratch::new("ident");
    rules(
        &scratch,
        "r.cdb",
        "joe@127.0.0.41:allow,R=\"joe\"\n:allow\n",
    );
    let script = "echo $TCPREMOTEINFO $TCP6REMOTEINFO $R $TCPREMOTEPORT";
    let words = ["-vrHl0", "-xr.cdb", "127.0.0.1", "0", "sh", "-c", script];
    let server = Server::start(&scratch, &words);
    let thread = ident("127.0.0.41", Some("1 , 2 : USERID : UNIX : joe\r\n"));
    let got = server.get_from("127.0.0.41");
    let port = got.trim().rsplit(' ').next().unwrap();
    assert_eq!(got, format!("joe joe joe {port}\n"));
    let question = thread.join().unwrap();
    assert_eq!(question, format!("{port} , {}\r\n", server.port));
    server.logged("::ffff:127.0.0.41:joe:");
}

#[test]
fn a_silent_ident_server_costs_its_time_and_no_more() {
    if !kit::is_root("a_silent_ident_server_costs_its_time_and_no_more") {
        return;
    }
    let scratch = Scratch::new("ident-silent");
    let script = "echo ${TCPREMOTEINFO-unset}";
    let words = ["-rHl0", "-t1", "127.0.0.1", "0", "sh", "-c", script];
    let server = Server::start(&scratch, &words);
    let thread = ident("127.0.0.42", None);
    let start = Instant::now();
    assert_eq!(server.get_from("127.0.0.42"), "unset\n");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    thread.join().unwrap();
}

#[test]
fn without_an_ident_server_there_is_no_user() {
    let scratch = Scratch::new("ident-none");
    let script = "echo ${TCPREMOTEINFO-unset}";
    let run = Run::new(program("tcpserver")).env("TCPREMOTEINFO", "old");
    let server = Server::start_as(
        &scratch,
        run,
        &["-Hl0", "127.0.0.1", "0", "sh", "-c", script],
    );
    assert_eq!(server.get_from("127.0.0.43"), "unset\n");
}
