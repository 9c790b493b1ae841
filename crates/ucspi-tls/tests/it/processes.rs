//! The processes of a server, and what happens when one of them dies.

use kit::{Run, is_root, program};
use sys::process::End;
use sys::signal::{self, Signal};

use crate::server::{PATIENCE, Server, children, run, scratch};

#[test]
fn keys_and_programs_are_in_different_processes() {
    if !is_root("keys_and_programs_are_in_different_processes") {
        return;
    }
    let scratch = scratch("ids");
    let run = run().env("SSL_UID", "4321").env("SSL_GID", "4322");
    let options = ["-u1234", "-g1235", "--processes=2"];
    let server = Server::start_as(
        &scratch,
        run,
        &options,
        &["sh", "-c", "id -u; id -g; read x"],
    );
    // The two lines come in one piece or in two.
    let got = server.python(
        "
s = tls()
got = s.recv(100)
while got.count(b'\\n') < 2: got += s.recv(100)
print(got)
s.send(b'\\n')
print(rest(s))
",
    );
    assert!(got.starts_with("b'1234\\n1235\\n'"), "{got}");
    let listener = server.daemon.pid();
    // The program may still be on its way out, and a worker on its way in.
    let ids = |pid| children(pid).iter().map(|c| c.1).collect::<Vec<_>>();
    kit::eventually("the keeper is alone", || ids(listener) == [0]);
    let keeper = children(listener)[0].0;
    kit::eventually("two workers", || ids(keeper) == [4321, 4321]);
    for (worker, _) in children(keeper) {
        kit::eventually("it gives its privileges up", || {
            let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
            status.contains("NoNewPrivs:\t1")
        });
        let open = std::fs::read_dir(format!("/proc/{worker}/fd")).unwrap();
        let open: Vec<_> = open
            .flatten()
            .filter_map(|e| std::fs::read_link(e.path()).ok())
            .filter(|to| {
                to.to_str()
                    .is_some_and(|t| t.contains("pem") || t.contains("live"))
            })
            .collect();
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn nobody_is_asked_to_be_root() {
    if !is_root("nobody_is_asked_to_be_root") {
        return;
    }
    let scratch = scratch("root");
    let server = Server::start(&scratch, &[], &["echo", "hi"]);
    let keepers = children(server.daemon.pid());
    kit::eventually("no worker is root", || {
        let workers = children(keepers[0].0);
        !workers.is_empty() && workers.iter().all(|w| w.1 != 0)
    });
}

#[test]
fn a_program_that_is_killed_ends_its_connection_only() {
    let scratch = scratch("program");
    let server = Server::start(&scratch, &[], &["sh", "-c", "echo $$; exec cat"]);
    let got = server.python(
        "
import os, signal
one, other = tls(), tls()
pid = int(one.recv(100))
other.recv(100)
os.kill(pid, signal.SIGKILL)
print(rest(one))
other.send(b'on')
print(other.recv(10))
other.close()
",
    );
    assert_eq!(got, "b''\nb'on'\n");
}

#[test]
fn a_worker_that_is_killed_is_replaced() {
    let scratch = scratch("worker");
    let server = Server::start(&scratch, &["--processes=2"], &["sh", "-c", "echo hi; cat"]);
    let keeper = children(server.daemon.pid())[0].0;
    kit::eventually("two workers", || children(keeper).len() == 2);
    let workers = children(keeper);
    let got = server.python(&format!(
        "
import os, signal
sessions = [tls() for n in range(4)]
for s in sessions: s.recv(10)
os.kill({}, signal.SIGKILL)
alive = 0
for s in sessions:
    try:
        s.send(b'x')
        alive += s.recv(10) == b'x'
    except OSError: pass
print(alive)
",
        workers[0].0
    ));
    assert_eq!(got, "2\n", "only its own sessions");
    server.logged("a process for TLS has died with 2 sessions");
    let again = kit::until(PATIENCE, || (children(keeper).len() == 2).then_some(()));
    assert!(again.is_some());
    for _ in 0..4 {
        assert_eq!(server.python("s = tls(); print(s.recv(10))"), "b'hi\\n'\n");
    }
    server.logged("status: 0/40\n");
}

#[test]
fn a_handshake_in_a_worker_that_is_killed_frees_its_place() {
    let scratch = scratch("place");
    let server = Server::start(&scratch, &["-c1", "--processes=1"], &["echo", "hi"]);
    let waiting = server.connect();
    server.logged("status: 1/1");
    let keeper = children(server.daemon.pid())[0].0;
    signal::send(children(keeper)[0].0, Signal::SIGKILL).unwrap();
    crate::server::rest(waiting);
    assert_eq!(server.talk(&[], ""), "hi\n");
}

#[test]
fn without_the_keeper_the_server_ends_and_sessions_go_on() {
    let scratch = scratch("keeper");
    let mut server = Server::start(&scratch, &[], &["cat"]);
    let keeper = children(server.daemon.pid())[0].0;
    let got = server.python(&format!(
        "
import os, signal
s = tls()
s.send(b'a'); s.recv(1)
os.kill({keeper}, signal.SIGKILL)
time.sleep(0.5)
s.send(b'on')
print(s.recv(10))
"
    ));
    assert_eq!(got, "b'on'\n");
    assert_eq!(server.daemon.wait(PATIENCE), End::Exit(111));
    assert!(
        server
            .log()
            .contains("fatal: the keeper of the keys has gone")
    );
}

#[test]
fn term_lets_sessions_go_on_and_leaves_nobody_behind() {
    let scratch = scratch("term");
    let mut server = Server::start(&scratch, &[], &["cat"]);
    let keeper = children(server.daemon.pid())[0].0;
    let workers = children(keeper);
    let got = server.python(&format!(
        "
import os, signal
s = tls()
s.send(b'a'); s.recv(1)
os.kill({}, signal.SIGTERM)
time.sleep(0.5)
s.send(b'on')
print(s.recv(10))
s.close()
",
        server.daemon.pid()
    ));
    assert_eq!(got, "b'on'\n");
    assert_eq!(server.daemon.wait(PATIENCE), End::Exit(0));
    let is_gone = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
        status.is_err() || status.is_ok_and(|s| s.contains("State:\tZ"))
    };
    let all: Vec<u32> = workers.iter().map(|w| w.0).chain([keeper]).collect();
    let gone = kit::until(PATIENCE, || all.iter().all(|p| is_gone(*p)).then_some(()));
    assert!(gone.is_some(), "{all:?}");
}

#[test]
fn many_idle_sessions_need_little() {
    let scratch = scratch("idle");
    let options = ["-c1000", "--processes=1", "-n"];
    // Without programs that count: one that sleeps would be most of it.
    let server = Server::start(&scratch, &options[..2], &["sleep", "60"]);
    let keeper = children(server.daemon.pid())[0].0;
    let worker = children(keeper)[0].0;
    let size = || {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    server.python("s = tls()");
    let before = size();
    let file = format!("/proc/{worker}/status");
    let got = server.python(&format!(
        "
sessions = [tls() for n in range(200)]
line = [l for l in open('{file}') if l.startswith('RssAnon:')][0]
print(line.split()[1])
"
    ));
    let grown = got.trim().parse::<i64>().unwrap() - before;
    assert!(grown < 200 * 40, "{grown} kB for 200 sessions");
}

#[test]
fn without_descriptors_connections_fail_and_later_ones_do_not() {
    let scratch = scratch("descriptors");
    let script = format!(
        "ulimit -n 24; exec {} \"$@\"",
        program("sslserver").display()
    );
    for delayed in [&[][..], &["-n"]] {
        let run = Run::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .env("CERTDIR", "live");
        let options = [&["-c60", "--processes=1"], delayed].concat();
        let server = Server::start_as(
            &scratch,
            run,
            &options,
            &["sh", "-c", "echo hi; read x; echo $x"],
        );
        let begin = if delayed.is_empty() { "tls" } else { "plain" };
        let got = server.python(&format!(
            "
import select
sessions = []
for n in range(30):
    try: sessions.append({begin}())
    except (OSError, ssl.SSLError): pass
print(len(sessions) > 3)
time.sleep(0.5)
for s in sessions: s.close()
for n in range(200):
    try:
        s = {begin}()
        s.settimeout(5)
        s.send(b'on\\n')
        got = rest(s)
        if got == b'hi\\non\\n': break
    except OSError: pass
    time.sleep(0.1)
print(got)
"
        ));
        assert_eq!(got, "True\nb'hi\\non\\n'\n", "{}", server.log());
    }
}
