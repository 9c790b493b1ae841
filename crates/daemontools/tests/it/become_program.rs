//! The programs that become another one.

use std::fs;

use kit::{Run, Scratch};
use sys::process::End;

use crate::{ours, words};

const SOFTLIMIT: &str = "softlimit: usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] \
                         [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] \
                         [-s stackbytes] [-t cpusecs] child\n";
const SETLOCK: &str = "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]\n";

#[test]
fn misuse_is_told_as_the_original_tells_it() {
    let here = Scratch::new("misuse");
    for (line, code, expected) in [
        (
            "envdir",
            111,
            "envdir: usage: envdir dir child\n".to_owned(),
        ),
        (
            "envdir e",
            111,
            "envdir: usage: envdir dir child\n".to_owned(),
        ),
        (
            "envuidgid root",
            100,
            "envuidgid: usage: envuidgid account child\n".to_owned(),
        ),
        (
            "setuidgid root",
            100,
            "setuidgid: usage: setuidgid account child\n".to_owned(),
        ),
        (
            "setuidgid nosuch true",
            111,
            "setuidgid: fatal: unknown account nosuch\n".to_owned(),
        ),
        (
            "envuidgid 0 true",
            111,
            "envuidgid: fatal: unknown account 0\n".to_owned(),
        ),
        ("fghack", 100, "fghack: usage: fghack child\n".to_owned()),
        (
            "pgrphack",
            100,
            "pgrphack: usage: pgrphack child\n".to_owned(),
        ),
        ("readproctitle", 100, String::new()),
        ("readproctitle name bcd", 100, String::new()),
        ("setlock f", 100, SETLOCK.to_owned()),
        (
            "setlock -q f true",
            100,
            format!("setlock: illegal option -- q\n{SETLOCK}"),
        ),
        ("softlimit", 100, SOFTLIMIT.to_owned()),
        ("softlimit -c abc true", 100, SOFTLIMIT.to_owned()),
        (
            "softlimit -m",
            100,
            format!("softlimit: option requires an argument -- m\n{SOFTLIMIT}"),
        ),
        (
            "softlimit -z true",
            100,
            format!("softlimit: illegal option -- z\n{SOFTLIMIT}"),
        ),
        (
            "envdir nosuch true",
            111,
            "envdir: fatal: unable to switch to directory nosuch: file does not exist\n".to_owned(),
        ),
    ] {
        let line = words(line);
        let done = ours(line[0], here.path()).args(&line[1..]).output();
        assert_eq!((done.code(), done.err_text()), (code, expected), "{line:?}");
        assert_eq!(done.out_text(), "");
    }
}

#[test]
fn a_program_that_cannot_be_run_is_named() {
    let here = Scratch::new("run");
    here.write("plain", "");
    here.write("e/A", "1\n");
    for line in [
        "envdir e",
        "envuidgid root",
        "softlimit -o 20",
        "setlock f",
        "fghack",
        "pgrphack",
    ] {
        let line = words(line);
        for (program, reason) in [
            ("./nosuch", "file does not exist"),
            ("./plain", "access denied"),
        ] {
            let done = ours(line[0], here.path())
                .args(&line[1..])
                .arg(program)
                .output();
            let expected = format!("{}: fatal: unable to run {program}: {reason}\n", line[0]);
            assert_eq!((done.code(), done.err_text()), (111, expected));
        }
        let done = ours(line[0], here.path())
            .args(&line[1..])
            .args(["sh", "-c", "exit 7"])
            .output();
        assert_eq!(done.code(), 7, "{line:?}");
    }
}

#[test]
fn what_the_caller_closed_stays_closed() {
    let here = Scratch::new("closed");
    here.write("e/A", "1\n");
    for line in [
        "envdir e",
        "envuidgid root",
        "softlimit -o 20",
        "setlock f",
        "fghack",
        "pgrphack",
    ] {
        let line = words(line);
        for closed in [0, 1, 2] {
            let look = format!("test -e /dev/fd/{closed} && exit 5; exit 6");
            let done = ours(line[0], here.path())
                .args(&line[1..])
                .args(["sh", "-c", &look])
                .closed(closed)
                .output();
            assert_eq!(done.code(), 6, "{line:?} with {closed} closed");
        }
    }
}

#[test]
fn envdir_reads_first_lines() {
    let here = Scratch::new("envdir");
    for (file, content) in [
        ("e/PLAIN", "one\ntwo\n"),
        ("e/BLANKS", " x \t \n"),
        ("e/NUL", "a\0b\n"),
        ("e/EMPTYLINE", "\n"),
        ("e/EMPTY", ""),
        ("e/A=B", "x\n"),
        ("e/.HIDDEN", "x\n"),
        ("e/PATH", "/nonexistent\n"),
    ] {
        here.write(file, content);
    }
    std::os::unix::fs::symlink("nowhere", here.join("e/DANGLING")).unwrap();
    let done = ours("envdir", here.path())
        .env("EMPTY", "inherited")
        .env("DANGLING", "inherited")
        .env("PLAIN", "inherited")
        .env("OTHER", "stays")
        .args(["e", "env", "-0"])
        .output();
    let mut variables: Vec<&[u8]> = done
        .out
        .split(|&b| b == 0)
        .filter(|v| !v.is_empty())
        .collect();
    variables.sort_unstable();
    let expected: [&[u8]; 7] = [
        b"A=B=x",
        b"BLANKS= x",
        b"EMPTYLINE=",
        b"NUL=a\nb",
        b"OTHER=stays",
        b"PATH=/nonexistent",
        b"PLAIN=one",
    ];
    assert_eq!(variables, expected);
    // env was found along the PATH that envdir itself was given.
    assert_eq!(done.code(), 0);
}

#[test]
fn envdir_stops_at_a_file_it_cannot_read() {
    let here = Scratch::new("envdir-unreadable");
    here.write("e/D/file", "");
    let done = ours("envdir", here.path()).args(["e", "true"]).output();
    assert_eq!(done.code(), 111);
    assert_eq!(
        done.err_text(),
        "envdir: fatal: unable to read e/D: is a directory\n"
    );
}

#[test]
fn envdir_takes_long_values_but_not_endless_ones() {
    let here = Scratch::new("envdir-long");
    here.write("e/LONG", vec![b'x'; 100_000]);
    let done = ours("envdir", here.path())
        .args(["e", "sh", "-c", "echo ${#LONG}"])
        .output();
    assert_eq!(done.out_text(), "100000\n");
    let file = fs::File::create(here.join("e/LONG")).unwrap();
    file.set_len(1 << 30).unwrap();
    let done = ours("envdir", here.path()).args(["e", "true"]).output();
    assert_eq!(done.code(), 111);
    assert_eq!(
        done.err_text(),
        "envdir: fatal: unable to read e/LONG: file too large\n"
    );
}

#[test]
fn softlimit_sets_what_the_letters_say() {
    let here = Scratch::new("softlimit");
    for (options, query, expected) in [
        ("-o 9", "ulimit -n", "9"),
        ("-o9", "ulimit -n", "9"),
        ("-c 10240", "ulimit -c", "20"),
        ("-f 10240", "ulimit -f", "20"),
        ("-d 104857600", "ulimit -d", "102400"),
        ("-s 1048576", "ulimit -s", "1024"),
        ("-r 1048576", "ulimit -m", "1024"),
        ("-l 1024", "ulimit -l", "1"),
        ("-a 104857600", "ulimit -v", "102400"),
        ("-m 104857600", "ulimit -d", "102400"),
        ("-m 104857600", "ulimit -v", "102400"),
        ("-t 17", "ulimit -t", "17"),
        ("-p 5000", "echo ok", "ok"),
        ("-o 30 -o 20", "ulimit -n", "20"),
        ("-o 11 --", "ulimit -n", "11"),
    ] {
        let done = ours("softlimit", here.path())
            .args(words(options))
            .args(["sh", "-c", query])
            .output();
        assert_eq!(
            done.out_text(),
            format!("{expected}\n"),
            "{options} {query}: {}",
            done.err_text()
        );
    }
}

#[test]
fn softlimit_never_passes_the_hard_limit() {
    let here = Scratch::new("hard");
    for limit in ["1000000", "="] {
        let inner = format!(
            "ulimit -n 20; exec {} -o {limit} sh -c 'ulimit -n'",
            kit::program("softlimit").display()
        );
        let done = Run::new("/bin/sh")
            .args(["-c", &inner])
            .dir(here.path())
            .output();
        assert_eq!(done.out_text(), "20\n", "{limit}");
    }
}

#[test]
fn softlimit_itself_lives_under_the_smallest_limits() {
    let here = Scratch::new("small-limits");
    for options in ["-d 0", "-d 4096", "-a 4096", "-o 0", "-f 0", "-t 0 -d 1"] {
        let done = ours("softlimit", here.path())
            .args(words(options))
            .arg("./nosuch")
            .output();
        assert_eq!(
            (done.code(), done.err_text().as_str()),
            (
                111,
                "softlimit: fatal: unable to run ./nosuch: file does not exist\n"
            ),
            "{options}"
        );
    }
}

#[test]
fn our_programs_start_under_the_limit_of_old_run_scripts() {
    let here = Scratch::new("d950000");
    let done = ours("softlimit", here.path())
        .arg("-d950000")
        .arg(kit::program("multilog").to_str().unwrap())
        .args(["t", "e", "./one", "./two"])
        .stdin("line\n".repeat(100_000))
        .output();
    assert_eq!(done.code(), 0);
    for name in ["svscan", "svstat", "tai64n", "tai64nlocal", "setlock"] {
        let done = ours("softlimit", here.path())
            .arg("-d950000")
            .arg(kit::program(name).to_str().unwrap())
            .args(["nosuch", "true"])
            .output();
        assert!(
            matches!(done.end, End::Exit(0 | 111)),
            "{name}: {:?}",
            done.end
        );
    }
    if kit::is_root("setuidgid under a memory limit") {
        let done = ours("softlimit", here.path())
            .arg("-d950000")
            .arg(kit::program("setuidgid").to_str().unwrap())
            .args(["nobody", "true"])
            .output();
        assert_eq!(done.code(), 0);
    }
}

/// Threads cost memory that a limit may not leave: then files become safe one after the other.
#[test]
fn multilog_keeps_its_threads_within_the_limits() {
    let input = "line\n".repeat(400_000);
    for limit in [
        "-d950000",
        "-d1600000",
        "-d3200000",
        "-a30000000",
        "-a400000000",
    ] {
        let here = Scratch::new("limits");
        let done = ours("softlimit", here.path())
            .arg(limit)
            .arg(kit::program("multilog").to_str().unwrap())
            .args(["s20000", "n1000", "./one", "./two"])
            .stdin(&input)
            .output();
        let said = done.err_text();
        assert_eq!((done.code(), said.as_str()), (0, ""), "{limit}");
        for log in ["one", "two"] {
            let kept = crate::multilog::files(&here.join(log)).concat();
            assert!(kept == input.as_bytes(), "{limit}");
        }
    }
}

#[test]
fn setuidgid_leaves_one_group() {
    if !kit::is_root("setuidgid_leaves_one_group") {
        return;
    }
    let here = Scratch::new("setuidgid");
    let done = ours("setuidgid", here.path())
        .args(["daemon", "sh", "-c", "id -u; id -g; id -G"])
        .output();
    assert_eq!(done.out_text(), "1\n1\n1\n");
    let privileges = "grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status";
    let done = ours("setuidgid", here.path())
        .args(["daemon", "sh", "-c", privileges])
        .output();
    assert_eq!(
        done.out_text(),
        "Uid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t1 \nCapEff:\t0000000000000000\n"
    );
}

#[test]
fn setuidgid_is_for_root() {
    let here = Scratch::new("setuidgid-user");
    let nobody = 65534;
    let own = sys::users::any_by_uid(if sys::ids::euid() == 0 {
        nobody
    } else {
        sys::ids::uid()
    })
    .unwrap();
    for account in [
        Some("root".to_owned()),
        own.and_then(|a| String::from_utf8(a.name).ok()),
    ]
    .into_iter()
    .flatten()
    {
        let mut run = ours("setuidgid", std::path::Path::new("/")).args([account.as_str(), "true"]);
        if sys::ids::euid() == 0 {
            run = Run::new("/bin/sh")
                .args(["-c", "exec ./setuidgid \"$0\" true", &account])
                .dir(reachable_copy(&here, "setuidgid"))
                .ids(nobody, nobody);
        }
        let done = run.output();
        assert_eq!(
            done.err_text(),
            "setuidgid: fatal: unable to setgid: permission denied\n",
            "{account}"
        );
        assert_eq!(done.code(), 111);
    }
}

/// A copy of a program where every uid can run it.
fn reachable_copy(here: &Scratch, name: &str) -> std::path::PathBuf {
    kit::copy_executable(kit::program(name), here.join(name));
    here.path().to_path_buf()
}

#[test]
fn envuidgid_sets_two_variables() {
    let here = Scratch::new("envuidgid");
    let done = ours("envuidgid", here.path())
        .env("UID", "7")
        .env("X", "1")
        .args(["daemon", "env"])
        .output();
    let mut lines: Vec<String> = done.out_text().lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("PATH="));
    lines.sort();
    assert_eq!(lines, ["GID=1", "UID=1", "X=1"]);
}

#[test]
fn setlock_holds_the_lock_for_the_program() {
    let here = Scratch::new("setlock");
    here.write("f", "text");
    let inner = format!(
        "{} -n f echo never; echo $?",
        kit::program("setlock").display()
    );
    let done = ours("setlock", here.path())
        .args(["f", "sh", "-c", &inner])
        .output();
    assert_eq!(done.out_text(), "111\n");
    assert_eq!(
        done.err_text(),
        "setlock: fatal: unable to lock f: temporary failure\n"
    );
    let inner = format!(
        "{} -nx f echo never; echo $?",
        kit::program("setlock").display()
    );
    let done = ours("setlock", here.path())
        .args(["f", "sh", "-c", &inner])
        .output();
    assert_eq!(
        (done.out_text().as_str(), done.err_text().as_str()),
        ("0\n", "")
    );
    // The lock ended with the program, and the file is as it was.
    let done = ours("setlock", here.path())
        .args(["-n", "f", "echo", "mine"])
        .output();
    assert_eq!(done.out_text(), "mine\n");
    assert_eq!(here.read("f"), b"text");
}

#[test]
fn setlock_x_is_quiet_about_the_lock_only() {
    let here = Scratch::new("setlock-x");
    let done = ours("setlock", here.path())
        .args(["-x", "no/f", "true"])
        .output();
    assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
    let done = ours("setlock", here.path())
        .args(["-xX", "no/f", "true"])
        .output();
    assert_eq!(
        done.err_text(),
        "setlock: fatal: unable to open no/f: file does not exist\n"
    );
    let done = ours("setlock", here.path())
        .args(["-x", "f", "./nosuch"])
        .output();
    assert_eq!(done.code(), 111);
}

#[test]
fn fghack_waits_for_what_is_left_behind() {
    let here = Scratch::new("fghack");
    let done = ours("fghack", here.path())
        .args(["sh", "-c", "(sleep 0.3; echo late) & exit 3"])
        .output();
    assert_eq!((done.code(), done.out_text().as_str()), (3, "late\n"));
    let done = ours("fghack", here.path())
        .args(["sh", "-c", "kill -9 $$"])
        .output();
    assert_eq!(
        (done.code(), done.err_text().as_str()),
        (111, "fghack: fatal: child crashed\n")
    );
    // A program that closes the first twenty descriptors still holds a copy of the pipe.
    let close: String = (3..20).map(|n| format!(" {n}>&-")).collect();
    let text = format!("(exec{close}; sleep 0.3; echo late) & exit 0");
    let done = ours("fghack", here.path())
        .args(["bash", "-c", &text])
        .output();
    assert_eq!(done.out_text(), "late\n");
}

#[test]
fn pgrphack_leads_a_session() {
    let here = Scratch::new("pgrphack");
    let query =
        "set -- $(cut -d' ' -f1,5,6 /proc/$$/stat); test $1 = $2 && test $1 = $3 && echo leader";
    let done = ours("pgrphack", here.path())
        .args(["sh", "-c", query])
        .output();
    assert_eq!(done.out_text(), "leader\n", "{}", done.err_text());
}

#[test]
fn readproctitle_shows_the_latest_bytes() {
    let here = Scratch::new("title");
    let log = here.join("log");
    let mut shown = crate::Fed::start(
        &kit::program("readproctitle"),
        &["errors:", ".........."],
        here.path(),
        &log,
    );
    let pid = shown.pid;
    let shows = |last: &str| {
        let expected = format!("errors:\0{last}\0");
        kit::eventually(last, || {
            fs::read(format!("/proc/{pid}/cmdline"))
                .unwrap()
                .ends_with(expected.as_bytes())
        });
    };
    shows("..........");
    shown.write("one\0\ntwo\n");
    shows("...ne\ntwo\n");
    shown.write("a much longer piece of input than fits");
    shows("...an fits");
    assert_eq!(shown.close(), End::Exit(0));
    assert_eq!(fs::read(log).unwrap(), b"");
}
