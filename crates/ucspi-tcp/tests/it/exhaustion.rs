//! tcpserver when the machine has too little, its clients are slow, or it is restarted under load.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kit::{Run, Scratch, program};

use crate::server::Server;

const STRACE: &str = "/usr/bin/strace";

/// Whether there is a strace that can look into a program here.
fn can_trace(test: &str) -> bool {
    let can = Path::new(STRACE).exists()
        && Run::new(STRACE)
            .args(["-f", "-qq", "-o", "/dev/null", "true"])
            .output()
            .end
            .is_success();
    if !can {
        eprintln!("SKIPPED (no strace): {test}");
    }
    can
}

/// A server under strace; `words` are those of strace. Both are one group: the server would live on without its strace.
fn traced(scratch: &Scratch, words: &[&str], options: &[&str]) -> Server {
    let ours = program("tcpserver");
    let run = Run::new(STRACE)
        .args(["-f", "-qq", "-o", "trace", "-e", "signal=none"])
        .args(words)
        .arg(ours.to_str().unwrap())
        .own_group();
    Server::start_as(scratch, run, options)
}

#[test]
fn whatever_accept_lacks_it_pauses_and_serves() {
    if !can_trace("whatever_accept_lacks_it_pauses_and_serves") {
        return;
    }
    for (error, said) in [
        ("ENFILE", "unable to accept connection: "),
        ("EMFILE", "unable to accept connection: "),
        ("ENOMEM", "unable to accept connection: "),
        ("ENOBUFS", "unable to accept connection: "),
        // The connection has gone, or there was none: nothing to say.
        ("EAGAIN", ""),
        ("ECONNABORTED", ""),
    ] {
        let scratch = Scratch::new("accept");
        let fault = format!("inject=accept4:error={error}:when=1..3");
        let words = ["-e", "trace=accept4", "-e", &fault];
        let server = traced(&scratch, &words, &["-RHl0", "0", "0", "echo", "hi"]);
        let began = Instant::now();
        assert_eq!(server.get("127.0.0.1"), "hi\n", "{error}");
        let log = server.log();
        if said.is_empty() {
            assert!(log.is_empty(), "{error}: {log:?}");
        } else {
            // Told once, not at every try; and tried again after a pause each time.
            assert_eq!(log.len(), 1, "{error}: {log:?}");
            assert!(log[0].contains(said), "{log:?}");
            assert!(began.elapsed() >= Duration::from_millis(400), "{error}");
        }
    }
}

#[test]
fn whatever_fork_lacks_one_client_is_dropped_and_the_next_is_served() {
    if !can_trace("whatever_fork_lacks_one_client_is_dropped_and_the_next_is_served") {
        return;
    }
    // At once, and with something to look up in a process.
    for options in [&["-RHl0"][..], &["-RHl0", "-Bhello\\n"]] {
        for error in ["EAGAIN", "ENOMEM"] {
            let scratch = Scratch::new("fork");
            let fault = format!("inject=?clone,?clone3,?fork,?vfork:error={error}:when=1");
            let words = ["-e", "trace=?clone,?clone3,?fork,?vfork", "-e", &fault];
            let server = traced(
                &scratch,
                &words,
                &[options, &["0", "0", "echo", "hi"]].concat(),
            );
            let first = server.get("127.0.0.1");
            assert!(!first.contains("hi"), "{first}");
            server.logged("dropping connection, unable to ");
            // glibc tries clone after a failed clone3, so that a second try may have met the fault as well.
            kit::eventually("the next", || server.get("127.0.0.1").contains("hi"));
        }
    }
}

#[test]
fn who_is_refused_costs_no_process() {
    if !can_trace("who_is_refused_costs_no_process") {
        return;
    }
    let scratch = Scratch::new("cheap");
    crate::server::rules(&scratch, "r.cdb", "127.0.0.67:deny\n");
    let options = [
        "-RHl0",
        "--per-address=0",
        "--refusal=421 busy (#4.7.0)",
        "-xr.cdb",
        "0",
        "0",
        "echo",
        "hi",
    ];
    let calls = "trace=?clone,?clone3,?fork,?vfork,?execve";
    let server = traced(&scratch, &["-e", calls], &options);
    for _ in 0..50 {
        assert_eq!(server.get("127.0.0.1"), "421 busy (#4.7.0)\r\n");
    }
    let options = [
        "-RHl0",
        "-xr.cdb",
        "--counters=count",
        "--deny-early",
        "--denial=553 no (#5.7.1)",
        "0",
        "0",
        "echo",
        "hi",
    ];
    let other = Scratch::new("cheap-denied");
    crate::server::rules(&other, "r.cdb", "127.0.0.67:deny\n");
    let denying = traced(&other, &["-e", calls], &options);
    for _ in 0..50 {
        assert_eq!(denying.get_from("127.0.0.67"), "553 no (#5.7.1)\r\n");
    }
    for place in [&scratch, &other] {
        let trace = String::from_utf8(place.read("trace")).unwrap();
        let calls: Vec<&str> = trace.lines().collect();
        assert_eq!(calls.len(), 1, "the start of the server alone: {trace}");
        assert!(calls[0].contains("execve("));
    }
}

/// Front ends that say nothing take places, but nobody else waits for them.
#[test]
fn a_slow_front_end_delays_nobody_else() {
    let scratch = Scratch::new("slow-proxy");
    let options = ["-RHl0", "-c20", "--proxy=127.0.0.0/8", "0", "0", "sh", "-c"];
    let server = Server::start(&scratch, &[&options[..], &["echo $TCPREMOTEIP"]].concat());
    // Nothing, half a header, a header byte by byte without end.
    let mut silent: Vec<TcpStream> = Vec::new();
    let mut half: Vec<TcpStream> = (0..5).map(|_| server.connect("127.0.0.1")).collect();
    for stream in &mut half {
        stream.write_all(b"PROXY TCP4 192.0.2.1 ").unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dripping: Vec<TcpStream> =
                (0..5).map(|_| server.connect("127.0.0.1")).collect();
            while !stop.load(Ordering::Relaxed) {
                for stream in &mut dripping {
                    // Ended by the server when the header has become too long.
                    let _ = stream.write_all(b"P");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // A server that served one after the other would keep the honest until the others have had their time.
        let waits = |stream: &TcpStream| {
            let read = stream.peek(&mut [0]);
            read.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
        };
        let mut beside = 0;
        for n in 1..20 {
            silent.retain(waits);
            silent.resize_with(5, || {
                let stream = server.connect("127.0.0.1");
                stream.set_nonblocking(true).unwrap();
                stream
            });
            let mut honest = server.connect("127.0.0.1");
            honest
                .write_all(format!("PROXY TCP4 192.0.2.{n} 198.51.100.2 4000 25\r\n").as_bytes())
                .unwrap();
            let mut got = String::new();
            honest.read_to_string(&mut got).unwrap();
            assert_eq!(got, format!("192.0.2.{n}\n"));
            beside += usize::from(silent.iter().all(waits));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(beside > 0, "nobody was served beside the silent ones");
    });
    drop((silent, half));
}

/// supervise holds the socket, tcpserver is ended again and again, and clients never stop coming: each is served.
#[test]
fn a_restart_refuses_no_connection_under_load() {
    // From the room next door; the whole suite is built before its tests are run.
    if !program("supervise").exists() {
        eprintln!("SKIPPED (no supervise): a_restart_refuses_no_connection_under_load");
        return;
    }
    let scratch = Scratch::new("restart");
    let port = kit::free_port();
    scratch.write("s/listen", format!("127.0.0.1 {port}\n"));
    let run = format!(
        "exec {} -vRHl0 -c100 127.0.0.1 {port} sh -c 'echo $PPID' 2>>log\n",
        program("tcpserver").display()
    );
    scratch.script("s/run", &run);
    let mut supervise = Run::new(program("supervise"))
        .arg("s")
        .dir(scratch.path())
        .start(scratch.join("supervise.log"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, kit::LIMIT)?;
        stream.set_read_timeout(Some(kit::LIMIT))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    kit::eventually("it serves", || ask().is_ok_and(|text| !text.is_empty()));

    // The parent of a program is the server that took its client.
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let servers = Mutex::new(HashSet::new());
    let seen = || servers.lock().unwrap().len();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let server = ask().unwrap_or_else(|e| panic!("not served: {e}"));
                        assert!(!server.is_empty(), "taken and dropped");
                        servers.lock().unwrap().insert(server);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        // A client that has failed ends the test.
        let goes_on = |what: &str, condition: &mut dyn FnMut() -> bool| {
            kit::eventually(what, || {
                condition()
                    || clients
                        .iter()
                        .any(std::thread::ScopedJoinHandle::is_finished)
            });
        };
        for _ in 0..4 {
            let before = served.load(Ordering::Relaxed);
            goes_on("some are served", &mut || {
                served.load(Ordering::Relaxed) > before + 20
            });
            let old = seen();
            let done = Run::new(program("svc"))
                .args(["-t", "s"])
                .dir(scratch.path())
                .output();
            assert!(done.end.is_success());
            goes_on("the next server", &mut || seen() > old);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let _ = Run::new(program("svc"))
        .args(["-dx", "s"])
        .dir(scratch.path())
        .output();
    supervise.wait(kit::LIMIT);
    assert!(ask().is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused));
}
