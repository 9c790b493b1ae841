//! Full disks, killed deliveries, locks, files that are not what they seem.

use std::fs::{self, File};
use std::time::Duration;

use kit::Run;
use sys::process::End;
use sys::signal::Signal;

use crate::recipient::Recipient;

#[test]
fn a_killed_delivery_leaves_nothing_that_a_reader_sees() {
    let me = Recipient::new("local-kill");
    me.maildir();
    me.qmail("", "./Maildir/\n");
    let body = format!("Subject: x\n\n{}", "0123456789abcdef\n".repeat(400_000));
    me.office.write("message", &body);
    let whole = body.len() + "Return-Path: <s@x.test>\nDelivered-To: me@h.test\n".len();
    let (mut killed, mut done) = (0, 0);
    for n in 0u64..12 {
        let pid = me.started(None);
        let pause = Duration::from_millis(n * n / 2);
        let end = kit::until(pause, || sys::process::ended_pid(pid).unwrap());
        let end = end.unwrap_or_else(|| {
            sys::signal::send(pid, Signal::SIGKILL).unwrap();
            sys::process::wait_for(pid).unwrap()
        });
        match end {
            End::Exit(0) => done += 1,
            End::Signal(_) => killed += 1,
            End::Exit(code) => panic!("exit {code}"),
        }
        for file in me.names("Maildir/new") {
            assert_eq!(
                usize::try_from(fs::metadata(&file).unwrap().len()).unwrap(),
                whole
            );
            fs::remove_file(file).unwrap();
        }
        for file in me.names("Maildir/tmp") {
            fs::remove_file(file).unwrap();
        }
    }
    assert!(killed > 0, "{done} were done before the kill");
}

#[test]
fn success_comes_after_the_name_is_durable() {
    let test = "success_comes_after_the_name_is_durable";
    let me = Recipient::new("local-order");
    me.maildir();
    me.qmail("", "./Maildir/\n./new-box\n");
    let trace = me.office.join("trace");
    let run = Run::new("/bin/sh")
        .args([
            "-c",
            "exec strace -o \"$TRACE\" -e trace=fsync,linkat,renameat2,unlinkat,write \"$@\" <\"$MESSAGE\"",
            "sh",
        ])
        .arg(kit::program("qmail-local").as_os_str().as_encoded_bytes())
        .args(me.words(None))
        .env("TRACE", trace.to_str().unwrap())
        .env("MESSAGE", me.office.join("message").to_str().unwrap());
    let output = run.output();
    if output.code() != 0 {
        eprintln!("SKIPPED (needs strace): {test}");
        return;
    }
    let text = fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('(').map(|(name, _)| name))
        .collect();
    assert_eq!(
        calls,
        // Maildir: content, name, durable name. Mbox: content, durable name. Then the report.
        [
            "write",
            "fsync",
            "renameat2",
            "fsync",
            "write",
            "fsync",
            "fsync",
            "write"
        ]
    );
}

#[test]
fn a_full_disk_defers_and_leaves_nothing() {
    let test = "a_full_disk_defers_and_leaves_nothing";
    if !kit::is_root(test) {
        return;
    }
    let me = Recipient::new("local-full");
    let mounted = Run::new("mount")
        .env("PATH", "/usr/bin:/bin:/sbin:/usr/sbin")
        .args(["-t", "tmpfs", "-o", "size=300k,mode=755", "none"])
        .arg(me.home.as_os_str().as_encoded_bytes())
        .output();
    if mounted.code() != 0 {
        eprintln!("SKIPPED (no tmpfs can be mounted here): {test}");
        return;
    }
    let _unmount = Unmount(&me);
    me.maildir();
    fs::write(me.home.join("box"), "before\n").unwrap();
    me.office.write("message", "x".repeat(2_000_000));

    me.qmail("", "./Maildir/\n");
    let output = me.delivered(None);
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "Temporary error on maildir delivery. (#4.3.0)\n"
    );
    assert!(me.names("Maildir/tmp").is_empty());
    assert!(me.names("Maildir/new").is_empty());

    me.qmail("", "./box\n");
    let output = me.delivered(None);
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "Unable to write ./box: out of disk space. (#4.3.0)\n"
    );
    assert_eq!(me.read("box"), "before\n");
}

#[test]
fn a_limit_on_file_sizes_leaves_no_half_message() {
    let me = Recipient::new("local-limit");
    me.maildir();
    fs::write(me.home.join("box"), "before\n").unwrap();
    me.office.write("message", "x".repeat(100_000));
    for line in ["./box", "./Maildir/"] {
        me.qmail("", &format!("{line}\n"));
        let output = Run::new("/bin/sh")
            .args(["-c", "ulimit -f 16; exec \"$@\" <\"$MESSAGE\"", "sh"])
            .arg(kit::program("qmail-local").as_os_str().as_encoded_bytes())
            .args(me.words(None))
            .env("MESSAGE", me.office.join("message").to_str().unwrap())
            .output();
        assert_eq!(output.code(), 111, "{line}: {}", output.err_text());
    }
    assert_eq!(me.read("box"), "before\n");
    assert!(me.names("Maildir/tmp").is_empty());
    assert!(me.names("Maildir/new").is_empty());
}

struct Unmount<'a>(&'a Recipient);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let home = self.0.home.as_os_str().as_encoded_bytes();
        let run = Run::new("umount").env("PATH", "/usr/bin:/bin:/sbin:/usr/sbin");
        assert_eq!(run.arg(home).output().code(), 0);
    }
}

#[test]
fn an_mbox_is_written_when_its_lock_is_given_back() {
    let me = Recipient::new("local-lock");
    fs::write(me.home.join("Mailbox"), "").unwrap();
    let holder = File::open(me.home.join("Mailbox")).unwrap();
    assert!(sys::lock::try_exclusive(&holder).unwrap());
    let pids: Vec<u32> = (0..3).map(|_| me.started(None)).collect();
    let early = kit::until(Duration::from_millis(200), || {
        pids.iter()
            .find_map(|&pid| sys::process::ended_pid(pid).unwrap())
    });
    assert_eq!(early, None);
    assert_eq!(me.read("Mailbox"), "");
    drop(holder);
    for pid in pids {
        let end = kit::until(kit::LIMIT, || sys::process::ended_pid(pid).unwrap());
        assert_eq!(end, Some(End::Exit(0)));
    }
    assert_eq!(
        me.read("Mailbox")
            .matches("\nSubject: x\n\nbody\n\n")
            .count(),
        3
    );
}

#[test]
fn odd_files_are_refused_in_time() {
    let me = Recipient::new("local-odd");
    let dir = sys::Dir::open(&me.home).unwrap();
    dir.make_fifo(b"fifo", 0o600).unwrap();
    fs::create_dir(me.home.join("dir")).unwrap();
    fs::create_dir(me.home.join("half")).unwrap();
    fs::create_dir(me.home.join("half/tmp")).unwrap();
    for (line, want) in [
        (
            "./fifo",
            "Unable to open ./fifo: device not configured. (#4.2.1)\n",
        ),
        ("./dir", "Unable to open ./dir: is a directory. (#4.2.1)\n"),
        (
            "./no/such",
            "Unable to open ./no/such: file does not exist. (#4.2.1)\n",
        ),
        (
            "/dev/null",
            "Unable to write /dev/null: invalid argument. (#4.3.0)\n",
        ),
        ("./none/", "Unable to chdir to maildir. (#4.2.1)\n"),
        ("./dir/", "Temporary error on maildir delivery. (#4.3.0)\n"),
        ("./half/", "Temporary error on maildir delivery. (#4.3.0)\n"),
    ] {
        me.qmail("", &format!("{line}\n"));
        let output = me.delivered(None);
        assert_eq!(
            (output.code(), output.err_text().as_str()),
            (111, want),
            "{line}"
        );
    }
    assert!(me.names("half/tmp").is_empty());
    let huge = File::create(me.home.join(".qmail")).unwrap();
    huge.set_len(1 << 32).unwrap();
    assert_eq!(
        me.shown(None),
        ("Out of memory. (#4.3.0)\n".to_owned(), 111)
    );
}

#[test]
fn a_message_must_be_a_file() {
    let me = Recipient::new("local-seek");
    let output = me
        .office
        .run("qmail-local")
        .args(me.words(None))
        .stdin("Subject: x\n\n")
        .output();
    assert_eq!(
        (output.code(), output.err_text().as_str()),
        (111, "Unable to rewind message. (#4.3.0)\n")
    );
    let closed = me
        .office
        .run("qmail-local")
        .args(me.words(None))
        .closed(0)
        .output();
    assert_eq!(closed.err_text(), "Unable to rewind message. (#4.3.0)\n");
}
