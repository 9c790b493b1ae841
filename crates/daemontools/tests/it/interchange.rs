//! Ours and the originals side by side: each program of one where the other's stood, in the middle of the work.

use std::fs;
use std::path::{Path, PathBuf};

use kit::{Daemon, Run, Scratch};
use sys::process::End;
use sys::signal::Signal;

use crate::multilog::{files, names, numbered};
use crate::services::masked;
use crate::{Fed, original, path};

/// The directories of our programs and of the originals.
fn both(test: &str) -> Option<[PathBuf; 2]> {
    original("svscan", test)?;
    Some([kit::bin_dir(), PathBuf::from("/usr/bin")])
}

/// svscan of one, below which supervise is that of the other: it is found by PATH.
struct Mixed {
    here: Scratch,
    scan: Daemon,
}

impl Mixed {
    fn start(svscan: &Path, supervise: &Path) -> Mixed {
        let here = Scratch::new("mixed");
        here.script(
            "sv/a/run",
            "trap 'echo hangup; exit 0' HUP\necho started\nwhile :; do sleep 0.05; done",
        );
        here.script("sv/a/log/run", "exec cat >>got");
        here.script("sv/b/run", "exec sleep 600");
        here.write("sv/b/down", "");
        let scan = Run::new(svscan.join("svscan"))
            .arg("sv")
            .env("PATH", &format!("{}:{}", supervise.display(), path()))
            .dir(here.path())
            .start(here.join("err"));
        Mixed { here, scan }
    }

    fn tell(&self, from: &Path, words: &[&str]) -> (u8, String) {
        let (program, rest) = words.split_first().unwrap();
        let done = Run::new(from.join(program))
            .args(rest)
            .dir(self.here.path())
            .output();
        (done.code(), masked(done.out_text().trim_end()))
    }

    fn shows(&self, from: &Path, service: &str, expected: &str) {
        kit::eventually(expected, || {
            self.tell(from, &["svstat", service]).1 == format!("{service}: {expected}")
        });
    }

    fn supervises(&self) -> Vec<PathBuf> {
        let list = format!("/proc/{0}/task/{0}/children", self.scan.pid());
        fs::read_to_string(list)
            .unwrap()
            .split_whitespace()
            .filter_map(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok())
            .collect()
    }
}

impl Drop for Mixed {
    fn drop(&mut self) {
        let _ = sys::signal::send(self.scan.pid(), Signal::SIGKILL);
        let _ = Run::new(kit::program("svc"))
            .args(["-dxk", "sv/a", "sv/b", "sv/a/log"])
            .dir(self.here.path())
            .output();
    }
}

#[test]
fn supervise_of_one_works_below_svscan_of_the_other() {
    let Some([ours, theirs]) = both("supervise_of_one_works_below_svscan_of_the_other") else {
        return;
    };
    std::thread::scope(|scope| {
        for (svscan, supervise) in [(&ours, &theirs), (&theirs, &ours)] {
            let tellers = [&ours, &theirs];
            scope.spawn(move || {
                let mixed = Mixed::start(svscan, supervise);
                mixed.shows(tellers[0], "sv/a", "up (pid P) N seconds");
                // It is really the other's, thrice.
                let expected = fs::canonicalize(supervise.join("supervise")).unwrap();
                assert_eq!(mixed.supervises(), vec![expected; 3]);
                for teller in tellers {
                    assert_eq!(mixed.tell(teller, &["svok", "sv/a"]).0, 0);
                    assert_eq!(mixed.tell(teller, &["svok", "sv/a/log"]).0, 0);
                    mixed.shows(teller, "sv/b", "down N seconds");
                    mixed.shows(teller, "sv/a/log", "up (pid P) N seconds");
                    assert_eq!(mixed.tell(teller, &["svc", "-u", "sv/b"]).0, 0);
                    mixed.shows(teller, "sv/b", "up (pid P) N seconds, normally down");
                    assert_eq!(mixed.tell(teller, &["svc", "-p", "sv/b"]).0, 0);
                    mixed.shows(
                        teller,
                        "sv/b",
                        "up (pid P) N seconds, normally down, paused",
                    );
                    assert_eq!(mixed.tell(teller, &["svc", "-cd", "sv/b"]).0, 0);
                    mixed.shows(teller, "sv/b", "down N seconds");
                    let has = |end: &str| {
                        let got = fs::read(mixed.here.join("sv/a/log/got"));
                        got.is_ok_and(|got| got.ends_with(end.as_bytes()))
                    };
                    // It is up before its script has set the trap.
                    kit::eventually("the service hears signals", || has("started\n"));
                    assert_eq!(mixed.tell(teller, &["svc", "-h", "sv/a"]).0, 0);
                    kit::eventually("the log has it", || has("hangup\nstarted\n"));
                    fs::write(mixed.here.join("sv/a/log/got"), "started\n").unwrap();
                }
            });
        }
    });
}

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Killed,
    Told,
    AtTheEnd,
}

#[test]
fn a_log_is_handed_over_in_the_middle() {
    let test = "a_log_is_handed_over_in_the_middle";
    let Some([ours, theirs]) = both(test) else {
        return;
    };
    for script in [
        &["s4096", "n1000", "./log"][..],
        &["s4096", "n1000", "!cat; cat <&4 >&5; echo x >&5", "./log"],
    ] {
        let here = Scratch::new("handed");
        let log = here.join("log");
        let ends = [How::Killed, How::Told, How::AtTheEnd];
        let mut written = String::new();
        for round in 0..12 {
            let program = [&ours, &theirs][round % 2].join("multilog");
            let how = ends[round / 2 % 3];
            let unsafe_before = log
                .exists()
                .then(|| names(&log).iter().filter(|n| *n == ".u").count());
            let more = numbered(round * 100, round * 100 + 100);
            let mut multilog = Fed::start(&program, script, here.path(), &here.join("err"));
            multilog.write(&more);
            written.push_str(&more);
            kit::eventually("all is written", || {
                log.exists()
                    && fs::metadata(log.join("current")).is_ok()
                    && written_so_far(&log) == written.len()
            });
            match how {
                How::Killed => {
                    multilog.signal(Signal::SIGKILL);
                    assert_eq!(multilog.wait(), End::Signal(9));
                }
                How::Told => {
                    multilog.signal(Signal::SIGTERM);
                    assert_eq!(multilog.wait(), End::Exit(0));
                }
                How::AtTheEnd => assert_eq!(multilog.close(), End::Exit(0)),
            }
            let round = format!("{script:?}, round {round}, {how:?}");
            assert!(files(&log).concat() == written.as_bytes(), "{round}");
            let safe = fs::metadata(log.join("current")).unwrap().permissions();
            let safe = std::os::unix::fs::PermissionsExt::mode(&safe) & 0o100 != 0;
            assert_eq!(safe, how != How::Killed, "{round}");
            let unsafe_after = names(&log).iter().filter(|n| *n == ".u").count();
            if how != How::Killed && round.contains('!') {
                // Only what was `current` when its writer was killed.
                assert!(unsafe_after <= unsafe_before.unwrap_or(0) + 1, "{round}");
            }
        }
        assert_eq!(fs::read_to_string(here.join("err")).unwrap(), "");
        let there = names(&log);
        for name in &there {
            assert!(
                [".s", ".u", "current", "lock", "state"].contains(&name.as_str()),
                "{there:?}"
            );
        }
        if script.len() == 4 {
            // Both keep the count that the processor hands from one run to the next; a kill begins it anew.
            let state = here.read("log/state");
            assert!(!state.is_empty() && state.len().is_multiple_of(2));
        }
    }
}

/// Bytes of lines in all files, those on their way between two names counted once.
fn written_so_far(log: &Path) -> usize {
    let there = || {
        let mut list: Vec<String> = fs::read_dir(log)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        list.sort();
        list
    };
    // Looked at again if something was renamed meanwhile.
    loop {
        let before = there();
        let sizes: Option<Vec<u64>> = before
            .iter()
            .filter(|n| n.starts_with('@') || *n == "current")
            .map(|n| fs::metadata(log.join(n)).ok().map(|m| m.len()))
            .collect();
        let busy = before.iter().any(|n| n == "previous" || n == "processed");
        if let (Some(sizes), true, false) = (sizes, there() == before, busy) {
            return usize::try_from(sizes.iter().sum::<u64>()).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
