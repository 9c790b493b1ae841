//! Messages that are served straight from todo: what is written when, and what a crash leaves.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kit::Home;
use sys::process::End;
use sys::signal::Signal;

use crate::office::*;

/// When the directories of the classic files were last changed.
fn changes(home: &Home) -> Vec<(PathBuf, i64, i64)> {
    let mut all = Vec::new();
    for part in ["info", "local", "remote", "bounce"] {
        let top = home.join("queue").join(part);
        let below = fs::read_dir(&top).unwrap().map(|e| e.unwrap().path());
        for path in std::iter::once(top.clone()).chain(below) {
            let stat = fs::metadata(&path).unwrap();
            all.push((path, stat.mtime(), stat.mtime_nsec()));
        }
    }
    all.sort();
    all
}

/// strace on a running qmail-send; `None` where that is not possible.
fn trace(pid: u32, output: &Path, options: &[&str]) -> Option<Child> {
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(output)
        .args(options)
        .args(["-p", &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let is_traced = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let mut all = tasks.flatten().map(|t| t.path().join("status"));
        all.all(|status| {
            let text = fs::read_to_string(status).unwrap_or_default();
            !text.contains("TracerPid:\t0\n")
        })
        .then_some(())
    };
    if kit::until(Duration::from_secs(30), is_traced).is_none() {
        let _ = strace.kill();
        let _ = strace.wait();
        skip("strace may not attach");
        return None;
    }
    Some(strace)
}

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(why: &str) {
    eprintln!("SKIPPED ({why}): a trace of qmail-send");
}

#[test]
fn a_message_that_is_finished_at_once_leaves_no_trace_on_disk() {
    let home = Home::new("fresh-none");
    catch_bounces(&home);
    let mut office = Office::open(&home, |o| {
        report(if o.recipient.starts_with("bad") {
            "Dno\n"
        } else {
            "Kok\n"
        })
    });
    office.await_log("status:");
    // What is flushed at the start is flushed when the first message is gone.
    put(&home, "s@x", &["a@host.test"], "m\n");
    await_empty(&home, &office);
    let before = changes(&home);
    let out = home.join("trace");
    let strace = trace(
        office.pid,
        &out,
        &[
            "-e",
            "trace=fsync,openat,pwrite64,unlinkat,utimensat,ftruncate",
        ],
    );
    let start = Instant::now();
    let ids: Vec<u64> = (0..50)
        .map(|n| {
            let bad = if n == 30 {
                "bad@host.test"
            } else {
                "c@far.test"
            };
            put(&home, "s@x", &["a@host.test", bad], "m\n")
        })
        .collect();
    office.await_count("end msg", ids.len() + 1);
    await_empty(&home, &office);
    assert_eq!(changes(&home), before);
    assert_eq!(bounces(&home).len(), 1);
    assert_eq!(office.stop(), End::Exit(0));
    let took = start.elapsed();
    if let Some(mut strace) = strace {
        strace.wait().unwrap();
        // The program that takes the bounce is traced too.
        let text = fs::read_to_string(&out).unwrap();
        let ours = |l: &&str| !l.contains("bounces/") && !l.contains("/dev/");
        let text = text.lines().filter(ours).collect::<Vec<_>>().join("\n");
        let count = |what: &str| text.lines().filter(|l| l.contains(what)).count();
        assert_eq!(count("O_CREAT"), 0, "{text}");
        assert_eq!(count("pwrite64"), 0);
        let removed = text
            .lines()
            .filter(|l| l.contains("unlinkat") && l.ends_with("= 0"));
        assert_eq!(removed.count(), 0);
        // One flush of todo for all that ended within 0.4 seconds.
        let most = 15 + took.as_millis() / 400;
        let flushes = count("fsync(");
        assert!((flushes as u128) <= most, "{flushes} in {took:?}");
    }
}

#[test]
fn who_is_done_with_is_on_disk_within_a_second() {
    let home = Home::new("fresh-second");
    let mut office = Office::open(&home, |o| {
        if o.recipient.starts_with("slow") {
            Answer::Held(b"Kslow".to_vec())
        } else {
            report("Kok\n")
        }
    });
    let id = put(
        &home,
        "s@x",
        &["a@host.test", "slow@host.test", "b@far.test"],
        "m",
    );
    office.await_count("success", 2);
    let local = home.join(format!("queue/local/{}/{id}", id % 23));
    kit::eventually("the marks are on disk", || {
        home.queue("todo").is_empty() && fs::metadata(&local).is_ok()
    });
    assert!(home.queue("remote").is_empty());
    assert_eq!(
        fs::read(&local).unwrap(),
        b"Da@host.test\0Tslow@host.test\0"
    );
    // A crash now repeats the slow one only.
    sys::signal::send(office.pid, Signal::SIGKILL).unwrap();
    office.wait();
    let office = Office::open(&home, |_| report("Kok\n"));
    office.await_log(&format!("end msg {id}"));
    assert_eq!(office.recipients(), ["slow@host.test"]);
    await_empty(&home, &office);
}

#[test]
fn what_is_reported_while_the_files_are_made_is_not_forgotten() {
    let home = Home::new("fresh-late");
    catch_bounces(&home);
    let all: Vec<String> = (0..40).map(|n| format!("u{n}@host.test")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    home.control("concurrencylocal", "1\n");
    // The second is over in the middle of this.
    let office = Office::open(&home, |o| {
        std::thread::sleep(Duration::from_millis(40));
        report(if o.recipient.starts_with("u3") {
            "Dno\n"
        } else {
            "Kok\n"
        })
    });
    let id = put(&home, "s@x", &all, "m\n");
    office.await_log(&format!("end msg {id}"));
    assert_eq!(office.orders().len(), 40);
    let (text, _) = &bounces(&home)[0];
    assert_eq!(text.matches("\nno\n").count(), 11, "{text}");
    await_empty(&home, &office);
}

/// Kills qmail-send at the n-th call of a kind while it serves a message with a success, a deferral and a failure; then
/// finishes with another. `false`: there was no n-th call.
fn kill_at(call: &str, n: u32) -> bool {
    let home = Home::new("fresh-kill");
    catch_bounces(&home);
    let is_first = std::sync::Arc::new(AtomicBool::new(true));
    let rule = move |o: &Order| {
        let is_first = is_first.load(Ordering::Relaxed);
        report(match o.recipient.split('@').next() {
            Some("bad") => "Dno\n",
            Some("wait") if is_first => "Zlater\n",
            _ => "Kok\n",
        })
    };
    let mut office = Office::open(&home, rule);
    office.await_log("status:");
    let inject = format!("inject={call}:signal=KILL:when={n}");
    let filter = format!("trace={call}");
    let out = home.join("trace");
    let Some(mut strace) = trace(office.pid, &out, &["-e", &filter, "-e", &inject]) else {
        return false;
    };
    let id = put(
        &home,
        "s@x",
        &[
            "a@host.test",
            "bad@host.test",
            "wait@far.test",
            "b@far.test",
        ],
        "m\n",
    );
    let other = put(&home, "s@x", &["c@host.test"], "m\n");
    let is_over = || {
        (!office.is_running()
            || (home.queue("todo").is_empty()
                && office.log().contains("end msg")
                && home.queue("mess").len() == 1))
            .then_some(())
    };
    assert!(
        kit::until(kit::LIMIT, is_over).is_some(),
        "{}",
        litter(&home).join(" ")
    );
    let was_killed = !office.is_running();
    office.stop();
    let mut orders = office.recipients();
    drop(office);
    strace.wait().unwrap();

    let office = Office::open(&home, |o| {
        report(if o.recipient.starts_with("bad") {
            "Dno\n"
        } else {
            "Kok\n"
        })
    });
    office.await_log("status:");
    office.signal(Signal::SIGALRM);
    kit::eventually("all is finished", || {
        // A message whose envelope was gone when it was killed is litter for the sweep.
        ["intd", "todo", "info", "local", "remote", "bounce"]
            .iter()
            .all(|part| home.queue(part).is_empty())
    });
    orders.extend(office.recipients());
    for (recipient, most) in [
        ("a@host.test", 2),
        ("b@far.test", 2),
        ("c@host.test", 2),
        ("bad@host.test", 2),
        ("wait@far.test", 3),
    ] {
        let count = orders.iter().filter(|r| *r == recipient).count();
        assert!(
            (1..=most).contains(&count),
            "{call} {n}: {recipient} {count} times"
        );
    }
    let told = bounces(&home).len();
    assert!((1..=2).contains(&told), "{call} {n}: {told} bounces");
    let _ = (id, other);
    was_killed
}

#[test]
fn a_crash_at_any_change_loses_nothing() {
    let long = std::env::var_os("QMAIL_CRASH_LONG").is_some();
    for call in [
        "fsync",
        "pwrite64",
        "unlinkat",
        "utimensat",
        "openat",
        "write",
    ] {
        let step = match (call, long) {
            ("write" | "openat", false) => 7,
            ("unlinkat", false) => 3,
            _ => 1,
        };
        let mut n = 1;
        while n < 200 && kill_at(call, n) {
            n += step;
        }
    }
}
