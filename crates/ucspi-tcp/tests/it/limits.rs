//! tcpserver when more come than should.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use kit::Scratch;
use sys::process::End;

use crate::fake_dns::FakeDns;
use crate::server::{Server, rules, with_dns};

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

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn counters(scratch: &Scratch) -> String {
    String::from_utf8_lossy(&scratch.read("count")).into_owned()
}

#[test]
fn counters_tell_what_happened() {
    let scratch = Scratch::new("counters");
    // The own rule of ::1 needs no process; that of every address does, as there could be one for its name.
    rules(&scratch, "r.cdb", "::1:deny\n127.0.0.9:deny\n127.:allow\n");
    let options = [
        "-Rl0",
        "-xr.cdb",
        "--rate=2/3600",
        "--counters=count",
        "--denial=554 no",
        "0",
        "0",
        "echo",
        "hi",
    ];
    let dns = FakeDns::start(vec![]);
    let mut server = Server::start_as(&scratch, with_dns(&dns), &options);
    assert_eq!(server.get("::1"), "554 no\r\n");
    assert_eq!(server.get("127.0.0.1"), "hi\n");
    assert_eq!(server.get("127.0.0.1"), "hi\n");
    assert_eq!(server.get("127.0.0.1"), "");
    let want = "connections 4\nrefused 1\ndenied 1\ncurrent 0\n";
    kit::eventually("the counters", || {
        scratch.join("count").exists() && counters(&scratch) == want
    });
    assert_eq!(server.daemon.stop(), End::Exit(0));
    assert_eq!(counters(&scratch), want);
}

#[test]
fn a_denial_in_a_process_is_counted() {
    let scratch = Scratch::new("counted");
    rules(&scratch, "r.cdb", ":deny\n");
    let options = ["-vRHl0", "-xr.cdb", "--counters=count", "0", "0", "true"];
    let mut server = Server::start(&scratch, &options);
    assert_eq!(server.get("127.0.0.1"), "");
    server.logged("end PID status 25600");
    assert_eq!(server.daemon.stop(), End::Exit(0));
    assert!(counters(&scratch).starts_with("connections 1\nrefused 0\ndenied 1\n"));
}

#[test]
fn early_denials_are_logged_without_a_process() {
    let scratch = Scratch::new("early");
    rules(&scratch, "r.cdb", ":deny\n");
    let options = ["-vRHl0", "-xr.cdb", "--deny-early", "0", "0", "true"];
    let mut server = Server::start(&scratch, &options);
    assert_eq!(server.get("127.0.0.1"), "");
    assert_eq!(server.daemon.stop(), End::Exit(0));
    let log = server.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[1].starts_with("tcpserver: deny 0 0:::ffff:127.0.0.1:"));
}

#[test]
fn a_program_that_cannot_be_run_ends_like_one_that_was() {
    let scratch = Scratch::new("notrun");
    let mut server = Server::start(&scratch, &["-vRHl0", "0", "0", "./nosuch"]);
    server.get("127.0.0.1");
    kit::eventually("the child is counted", || server.log().len() == 7);
    assert_eq!(server.daemon.stop(), End::Exit(0));
    assert_eq!(
        server.log()[2..],
        [
            "tcpserver: pid PID from 127.0.0.1",
            "tcpserver: ok PID 0:::ffff:127.0.0.1:PORT :::ffff:127.0.0.1::CLIENT",
            "tcpserver: warning: dropping connection, unable to run ./nosuch: file does not exist",
            "tcpserver: end PID status 28416",
            "tcpserver: status: 0/40",
        ]
    );
}

#[test]
fn a_flood_from_one_place_leaves_room_for_others() {
    let scratch = Scratch::new("flood");
    rules(&scratch, "r.cdb", "127.0.0.67:deny\n");
    let options = [
        "-RHl0",
        "-c40",
        "-b100",
        "--per-address=5",
        "-xr.cdb",
        "--counters=count",
    ];
    let server = Server::start(&scratch, &[&options[..], &CAT].concat());
    let _held: Vec<TcpStream> = (0..5).map(|_| server.connect_from("127.0.0.66")).collect();
    let mut first = server.connect_from("127.0.0.68");
    assert!(is_in(&mut first));
    let memory = || {
        let status = format!("/proc/{}/status", server.daemon.pid());
        number(&std::fs::read_to_string(status).unwrap(), "VmRSS:")
    };
    let before = memory();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (server, done) = (&server, &done);
        // Each attacker waits for its refusal: a queue in the kernel that overflows would measure the kernel.
        let attack = |from| {
            for _ in 0..2_500 {
                let _ = server.get_from(from);
            }
            done.store(true, Ordering::Relaxed);
        };
        for from in ["127.0.0.66", "127.0.0.66", "127.0.0.67", "127.0.0.67"] {
            scope.spawn(move || attack(from));
        }
        for n in (0..=250)
            .cycle()
            .take_while(|_| !done.load(Ordering::Relaxed))
        {
            assert!(is_in(&mut server.connect_from(&format!("127.0.1.{n}"))));
            assert!(children(server.daemon.pid()) <= 40);
        }
    });
    kit::eventually("all are counted", || {
        number(&counters(&scratch), "refused") == 5_000
            && number(&counters(&scratch), "denied") == 5_000
    });
    assert!(memory() < before + 512, "{} kB more", memory() - before);
}

fn children(pid: u32) -> usize {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.map_or(0, |list| list.split_whitespace().count())
}
