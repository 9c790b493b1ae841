//! Which way a message takes into the queue.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::client::Client;
use super::{KEEPER, Post};
use kit::Run;
use sys::process::End;

fn way(post: &Post, with: impl FnOnce(Run) -> Run) -> String {
    let output = with(post.role("submits")).output();
    let text = output.out_text();
    // The line that the role printed, whatever the test runner wrote around it.
    let line = text
        .lines()
        .find(|l| l.contains("Queued") || l.contains("Temporary") || l.contains("open:"));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

fn ends(text: &str, end: &str) {
    assert!(text.ends_with(end), "{text} does not end with {end}");
}

#[test]
fn without_a_service_the_program_is_run() {
    let mut post = Post::closed("qd-ways");
    ends(&way(&post, |r| r), "Queued program");
    ends(&way(&post, |r| r.env("SIZE", "200000")), "Queued program");
    post.start(&[]);
    ends(&way(&post, |r| r), "Queued service");
    ends(&way(&post, |r| r.env("SIZE", "200000")), "Queued service");
    ends(
        &way(&post, |r| r.env("QMAILQUEUE", "bin/qmail-queue")),
        "Queued program",
    );
    // Killed, it leaves a socket that refuses.
    post.service().signal(sys::signal::Signal::SIGKILL);
    post.service().wait(kit::LIMIT);
    assert!(post.home.join("run/queue/socket").exists());
    ends(&way(&post, |r| r), "Queued program");
    ends(&way(&post, |r| r.env("SIZE", "200000")), "Queued program");
    post.start(&[]);
    ends(&way(&post, |r| r), "Queued service");
    assert_eq!(post.service().stop(), End::Exit(0));
    assert!(!post.home.join("run/queue/socket").exists());
    ends(&way(&post, |r| r), "Queued program");
    assert_eq!(post.files(), [0, 9, 9, 9]);
}

#[test]
fn a_busy_service_takes_nothing_and_the_program_is_run() {
    let post = Post::open("qd-busy", &["-c", "20"]);
    // When it has served one, those before it have gone.
    ends(&way(&post, |r| r), "Queued service");
    // Which of them are refused is chance: threads take them side by side.
    let crowd: Vec<_> = (0..25).map(|_| post.client()).collect();
    let refused = || crowd.iter().filter(|c| !c.is_silent()).count();
    kit::eventually("five are refused", || refused() == 5);
    let (crowd, refused): (Vec<_>, Vec<_>) = crowd.into_iter().partition(Client::is_silent);
    assert_eq!(refused.len(), 5);
    for mut client in refused {
        assert_eq!(client.answer().unwrap().code, queue::service::BUSY);
        assert!(client.answer().is_none());
    }
    ends(&way(&post, |r| r), "Queued program");
    // What has been sent in part cannot be taken back.
    let large = way(&post, |r| r.env("SIZE", "500000"));
    assert!(
        large.contains("Temporary") || large.contains("program"),
        "{large}"
    );
    drop(crowd);
    kit::eventually("room", || way(&post, |r| r).ends_with("Queued service"));
}

#[test]
fn there_is_one_service_for_a_queue() {
    let mut post = Post::open("qd-two", &[]);
    let second = post.run("qmail-queued").output();
    assert_eq!(second.code(), 111);
    assert!(
        second
            .err_text()
            .contains("another qmail-queued serves this queue")
    );
    assert_eq!(post.client().one(b"m", b"F\0\0").unwrap().code, 0);
    assert_eq!(post.service().stop(), End::Exit(0));
    for args in [&["-c"][..], &["-x"], &["-c", "x"], &["-n", "0"], &["more"]] {
        let output = post.run("qmail-queued").args(args).output();
        assert_eq!(output.code(), 100, "{args:?}");
        assert!(output.err_text().starts_with("qmail-queued: usage: "));
    }
    fs::remove_dir_all(post.home.join("run")).unwrap();
    let nowhere = post.run("qmail-queued").output();
    assert_eq!(nowhere.code(), 111);
    let text = nowhere.err_text();
    assert_eq!(
        text,
        "qmail-queued: fatal: unable to listen at run/queue/socket: file does not exist\n"
    );
}

#[test]
fn started_by_root_it_becomes_the_owner_of_the_queue() {
    if !kit::is_root("started_by_root_it_becomes_the_owner_of_the_queue") {
        return;
    }
    let post = Post::closed("qd-root");
    let Ok(owners) = control::owners::Owners::find() else {
        return;
    };
    super::give(post.home.path(), owners.qmailq);
    let mut service = Run::new(post.home.join("bin/qmail-queued"))
        .env("QMAILHOME", post.home.path().to_str().unwrap())
        .start(post.home.join("log"));
    let socket = post.home.join("run/queue/socket");
    kit::eventually("a socket", || socket.exists());
    let stat = fs::metadata(&socket).unwrap();
    assert_eq!(
        (stat.uid(), stat.permissions().mode() & 0o7777),
        (owners.qmailq, 0o666)
    );
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .map(|w| w.parse().unwrap())
            .collect::<Vec<u32>>()
    };
    assert_eq!(line("Uid:"), [owners.qmailq; 4]);
    assert_eq!(line("Gid:"), [owners.qmail; 4]);
    assert_eq!(line("Groups:"), [owners.qmail]);
    assert_ne!(owners.qmailq, KEEPER);
    assert_eq!(service.stop(), End::Exit(0));
}
