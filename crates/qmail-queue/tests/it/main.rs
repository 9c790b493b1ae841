//! qmail-queue from outside: descriptors, exit codes, files.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod service;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use kit::{Home, Run, program};
use sys::signal::Signal;

const GOOD: &[u8] = b"Fs@host.test\0Tr@host.test\0\0";

fn run(home: &Home, message: &[u8], envelope: &[u8]) -> u8 {
    let output = home
        .run("qmail-queue")
        .stdin(message)
        .input(1, envelope)
        .output();
    assert!(output.err.is_empty(), "{}", output.err_text());
    output.code()
}

fn files(home: &Home) -> [usize; 4] {
    ["pid", "mess", "intd", "todo"].map(|d| home.queue(d).len())
}

/// The program under a shell that first does `before`.
fn under(home: &Home, before: &str, message: &[u8]) -> u8 {
    Run::new("/bin/sh")
        .arg("-c")
        .arg(format!("{before}; exec \"$0\""))
        .arg(program("qmail-queue").as_os_str().as_encoded_bytes())
        .env("QMAILHOME", home.path().to_str().unwrap())
        .stdin(message)
        .input(1, GOOD)
        .output()
        .code()
}

#[test]
fn a_message_is_on_disk_with_its_three_names() {
    let home = Home::new("qq");
    assert_eq!(run(&home, b"Subject: x\n\nbody\n", GOOD), 0);
    assert_eq!(files(&home), [0, 1, 1, 1]);
    let mess = home.join("queue/mess").join(&home.queue("mess")[0]);
    let todo = home.join("queue/todo").join(&home.queue("todo")[0]);
    let text = String::from_utf8(fs::read(&mess).unwrap()).unwrap();
    let (received, rest) = text.split_once('\n').unwrap();
    assert_eq!(rest, "Subject: x\n\nbody\n");
    assert!(received.starts_with("Received: (qmail "), "{received}");
    assert!(received.ends_with(" -0000"), "{received}");
    let envelope = fs::read(&todo).unwrap();
    assert!(envelope.starts_with(format!("u{}\0p", sys::ids::uid()).as_bytes()));
    assert!(envelope.ends_with(b"\0Fs@host.test\0Tr@host.test\0"));
    let stat = fs::metadata(&mess).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.nlink()), (0o644, 1));
    assert_eq!(stat.ino().to_string(), home.queue("todo")[0]);
    let stat = fs::metadata(&todo).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.nlink()), (0o644, 2));
}

#[test]
fn every_fault_has_its_code_and_leaves_nothing() {
    let home = Home::new("qq-codes");
    let long = vec![b'x'; 1003];
    let cases: [(&[u8], u8); 8] = [
        (b"", 54),
        (b"Fs", 54),
        (b"Fs\0Tr\0", 54),
        (b"Tr\0\0", 91),
        (b"Fs\0Xr\0\0", 91),
        (b"Fs\0Fr\0\0", 91),
        (&[b"F", long.as_slice(), b"\0\0"].concat(), 11),
        (&[b"Fs\0T", long.as_slice(), b"\0\0"].concat(), 11),
    ];
    for (envelope, code) in cases {
        assert_eq!(run(&home, b"m", envelope), code);
        assert_eq!(files(&home), [0; 4]);
    }
    for (dir, code) in [
        ("queue/todo", 66),
        ("queue/intd", 65),
        ("queue/mess", 64),
        ("queue/pid", 63),
        ("queue", 62),
    ] {
        fs::rename(home.join(dir), home.join("away")).unwrap();
        assert_eq!(run(&home, b"m", GOOD), code, "{dir}");
        fs::rename(home.join("away"), home.join(dir)).unwrap();
        assert_eq!(files(&home), [0; 4]);
    }
    let nowhere = home
        .run("qmail-queue")
        .env("QMAILHOME", "/nowhere")
        .input(1, GOOD)
        .output();
    assert_eq!(nowhere.code(), 61);
    fs::remove_dir_all(home.join("queue/lock")).unwrap();
    assert_eq!(run(&home, b"m", GOOD), 0, "a missing trigger is no fault");
}

#[test]
fn closed_descriptors_are_read_errors() {
    let home = Home::new("qq-closed");
    let closed = |numbers: &[i32]| {
        let mut run = home.run("qmail-queue").input(1, GOOD);
        for &n in numbers {
            run = run.closed(n);
        }
        run.output().code()
    };
    assert_eq!(closed(&[0]), 54);
    assert_eq!(closed(&[1]), 54);
    assert_eq!(closed(&[0, 1, 2]), 54);
    assert_eq!(files(&home), [0; 4]);
    assert_eq!(closed(&[2]), 0);
}

#[test]
fn a_full_disk_is_53_and_leaves_nothing() {
    let home = Home::new("qq-full");
    assert_eq!(under(&home, "ulimit -f 0", b"m"), 53);
    // A block of 512 bytes holds the envelope but not the message.
    assert_eq!(under(&home, "ulimit -f 1", &[b'x'; 5000]), 53);
    assert_eq!(files(&home), [0; 4]);
    // Umask and signals of the caller do not matter.
    assert_eq!(under(&home, "umask 777; trap '' PIPE ALRM", b"m"), 0);
    let todo = home.join("queue/todo").join(&home.queue("todo")[0]);
    assert_eq!(fs::metadata(todo).unwrap().mode() & 0o777, 0o644);
}

/// Runs a script as root in a mount namespace of its own, with a small file system as the queue.
fn on_a_small_disk(test: &str, options: &str, script: &str) -> Option<String> {
    if !kit::is_root(test) {
        return None;
    }
    let home = Home::new("qq-small");
    home.write("small", "m");
    home.write("large", vec![b'x'; 1 << 20]);
    home.write("envelope", GOOD);
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs queue || {{ echo SKIPPED; exit; }}
         cd queue && mkdir pid mess intd todo lock && (cd mess && seq 0 22 | xargs mkdir) || exit 1
         try() {{ \"$0\" <../$1 1<../envelope; echo $? $(find pid mess intd todo -type f | wc -l); }}
         {script}"
    );
    let output = Run::new("/usr/bin/unshare")
        .args(["-m", "/bin/sh", "-c", &script])
        .arg(program("qmail-queue").as_os_str().as_encoded_bytes())
        .env("QMAILHOME", home.path().to_str().unwrap())
        .dir(home.path())
        .output();
    let text = output.out_text();
    (text != "SKIPPED\n").then_some(text)
}

#[test]
fn a_small_disk_takes_what_fits_and_keeps_nothing_else() {
    let test = "a_small_disk_takes_what_fits_and_keeps_nothing_else";
    let bytes = on_a_small_disk(test, "size=256k", "try large; try small");
    assert!(bytes.is_none_or(|b| b == "53 0\n0 3\n"));
    // Here each name takes a place: none is left, then one more each time.
    let inodes = on_a_small_disk(
        test,
        "nr_inodes=40",
        "while touch lock/$((n += 1)) 2>/dev/null; do :; done; try small; for n in 1 2 3; do rm lock/$n; try small; done",
    );
    assert!(
        inodes
            .clone()
            .is_none_or(|i| i == "63 0\n65 0\n66 0\n0 3\n"),
        "{inodes:?}"
    );
}

#[test]
fn hangups_are_ignored_and_the_alarm_cleans_up() {
    let home = Home::new("qq-signals");
    let fifo = home.join("fifo");
    let dir = sys::Dir::open(home.path()).unwrap();
    dir.make_fifo(b"fifo", 0o600).unwrap();
    for (signals, code) in [("", 0), ("HUP INT QUIT", 0), ("ALRM", 52)] {
        let out = home.join("code");
        let _ = fs::remove_file(&out);
        // The message comes from a FIFO that stays open until the signals have been sent.
        let script = format!(
            "printf 'Fs\\0Tr\\0\\0' >envelope; '{}' <fifo 1<envelope; echo $? >code.tmp; mv code.tmp code",
            program("qmail-queue").display()
        );
        let mut shell = Run::new("/bin/sh")
            .args(["-c", &script])
            .env("QMAILHOME", home.path().to_str().unwrap())
            .dir(home.path())
            .start(home.join("log"));
        let writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
        kit::eventually("a message file", || !home.queue("mess").is_empty());
        let child = child_of(shell.pid());
        for signal in signals.split_whitespace() {
            let signal = match signal {
                "HUP" => Signal::SIGHUP,
                "INT" => Signal::SIGINT,
                "QUIT" => Signal::SIGQUIT,
                _ => Signal::SIGALRM,
            };
            sys::signal::send(child, signal).unwrap();
        }
        if code == 0 {
            drop(writer);
        }
        kit::eventually("an exit code", || out.exists());
        assert_eq!(fs::read_to_string(&out).unwrap().trim(), code.to_string());
        shell.wait(Duration::from_secs(5));
        assert_eq!(files(&home)[3], usize::from(code == 0), "{signals}");
        for d in ["mess", "intd", "todo"] {
            for f in home.queue(d) {
                fs::remove_file(home.join("queue").join(d).join(f)).unwrap();
            }
        }
    }
}

/// The one child of a process.
fn child_of(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    kit::until(kit::LIMIT, || {
        fs::read_to_string(&path)
            .unwrap()
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
    .unwrap()
}

#[test]
fn the_trigger_is_pulled() {
    use std::io::Read;
    let home = Home::new("qq-trigger");
    let lock = sys::Dir::open(home.join("queue/lock")).unwrap();
    let mut reader = lock.open_read(b"trigger").unwrap();
    assert_eq!(run(&home, b"m", GOOD), 0);
    let mut byte = [1];
    assert_eq!(reader.read(&mut byte).unwrap(), 1);
    assert_eq!(byte, [0]);
}

#[test]
fn run_as_another_user_it_ignores_the_environment() {
    if !kit::is_root("run_as_another_user_it_ignores_the_environment") {
        return;
    }
    let home = Home::new("qq-setuid");
    let copy = home.join("qq");
    kit::copy_executable(program("qmail-queue"), &copy);
    std::os::unix::fs::chown(&copy, Some(65_533), None).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4711)).unwrap();
    let before = files(&home);
    let output = Run::new(&copy)
        .env("QMAILHOME", home.path().to_str().unwrap())
        .env("LD_PRELOAD", "/nowhere.so")
        .env("PATH", "/nowhere")
        .stdin("m")
        .input(1, GOOD)
        .ids(65_534, 65_534)
        .output();
    // The home compiled in; whether it exists on this machine or not, ours is not touched.
    assert_ne!(output.code(), 0);
    assert!(output.err.is_empty());
    assert_eq!(files(&home), before);
}
