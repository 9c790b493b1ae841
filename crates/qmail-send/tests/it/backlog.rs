//! Many messages: nobody waits for a host that does not answer, and nobody is asked too often.

use std::fs;
use std::time::{Duration, Instant};

use kit::Home;
use sys::process::End;
use sys::signal::Signal;

use crate::office::*;

/// Messages to one host that were deferred by an earlier qmail-send and are due.
fn defer(home: &Home, count: u64, host: &str) {
    for n in 1..=count {
        let path = |d: &str| home.join(format!("queue/{d}/{}/{n}", n % 23));
        fs::write(path("mess"), "m").unwrap();
        fs::write(path("info"), "Fs@x\0").unwrap();
        fs::write(path("remote"), format!("Tu{n}@{host}\0")).unwrap();
    }
}

fn sessions(office: &Office, host: &str) -> usize {
    let orders = office.orders();
    orders
        .iter()
        .filter(|o| o.recipient.ends_with(host))
        .count()
}

#[test]
fn ten_thousand_deferred_messages_cost_little_and_keep_nobody_waiting() {
    let home = Home::new("backlog");
    defer(&home, 10_000, "dead.test");
    let mut office = Office::open(&home, |o| {
        report(if o.recipient.ends_with("dead.test") {
            "ZConnected_but_connection_died. (#4.4.2)\n"
        } else {
            "Kok\n"
        })
    });
    office.await_log("status:");
    let start = Instant::now();
    for n in 0..20 {
        let r = format!("u{n}@{}", if n % 2 == 0 { "host.test" } else { "y.test" });
        office.serve(&home, "s@x", &[&r], "m");
    }
    assert!(
        start.elapsed() < Duration::from_mins(1),
        "{:?}",
        start.elapsed()
    );
    kit::eventually("the host is on hold", || {
        sessions(&office, "dead.test") >= 20
    });
    // Numbers of messages that are gone come back, so that not all were seen.
    let before = sessions(&office, "dead.test");
    office.signal(Signal::SIGALRM);
    office.serve(&home, "s@x", &["z@host.test"], "m");
    std::thread::sleep(Duration::from_millis(300));
    let after = sessions(&office, "dead.test");
    assert!(before <= 25 && after <= 50, "{before} {after}");
    assert_eq!(office.stop(), End::Exit(0));
    assert_eq!(home.queue("remote").len(), 10_000);
}

#[test]
fn new_mail_for_a_dead_host_is_neither_tried_nor_written() {
    let home = Home::new("backlog-todo");
    for n in 0..2_000 {
        let envelope = format!("u0\0p0\0Fs@x\0Tu{n}@dead.test\0");
        put_raw(&home, envelope.as_bytes(), "m");
    }
    let mut office = Office::open(&home, |o| {
        report(if o.recipient.ends_with("dead.test") {
            "Zno (#4.4.1)\n"
        } else {
            "Kok\n"
        })
    });
    office.await_count("new msg", 2_000);
    let start = Instant::now();
    for _ in 0..10 {
        office.serve(&home, "s@x", &["u@host.test"], "m");
    }
    assert!(
        start.elapsed() < Duration::from_mins(1),
        "{:?}",
        start.elapsed()
    );
    assert!(sessions(&office, "dead.test") <= 25);
    assert_eq!(office.stop(), End::Exit(0));
    // Those that were tried are on disk, the others need not be; none is lost.
    let (todo, info) = (home.queue("todo").len(), home.queue("info").len());
    assert_eq!(todo + info, 2_000);
    assert!(info <= 60, "{info}");
    // Another qmail-send finds them all.
    let mut office = Office::open(&home, |_| report("Kok\n"));
    office.await_log("status:");
    office.signal(Signal::SIGALRM);
    office.await_count("end msg", 2_000);
    await_empty(&home, &office);
    assert_eq!(office.stop(), End::Exit(0));
}

#[test]
fn a_slow_host_does_not_hold_all_places() {
    let home = Home::new("backlog-slow");
    home.control("concurrencyremote", "10\n");
    let office = Office::open(&home, |o| {
        if o.recipient.ends_with("slow.test") {
            Answer::Held(b"Kok".to_vec())
        } else {
            report("Kok\n")
        }
    });
    for n in 0..60 {
        put(&home, "s@x", &[&format!("u{n}@slow.test")], "m");
    }
    office.await_log("remote 5/10");
    for n in 0..30 {
        office.serve(&home, "s@x", &[&format!("u@h{n}.test")], "m");
    }
    assert_eq!(sessions(&office, "slow.test"), 5);
    office.release();
    office.await_count("end msg", 90);
    await_empty(&home, &office);
}

#[test]
fn old_mail_for_a_host_on_hold_is_given_up_without_a_try() {
    let home = Home::new("backlog-old");
    catch_bounces(&home);
    defer(&home, 60, "dead.test");
    let queue = sys::Dir::open(home.join("queue")).unwrap();
    let old = base::tai::unix_now() - 700_000;
    for n in 31..=60 {
        let path = format!("info/{}/{n}", n % 23);
        queue.set_times(path.as_bytes(), old, old).unwrap();
    }
    let mut office = Office::open(&home, |_| report("Zno (#4.4.1)\n"));
    office.await_count("end msg", 30);
    assert_eq!(bounces(&home).len(), 30);
    assert!(office.orders().len() <= 50);
    assert!(bounces(&home)[29].0.contains("no (#4.4.1)\nI'm not going"));
    assert_eq!(office.stop(), End::Exit(0));
    assert_eq!(home.queue("remote").len(), 30);
}

/// Figures, by hand: `cargo test --release -p qmail-send -- --ignored --nocapture drain`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "that is what it is for")]
fn drain_rate() {
    for round in 0..3 {
        let home = Home::new("drain");
        for n in 0..2_000 {
            let envelope = format!("u0\0p0\0Fs@x\0Tu{n}@host.test\0");
            put_raw(&home, envelope.as_bytes(), "m");
        }
        let start = Instant::now();
        let mut office = Office::open(&home, |_| report("Kok\n"));
        office.await_count("end msg", 2_000);
        let drained = start.elapsed();
        await_empty(&home, &office);
        let stat = fs::read_to_string(format!("/proc/{}/status", office.pid)).unwrap();
        let times = fs::read_to_string(format!("/proc/{}/stat", office.pid)).unwrap();
        let times: Vec<&str> = times.split(' ').collect();
        let hwm = stat.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        eprintln!(
            "round {round}: {:?}, empty after {:?}, cpu ticks {} + {}, {hwm}",
            drained,
            start.elapsed(),
            times[13],
            times[14]
        );
        office.stop();
    }
}

/// Figures, by hand, with TMPDIR on a file system in memory: memory and start with a large queue.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "that is what it is for")]
fn large_queue() {
    let memory = |office: &Office| {
        let stat = fs::read_to_string(format!("/proc/{}/status", office.pid)).unwrap();
        let line = stat.lines().find(|l| l.starts_with("VmRSS")).unwrap();
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap() * 1024
    };
    let answer = |o: &Order| {
        report(if o.recipient.ends_with("host.test") {
            "Kok\n"
        } else {
            "Zno (#4.4.1)\n"
        })
    };
    let count = 100_000;
    for is_new in [false, true] {
        let home = Home::new("large");
        if is_new {
            for n in 0..count {
                let envelope = format!("u0\0p0\0Fs@x\0Tu{n}@dead.test\0");
                put_raw(&home, envelope.as_bytes(), "m");
            }
        } else {
            defer(&home, count, "dead.test");
        }
        let mut office = Office::open(&home, answer);
        let start = Instant::now();
        office.await_log("status:");
        let before = memory(&office);
        office.serve(&home, "s@x", &["a@host.test"], "m");
        eprintln!(
            "new {is_new}: first local delivery after {:?}",
            start.elapsed()
        );
        std::thread::sleep(Duration::from_secs(8));
        let each = (memory(&office) - before) / count;
        let local = Instant::now();
        for _ in 0..100 {
            office.serve(&home, "s@x", &["a@host.test"], "m");
        }
        eprintln!(
            "new {is_new}: {each} bytes a message, 100 local ones in {:?}, {} tries there",
            local.elapsed(),
            sessions(&office, "dead.test")
        );
        office.stop();
        eprintln!("new {is_new}: all over after {:?}", start.elapsed());
    }
}
