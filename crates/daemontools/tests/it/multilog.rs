//! multilog: the script, the logs, and what is left of them after trouble.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use kit::{Output, Run, Scratch};
use sys::process::End;
use sys::signal::Signal;

use crate::{Fed, original, ours, path};

fn multilog(here: &Scratch, script: &[&str], input: impl AsRef<[u8]>) -> Output {
    ours("multilog", here.path())
        .args(script)
        .stdin(input)
        .output()
}

/// The names in a log directory, those of old files cut to their ending, sorted.
pub(crate) fn names(log: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(log)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .map(|n| {
            if n.starts_with('@') {
                n[25..].to_owned()
            } else {
                n
            }
        })
        .collect();
    names.sort();
    names
}

/// The contents of the old files from the oldest on, then of `current`.
pub(crate) fn files(log: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(log)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.retain(|p| p.file_name().unwrap().as_encoded_bytes().starts_with(b"@"));
    paths.sort();
    paths.push(log.join("current"));
    paths.iter().map(|p| fs::read(p).unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Numbered lines of different lengths.
pub(crate) fn numbered(from: usize, to: usize) -> String {
    (from..to)
        .map(|n| format!("{n} {}\n", "x".repeat(n * 37 % 211)))
        .collect()
}

#[test]
fn e_writes_selected_lines_to_standard_error() {
    let here = Scratch::new("e");
    let long = "x".repeat(500);
    for (script, input, expected) in [
        (vec!["e"], "one\ntwo\n", "one\ntwo\n".to_owned()),
        (vec!["e"], "no newline", "no newline\n".to_owned()),
        (vec!["e"], "a\0b\n", "a\0b\n".to_owned()),
        (vec!["e"], &long, format!("{}...\n", "x".repeat(200))),
        (vec!["e"], &long[..200], format!("{}\n", "x".repeat(200))),
        (vec!["-*w*", "e"], "one\ntwo\n", "one\n".to_owned()),
        (
            vec!["-*", "+t*", "e"],
            "one\ntwo\nthree\n",
            "two\nthree\n".to_owned(),
        ),
        (
            vec!["-*", "+*bc", "e"],
            "abc\naxbc\nabcbc\n",
            "abc\naxbc\n".to_owned(),
        ),
        (vec!["-*", "e", "+*", "e"], "x\n", "x\n".to_owned()),
        (vec!["-", "e"], "\nx\n", "x\n".to_owned()),
        (vec!["t", "-*", "+one", "e"], "one\n", String::new()),
        (vec!["q", "", "e"], "x\n", "x\n".to_owned()),
        (vec![], "x\n", String::new()),
    ] {
        let done = multilog(&here, &script, input);
        assert_eq!((done.code(), done.err_text()), (0, expected), "{script:?}");
    }
    let done = multilog(&here, &["t", "-*", "+* one", "e"], "one\n");
    assert!(done.err_text().starts_with("@4000000") && done.err_text().ends_with(" one\n"));
}

#[test]
fn patterns_see_a_thousand_bytes() {
    let here = Scratch::new("head");
    let line = "x".repeat(997) + "end and more\n";
    assert_eq!(multilog(&here, &["-*", "+*end", "e"], &line).err.len(), 204);
    assert_eq!(
        multilog(&here, &["-*", "+*more", "e"], &line).err_text(),
        ""
    );
    assert_eq!(
        multilog(&here, &["t", "-*", "+*end", "e"], &line).err_text(),
        ""
    );
}

#[test]
fn a_status_file_holds_the_last_selected_line() {
    let here = Scratch::new("status");
    let done = multilog(&here, &["-*", "+t*", "=status"], "one\ntwo\nthree\nfour\n");
    assert_eq!(done.code(), 0);
    let mut expected = b"three".to_vec();
    expected.resize(1001, b'\n');
    assert_eq!(here.read("status"), expected);
    multilog(&here, &["=status"], "");
    assert_eq!(here.read("status"), expected, "no line, no change");
    multilog(&here, &["=status"], "x".repeat(3000));
    assert_eq!(
        here.read("status"),
        ["x".repeat(1000).as_bytes(), b"\n"].concat()
    );
    let done = multilog(&here, &["=no/status"], "x\n");
    assert_eq!(
        done.err_text(),
        "multilog: fatal: unable to create no/status: file does not exist\n"
    );
    assert_eq!(done.code(), 111);
}

#[test]
fn a_status_file_is_fresh_while_the_input_is_quiet() {
    let here = Scratch::new("fresh");
    let mut log = Fed::start(
        &kit::program("multilog"),
        &["=status"],
        here.path(),
        &here.join("err"),
    );
    for line in ["one", "two"] {
        log.write(format!("{line}\n"));
        kit::eventually(line, || {
            fs::read(here.join("status")).is_ok_and(|s| s.starts_with(line.as_bytes()))
        });
    }
    assert_eq!(log.close(), End::Exit(0));
}

#[test]
fn modes_tell_what_is_safe() {
    let here = Scratch::new("modes");
    let mut log = Fed::start(
        &kit::program("multilog"),
        &["./log"],
        here.path(),
        &here.join("err"),
    );
    log.write("one\n");
    let current = here.join("log/current");
    kit::eventually("the line is in current", || {
        fs::read(&current).is_ok_and(|c| c == b"one\n")
    });
    assert_eq!(mode(&current), 0o644);
    assert_eq!(mode(&here.join("log")), 0o700);
    assert_eq!(mode(&here.join("log/lock")), 0o600);
    assert_eq!(log.close(), End::Exit(0));
    assert_eq!(mode(&current), 0o744);

    // A clean end: the next run goes on in the same file.
    multilog(&here, &["./log"], "two\n");
    assert_eq!(here.read("log/current"), b"one\ntwo\n");
    // After a crash the file is put aside.
    fs::set_permissions(&current, fs::Permissions::from_mode(0o644)).unwrap();
    multilog(&here, &["./log"], "three\n");
    assert_eq!(names(&here.join("log")), [".u", "current", "lock", "state"]);
    assert_eq!(
        files(&here.join("log")),
        [b"one\ntwo\n".to_vec(), b"three\n".to_vec()]
    );
}

#[test]
fn files_end_with_a_line_near_their_size() {
    let here = Scratch::new("sizes");
    for (script, line, count, expected) in [
        ("s4096", 1000, 8, vec![3003, 3003, 2002]),
        ("s5000", 1999, 5, vec![4000, 4000, 2000]),
        ("s1", 2000, 3, vec![4002, 2001]),
        ("s0", 10, 3, vec![33]),
        ("s99999999999999999999", 10_000, 3, vec![30_003]),
        ("s4096", 9999, 1, vec![4096, 4096, 1808]),
        ("s4096", 4095, 2, vec![4096, 4096, 0]),
    ] {
        let log = here.join("log");
        let _ = fs::remove_dir_all(&log);
        let input = ("x".repeat(line) + "\n").repeat(count);
        assert_eq!(multilog(&here, &[script, "./log"], &input).code(), 0);
        let sizes: Vec<usize> = files(&log).iter().map(Vec::len).collect();
        assert_eq!(sizes, expected, "{script} {line}");
        assert!(files(&log).concat() == input.as_bytes());
    }
}

#[test]
fn at_most_n_files_are_kept() {
    let here = Scratch::new("number");
    let input = numbered(0, 1000);
    for (script, expected) in [("n5", 4), ("n2", 1), ("n0", 1), ("nx", 1)] {
        let log = here.join(script);
        assert_eq!(
            multilog(&here, &["s4096", script, &format!("./{script}")], &input).code(),
            0
        );
        let kept = files(&log);
        assert_eq!(kept.len(), expected + 1, "{script}");
        assert!(
            input.as_bytes().ends_with(&kept.concat()),
            "the latest files are kept"
        );
    }
    let log = here.join("default");
    multilog(&here, &["s4096", "./default"], &input);
    assert_eq!(files(&log).len(), 10);
}

#[test]
fn every_line_arrives_whatever_its_length() {
    let here = Scratch::new("lengths");
    let mut input = Vec::new();
    for n in 0..400usize {
        let length = [
            0, 1, 25, 26, 973, 974, 975, 999, 1000, 1001, 5000, 65_535, 65_536, 70_000,
        ][n * n % 14]
            + n % 3;
        input.extend(
            (0..length)
                .map(|at| if at % 251 == 10 { 0 } else { (at % 251) as u8 })
                .filter(|&b| b != b'\n'),
        );
        input.push(b'\n');
    }
    input.extend_from_slice(b"the last, without newline");
    let script = [
        "s50000", "n100000", "./plain", "-*", "./none", "+*", "./all",
    ];
    assert_eq!(multilog(&here, &script, &input).code(), 0);
    input.push(b'\n');
    for log in ["plain", "all"] {
        assert!(files(&here.join(log)).concat() == input, "{log}");
    }
    assert_eq!(files(&here.join("none")).concat(), b"");
    // With labels: 26 bytes more in front of each line, and nothing else.
    assert_eq!(
        multilog(&here, &["t", "s16777215", "./stamped"], &input).code(),
        0
    );
    let stamped = files(&here.join("stamped")).concat();
    let stripped: Vec<&[u8]> = stamped
        .split(|&b| b == b'\n')
        .map(|line| line.get(26..).unwrap_or_default())
        .collect();
    assert!(stripped.join(&b'\n') == input);
}

#[test]
fn a_processor_gets_its_descriptors() {
    let here = Scratch::new("processor");
    let script = "!tr x y; cat <&4 >&5; wc -c </dev/fd/1 >&5; pwd >&5";
    let input = ("x".repeat(4095) + "\n").repeat(2);
    assert_eq!(
        multilog(&here, &["s4096", script, "./log"], &input).code(),
        0
    );
    let log = here.join("log");
    assert_eq!(names(&log), [".s", ".s", "current", "lock", "state"]);
    assert_eq!(files(&log).concat(), input.replace('x', "y").as_bytes());
    let place = fs::canonicalize(&log).unwrap();
    assert_eq!(
        here.read("log/state"),
        format!("4096\n{0}\n4096\n{0}\n", place.display()).as_bytes()
    );
    assert_eq!(mode(&log.join("state")), 0o644);
    let old = fs::read_dir(&log)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "s"));
    assert_eq!(mode(&old.unwrap()), 0o744);
}

#[test]
fn a_processor_that_fails_or_crashes_is_tried_again() {
    let here = Scratch::new("again");
    let scripts = [
        (
            "./failed",
            "!test -f ok1 || { touch ok1; exit 1; }; cat",
            "processor failed in ./failed, pausing",
        ),
        (
            "./crashed",
            "!test -f ok2 || { touch ok2; kill -9 $$; }; cat",
            "processor crashed in ./crashed, pausing",
        ),
    ];
    std::thread::scope(|scope| {
        for (log, processor, warning) in scripts {
            let here = &here;
            scope.spawn(move || {
                let input = "x".repeat(4095) + "\n";
                let done = multilog(here, &["s4096", processor, log], &input);
                assert_eq!(done.err_text(), format!("multilog: warning: {warning}\n"));
                assert_eq!(files(&here.join(log)).concat(), input.as_bytes());
            });
        }
    });
}

#[test]
fn an_outage_during_the_processor_leaves_the_right_file() {
    let here = Scratch::new("outage");
    // (modes of current, previous, processed before; endings and contents after)
    let cases: [(&str, &[(&str, &str, u32)], &[(&str, &str)]); 4] = [
        (
            "processed-safe",
            &[
                ("current", "c", 0o644),
                ("previous", "p", 0o744),
                ("processed", "P", 0o744),
            ],
            &[(".s", "P"), (".u", "c")],
        ),
        (
            "processed-not-safe",
            &[
                ("current", "c", 0o644),
                ("previous", "p", 0o744),
                ("processed", "P", 0o644),
            ],
            &[(".u", "p"), (".u", "c")],
        ),
        (
            "previous-only",
            &[
                ("current", "c", 0o644),
                ("previous", "p", 0o644),
                ("newstate", "n", 0o644),
            ],
            &[(".u", "p"), (".u", "c")],
        ),
        (
            "no-current",
            &[("previous", "p", 0o744), ("state", "s", 0o644)],
            &[(".u", "p")],
        ),
    ];
    for (log, before, after) in cases {
        for (name, content, bits) in before {
            let file = here.write(&format!("{log}/{name}"), content);
            fs::set_permissions(file, fs::Permissions::from_mode(*bits)).unwrap();
        }
        assert_eq!(multilog(&here, &[&format!("./{log}")], "new\n").code(), 0);
        let mut endings: Vec<&str> = after.iter().map(|(ending, _)| *ending).collect();
        endings.extend(["current", "lock", "state"]);
        assert_eq!(names(&here.join(log)), endings, "{log}");
        let mut contents: Vec<Vec<u8>> = after.iter().map(|(_, c)| c.as_bytes().to_vec()).collect();
        contents.push(b"new\n".to_vec());
        assert_eq!(files(&here.join(log)), contents, "{log}");
        assert_eq!(here.read(&format!("{log}/state")), b"");
    }
}

#[test]
fn a_link_made_before_an_outage_is_not_made_twice() {
    let here = Scratch::new("link");
    let previous = here.write("log/previous", "p");
    fs::hard_link(&previous, here.join("log/@400000000000000000000000.s")).unwrap();
    multilog(&here, &["./log"], "");
    assert_eq!(names(&here.join("log")), [".s", "current", "lock", "state"]);
}

#[test]
fn directories_that_cannot_be_used_are_told() {
    let here = Scratch::new("bad");
    here.write("plain", "");
    for (log, expected) in [
        (
            "./no/log",
            "unable to open directory ./no/log: file does not exist",
        ),
        (
            "./plain",
            "unable to open directory ./plain: not a directory",
        ),
    ] {
        let done = multilog(&here, &[log], "x\n");
        assert_eq!(
            (done.code(), done.err_text()),
            (111, format!("multilog: fatal: {expected}\n"))
        );
    }
    let mut first = Fed::start(
        &kit::program("multilog"),
        &["./log"],
        here.path(),
        &here.join("err"),
    );
    kit::eventually("current is there", || here.join("log/current").exists());
    let done = multilog(&here, &["./log"], "x\n");
    let expected = "multilog: fatal: unable to lock directory ./log: temporary failure\n";
    assert_eq!((done.code(), done.err_text().as_str()), (111, expected));
    assert_eq!(first.close(), End::Exit(0));
    let done = multilog(&here, &["./twice", "./twice"], "");
    assert_eq!(done.code(), 111);
}

#[test]
fn a_closed_input_has_ended() {
    let here = Scratch::new("closed-input");
    let done = ours("multilog", here.path())
        .args(["e", "./log"])
        .closed(0)
        .output();
    assert_eq!(done.code(), 0);
    assert_eq!(mode(&here.join("log/current")), 0o744);
    let done = ours("multilog", here.path())
        .args(["e", "./log"])
        .stdin("x\n")
        .closed(2)
        .closed(1)
        .output();
    assert_eq!(done.code(), 0);
    assert_eq!(here.read("log/current"), b"x\n");
}

#[test]
fn an_input_that_does_not_block_is_waited_for() {
    use std::os::fd::AsFd;
    let here = Scratch::new("nonblocking");
    let (reader, writer) = sys::fd::pipe().unwrap();
    sys::fd::nonblocking(&reader, true).unwrap();
    let program = kit::program("multilog");
    let pid = sys::spawn::Spawn::new(program.as_os_str().as_encoded_bytes())
        .arg("./log")
        .dir(here.path().as_os_str().as_encoded_bytes())
        .fd(0, reader.as_fd())
        .spawn()
        .unwrap();
    for lines in ["one\n", "one\ntwo\n"] {
        sys::fd::write_all(&writer, &lines.as_bytes()[lines.len() - 4..]).unwrap();
        kit::eventually("a line", || {
            fs::read(here.join("log/current")).is_ok_and(|c| c == lines.as_bytes())
        });
    }
    drop(writer);
    let end = kit::until(kit::LIMIT, || sys::process::ended_pid(pid).unwrap());
    assert_eq!(end, Some(End::Exit(0)));
}

#[test]
fn alarm_rotates_what_is_not_empty() {
    let here = Scratch::new("alarm");
    let mut log = Fed::start(
        &kit::program("multilog"),
        &["./log", "-*", "./none"],
        here.path(),
        &here.join("err"),
    );
    let current = here.join("log/current");
    log.write("one\n");
    kit::eventually("one is written", || {
        fs::read(&current).is_ok_and(|c| c == b"one\n")
    });
    log.signal(Signal::SIGALRM);
    kit::eventually("current is new", || {
        fs::read(&current).is_ok_and(|c| c.is_empty())
    });
    log.write("two\n");
    assert_eq!(log.close(), End::Exit(0));
    assert_eq!(
        files(&here.join("log")),
        [b"one\n".to_vec(), b"two\n".to_vec()]
    );
    assert_eq!(names(&here.join("none")), ["current", "lock", "state"]);
}

#[test]
fn term_ends_after_the_line_begun_and_leaves_the_rest() {
    let here = Scratch::new("term");
    let (reader, writer) = sys::fd::pipe().unwrap();
    let feed = |text: &[u8]| sys::fd::write_all(&writer, text).unwrap();
    let start = || {
        use std::os::fd::AsFd;
        let program = kit::program("multilog");
        sys::spawn::Spawn::new(program.as_os_str().as_encoded_bytes())
            .arg("./log")
            .dir(here.path().as_os_str().as_encoded_bytes())
            .fd(0, reader.as_fd())
            .spawn()
            .unwrap()
    };
    let current = || fs::read(here.join("log/current")).unwrap_or_default();
    let ended = |pid| {
        let end = kit::until(kit::LIMIT, || sys::process::ended_pid(pid).unwrap());
        assert_eq!(end, Some(End::Exit(0)));
    };

    let pid = start();
    feed(b"one\ntw");
    kit::eventually("one is written", || current() == b"one\n");
    sys::signal::send(pid, Signal::SIGTERM).unwrap();
    feed(b"o\nthree\n");
    ended(pid);
    assert_eq!(current(), b"one\ntwo\n");

    // The next one finds the rest in the pipe. Between lines, the end comes at once.
    let pid = start();
    kit::eventually("three is written", || current() == b"one\ntwo\nthree\n");
    sys::signal::send(pid, Signal::SIGTERM).unwrap();
    ended(pid);
}

/// Feeds numbered lines and kills at a moment that differs from round to round; then looks at what is there.
#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_written() {
    let here = Scratch::new("kill");
    let log = here.join("log");
    let mut before = 0;
    for round in 0..25u32 {
        let processor = if round % 2 == 0 { "-" } else { "!cat" };
        let args = ["n1000000", "s4096", processor, "./log"]
            .map(|a| if a == "-" { "n1000000" } else { a });
        let program = kit::program("multilog");
        let mut victim = Fed::start(&program, &args, here.path(), &here.join("err"));
        let input = victim.input.take().unwrap();
        let feeder = std::thread::spawn(move || {
            // Ends with a broken pipe.
            let mut input = input;
            let text = numbered(0, 4000);
            let _ = std::io::Write::write_all(&mut input, text.as_bytes());
        });
        kit::eventually("lines arrive", || {
            fs::metadata(log.join("current")).is_ok() && count(&log) > before
        });
        std::thread::sleep(Duration::from_micros(u64::from(round) * 700));
        victim.signal(Signal::SIGKILL);
        victim.wait();
        feeder.join().unwrap();

        // A processor that was being born has the lock until it runs, and the kill did not end it.
        kit::eventually("the lock is free", || {
            multilog(&here, &["n1000000", "./log"], "").code() == 0
        });
        // The lines of this round from the first on, each once, the last perhaps cut.
        let all = files(&log).concat();
        fs::remove_dir_all(&log).unwrap();
        before = 0;
        let expected = numbered(0, 4000);
        assert!(
            !all.is_empty() && expected.as_bytes().starts_with(&all),
            "round {round}: {} bytes",
            all.len()
        );
    }
}

/// Old files in a log directory that may not be there yet.
fn count(log: &Path) -> usize {
    fs::read_dir(log)
        .map(|d| {
            d.flatten()
                .filter(|e| e.file_name().as_encoded_bytes().starts_with(b"@"))
                .count()
        })
        .unwrap_or(0)
}

#[test]
fn a_file_size_limit_is_no_end() {
    let here = Scratch::new("fsize");
    let input = numbered(0, 500);
    let done = ours("softlimit", here.path())
        .args(["-f", "6000"])
        .arg(kit::program("multilog").to_str().unwrap())
        .args(["n1000", "./log"])
        .stdin(&input)
        .output();
    assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
    assert!(files(&here.join("log")).concat() == input.as_bytes());
    assert!(files(&here.join("log")).iter().all(|f| f.len() <= 6000));
}

/// Needs a file system of its own, so root and a mount namespace.
#[test]
fn a_full_disk_is_waited_out() {
    if !kit::is_root("a_full_disk_is_waited_out") {
        return;
    }
    let here = Scratch::new("full");
    here.write("input", numbered(0, 1500));
    let script = format!(
        "mount -t tmpfs -o size=64k none . 2>/dev/null || exit 77
         cd $PWD
         head -c 40000 /dev/zero >filler
         {} s16777215 ./log <\"$0\" 2>../err & pid=$!
         n=0; until grep -q pausing ../err || [ $n = 2000 ]; do sleep 0.05; n=$((n+1)); done
         rm filler; mount -o remount,size=10m .
         wait $pid; echo $?; cat ../err; cat log/current",
        kit::program("multilog").display()
    );
    fs::create_dir(here.join("disk")).unwrap();
    let done = Run::new("/usr/bin/unshare")
        .args([
            "-m",
            "sh",
            "-c",
            &script,
            here.join("input").to_str().unwrap(),
        ])
        .dir(here.join("disk"))
        .output();
    if done.end == End::Exit(77) || done.err_text().contains("unshare") {
        eprintln!("SKIPPED (no mount namespace): a_full_disk_is_waited_out");
        return;
    }
    let warning =
        "multilog: warning: unable to write to ./log/current, pausing: out of disk space\n";
    let expected = format!("0\n{warning}{}", numbered(0, 1500));
    assert!(done.out_text() == expected, "{}", &done.out_text()[..200]);
}

#[test]
fn the_original_goes_on_where_we_ended_and_we_where_it_did() {
    let Some(theirs) = original(
        "multilog",
        "the_original_goes_on_where_we_ended_and_we_where_it_did",
    ) else {
        return;
    };
    let here = Scratch::new("interchange");
    let program = kit::program("multilog");
    let order = [&program, &theirs, &program, &theirs];
    let args = ["s8192", "n1000", "!cat", "./log"];
    for (at, multilog) in order.iter().enumerate() {
        let input = numbered(at * 300, at * 300 + 300);
        let done = Run::new(*multilog)
            .env("PATH", &path())
            .args(args)
            .dir(here.path())
            .stdin(input)
            .output();
        assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
    }
    assert!(files(&here.join("log")).concat() == numbered(0, 1200).as_bytes());
    // Each holds the lock against the other.
    for (holder, other) in [(&program, &theirs), (&theirs, &program)] {
        let err = here.join("err");
        let inode = fs::metadata(here.join("log/lock")).unwrap().ino();
        let mut held = Fed::start(holder, &["./log"], here.path(), &err);
        kit::eventually("the lock is held", || {
            mode(&here.join("log/current")) == 0o644
        });
        let done = Run::new(other).arg("./log").dir(here.path()).output();
        assert_eq!(
            done.err_text(),
            "multilog: fatal: unable to lock directory ./log: temporary failure\n"
        );
        assert_eq!(held.close(), End::Exit(0));
        assert_eq!(fs::metadata(here.join("log/lock")).unwrap().ino(), inode);
    }
}

#[test]
fn the_original_writes_the_same_files() {
    let Some(theirs) = original("multilog", "the_original_writes_the_same_files") else {
        return;
    };
    let here = Scratch::new("same");
    let input: String = (0..3000)
        .map(|n| format!("{} line {n}\n", ["a", "b", "ab", ""][n % 4]))
        .collect();
    let script = [
        "-*",
        "+a*",
        "e",
        "=s1",
        "-*b line*",
        "./log1",
        "+*1",
        "./log2",
        "-*",
        "+b *5",
        "./log3",
        "=s2",
        "e",
    ];
    let run = |program: &Path, name: &str| {
        fs::create_dir(here.join(name)).unwrap();
        let done = Run::new(program)
            .args(script)
            .dir(here.join(name))
            .stdin(&input)
            .output();
        let logs = ["log1", "log2", "log3"].map(|l| files(&here.join(name).join(l)).concat());
        let kept = ["s1", "s2"].map(|s| fs::read(here.join(name).join(s)).unwrap());
        (done.code(), done.err, logs, kept)
    };
    assert!(run(&kit::program("multilog"), "ours") == run(&theirs, "theirs"));
}

#[test]
fn many_lines_do_not_take_long() {
    let here = Scratch::new("speed");
    let input = ("x".repeat(99) + "\n").repeat(50_000);
    let start = Instant::now();
    assert_eq!(
        multilog(&here, &["t", "s16777215", "./log"], &input).code(),
        0
    );
    assert!(start.elapsed() < kit::LIMIT / 2, "{:?}", start.elapsed());
}
