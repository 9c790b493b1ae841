//! tcpserver without names.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use kit::{Run, Scratch, program};
use sys::process::End;
use sys::signal::Signal;

use crate::fake_dns::{FakeDns, Record};
use crate::server::{Server, rules};

const ENV: &str = "env | grep -E '^(TCP|PROTO)' | grep -v PORT | sort";
const USAGE: &str = "tcpserver: usage: tcpserver [ -461UXpPhHrRoOdDqQv ] [ -c limit ] [ -x rules.cdb ] [ -B banner ] \
                     [ -g gid ] [ -u uid ] [ -b backlog ] [ -l localname ] [ -t timeout ] [ -I interface ] \
                     host port program\n";

#[test]
fn one_socket_takes_both_families() {
    let scratch = Scratch::new("both");
    let server = Server::start(&scratch, &["-RHl", "me", "0", "0", "sh", "-c", ENV]);
    assert_eq!(
        server.get("127.0.0.1"),
        "PROTO=TCP\nTCP6LOCALHOST=me\nTCP6LOCALIP=::ffff:127.0.0.1\nTCP6REMOTEIP=::ffff:127.0.0.1\n\
         TCPLOCALHOST=me\nTCPLOCALIP=127.0.0.1\nTCPREMOTEIP=127.0.0.1\n"
    );
    assert_eq!(
        server.get("::1"),
        "PROTO=TCP6\nTCP6LOCALHOST=me\nTCP6LOCALIP=::1\nTCP6REMOTEIP=::1\n\
         TCPLOCALHOST=me\nTCPLOCALIP=::1\nTCPREMOTEIP=::1\n"
    );
}

#[test]
fn ports_are_told_too() {
    let scratch = Scratch::new("ports");
    let script = "echo $TCPLOCALPORT $TCP6LOCALPORT $TCPREMOTEPORT $TCP6REMOTEPORT";
    let server = Server::start(&scratch, &["-RHl0", "127.0.0.1", "0", "sh", "-c", script]);
    let mut stream = server.connect("127.0.0.1");
    let (here, there) = (server.port, stream.local_addr().unwrap().port());
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, format!("{here} {here} {there} {there}\n"));
}

#[test]
fn six_shows_ipv4_as_mapped() {
    let scratch = Scratch::new("six");
    rules(&scratch, "r.cdb", "::ffff:127.:allow,SIX=\"yes\"\n:deny\n");
    let script = "echo $PROTO $TCPREMOTEIP $SIX";
    let words = ["-6RHl0", "-xr.cdb", "0", "0", "sh", "-c", script];
    let server = Server::start(&scratch, &words);
    assert_eq!(server.get("127.0.0.1"), "TCP6 ::ffff:127.0.0.1 yes\n");
}

#[test]
fn four_takes_no_ipv6() {
    let scratch = Scratch::new("four");
    let server = Server::start(&scratch, &["-4RHl0", "0", "0", "echo", "hi"]);
    assert_eq!(server.get("127.0.0.1"), "hi\n");
    assert!(TcpStream::connect(("::1", server.port)).is_err());
}

#[test]
fn the_log_of_v() {
    let scratch = Scratch::new("log");
    let mut server = Server::start(&scratch, &["-vRHl0", "0", "0", "sh", "-c", "exit 3"]);
    server.get("127.0.0.1");
    server.logged("end");
    kit::eventually("the child is counted", || server.log().len() == 6);
    assert_eq!(server.daemon.stop(), End::Exit(0));
    assert_eq!(
        server.log(),
        [
            "tcpserver: status: 0/40",
            "tcpserver: status: 1/40",
            "tcpserver: pid PID from 127.0.0.1",
            "tcpserver: ok PID 0:::ffff:127.0.0.1:PORT :::ffff:127.0.0.1::CLIENT",
            "tcpserver: end PID status 768",
            "tcpserver: status: 0/40",
        ]
    );
}

#[test]
fn a_killed_program_and_one_that_is_not_there() {
    let scratch = Scratch::new("killed");
    let server = Server::start(&scratch, &["-vRHl0", "0", "0", "sh", "-c", "kill -9 $$"]);
    server.get("127.0.0.1");
    server.logged("end PID status 9");
    let server = Server::start(&scratch, &["-RHl0", "0", "0", "./nosuch"]);
    server.get("127.0.0.1");
    server.logged(
        "tcpserver: warning: dropping connection, unable to run ./nosuch: file does not exist",
    );
}

#[test]
fn silence_is_complete() {
    let scratch = Scratch::new("quiet");
    let server = Server::start(&scratch, &["-qRHl0", "0", "0", "./nosuch"]);
    assert_eq!(server.get("127.0.0.1"), "");
    assert_eq!(server.log(), [""; 0]);
    let port = server.port.to_string();
    let done = Run::new(program("tcpserver"))
        .args(["-qRHl0", "0", &port, "true"])
        .output();
    assert_eq!((done.code(), done.err_text()), (111, String::new()));
}

#[test]
fn rules_deny_and_set_and_change_while_it_runs() {
    let scratch = Scratch::new("live");
    let words = [
        "-vRHl0",
        "-xr.cdb",
        "0",
        "0",
        "sh",
        "-c",
        "echo A=$A $PROTO",
    ];
    rules(&scratch, "r.cdb", "127.:allow,A=\"1\",PROTO=\"X\"\n:deny\n");
    let server = Server::start(&scratch, &words);
    assert_eq!(server.get("127.0.0.1"), "A=1 X\n");
    assert_eq!(server.get("::1"), "");
    server.logged("tcpserver: deny PID 0:::1:PORT :::1::CLIENT");
    server.logged("end PID status 25600");
    rules(&scratch, "r.cdb", "::1:allow,A=\"2\"\n127.0.0.1:deny\n");
    assert_eq!(server.get("::1"), "A=2 TCP6\n");
    assert_eq!(server.get("127.0.0.1"), "");
}

#[test]
fn without_rules_nobody_comes_in_unless_allowed() {
    let scratch = Scratch::new("norules");
    let server = Server::start(&scratch, &["-RHl0", "-xno.cdb", "0", "0", "echo", "hi"]);
    assert_eq!(server.get("127.0.0.1"), "");
    server.logged("dropping connection, unable to read no.cdb: file does not exist");
    let server = Server::start(&scratch, &["-XRHl0", "-xno.cdb", "0", "0", "echo", "hi"]);
    assert_eq!(server.get("127.0.0.1"), "hi\n");
    scratch.write("no.cdb", "");
    assert_eq!(server.get("127.0.0.1"), "");
    server.logged("unable to read no.cdb: invalid argument");
}

#[test]
fn a_rule_cannot_choose_the_program() {
    let scratch = Scratch::new("path");
    scratch.script("bin/who", "echo wrong");
    scratch.script("good/who", "echo right $PATH");
    rules(&scratch, "r.cdb", ":allow,PATH=\"bin\"\n");
    let good = format!("{}:/usr/bin:/bin", scratch.join("good").display());
    let run = Run::new(program("tcpserver")).env("PATH", &good);
    let server = Server::start_as(&scratch, run, &["-RHl0", "-xr.cdb", "0", "0", "who"]);
    assert_eq!(server.get("127.0.0.1"), "right bin\n");
}

#[test]
fn the_limit_makes_clients_wait() {
    let scratch = Scratch::new("limit");
    let script = "echo in; read line; echo $line";
    let words = ["-vRHl0", "-c2", "0", "0", "sh", "-c", script];
    let server = Server::start(&scratch, &words);
    let mut first = server.connect("127.0.0.1");
    let second = server.connect("127.0.0.1");
    server.logged("status: 2/2");
    let third = std::thread::scope(|scope| {
        let third = scope.spawn(|| server.talk("127.0.0.1", "three\n"));
        kit::eventually("two are in", || {
            server.log().iter().filter(|l| l.contains("ok PID")).count() == 2
        });
        std::io::Write::write_all(&mut first, b"one\n").unwrap();
        third.join().unwrap()
    });
    assert_eq!(third, "in\nthree\n");
    drop(second);
    assert!(!server.log().iter().any(|l| l.contains("status: 3/2")));
}

#[test]
fn many_clients_are_served() {
    let scratch = Scratch::new("many");
    let server = Server::start(&scratch, &["-vRHl0", "-c5", "0", "0", "cat"]);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..10 {
                    let ip = if n % 2 == 0 { "127.0.0.1" } else { "::1" };
                    assert_eq!(server.talk(ip, "hello\n"), "hello\n");
                }
            });
        }
    });
    kit::eventually("all have been counted", || {
        server.log().last().unwrap() == "tcpserver: status: 0/5"
    });
    let ends = server.log().iter().filter(|l| l.contains("end ")).count();
    assert_eq!(ends, 80);
}

#[test]
fn the_program_has_the_socket_and_nothing_else() {
    let scratch = Scratch::new("fds");
    rules(&scratch, "r.cdb", ":allow\n");
    let script = "readlink /proc/$$/fd/0 /proc/$$/fd/1 | sed 's/:.*//'; ls /proc/$$/fd";
    let words = ["-RHl0", "-xr.cdb", "0", "0", "sh", "-c", script];
    let server = Server::start(&scratch, &words);
    let got = server.get("127.0.0.1");
    // The tests may have been started with more descriptors: those pass through.
    let plain = Run::new("sh").args(["-c", script]).output().out_text();
    assert_eq!(got, plain.replace("pipe", "socket"));
}

#[test]
fn signals_reach_the_program() {
    let scratch = Scratch::new("signals");
    let words = ["-RHl0", "0", "0", "grep", "^Sig", "/proc/self/status"];
    let server = Server::start(&scratch, &words);
    let status = server.get("127.0.0.1");
    let mask = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap()
    };
    let pipe = 1 << (Signal::SIGPIPE as u32 - 1);
    assert_eq!(mask("SigBlk"), 0);
    assert_eq!(mask("SigIgn") & pipe, 0);
}

#[test]
fn whoever_reads_the_port_sees_the_end() {
    // The shell gets the port when the server closes its end, and tells the server's process id.
    let script = "port=$(\"$1\" -1 -RHl0 127.0.0.1 0 true 2>/dev/null & echo $! >&2); echo $port";
    let done = Run::new("sh")
        .args(["-c", script, "sh"])
        .arg(program("tcpserver").to_str().unwrap())
        .output();
    let pid: u32 = done.err_text().trim().parse().unwrap();
    sys::signal::send(pid, Signal::SIGTERM).unwrap();
    assert!(done.out_text().trim().parse::<u16>().is_ok());
}

#[test]
fn a_banner_comes_first() {
    let scratch = Scratch::new("banner");
    let words = [
        "-RHl0",
        "-Bhello\\n%d",
        "-D",
        "-o",
        "0",
        "0",
        "echo",
        "after",
    ];
    let server = Server::start(&scratch, &words);
    assert_eq!(server.get("127.0.0.1"), "hello\\n%dafter\n");
}

#[test]
fn a_limit_of_none_serves_nobody() {
    let scratch = Scratch::new("none");
    let mut server = Server::start(&scratch, &["-vRHl0", "-c0", "0", "0", "echo", "hi"]);
    let mut stream = server.connect("127.0.0.1");
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err());
    assert_eq!(server.daemon.stop(), End::Exit(0));
    assert_eq!(server.log(), ["tcpserver: status: 0/0"]);
}

#[test]
fn the_end_of_the_server_is_not_the_end_of_its_children() {
    let scratch = Scratch::new("end");
    let words = ["-RHl0", "127.0.0.1", "0", "sh", "-c", "echo in; cat"];
    let mut server = Server::start(&scratch, &words);
    let mut stream = server.connect("127.0.0.1");
    let mut bytes = [0; 3];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(server.daemon.stop(), End::Exit(0));
    let port = server.port.to_string();
    // The port is free at once, though a connection of it is open.
    let words = ["-RHl0", "127.0.0.1", &port, "echo", "next"];
    let next = Server::start(&Scratch::new("next"), &words);
    assert_eq!(next.get("127.0.0.1"), "next\n");
    std::io::Write::write_all(&mut stream, b"still\n").unwrap();
    let mut bytes = [0; 6];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"still\n");
}

/// `prlimit` changes the limits of a running process.
fn prlimit(pid: u32, limit: &str) -> bool {
    let run = Run::new("sh").args([
        "-c",
        "command -v prlimit >/dev/null && prlimit \"$@\"",
        "sh",
    ]);
    run.args([format!("--pid={pid}"), limit.into()])
        .output()
        .end
        .is_success()
}

#[test]
fn without_descriptors_it_pauses_and_recovers() {
    let scratch = Scratch::new("emfile");
    // Descriptors 0 to 2 stay taken, so that a limit of 3 leaves none: without -1, the port must be known before.
    let ip = "127.0.0.51";
    let port = kit::free_port();
    let log = scratch.join("log");
    let said = || String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    let server = Run::new("sh")
        .args(["-c", "exec \"$@\" 0<&- 1>&-", "sh"])
        .arg(program("tcpserver").to_str().unwrap())
        .args(["-RHl0", ip, &port.to_string(), "sh", "-c", "echo hi >&0"])
        .start(&log);
    let connect = || {
        let stream = TcpStream::connect((ip, port)).ok()?;
        stream.set_read_timeout(Some(kit::LIMIT)).unwrap();
        Some(stream)
    };
    let mut stream = kit::until(kit::LIMIT, connect).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "hi\n");
    if !prlimit(server.pid(), "--nofile=3:1024") {
        eprintln!("SKIPPED (no prlimit): without_descriptors_it_pauses_and_recovers");
        return;
    }

    let before = cpu_ticks(server.pid());
    let mut stream = connect().unwrap();
    let warning =
        "tcpserver: warning: unable to accept connection: process cannot open more files\n";
    kit::eventually("the warning", || said() == warning);
    let pause = Some(Duration::from_millis(600));
    stream.set_read_timeout(pause).unwrap();
    let waited = stream.read(&mut [0]).unwrap_err();
    assert_eq!(waited.kind(), std::io::ErrorKind::WouldBlock);
    // A loop that spins would have used 60 ticks, and would have said more.
    assert!(cpu_ticks(server.pid()) - before < 20);
    assert_eq!(said(), warning);

    assert!(prlimit(server.pid(), "--nofile=1024:1024"));
    stream.set_read_timeout(Some(kit::LIMIT)).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "hi\n");
}

/// User and system time of a process, 1/100 seconds.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split(' ').collect();
    fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
}

#[test]
fn it_serves_inside_a_small_data_limit() {
    let scratch = Scratch::new("data");
    rules(
        &scratch,
        "smtp.cdb",
        "127.:allow,RELAYCLIENT=\"\"\n:allow\n",
    );
    let dns = FakeDns::start(vec![
        Record::Ptr("1.0.0.127.in-addr.arpa", "me.test"),
        Record::A("me.test", [127, 0, 0, 1]),
    ]);
    let run = Run::new("sh")
        .env("TCPSERVER", program("tcpserver").to_str().unwrap())
        .env("DNSCACHEIP", &dns.address())
        .args(["-c", "ulimit -d 928; exec $TCPSERVER \"$@\"", "sh"]);
    let words = ["-vR", "-c40", "-p", "-x", "smtp.cdb", "0", "0", "sh", "-c"];
    let script = ["ulimit -d; echo $TCPREMOTEHOST${RELAYCLIENT-unset}"];
    let server = Server::start_as(&scratch, run, &[&words[..], &script[..]].concat());
    assert_eq!(server.get("127.0.0.1"), "928\nme.test\n");
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.daemon.pid())).unwrap();
    let data = status.lines().find(|l| l.starts_with("VmData")).unwrap();
    let kib: u64 = data.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 600, "{data}");
}

#[test]
fn it_gives_root_away_once_the_port_is_bound() {
    if !kit::is_root("it_gives_root_away_once_the_port_is_bound") {
        return;
    }
    let scratch = Scratch::new("ids");
    let script = "id -u; id -g; id -G";
    let words = ["-RHl0", "-u65534", "-g65533", "0", "0", "sh", "-c", script];
    let server = Server::start(&scratch, &words);
    assert_eq!(server.get("127.0.0.1"), "65534\n65533\n65533\n");
    let run = Run::new(program("tcpserver"))
        .env("UID", "65532")
        .env("GID", "65531");
    let server = Server::start_as(&scratch, run, &["-URHl0", "0", "0", "sh", "-c", script]);
    assert_eq!(server.get("127.0.0.1"), "65532\n65531\n65531\n");
}

#[test]
fn an_ordinary_user_cannot_become_another() {
    let scratch = Scratch::new("ordinary");
    // A copy that other users can reach.
    let copy = scratch.join("tcpserver");
    kit::copy_executable(program("tcpserver"), &copy);
    for (option, what) in [("-g1", "gid"), ("-u1", "uid")] {
        let mut run = Run::new(&copy).args([option, "0", "0", "true"]);
        if sys::ids::euid() == 0 {
            run = run.ids(65534, 65534);
        }
        let done = run.output();
        let want = format!("tcpserver: fatal: unable to set {what}: permission denied\n");
        assert_eq!((done.code(), done.err_text()), (111, want));
    }
}

#[test]
fn what_it_cannot_begin_with() {
    let scratch = Scratch::new("misuse");
    let server = Server::start(&scratch, &["-RHl0", "127.0.0.1", "0", "true"]);
    let taken = server.port.to_string();
    for (words, code, err) in [
        (vec![], 100, USAGE.to_owned()),
        (vec!["0", "0"], 100, USAGE.to_owned()),
        (
            vec!["-Z", "0", "0", "true"],
            100,
            format!("tcpserver: illegal option -- Z\n{USAGE}"),
        ),
        (
            vec!["-c"],
            100,
            format!("tcpserver: option requires an argument -- c\n{USAGE}"),
        ),
        (
            vec!["0", "nosuchport", "true"],
            111,
            "tcpserver: fatal: unable to figure out port number for nosuchport\n".into(),
        ),
        (
            vec!["192.0.2.1", "0", "true"],
            111,
            "tcpserver: fatal: unable to bind: address not available\n".into(),
        ),
        (
            vec!["127.0.0.1", &taken, "true"],
            111,
            "tcpserver: fatal: unable to bind: address already used\n".into(),
        ),
    ] {
        let done = Run::new(program("tcpserver")).args(&words).output();
        assert_eq!((done.code(), done.err_text()), (code, err), "{words:?}");
    }
}
