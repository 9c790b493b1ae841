//! svscan, supervise, svc, svok and svstat.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kit::{Daemon, Run, Scratch};
use sys::process::End;
use sys::signal::Signal;

use crate::{original, ours, path, words};

/// One service, and the programs to drive it with.
struct Service {
    here: Scratch,
    supervise: Daemon,
    svc: PathBuf,
    svstat: PathBuf,
}

/// It is `started` when it hears signals.
const RUN: &str = "trap 'echo term >>log; exit 0' TERM
trap 'echo hup >>log' HUP
trap 'echo alarm >>log' ALRM
trap 'echo interrupt >>log' INT
echo started >>log
n=0; while [ $n -lt 6000 ]; do sleep 0.1; n=$((n+1)); done";

impl Service {
    fn start(supervise: &Path, svc: &Path, svstat: &Path) -> Service {
        let here = Scratch::new("service");
        here.write("s/down", "");
        here.script("s/run", RUN);
        let daemon = Run::new(supervise)
            .env("PATH", &path())
            .dir(here.path())
            .arg("s")
            .start(here.join("err"));
        let service = Service {
            here,
            supervise: daemon,
            svc: svc.to_path_buf(),
            svstat: svstat.to_path_buf(),
        };
        service.shows("down N seconds");
        service
    }

    fn ours() -> Service {
        Service::start(
            &kit::program("supervise"),
            &kit::program("svc"),
            &kit::program("svstat"),
        )
    }

    fn svc(&self, letters: &str) {
        let done = Run::new(&self.svc)
            .arg(letters)
            .arg("s")
            .dir(self.here.path())
            .output();
        assert_eq!(
            (done.code(), done.err_text().as_str()),
            (0, ""),
            "svc {letters}"
        );
    }

    /// What svstat says, with numbers masked.
    fn state(&self) -> String {
        let done = Run::new(&self.svstat)
            .arg("s")
            .dir(self.here.path())
            .output();
        assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
        masked(done.out_text().strip_prefix("s: ").unwrap().trim_end())
    }

    fn shows(&self, expected: &str) {
        let found = kit::until(kit::LIMIT, || (self.state() == expected).then_some(()));
        assert!(
            found.is_some(),
            "wanted {expected}, last seen {}",
            self.state()
        );
    }

    fn log(&self) -> String {
        fs::read_to_string(self.here.join("s/log")).unwrap_or_default()
    }

    fn logs(&self, line: &str) {
        kit::eventually(line, || self.log().lines().last() == Some(line));
    }

    fn status(&self) -> Vec<u8> {
        self.here.read("s/supervise/status")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.supervise.is_running() {
            self.supervise.signal(Signal::SIGKILL);
            self.supervise.wait(kit::LIMIT);
        }
        // The service is not our child, and would go on in a directory that is gone.
        if let Some(pid) = fs::read(self.here.join("s/supervise/status"))
            .ok()
            .and_then(|s| pid_of(&s))
        {
            let _ = sys::signal::send(pid, Signal::SIGKILL);
        }
    }
}

pub(crate) fn pid_of(status: &[u8]) -> Option<u32> {
    let pid = u32::from_le_bytes(status.get(12..16)?.try_into().ok()?);
    (pid != 0).then_some(pid)
}

pub(crate) fn masked(text: &str) -> String {
    let mut masked = Vec::new();
    for word in text.split(' ') {
        if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
            masked.push("N".to_owned());
        } else if word.ends_with(')') {
            masked.push("P)".to_owned());
        } else {
            masked.push(word.to_owned());
        }
    }
    masked.join(" ")
}

/// The life of a service, whoever supervises and whoever asks.
fn lives(mut service: Service) {
    let status = service.status();
    assert_eq!(
        (status.len(), &status[12..]),
        (18, b"\0\0\0\0\0d".as_slice())
    );

    service.svc("-u");
    service.logs("started");
    service.shows("up (pid P) N seconds, normally down");
    let status = service.status();
    assert!(pid_of(&status).is_some());
    assert_eq!(status[16..], *b"\0u");

    for (letter, line) in [("-h", "hup"), ("-a", "alarm"), ("-i", "interrupt")] {
        service.svc(letter);
        service.logs(line);
    }
    service.svc("-p");
    service.shows("up (pid P) N seconds, normally down, paused");
    assert_eq!(service.status()[16], 1);
    service.svc("-c");
    service.shows("up (pid P) N seconds, normally down");

    let first = pid_of(&service.status());
    service.svc("-t");
    service.logs("started");
    kit::eventually("another process runs", || {
        let now = pid_of(&service.status());
        now.is_some() && now != first
    });

    service.logs("started");
    service.svc("-o");
    kit::eventually("once", || service.status()[17] == 0);
    service.svc("-t");
    service.shows("down N seconds");
    fs::remove_file(service.here.join("s/down")).unwrap();
    service.shows("down N seconds, normally up");

    service.svc("-u");
    service.shows("up (pid P) N seconds");
    service.svc("-x");
    service.shows("up (pid P) N seconds");
    service.svc("-k");
    assert_eq!(service.supervise.wait(kit::LIMIT), End::Exit(0));
    assert_eq!(service.state(), "supervise not running");
    assert_eq!(fs::read(service.here.join("err")).unwrap(), b"");
}

#[test]
fn a_service_lives_whoever_supervises_and_whoever_asks() {
    let test = "a_service_lives_whoever_supervises_and_whoever_asks";
    let [supervise, svc, svstat] = ["supervise", "svc", "svstat"].map(kit::program);
    std::thread::scope(|scope| {
        scope.spawn(|| lives(Service::start(&supervise, &svc, &svstat)));
        if let (Some(theirs), Some(their_svc), Some(their_svstat)) = (
            original("supervise", test),
            original("svc", test),
            original("svstat", test),
        ) {
            let (svc, svstat) = (&svc, &svstat);
            scope.spawn(move || lives(Service::start(&theirs, svc, svstat)));
            scope.spawn(|| {
                let (svc, svstat) = (their_svc, their_svstat);
                lives(Service::start(&supervise, &svc, &svstat));
            });
        }
    });
}

#[test]
fn each_supervise_keeps_the_other_out() {
    let test = "each_supervise_keeps_the_other_out";
    let mut pairs = vec![(kit::program("supervise"), kit::program("supervise"))];
    if let Some(theirs) = original("supervise", test) {
        pairs.push((kit::program("supervise"), theirs.clone()));
        pairs.push((theirs, kit::program("supervise")));
    }
    for (first, second) in pairs {
        let service = Service::start(&first, &kit::program("svc"), &kit::program("svstat"));
        let done = Run::new(second).arg("s").dir(service.here.path()).output();
        let expected = "supervise: fatal: unable to acquire s/supervise/lock: temporary failure\n";
        assert_eq!((done.code(), done.err_text().as_str()), (111, expected));
        service.svc("-x");
    }
}

#[test]
fn the_supervise_directory_is_as_the_originals() {
    let service = Service::ours();
    let at = |name: &str| fs::metadata(service.here.join("s/supervise").join(name)).unwrap();
    let bits = |name: &str| at(name).permissions().mode() & 0o7777;
    assert_eq!(
        (
            bits("."),
            bits("lock"),
            bits("control"),
            bits("ok"),
            bits("status")
        ),
        (0o700, 0o600, 0o600, 0o600, 0o644)
    );
    assert!(at("control").file_type().is_fifo() && at("ok").file_type().is_fifo());
    assert_eq!(at("lock").len(), 0);
    let mut names: Vec<_> = fs::read_dir(service.here.join("s/supervise"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["control", "lock", "ok", "status"]);
    let svok = |dir: &str| ours("svok", service.here.path()).arg(dir).output().code();
    assert_eq!(svok("s"), 0);
    service.svc("-dx");
    kit::eventually("svok sees the end", || svok("s") == 100);
}

/// These mostly wait, so they wait together.
#[test]
fn services_start_at_their_pace() {
    std::thread::scope(|scope| {
        scope.spawn(a_service_that_fails_is_started_once_a_second);
        scope.spawn(a_run_file_that_cannot_be_run_is_tried_again);
        scope.spawn(once_means_one_try);
    });
}

fn a_service_that_fails_is_started_once_a_second() {
    let mut service = Service::ours();
    service.here.script("s/run", "echo x >>starts");
    // From before the first start to after the last: only longer on a busy machine.
    let begin = Instant::now();
    service.svc("-u");
    let starts = || fs::read_to_string(service.here.join("s/starts")).unwrap_or_default();
    kit::eventually("four starts", || starts().lines().count() >= 4);
    let took = begin.elapsed();
    service.svc("-dx");
    assert_eq!(service.supervise.wait(kit::LIMIT), End::Exit(0));
    assert!(took > Duration::from_millis(2900), "{took:?}");
}

fn a_run_file_that_cannot_be_run_is_tried_again() {
    let mut service = Service::ours();
    fs::rename(service.here.join("s/run"), service.here.join("s/later")).unwrap();
    service.svc("-u");
    let err = || fs::read_to_string(service.here.join("err")).unwrap();
    let sentence = "supervise: fatal: unable to start s/run: file does not exist";
    kit::eventually("two tries", || err().lines().count() >= 2);
    assert!(err().lines().all(|l| l == sentence), "{}", err());
    service.shows("down N seconds, want up");
    fs::rename(service.here.join("s/later"), service.here.join("s/run")).unwrap();
    service.shows("up (pid P) N seconds, normally down");
    service.svc("-dx");
    assert_eq!(service.supervise.wait(kit::LIMIT), End::Exit(0));
}

fn once_means_one_try() {
    let mut service = Service::ours();
    service.here.script("s/run", "echo x >>times");
    service.svc("-o");
    kit::eventually("one start", || service.here.join("s/times").exists());
    service.shows("down N seconds");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(service.here.read("s/times"), b"x\n");
    service.svc("-x");
    assert_eq!(service.supervise.wait(kit::LIMIT), End::Exit(0));
}

#[test]
fn works_with_every_descriptor_closed() {
    let here = Scratch::new("closed-services");
    here.script(
        "s/run",
        "echo out; echo err >&2; echo ran >ran; exec sleep 600",
    );
    let supervise =
        sys::spawn::Spawn::new(kit::program("supervise").as_os_str().as_encoded_bytes())
            .arg("s")
            .dir(here.path().as_os_str().as_encoded_bytes())
            .without_fd(0)
            .without_fd(1)
            .without_fd(2)
            .spawn()
            .unwrap();
    kit::eventually("the service runs", || here.join("s/ran").exists());
    let done = ours("svc", here.path())
        .args(["-dx", "s"])
        .closed(0)
        .closed(1)
        .closed(2)
        .output();
    assert_eq!(done.code(), 0);
    let end = kit::until(kit::LIMIT, || sys::process::ended_pid(supervise).unwrap());
    assert_eq!(end, Some(End::Exit(0)));
    // No file of supervise has taken the place of a standard descriptor.
    assert_eq!(
        fs::metadata(here.join("s/supervise/status")).unwrap().len(),
        18
    );
    assert_eq!(
        fs::metadata(here.join("s/supervise/lock")).unwrap().len(),
        0
    );
    assert_eq!(
        ours("svstat", here.path())
            .arg("s")
            .closed(1)
            .output()
            .code(),
        0
    );
}

#[test]
fn trouble_is_told_as_the_originals_tell_it() {
    let here = Scratch::new("service-trouble");
    here.write("plain", "");
    fs::create_dir(here.join("d")).unwrap();
    let svc = "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, t term, k kill\n";
    for (line, code, out, err) in [
        (
            "supervise",
            100,
            "",
            "supervise: usage: supervise dir\n".to_owned(),
        ),
        (
            "supervise d d",
            100,
            "",
            "supervise: usage: supervise dir\n".to_owned(),
        ),
        (
            "supervise nosuch",
            111,
            "",
            "supervise: fatal: unable to chdir to nosuch: file does not exist\n".to_owned(),
        ),
        (
            "supervise plain",
            111,
            "",
            "supervise: fatal: unable to chdir to plain: not a directory\n".to_owned(),
        ),
        (
            "svscan nosuch",
            111,
            "",
            "svscan: fatal: unable to chdir to nosuch: file does not exist\n".to_owned(),
        ),
        ("svc", 0, "", String::new()),
        ("svc -u", 0, "", String::new()),
        (
            "svc -y d",
            100,
            "",
            format!("svc: illegal option -- y\n{svc}"),
        ),
        (
            "svc -u nosuch",
            0,
            "",
            "svc: warning: unable to chdir to nosuch: file does not exist\n".to_owned(),
        ),
        (
            "svc -u d",
            0,
            "",
            "svc: warning: unable to control d: file does not exist\n".to_owned(),
        ),
        ("svok", 100, "", "svok: usage: svok dir\n".to_owned()),
        (
            "svok nosuch",
            111,
            "",
            "svok: fatal: unable to chdir to nosuch: file does not exist\n".to_owned(),
        ),
        ("svok d", 100, "", String::new()),
        ("svstat", 0, "", String::new()),
        (
            "svstat d nosuch",
            0,
            "d: unable to open supervise/ok: file does not exist\nnosuch: unable to chdir: file does not exist\n",
            String::new(),
        ),
    ] {
        let line = words(line);
        let done = ours(line[0], here.path()).args(&line[1..]).output();
        assert_eq!(
            (done.code(), done.out_text().as_str(), done.err_text()),
            (code, out, err),
            "{line:?}"
        );
    }
}

#[test]
fn an_ended_supervise_is_told() {
    let mut service = Service::ours();
    service.svc("-x");
    assert_eq!(service.supervise.wait(kit::LIMIT), End::Exit(0));
    let done = ours("svc", service.here.path()).args(["-u", "s"]).output();
    assert_eq!(
        (done.code(), done.err_text().as_str()),
        (
            0,
            "svc: warning: unable to control s: supervise not running\n"
        )
    );
    service.here.write("s/supervise/status", "short");
    assert_eq!(service.state(), "supervise not running");
}

#[test]
fn a_supervise_that_does_not_read_is_told() {
    let service = Service::ours();
    service.supervise.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", service.supervise.pid());
    kit::eventually("it has stopped", || {
        fs::read_to_string(&stat).unwrap().contains(") T ")
    });
    let control = service.here.join("s/supervise/control");
    let fifo = sys::dir::open_write(control.as_os_str().as_encoded_bytes()).unwrap();
    while sys::fd::write(&fifo, &[b'?'; 4096]).is_ok() {}
    let done = ours("svc", service.here.path()).args(["-u", "s"]).output();
    let expected = "svc: warning: error writing commands to s: temporary failure\n";
    assert_eq!((done.code(), done.err_text().as_str()), (0, expected));
    service.supervise.signal(Signal::SIGCONT);
}

#[test]
fn svstat_tells_of_a_broken_status_file() {
    let service = Service::ours();
    service.here.write("s/supervise/status", "short");
    assert_eq!(
        service.state(),
        "unable to read supervise/status: bad format"
    );
    fs::remove_file(service.here.join("s/supervise/status")).unwrap();
    assert_eq!(
        service.state(),
        "unable to open supervise/status: file does not exist"
    );
    service.svc("-x");
}

/// Starts svscan with services that end by themselves; the guard ends them earlier.
struct Scanned {
    here: Scratch,
    scan: Daemon,
}

impl Scanned {
    /// The caller ignores the ends of children, which svscan must not inherit.
    fn start(here: Scratch) -> Scanned {
        let shell = format!("trap '' CHLD; exec {} sv", kit::program("svscan").display());
        let scan = Run::new("/bin/bash")
            .args(["-c", &shell])
            .env("PATH", &path())
            .dir(here.path())
            .start(here.join("err"));
        Scanned { here, scan }
    }

    fn svstat(&self, name: &str) -> String {
        masked(
            ours("svstat", self.here.path())
                .arg(name)
                .output()
                .out_text()
                .trim_end(),
        )
    }

    fn up(&self, name: &str) {
        let expected = format!("{name}: up (pid P) N seconds");
        kit::eventually(&expected, || self.svstat(name) == expected);
    }
}

impl Drop for Scanned {
    fn drop(&mut self) {
        let _ = sys::signal::send(self.scan.pid(), Signal::SIGKILL);
        let services: Vec<String> = fs::read_dir(self.here.join("sv"))
            .unwrap()
            .flatten()
            .flat_map(|e| {
                let name = e.file_name().into_string().unwrap();
                [format!("sv/{name}"), format!("sv/{name}/log")]
            })
            .filter(|s| self.here.join(s).join("supervise").exists())
            .collect();
        let _ = ours("svc", self.here.path())
            .arg("-dx")
            .args(&services)
            .output();
        // Before the scratch directory goes. Not worth a second failure.
        let running =
            |s: &String| ours("svok", self.here.path()).arg(s).output().end == End::Exit(0);
        let _ = kit::until(kit::LIMIT, || (!services.iter().any(running)).then_some(()));
    }
}

#[test]
fn svscan_joins_a_service_with_its_log_and_keeps_the_pipe() {
    let here = Scratch::new("svscan");
    here.script(
        "sv/a/run",
        "n=0; while [ $n -lt 10 ]; do echo line $n; n=$((n+1)); done
         until [ -e go ]; do sleep 0.1; done
         while [ $n -lt 6000 ]; do echo line $n; n=$((n+1)); sleep 0.1; done",
    );
    here.script("sv/a/log/run", "exec cat >>got");
    here.script("sv/.hidden/run", "exec sleep 600");
    here.write("sv/plain", "");
    let mut scanned = Scanned::start(here);
    scanned.up("sv/a");
    scanned.up("sv/a/log");
    let got = |scanned: &Scanned| {
        fs::read_to_string(scanned.here.join("sv/a/log/got")).unwrap_or_default()
    };
    // Nothing is in the hands of the log then.
    kit::eventually("lines arrive", || got(&scanned).ends_with("line 9\n"));
    assert!(!scanned.here.join("sv/.hidden/supervise").exists());

    // The supervise of the log is killed, and its service with it: the lines wait in the pipe.
    let status = scanned.here.read("sv/a/log/supervise/status");
    let supervise = parent_of(pid_of(&status).unwrap());
    sys::signal::send(supervise, Signal::SIGKILL).unwrap();
    sys::signal::send(pid_of(&status).unwrap(), Signal::SIGKILL).unwrap();
    scanned.here.write("sv/a/go", "");
    kit::eventually("the log goes on", || got(&scanned).lines().count() > 30);
    let lines: Vec<String> = got(&scanned).lines().map(str::to_owned).collect();
    let expected: Vec<String> = (0..lines.len()).map(|n| format!("line {n}")).collect();
    assert_eq!(lines, expected, "no line is lost");
    assert!(scanned.scan.is_running());
    assert_eq!(fs::read_to_string(scanned.here.join("err")).unwrap(), "");
}

/// The parent of a process, from /proc.
fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')')
        .unwrap()
        .1
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn svscan_finds_new_services_and_forgets_removed_ones() {
    let here = Scratch::new("rescan");
    fs::create_dir(here.join("sv")).unwrap();
    here.script("store/run", "exec sleep 600");
    let mut scanned = Scanned::start(here);
    std::thread::sleep(Duration::from_millis(300));
    std::os::unix::fs::symlink("../store", scanned.here.join("sv/b")).unwrap();
    scanned.up("sv/b");
    // As service(8) says: remove the link first, then tell supervise to exit.
    fs::remove_file(scanned.here.join("sv/b")).unwrap();
    let status = scanned.here.read("store/supervise/status");
    assert_eq!(
        ours("svc", scanned.here.path())
            .args(["-dx", "store"])
            .output()
            .code(),
        0
    );
    let store = scanned.here.join("store").to_str().unwrap().to_owned();
    kit::eventually("the service is gone", || {
        masked(
            ours("svstat", scanned.here.path())
                .arg(&store)
                .output()
                .out_text()
                .trim_end(),
        ) == format!("{store}: supervise not running")
    });
    assert!(!Path::new(&format!("/proc/{}", pid_of(&status).unwrap())).exists());
    assert!(scanned.scan.is_running());
}

#[test]
fn svscan_says_when_there_is_no_supervise() {
    let here = Scratch::new("no-supervise");
    here.script("sv/a/run", "exec sleep 600");
    let mut scan = ours("svscan", here.path())
        .env("PATH", "/nonexistent")
        .arg("sv")
        .start(here.join("err"));
    kit::eventually("the warning", || here.read("err").ends_with(b"\n"));
    // Again after a while.
    let expected = "svscan: warning: unable to start supervise a: file does not exist";
    let err = fs::read_to_string(here.join("err")).unwrap();
    assert!(err.lines().all(|line| line == expected), "{err}");
    assert!(scan.is_running());
    scan.stop();
}
