//! A damaged queue: every file may hold anything, be of any type, or be missing. qmail-send warns, skips and goes on.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use kit::Home;
use sys::process::End;
use sys::signal::Signal;

use crate::office::*;

/// A small generator, so that every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    /// Bytes that look a little like records.
    fn bytes(&mut self) -> Vec<u8> {
        let len = self.below(60);
        (0..len)
            .map(|_| match self.below(8) {
                0 | 1 => 0,
                2 => b'T',
                3 => b'F',
                4 => b'D',
                5 => b"upKZ@/\n"[self.below(7)],
                _ => self.next().to_le_bytes()[0],
            })
            .collect()
    }
}

/// Does something bad to a path.
fn spoil(random: &mut Random, path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
    match random.below(8) {
        0 => {}
        1 => fs::create_dir(path).unwrap(),
        2 => {
            let dir = sys::Dir::open(path.parent().unwrap()).unwrap();
            let name = path.file_name().unwrap().as_encoded_bytes();
            dir.make_fifo(name, 0o600).unwrap();
        }
        3 => {
            let mut above = path.ancestors();
            let home = above
                .find(|p| p.ends_with("queue"))
                .unwrap()
                .parent()
                .unwrap();
            std::os::unix::fs::symlink(home.join("outside"), path).unwrap();
        }
        4 => fs::write(path, "").unwrap(),
        _ => fs::write(path, random.bytes()).unwrap(),
    }
}

#[test]
fn a_damaged_queue_neither_stops_it_nor_keeps_good_mail() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..24 {
        let home = Home::new("damage");
        home.fake("qmail-queue", "cat >/dev/null; cat <&1 >/dev/null");
        let parts = ["mess", "info", "local", "remote", "bounce", "todo", "intd"];
        for n in 100..130u64 {
            let path = |part: &str| {
                let top = home.join("queue").join(part);
                if matches!(part, "bounce" | "todo" | "intd") {
                    top.join(n.to_string())
                } else {
                    top.join(format!("{}/{n}", n % 23))
                }
            };
            let is_new = n % 3 == 0;
            for part in parts {
                let is_there = match part {
                    "mess" => true,
                    "todo" | "intd" => is_new,
                    _ => !is_new,
                };
                if is_there && random.below(4) > 0 {
                    let text: &[u8] = match part {
                        "mess" => b"m\n",
                        "info" => b"Fs@x\0",
                        "local" => b"Tgood@host.test\0Dx\0",
                        "remote" => b"Tgood@far.test\0",
                        "bounce" => b"<a@b>:\nx\n\n",
                        _ => b"u1\0p2\0Fs@x\0Tgood@host.test\0",
                    };
                    fs::write(path(part), text).unwrap();
                }
                if random.below(3) == 0 {
                    spoil(&mut random, &path(part));
                }
            }
        }
        fs::write(home.join("queue/todo/not a number"), "x").unwrap();
        fs::write(home.join("queue/info/5/-5"), "x").unwrap();
        let mut office = Office::open(&home, |o| match o.recipient.len() % 3 {
            0 => report("Zno\n"),
            1 => report("Dno\n"),
            _ => report("Kok\n"),
        });
        office.await_log("status:");
        office.serve(&home, "s@x", &["certain-good@host.test"], "m");
        office.signal(Signal::SIGALRM);
        office.serve(&home, "s@x", &["certain-good@host.test"], "m");
        assert!(office.is_running(), "round {round}");
        assert_eq!(
            office.stop(),
            End::Exit(0),
            "round {round}: {}",
            office.log()
        );
        assert!(
            !home.join("outside").exists(),
            "round {round}: followed a link"
        );
        for order in office.orders() {
            assert!(
                order
                    .message
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b == b'/')
            );
        }
    }
}

#[test]
fn a_message_without_its_companion_waits_with_a_warning() {
    let home = Home::new("damage-companion");
    // todo without mess
    fs::write(home.join("queue/todo/100"), "Fs@x\0Ta@host.test\0").unwrap();
    // local without info is not looked at; info without sender; empty and cut recipients
    fs::write(home.join("queue/local/9/101"), "Ta@host.test\0").unwrap();
    for (n, info, local) in [
        (102, "", "Ta@host.test\0"),
        (103, "Fs@x", "Ta@host.test\0"),
        (104, "Fs@x\0", ""),
        (105, "Fs@x\0", "Ta@host.test"),
        (106, "Fs@x\0", "Xa@host.test\0"),
    ] {
        for (part, text) in [("mess", "m"), ("info", info), ("local", local)] {
            fs::write(home.join(format!("queue/{part}/{}/{n}", n % 23)), text).unwrap();
        }
    }
    let mut office = Office::open(&home, |_| report("K"));
    for warning in [
        "unable to stat mess/8/100",
        "trouble opening local/10/102; will try again later",
        "trouble opening local/11/103; will try again later",
        "trouble opening local/12/104; will try again later",
        "trouble reading local/13/105; will try again later",
        "unknown record type in local/14/106!",
    ] {
        office.await_log(&format!("warning: {warning}\n"));
    }
    let before = litter(&home);
    office.serve(&home, "s@x", &["a@host.test"], "m");
    assert_eq!(office.recipients(), ["a@host.test"]);
    // A new message does not make it look at the bad one again.
    assert_eq!(office.log().matches("mess/8/100").count(), 1);
    assert_eq!(office.stop(), End::Exit(0));
    assert_eq!(litter(&home), before, "nothing is thrown away");
}

#[test]
fn envelopes_that_are_none_stay_where_they_are() {
    let home = Home::new("damage-todo");
    let bad = [
        (&b""[..], "no sender in todo/"),
        (b"u1\0p2\0Ta@host.test\0", "no sender in todo/"),
        (b"Fs@x\0Fs@y\0Ta@host.test\0", "second sender in todo/"),
        (b"Fs@x\0Ta@host.test", "trouble reading todo/"),
        (b"Fs@x\0\0Ta@host.test\0", "trouble reading todo/"),
        (b"Fs@x\0Ta@host.test\0Xy\0", "unknown record type in todo/"),
    ];
    let ids: Vec<u64> = bad.iter().map(|(e, _)| put_raw(&home, e, "m")).collect();
    let mut office = Office::open(&home, |_| report("K"));
    for ((_, text), id) in bad.iter().zip(&ids) {
        office.await_log(&format!("warning: {text}{id}\n"));
    }
    office.serve(&home, "s@x", &["a@host.test"], "m");
    assert_eq!(office.stop(), End::Exit(0));
    assert_eq!(home.queue("todo").len(), bad.len());
    for dir in ["info", "local", "remote"] {
        assert!(home.queue(dir).is_empty(), "{dir}");
    }
    assert_eq!(office.recipients(), ["a@host.test"]);
}

#[test]
fn a_queue_that_cannot_be_written_is_waited_for() {
    if !kit::is_root("a_queue_that_cannot_be_written_is_waited_for") {
        return;
    }
    // As another user, the lack of permission stands for a full disk.
    let home = Home::new("damage-full");
    let id = put_raw(&home, b"Fs@x\0Ta@host.test\0", "m");
    let info = home.join(format!("queue/info/{}", id % 23));
    fs::remove_dir(&info).unwrap();
    fs::write(&info, "").unwrap();
    let mut office = Office::open(&home, |_| report("K"));
    office.await_log(&format!(
        "warning: unable to unlink info/{}/{id}\n",
        id % 23
    ));
    assert!(office.is_running());
    fs::remove_file(&info).unwrap();
    fs::create_dir(&info).unwrap();
    assert_eq!(office.stop(), End::Exit(0));
    let office = Office::open(&home, |_| report("K"));
    office.await_log(&format!("end msg {id}"));
}

#[test]
fn a_failure_that_cannot_be_noted_is_not_a_failure_yet() {
    let home = Home::new("damage-bounce");
    catch_bounces(&home);
    let tries = AtomicU32::new(0);
    let mut office = Office::open(&home, move |_| {
        let is_first = tries.fetch_add(1, Ordering::Relaxed) == 0;
        report(if is_first { "Zlater\n" } else { "Dno\n" })
    });
    let id = put(&home, "s@x", &["a@host.test"], "m\n");
    kit::eventually("deferred", || {
        home.queue("local").len() == 1 && home.queue("todo").is_empty()
    });
    let in_the_way = home.join("queue/bounce").join(id.to_string());
    fs::create_dir(&in_the_way).unwrap();
    office.signal(Signal::SIGALRM);
    office.await_log("alert: unable to append to bounce message; will try again later\n");
    office.serve(&home, "s@x", &[], "m");
    fs::remove_dir(in_the_way).unwrap();
    office.signal(Signal::SIGALRM);
    office.await_log(&format!("end msg {id}"));
    assert_eq!(bounces(&home).len(), 1);
    assert_eq!(office.stop(), End::Exit(0));
}
