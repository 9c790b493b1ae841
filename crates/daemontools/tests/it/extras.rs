//! What a service directory may hold beside `run`: start, stop, notify, log, listen.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

use kit::{Daemon, Run, Scratch};
use sys::process::End;
use sys::signal::Signal;

use crate::services::{masked, pid_of};
use crate::{original, ours, path};

struct Service {
    here: Scratch,
    supervise: Daemon,
}

impl Service {
    /// Starts a supervise for the directory `s`.
    fn start(here: Scratch) -> Service {
        let supervise = Run::new(kit::program("supervise"))
            .env("PATH", &path())
            .dir(here.path())
            .arg("s")
            .start(here.join("err"));
        let service = Service { here, supervise };
        kit::eventually("supervise runs", || {
            !service.state().contains("not running")
        });
        service
    }

    fn svc(&self, letters: &str) {
        let done = ours("svc", self.here.path()).args([letters, "s"]).output();
        assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
    }

    fn state(&self) -> String {
        let done = ours("svstat", self.here.path()).arg("s").output();
        done.out_text()
            .trim_end()
            .lines()
            .map(masked)
            .collect::<Vec<_>>()
            .join("|")
    }

    fn shows(&self, expected: &str) {
        let found = kit::until(kit::LIMIT, || (self.state() == expected).then_some(()));
        assert!(
            found.is_some(),
            "wanted {expected}, last seen {}",
            self.state()
        );
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.here.join(name)).unwrap_or_default()
    }

    fn ends(&mut self) {
        assert_eq!(self.supervise.wait(kit::LIMIT), End::Exit(0));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.supervise.is_running() {
            self.supervise.signal(Signal::SIGKILL);
            self.supervise.wait(kit::LIMIT);
        }
        let status = fs::read(self.here.join("s/supervise/status")).unwrap_or_default();
        for record in status.chunks(20) {
            if let Some(pid) = pid_of(record) {
                let _ = sys::signal::send(pid, Signal::SIGKILL);
            }
        }
    }
}

/// These mostly wait, so they wait together.
#[test]
fn a_service_may_have_more_than_run() {
    std::thread::scope(|scope| {
        scope.spawn(start_comes_first_and_stop_last);
        scope.spawn(a_start_that_fails_keeps_the_service_down);
        scope.spawn(a_start_without_run_is_a_service);
        scope.spawn(a_log_in_the_same_directory_gets_every_line);
        scope.spawn(a_log_that_does_not_end_is_ended);
        scope.spawn(files_that_are_no_programs_change_nothing);
        scope.spawn(more_signals_reach_the_service);
    });
}

fn start_comes_first_and_stop_last() {
    let here = Scratch::new("start-stop");
    here.write("s/down", "");
    here.script("s/start", "echo start >>trace");
    here.script("s/run", "echo run >>trace; exec sleep 600");
    here.script("s/stop", "echo stop >>trace");
    here.script("s/notify", "echo $1 $2 $4 >>notes; test \"$3\" -gt 1");
    let mut service = Service::start(here);
    service.shows("s: down N seconds, stopped");
    assert_eq!(service.here.read("s/supervise/status").len(), 20);
    service.svc("-u");
    service.shows("s: up (pid P) N seconds, normally down, running");
    // Up is the process, before it has said a word.
    let runs = |service: &Service, count| {
        kit::eventually("run says so", || {
            service.text("s/trace").lines().count() == count
        });
    };
    runs(&service, 2);
    // Another process, the same run: start is for the beginning only.
    service.svc("-k");
    runs(&service, 3);
    service.svc("-d");
    service.shows("s: down N seconds, stopped");
    service.svc("-o");
    service.shows("s: up (pid P) N seconds, normally down, once, running");
    runs(&service, 6);
    service.svc("-dx");
    service.ends();
    let trace: Vec<String> = service.text("s/trace").lines().map(str::to_owned).collect();
    assert_eq!(
        trace,
        ["start", "run", "run", "stop", "start", "run", "stop"]
    );
    let expected = [
        ("run killed 15", 2),
        ("run killed 9", 1),
        ("run start 0", 3),
        ("start exit 0", 2),
        ("start start 0", 2),
        ("stop exit 0", 2),
        ("stop start 0", 2),
    ];
    let expected: Vec<&str> = expected
        .iter()
        .flat_map(|(line, count)| std::iter::repeat_n(*line, *count))
        .collect();
    kit::eventually("the last note", || {
        service.text("s/notes").lines().count() >= expected.len()
    });
    let mut notes: Vec<String> = service.text("s/notes").lines().map(str::to_owned).collect();
    notes.sort();
    assert_eq!(notes, expected);
    assert_eq!(service.text("err"), "");
}

fn a_start_that_fails_keeps_the_service_down() {
    let here = Scratch::new("start-fails");
    here.script("s/start", "test -e ready");
    here.script("s/run", "echo run >>trace; exec sleep 600");
    let mut service = Service::start(here);
    service.shows("s: down N seconds, normally up, failed");
    assert_eq!(service.text("s/trace"), "");
    service.here.write("s/ready", "");
    service.svc("-u");
    service.shows("s: up (pid P) N seconds, running");
    service.svc("-dx");
    service.ends();
}

fn a_start_without_run_is_a_service() {
    let here = Scratch::new("start-only");
    here.script("s/start", "echo start >>trace");
    here.script("s/stop", "echo stop >>trace");
    let mut service = Service::start(here);
    service.shows("s: down N seconds, normally up, started");
    service.svc("-dx");
    service.ends();
    assert_eq!(service.text("s/trace"), "start\nstop\n");
}

fn a_log_in_the_same_directory_gets_every_line() {
    let here = Scratch::new("log");
    here.script(
        "s/run",
        "[ -e ran ] && exec sleep 600; touch ran
         n=0; while [ $n -lt 300 ]; do echo $n; n=$((n+1)); sleep 0.01; done; exec sleep 600",
    );
    // It ends after some lines, and once by a crash: the pipe stays.
    here.script(
        "s/log",
        "n=0; while [ $n -lt 100 ] && read line; do echo $line >>got; n=$((n+1)); done
         [ $n = 0 ] || kill -9 $$",
    );
    let mut service = Service::start(here);
    service.shows("s: up (pid P) N seconds, running|s log: up (pid P) N seconds, running");
    assert_eq!(service.here.read("s/supervise/status").len(), 40);
    if let Some(theirs) = original("svstat", "a_log_in_the_same_directory_gets_every_line") {
        let done = Run::new(theirs).arg("s").dir(service.here.path()).output();
        assert_eq!(
            masked(done.out_text().trim_end()),
            "s: up (pid P) N seconds"
        );
    }
    kit::eventually("all lines", || service.text("s/got").lines().count() == 300);
    service.svc("-Lp");
    service.shows("s: up (pid P) N seconds, running|s log: up (pid P) N seconds, paused, running");
    service.svc("-Lcdlh");
    kit::eventually("the service got the last letter", || {
        service.state().starts_with("s: up")
            && service
                .state()
                .ends_with("s log: down N seconds, normally up, stopped")
    });
    service.svc("-Lu");
    service.svc("-dx");
    service.ends();
    let expected: String = (0..300).map(|n| format!("{n}\n")).collect();
    assert_eq!(service.text("s/got"), expected);
}

fn a_log_that_does_not_end_is_ended() {
    let here = Scratch::new("deaf-log");
    here.script("s/run", "exec sleep 600");
    here.script("s/log", "exec sleep 600");
    let mut service = Service::start(here);
    service.shows("s: up (pid P) N seconds, running|s log: up (pid P) N seconds, running");
    service.svc("-dx");
    service.ends();
}

fn files_that_are_no_programs_change_nothing() {
    let here = Scratch::new("no-programs");
    for name in ["start", "stop", "notify", "log"] {
        here.write(&format!("s/{name}"), "#!/bin/sh\necho no >>trace\n");
    }
    here.script("s/run", "exec sleep 600");
    let mut service = Service::start(here);
    service.shows("s: up (pid P) N seconds");
    assert_eq!(service.here.read("s/supervise/status").len(), 18);
    // There is no log to tell: the letters mean the service.
    service.svc("-Ld");
    service.shows("s: down N seconds, normally up");
    service.svc("-x");
    service.ends();
    assert_eq!(service.text("s/trace"), "");
}

fn more_signals_reach_the_service() {
    let here = Scratch::new("signals");
    here.script(
        "s/run",
        "trap 'echo quit >>trace' QUIT; trap 'echo one >>trace' USR1; trap 'echo two >>trace' USR2
         trap 'echo winch >>trace' WINCH; echo ready >>trace
         n=0; while [ $n -lt 6000 ]; do sleep 0.1; n=$((n+1)); done",
    );
    let mut service = Service::start(here);
    for (letter, line) in [
        ("", "ready"),
        ("-q", "quit"),
        ("-1", "one"),
        ("-2", "two"),
        ("-w", "winch"),
    ] {
        if !letter.is_empty() {
            service.svc(letter);
        }
        kit::eventually(line, || {
            service.text("s/trace").lines().last() == Some(line)
        });
    }
    service.svc("-dxk");
    service.ends();
}

/// Serves one connection after another on descriptor 3, and says who it is.
const SERVER: &str = "import os, socket
assert os.environ['LISTEN_PID'] == str(os.getpid())
assert (os.environ['LISTEN_FDS'], os.environ['LISTEN_FDNAMES']) == ('2', 'smtp:unknown')
s = socket.socket(fileno=3)
socket.socket(fileno=4).getsockname()
while True:
    c, _ = s.accept()
    c.sendall(b'%d' % os.getpid())
    c.close()
";

#[test]
fn a_held_socket_refuses_nobody_while_the_program_restarts() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("SKIPPED (no python3): a_held_socket_refuses_nobody_while_the_program_restarts");
        return;
    }
    let here = Scratch::new("listen");
    let (port, other) = (kit::free_port(), kit::free_port());
    here.write("s/server", SERVER);
    here.script("s/run", "exec /usr/bin/python3 server 2>err");
    here.write(
        "s/listen",
        format!("# mail\n127.0.0.1 {port} smtp\n127.0.0.1 {other}\n"),
    );
    let mut service = Service::start(here);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, kit::LIMIT)?;
        stream.set_read_timeout(Some(kit::LIMIT))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    // supervise may be there before its sockets are.
    let first = kit::until(kit::LIMIT, || ask().ok().filter(|text| !text.is_empty()));
    let mut servers = vec![first.expect("the server answers")];
    for round in 1..3 {
        service.svc("-k");
        // Each is answered by this process or the next; one that the killed process had taken may break.
        let answered = kit::until(kit::LIMIT, || {
            match ask() {
                Ok(text) if !text.is_empty() && servers.last() != Some(&text) => servers.push(text),
                Ok(_) => {}
                Err(e) => assert_ne!(e.kind(), std::io::ErrorKind::ConnectionRefused),
            }
            (servers.len() > round).then_some(())
        });
        assert!(
            answered.is_some(),
            "{servers:?} {} {}",
            service.state(),
            service.text("s/err")
        );
    }
    // Down means down: clients are refused at once.
    service.svc("-d");
    kit::eventually("refused", || {
        ask().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    });
    service.svc("-u");
    kit::eventually("open again", || ask().is_ok_and(|text| !text.is_empty()));
    service.svc("-dx");
    service.ends();
    assert_eq!(service.text("s/err"), "");
}

#[test]
fn a_listen_file_that_cannot_be_followed_is_told() {
    let here = Scratch::new("listen-trouble");
    let port = kit::free_port();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    here.write("s/listen", format!("127.0.0.1 {port}\n"));
    here.script("s/run", "exec sleep 600");
    let mut service = Service::start(here);
    let busy = format!(
        "supervise: fatal: unable to listen on 127.0.0.1 {port} for s: address already used\n"
    );
    kit::eventually("the first try", || service.text("err").starts_with(&busy));
    service.here.write("s/listen", "localhost smtp\n");
    let bad = "supervise: fatal: unable to understand s/listen: localhost smtp\n";
    kit::eventually("the second try", || service.text("err").ends_with(bad));
    drop(taken);
    service
        .here
        .write("s/listen", format!("127.0.0.1 {port}\n"));
    service.shows("s: up (pid P) N seconds");
    service.svc("-dx");
    service.ends();
}
