//! svscan as the first process, and svscanboot.

use std::fs;
use std::path::Path;

use kit::{Run, Scratch};
use sys::process::End;
use sys::signal::Signal;

use crate::{ours, path};

/// Two services, one with a log of the classic kind that is slow, one with a program `log`.
fn services(here: &Scratch) {
    here.script(
        "sv/a/run",
        "trap 'echo the last line; exit 0' TERM; echo up >up; n=0
         while [ $n -lt 6000 ]; do n=$((n+1)); echo line $n; sleep 0.05; done",
    );
    here.script(
        "sv/a/log/run",
        "while read line; do sleep 0.02; echo $line >>got; done; echo end >>got",
    );
    here.script("sv/b/run", "echo up >up; exec sleep 600");
    here.script("sv/b/log", "exec cat >>got");
}

fn was_clean(here: &Scratch) {
    let got = fs::read_to_string(here.join("sv/a/log/got")).unwrap();
    // A log that ends within its first second may be started once more before its supervise listens.
    assert!(
        got.trim_end_matches("end\n").ends_with("the last line\n") && got.ends_with("end\n"),
        "{got}"
    );
    for service in ["sv/a", "sv/a/log", "sv/b"] {
        assert_eq!(
            ours("svok", here.path()).arg(service).output().code(),
            100,
            "{service}"
        );
    }
}

fn are_up(here: &Scratch) -> bool {
    here.join("sv/a/up").exists()
        && here.join("sv/b/up").exists()
        && here.join("sv/a/log/got").exists()
}

#[test]
fn svscan_stops_cleanly_when_asked_to() {
    std::thread::scope(|scope| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            scope.spawn(move || stops_cleanly(signal));
        }
    });
}

fn stops_cleanly(signal: Signal) {
    let here = Scratch::new("stop");
    services(&here);
    let mut scan = ours("svscan", here.path())
        .env("SVSCANSTOP", "1")
        .arg("sv")
        .start(here.join("err"));
    kit::eventually("all is up", || are_up(&here));
    scan.signal(signal);
    assert_eq!(scan.wait(kit::LIMIT), End::Exit(0));
    was_clean(&here);
    assert_eq!(fs::read_to_string(here.join("err")).unwrap(), "");
}

#[test]
fn svscan_dies_of_term_as_the_original_unless_asked() {
    let here = Scratch::new("die");
    fs::create_dir(here.join("sv")).unwrap();
    let mut scan = ours("svscan", here.path())
        .arg("sv")
        .start(here.join("err"));
    kit::eventually("svscan runs", || {
        fs::read_link(format!("/proc/{}/cwd", scan.pid())).is_ok_and(|at| at.ends_with("sv"))
    });
    scan.signal(Signal::SIGTERM);
    assert_eq!(scan.wait(kit::LIMIT), End::Signal(15));
}

/// Needs a process namespace of its own, so root.
#[test]
fn the_first_process_reaps_orphans_and_stops_cleanly() {
    let test = "the_first_process_reaps_orphans_and_stops_cleanly";
    if !kit::is_root(test) {
        return;
    }
    let here = Scratch::new("first");
    services(&here);
    here.script(
        "sv/orphans/run",
        // Each subshell leaves its child to the first process: none of them stays, not even as a zombie.
        "[ -e done ] && exec sleep 600
         for n in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 &); done; sleep 1
         orphans() {
           for file in /proc/[0-9]*/stat; do
             read -r pid name state parent rest <$file && [ \"$name $parent\" = '(sleep) 1' ] && return
           done 2>/dev/null
           return 1
         }
         while orphans; do sleep 0.1; done
         cat /proc/1/comm >first; touch done; exec sleep 600",
    );
    let mut scan = Run::new("/usr/bin/unshare")
        .args(["-p", "-f", "--mount-proc", "--kill-child"])
        .arg(kit::program("svscan").as_os_str().as_encoded_bytes())
        .arg("sv")
        .env("PATH", &path())
        .dir(here.path())
        .start(here.join("err"));
    let ready = kit::until(kit::LIMIT, || {
        (!scan.is_running() || are_up(&here) && here.join("sv/orphans/done").exists()).then_some(())
    });
    if !scan.is_running() {
        eprintln!("SKIPPED (no process namespace): {test}");
        return;
    }
    assert!(ready.is_some());
    assert_eq!(
        fs::read_to_string(here.join("sv/orphans/first")).unwrap(),
        "svscan\n"
    );
    // unshare waits for svscan and does not pass signals on.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", scan.pid())).unwrap();
    let first: u32 = children.trim().parse().unwrap();
    sys::signal::send(first, Signal::SIGTERM).unwrap();
    assert_eq!(scan.wait(kit::LIMIT), End::Exit(0));
    was_clean(&here);
    assert_eq!(fs::read_to_string(here.join("err")).unwrap(), "");
}

#[test]
fn svscanboot_begins_from_nothing() {
    let here = Scratch::new("svscanboot");
    here.script(
        "sv/a/run",
        "tr '\\0' '\\n' </proc/$$/environ >seen; echo >env; exec sleep 600",
    );
    fs::create_dir(here.join("sv/broken")).unwrap();
    fs::create_dir(here.join("home")).unwrap();
    std::os::unix::fs::symlink(kit::bin_dir(), here.join("home/bin")).unwrap();
    // An earlier supervise still runs.
    let mut earlier = ours("supervise", here.path())
        .arg("sv/a")
        .start(here.join("earlier"));
    kit::eventually("the earlier one", || here.join("sv/a/env").exists());
    fs::remove_file(here.join("sv/a/env")).unwrap();

    let mut boot = ours("svscanboot", here.path())
        .env("QMAILHOME", here.join("home").to_str().unwrap())
        .env("OTHER", "x")
        .arg(here.join("sv").to_str().unwrap())
        .start(here.join("err"));
    assert_eq!(earlier.wait(kit::LIMIT), End::Exit(0));
    kit::eventually("the service runs", || here.join("sv/a/env").exists());
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/comm", boot.pid())).unwrap(),
        "svscan\n"
    );
    let env = fs::read_to_string(here.join("sv/a/seen")).unwrap();
    let bin = here.join("home/bin");
    assert!(
        env.starts_with(&format!("PATH=/command:{}:", bin.display())) && env.lines().count() == 1,
        "{env}"
    );

    // What svscan and its children say is in the process list.
    let title = kit::until(kit::LIMIT, || {
        let path = format!("/proc/{0}/task/{0}/children", boot.pid());
        let children = fs::read_to_string(path).unwrap();
        let is_title = |pid: &&str| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.trim() == "readproctitle")
        };
        let found = children.split_ascii_whitespace().find(is_title);
        found.map(str::to_owned)
    });
    let title = title.unwrap();
    let words = || {
        let line = fs::read(format!("/proc/{title}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ")
    };
    kit::eventually("the words", || {
        words().contains("unable to start broken/run: file does not exist")
    });
    assert!(
        words().starts_with("readproctitle service errors: ..."),
        "{}",
        words()
    );
    boot.signal(Signal::SIGTERM);
    assert_eq!(boot.wait(kit::LIMIT), End::Signal(15));
    let done = ours("svc", here.path())
        .args(["-dx", "sv/a", "sv/broken"])
        .output();
    assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
    // The process list forgets when the last of them has ended.
    kit::eventually("all have ended", || {
        !Path::new(&format!("/proc/{title}")).exists()
    });
    let done = ours("svscanboot", here.path()).args(["a", "b"]).output();
    assert_eq!(
        (done.code(), done.err_text().as_str()),
        (100, "svscanboot: usage: svscanboot [ directory ]\n")
    );
}
