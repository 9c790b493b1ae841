//! The daemons when the system fails them: killed or refused at every call that changes something, no descriptors, no
//! processes, too many services.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use kit::{Run, Scratch};
use sys::process::End;
use sys::signal::Signal;

use crate::multilog::{files, names, numbered};
use crate::{Fed, ours, path};

const STRACE: &str = "/usr/bin/strace";

/// Calls by which multilog changes what is on disk.
const CALLS: [&str; 11] = [
    "write",
    "openat",
    "mkdirat",
    "fsync",
    "fchmod",
    "fchmodat",
    "renameat",
    "renameat2",
    "linkat",
    "unlinkat",
    "pwrite64",
];

/// A script and whether its threads are traced too: then every thread counts its calls for itself, and each has a
/// trace of its own.
type Traced<'a> = (&'a [&'a str], bool);

/// A script with everything: rotation, a processor, a status file. Programs that it starts are not traced.
const PROCESSED: Traced = (&["s4096", "n1000", "!cat", "=status", "./log"], false);
/// Full files become safe in threads.
const PLAIN: Traced = (&["s4096", "n1000", "./log"], true);

fn input() -> String {
    numbered(0, 90)
}

/// Whether calls can be traced here.
fn can_trace(test: &str) -> bool {
    let can = Path::new(STRACE).exists()
        && Run::new(STRACE)
            .args([
                "-o",
                "/dev/null",
                "-e",
                "inject=fsync:error=EIO:when=1",
                "true",
            ])
            .output()
            .end
            == End::Exit(0);
    if !can {
        eprintln!("SKIPPED (no strace): {test}");
    }
    can
}

/// multilog under strace with one fault.
fn traced(here: &Scratch, (script, threads): Traced, fault: &str) -> Run {
    if !here.join("input").exists() {
        here.write("input", input());
    }
    let how = if threads { "-ff" } else { "" };
    let mut shell = format!("exec {STRACE} {how} -qq -o trace -e signal=none -e {fault}");
    shell.push_str(&format!(" {}", kit::program("multilog").display()));
    for word in script {
        shell.push_str(&format!(" '{word}'"));
    }
    Run::new("/bin/sh")
        .args(["-c", &(shell + " <input")])
        .env("PATH", &path())
        .dir(here.path())
}

/// The traces of a run, one for each thread.
fn traces(here: &Scratch) -> Vec<String> {
    let mut traces = Vec::new();
    for entry in fs::read_dir(here.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().as_encoded_bytes().starts_with(b"trace") {
            traces.push(fs::read_to_string(entry.path()).unwrap());
        }
    }
    traces
}

/// How often each of the calls comes in a run without trouble, at most in one thread.
fn counts(script: Traced) -> BTreeMap<&'static str, usize> {
    let here = Scratch::new("counts");
    let calls = CALLS.map(|c| format!("?{c}")).join(",");
    let done = traced(&here, script, &format!("trace={calls}")).output();
    assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
    let mut most = BTreeMap::new();
    let traces = traces(&here);
    for trace in &traces {
        let mut counts = BTreeMap::<&str, usize>::new();
        for line in trace.lines() {
            if let Some(call) = CALLS
                .iter()
                .find(|call| line.starts_with(&format!("{call}(")))
            {
                *counts.entry(*call).or_default() += 1;
            }
        }
        for (call, count) in counts {
            let most = most.entry(call).or_insert(0);
            *most = count.max(*most);
        }
    }
    let (_, threads) = script;
    if threads {
        assert!(traces.len() > 4 && most["linkat"] > 3, "{most:?}");
    } else {
        assert!(most["fsync"] > 5 && most["renameat"] > 3, "{most:?}");
    }
    most
}

/// Runs `check` for each occurrence of each call, several at a time.
fn at_every_call(script: Traced, check: impl Fn(&str, usize) + Sync) {
    let cases: Vec<(&str, usize)> = counts(script)
        .into_iter()
        .flat_map(|(call, count)| (1..=count).map(move |at| (call, at)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                while let Some((call, at)) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    check(call, *at);
                }
            });
        }
    });
}

fn killed_at_any_call(script: Traced) {
    at_every_call(script, |call, at| {
        let here = Scratch::new("killed");
        let fault = format!("inject={call}:signal=KILL:when={at}");
        let done = traced(&here, script, &fault).output();
        assert_eq!(done.end, End::Signal(9), "{call} {at}: {}", done.err_text());
        // Written calls of the trace went into files; what the next run finds must be the beginning of the input.
        let written: usize = traces(&here)
            .iter()
            .flat_map(|trace| trace.lines())
            .filter(|l| l.starts_with("write("))
            .filter_map(|l| l.rsplit_once(" = ")?.1.trim().parse::<usize>().ok())
            .sum();
        let again = ours("multilog", here.path()).args(script.0).output();
        assert_eq!(
            (again.code(), again.err_text().as_str()),
            (0, ""),
            "{call} {at}"
        );
        let kept = files(&here.join("log")).concat();
        assert!(input().as_bytes().starts_with(&kept), "{call} {at}");
        assert!(
            kept.len() >= written,
            "{call} {at}: {} of {written}",
            kept.len()
        );
    });
}

#[test]
fn multilog_killed_at_any_call_keeps_what_it_wrote() {
    if can_trace("multilog_killed_at_any_call_keeps_what_it_wrote") {
        killed_at_any_call(PROCESSED);
    }
}

#[test]
fn multilog_killed_while_files_become_safe_keeps_what_it_wrote() {
    if can_trace("multilog_killed_while_files_become_safe_keeps_what_it_wrote") {
        killed_at_any_call(PLAIN);
    }
}

fn refused_at_any_call(script: Traced) {
    at_every_call(script, |call, at| {
        // In turn, since each costs a pause: every call meets both.
        let error = ["ENOSPC", "EIO"][at % 2];
        let here = Scratch::new("refused");
        let fault = format!("inject={call}:error={error}:when={at}");
        let done = traced(&here, script, &fault).output();
        if done.end == End::Exit(111) {
            // Before the first line was read: the caller is told and starts it again.
            assert_eq!(done.err_text().lines().count(), 1, "{call} {at}");
            assert!(files_or_nothing(&here).is_empty(), "{call} {at}");
            return;
        }
        // One refused at loading is the end of the loader, not ours.
        if done.end == End::Exit(127) {
            return;
        }
        assert_eq!(
            done.end,
            End::Exit(0),
            "{call} {at} {error}: {}",
            done.err_text()
        );
        let kept = files(&here.join("log")).concat();
        assert!(
            kept == input().as_bytes(),
            "{call} {at} {error}: {}",
            done.err_text()
        );
        // After a clean end nothing is called unsafe.
        let unsafe_files = names(&here.join("log"))
            .iter()
            .filter(|n| *n == ".u")
            .count();
        assert_eq!(unsafe_files, 0, "{call} {at} {error}");
    });
}

#[test]
fn multilog_refused_at_any_call_loses_nothing() {
    if can_trace("multilog_refused_at_any_call_loses_nothing") {
        refused_at_any_call(PROCESSED);
    }
}

#[test]
fn multilog_refused_while_files_become_safe_loses_nothing() {
    if can_trace("multilog_refused_while_files_become_safe_loses_nothing") {
        refused_at_any_call(PLAIN);
    }
}

/// A file is called safe, and looks so by its mode, only after it is on the disk; lines go on meanwhile.
#[test]
fn a_file_is_safe_only_after_its_sync() {
    if !can_trace("a_file_is_safe_only_after_its_sync") {
        return;
    }
    let here = Scratch::new("sync");
    let calls = "trace=?fsync,?fchmod,?renameat,?renameat2,?write,?exit";
    let done = traced(&here, PLAIN, calls).output();
    assert_eq!(done.end, End::Exit(0));
    let mut finished = 0;
    for trace in traces(&here) {
        let mut synced = false;
        for line in trace.lines() {
            synced |= line.starts_with("fsync(") && line.ends_with("= 0");
            if line.contains("0744") {
                assert!(synced, "{trace}");
            }
            if line.starts_with("renameat") {
                assert!(
                    synced && line.contains(".u\"") && line.contains(".s\""),
                    "{trace}"
                );
                finished += 1;
            }
        }
    }
    let safe = names(&here.join("log"))
        .iter()
        .filter(|n| *n == ".s")
        .count();
    assert_eq!(finished, safe);
    assert!(safe > 3);
}

/// While the disk takes its time lines are written, but no more files wait than there may be.
#[test]
fn lines_go_on_while_a_file_is_on_its_way() {
    if !can_trace("lines_go_on_while_a_file_is_on_its_way") {
        return;
    }
    let here = Scratch::new("slow");
    let script: Traced = (&["s65536", "n4", "./log"], true);
    // Six files and a bit. Three may be on their way at once, so that no old file is removed before it is safe.
    let input = ("x".repeat(99) + "\n").repeat(4000);
    here.write("input", &input);
    let log = here.join("log");
    let waiting = || names(&log).iter().filter(|n| *n == ".u").count();
    let mut seen = false;
    // On a busy machine the lines may need longer than the disk: then it takes more time.
    for delay in [2, 10, 30] {
        let _ = fs::remove_dir_all(&log);
        let fault = format!("inject=fsync:delay_enter={delay}s");
        let mut daemon = traced(&here, script, &fault).start(here.join("err"));
        kit::eventually("the log is there", || log.join("current").exists());
        while daemon.is_running() {
            let waiting = waiting();
            assert!(waiting <= 3);
            let lines_go_on = fs::metadata(log.join("current")).is_ok_and(|m| m.len() > 60_000);
            seen |= lines_go_on && waiting == 3;
            std::thread::sleep(Duration::from_millis(5));
        }
        if seen {
            break;
        }
    }
    assert!(seen, "three files never waited while lines went on");
    assert_eq!(names(&log).iter().filter(|n| *n == ".s").count(), 3);
    let kept = files(&log).concat();
    assert!(input.as_bytes().ends_with(&kept));
}

fn files_or_nothing(here: &Scratch) -> Vec<u8> {
    if here.join("log/current").exists() {
        files(&here.join("log")).concat()
    } else {
        Vec::new()
    }
}

#[test]
fn multilog_outlives_the_reader_of_descriptor_2() {
    let here = Scratch::new("reader");
    let input = numbered(0, 3000);
    here.write("input", &input);
    let shell = format!(
        "{} n1000 e '!cat' ./log <input 2>&1 >/dev/null | head -n 1; echo done",
        kit::program("multilog").display()
    );
    let done = Run::new("/bin/sh")
        .args(["-c", &shell])
        .dir(here.path())
        .output();
    assert_eq!(done.out_text(), "0 \ndone\n");
    assert!(files(&here.join("log")).concat() == input.as_bytes());
}

#[test]
fn multilog_waits_for_a_log_directory_that_was_removed() {
    let here = Scratch::new("removed");
    let log = here.join("log");
    let mut multilog = Fed::start(
        &kit::program("multilog"),
        &["s4096", "n1000", "./log"],
        here.path(),
        &here.join("err"),
    );
    multilog.write(numbered(0, 10));
    let first = numbered(0, 10);
    kit::eventually("the first lines", || {
        fs::read(log.join("current")).is_ok_and(|text| text == first.as_bytes())
    });
    // Moved away, it is still the directory: nothing goes to a new one of that name.
    fs::rename(&log, here.join("moved")).unwrap();
    multilog.write(numbered(10, 100));
    assert_eq!(multilog.close(), End::Exit(0));
    assert!(files(&here.join("moved")).concat() == numbered(0, 100).as_bytes());
    assert_eq!(fs::read_to_string(here.join("err")).unwrap(), "");
    assert!(!log.exists());

    // Removed with everything in it, no file can be made there, and multilog says so. It still ends by force only.
    let mut multilog = Fed::start(
        &kit::program("multilog"),
        &["s4096", "./log"],
        here.path(),
        &here.join("err"),
    );
    multilog.write("first\n");
    kit::eventually("the first line", || {
        fs::read(log.join("current")).is_ok_and(|text| text == b"first\n")
    });
    fs::remove_dir_all(&log).unwrap();
    multilog.write(numbered(0, 100));
    kit::eventually("the warning", || {
        let said = fs::read_to_string(here.join("err")).unwrap();
        said.starts_with("multilog: warning: unable to link to ./log/@4")
            && said.ends_with(".u, pausing: file does not exist\n")
    });
    multilog.signal(Signal::SIGKILL);
    assert_eq!(multilog.wait(), End::Signal(9));
}

/// A call that fails twice, then works.
fn supervise_with(fault: &str, here: &Scratch) -> kit::Daemon {
    let shell = format!(
        "exec {STRACE} -qq -o /dev/null -e signal=none -e inject={fault} {} s",
        kit::program("supervise").display()
    );
    Run::new("/bin/sh")
        .args(["-c", &shell])
        .env("PATH", &path())
        .dir(here.path())
        .start(here.join("err"))
}

#[test]
fn supervise_without_a_process_waits_a_minute_and_goes_on() {
    if !can_trace("supervise_without_a_process_waits_a_minute_and_goes_on") {
        return;
    }
    let here = Scratch::new("no-process");
    here.script("s/run", "exec sleep 600");
    // The minute passes at once, but every sleep is counted in the trace.
    let shell = format!(
        "exec {STRACE} -qq -o trace -e signal=none -e trace=clone,clock_nanosleep \
         -e inject=clone:error=EAGAIN:when=1..2 -e inject=clock_nanosleep:retval=0 {} s",
        kit::program("supervise").display()
    );
    let mut supervise = Run::new("/bin/sh")
        .args(["-c", &shell])
        .env("PATH", &path())
        .dir(here.path())
        .start(here.join("err"));
    let svstat = || ours("svstat", here.path()).arg("s").output().out_text();
    kit::eventually("the service runs", || svstat().contains("up (pid"));
    let warning =
        "supervise: warning: unable to fork for s, sleeping 60 seconds: temporary failure\n";
    assert_eq!(
        fs::read_to_string(here.join("err")).unwrap(),
        warning.repeat(2)
    );
    let minutes = fs::read_to_string(here.join("trace")).unwrap();
    assert_eq!(minutes.matches("tv_sec=60").count(), 2, "{minutes}");
    assert_eq!(
        ours("svc", here.path()).args(["-dx", "s"]).output().code(),
        0
    );
    assert_eq!(supervise.wait(kit::LIMIT), End::Exit(0));
}

#[test]
fn supervise_keeps_the_service_when_its_status_cannot_be_written() {
    if !can_trace("supervise_keeps_the_service_when_its_status_cannot_be_written") {
        return;
    }
    let here = Scratch::new("no-status");
    here.script("s/run", "exec sleep 600");
    let mut supervise = supervise_with("renameat:error=EIO:when=1..2", &here);
    kit::eventually("the service runs", || {
        ours("svstat", here.path())
            .arg("s")
            .output()
            .out_text()
            .contains("up (pid")
            || fs::read_to_string(here.join("err"))
                .unwrap()
                .lines()
                .count()
                >= 2
    });
    assert_eq!(
        ours("svc", here.path()).args(["-dx", "s"]).output().code(),
        0
    );
    assert_eq!(supervise.wait(kit::LIMIT), End::Exit(0));
    let warning = "supervise: warning: unable to rename s/supervise/status.new to status: input/output error\n";
    assert!(
        fs::read_to_string(here.join("err"))
            .unwrap()
            .starts_with(warning)
    );
}

/// A supervise that only notes its name, so that a thousand cost little.
fn with_false_supervise(here: &Scratch, count: usize, log: bool) -> kit::Daemon {
    for n in 0..count {
        fs::create_dir_all(
            here.join(format!("sv/s{n}"))
                .join(if log { "log" } else { "" }),
        )
        .unwrap();
    }
    here.script("bin/supervise", "exec sleep 600");
    ours("svscan", here.path())
        .env(
            "PATH",
            &format!("{}:/bin:/usr/bin", here.join("bin").display()),
        )
        .arg("sv")
        .own_group()
        .start(here.join("err"))
}

#[test]
fn svscan_starts_a_thousand_services_and_no_more() {
    let here = Scratch::new("thousand");
    fs::create_dir_all(here.join("sv")).unwrap();
    let mut scan = with_false_supervise(&here, 1003, false);
    let err = || fs::read_to_string(here.join("err")).unwrap();
    kit::eventually("three are too many", || {
        err()
            .lines()
            .filter(|l| l.ends_with(": running too many services"))
            .count()
            >= 3
    });
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", scan.pid())).unwrap();
    assert_eq!(children.split_ascii_whitespace().count(), 1000);
    assert!(
        err()
            .lines()
            .all(|l| l.starts_with("svscan: warning: unable to start s")),
        "{}",
        err()
    );
    scan.kill_group();
}

#[test]
fn svscan_without_descriptors_for_pipes_goes_on() {
    let here = Scratch::new("pipes");
    let shell = format!("ulimit -n 32; exec {} sv", kit::program("svscan").display());
    drop(with_false_supervise(&here, 0, false));
    for n in 0..20 {
        fs::create_dir_all(here.join(format!("sv/s{n:02}/log"))).unwrap();
    }
    let mut scan = Run::new("/bin/sh")
        .args(["-c", &shell])
        .env(
            "PATH",
            &format!("{}:/bin:/usr/bin", here.join("bin").display()),
        )
        .dir(here.path())
        .own_group()
        .start(here.join("err"));
    let err = || fs::read_to_string(here.join("err")).unwrap();
    kit::eventually("a service must wait", || {
        err().contains("unable to create pipe for s")
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(scan.is_running());
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", scan.pid())).unwrap();
    let count = children.split_ascii_whitespace().count();
    assert!(count >= 20 && count % 2 == 0, "{count} children: {}", err());
    scan.kill_group();
}
