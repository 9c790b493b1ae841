//! qmail-send with played spawners.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use kit::Home;
use sys::process::End;
use sys::signal::Signal;

use crate::office::*;

/// The log without the numbers of messages, sizes and processes.
fn tidy(log: &str, id: u64) -> String {
    log.replace(&format!("msg {id}"), "msg ID")
        .replace(&format!("/{id}"), "/ID")
}

#[test]
fn delivers_here_and_there_and_says_so() {
    let home = Home::new("send");
    home.control("virtualdomains", "v.test:alice\n");
    let mut office = Office::open(&home, |_| report("Kdid 1+0+0\n"));
    office.await_log("status: local 0/10 remote 0/20\n");
    let id = put(
        &home,
        "s@x.test",
        &["joe@host.test", "far@y.test", "z@v.test"],
        "Subject: x\n\nbody\n",
    );
    office.await_log("end msg");
    await_empty(&home, &office);
    let orders = office.orders();
    assert_eq!(orders.len(), 3);
    for (channel, recipient) in [
        ("local", "joe@host.test"),
        ("local", "alice-z@v.test"),
        ("remote", "far@y.test"),
    ] {
        let order = orders.iter().find(|o| o.recipient == recipient).unwrap();
        assert_eq!(order.channel, channel);
        assert_eq!(order.message, format!("{}/{id}", id % 23));
        assert_eq!(order.sender, "s@x.test");
    }
    let log = tidy(&office.log(), id);
    assert!(
        log.starts_with(
            "status: local 0/10 remote 0/20\nnew msg ID\n\
         info msg ID: bytes 17 from <s@x.test> qp 9 uid 7\n\
         starting delivery 1: msg ID to local joe@host.test\n\
         status: local 1/10 remote 0/20\n"
        ),
        "{log}"
    );
    assert!(log.contains(": success: did_1+0+0/\n"), "{log}");
    assert!(
        log.ends_with("status: local 0/10 remote 0/20\nend msg ID\n"),
        "{log}"
    );
    assert_eq!(office.stop(), End::Exit(0));
    assert!(office.log().ends_with("status: exiting\n"));
}

#[test]
fn a_message_without_recipients_just_ends() {
    let home = Home::new("send-none");
    let office = Office::open(&home, |_| report("K"));
    office.serve(&home, "s@x", &[], "m");
    await_empty(&home, &office);
    assert!(office.orders().is_empty());
}

#[test]
fn a_deferral_is_tried_again_when_the_schedule_says() {
    let home = Home::new("send-defer");
    let mut office = Office::open(&home, |_| report("Zlater\n"));
    let begin = Instant::now();
    let id = put(&home, "s@x", &["a@host.test", "b@far.test"], "m");
    office.await_count("deferral: later/\n", 2);
    assert_eq!(office.stop(), End::Exit(0));
    // What it may have been when it was tried, in whole seconds.
    let ages = 0..=begin.elapsed().as_secs() + 1;
    let stat = |dir: &str| {
        let path = home.join(format!("queue/{dir}/{}/{id}", id % 23));
        fs::metadata(path).unwrap()
    };
    let birth = stat("info").mtime();
    for (dir, skip) in [("local", 10), ("remote", 20)] {
        let after = stat(dir).mtime() - birth;
        // Whole seconds of two clocks: one more or less, by when each was written.
        let is_due = |age: u64| {
            let due = i64::try_from((age.isqrt() + skip).pow(2)).unwrap();
            (after - due).abs() <= 1
        };
        assert!(ages.clone().any(is_due), "{dir}: {after}");
    }
    assert_eq!(stat("info").mode() & 0o7777, 0o600);
    assert!(home.queue("todo").is_empty() && home.queue("intd").is_empty());

    // The next qmail-send keeps to it, and ALRM breaks it.
    let mut office = Office::open(&home, |_| report("Kok\n"));
    office.await_log("status: local 0/10");
    office.serve(&home, "s@x", &["c@host.test"], "m");
    assert_eq!(office.recipients(), ["c@host.test"]);
    office.signal(Signal::SIGALRM);
    office.await_log(&format!("end msg {id}"));
    await_empty(&home, &office);
    assert_eq!(office.recipients().len(), 3);
    assert_eq!(office.stop(), End::Exit(0));
}

#[test]
fn only_what_is_left_is_tried_again() {
    let home = Home::new("send-left");
    let recipients: Vec<String> = (0..30).map(|n| format!("u{n}@host.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let mut office = Office::open(&home, |o| {
        report(if o.recipient.contains('7') {
            "Zno\n"
        } else {
            "Kok\n"
        })
    });
    put(&home, "s@x", &recipients, "m");
    office.await_count("delivery", 60);
    assert_eq!(office.stop(), End::Exit(0));
    let mut office = Office::open(&home, |_| report("K"));
    office.await_log("status:");
    office.signal(Signal::SIGALRM);
    office.await_log("end msg");
    let mut again = office.recipients();
    again.sort();
    assert_eq!(again, ["u17@host.test", "u27@host.test", "u7@host.test"]);
    office.stop();
}

const SINGLE: &str = "Date: DATE\n\
From: MAILER-DAEMON@host.test\n\
To: s@x.test\n\
Subject: failure notice\n\
\n\
Hi. This is the qmail-send program at host.test.\n\
I'm afraid I wasn't able to deliver your message to the following addresses.\n\
This is a permanent error; I've given up. Sorry it didn't work out.\n\
\n\
<bad@host.test>:\n\
no such\n\
/user here\n\
\n\
--- Below this line is a copy of the message.\n\
\n\
Return-Path: <s@x.test>\n\
Subject: x\n\
\n\
body\n";

const DOUBLE: &str = "Date: DATE\n\
From: MAILER-DAEMON@host.test\n\
To: postmaster@host.test\n\
Subject: failure notice\n\
\n\
Hi. This is the qmail-send program at host.test.\n\
I tried to deliver a bounce message to this address, but the bounce bounced!\n\
\n\
<bad@host.test>:\n\
no such\n\
/user here\n\
\n\
--- Below this line is the original bounce.\n\
\n\
Return-Path: <>\n\
Subject: x\n\
\n\
body\n";

#[test]
fn failures_bounce_in_the_words_of_the_original() {
    let home = Home::new("send-bounce");
    catch_bounces(&home);
    let office = Office::open(&home, |_| report("Dno such\n\nuser here\n"));
    let body = "Subject: x\n\nbody\n";
    let mut sent = 0;
    for (sender, text, envelope) in [
        ("s@x.test", SINGLE.to_owned(), "F|Ts@x.test||"),
        ("", DOUBLE.to_owned(), "F#@[]|Tpostmaster@host.test||"),
        (
            "list-@x.test-@[]",
            SINGLE.replace("s@x.test", "list-@x.test"),
            "F|Tlist-@x.test||",
        ),
        (
            "odd one@x.test",
            SINGLE.replace("s@x.test", "\"odd one\"@x.test"),
            "F|Todd one@x.test||",
        ),
    ] {
        let id = office.serve(&home, sender, &["bad@host.test"], body);
        sent += 1;
        let all = bounces(&home);
        assert_eq!(all.len(), sent);
        assert_eq!(all[sent - 1], (text, envelope.to_owned()));
        assert!(office.log().contains(&format!("bounce msg {id} qp ")));
        await_empty(&home, &office);
    }
    let id = put(&home, "#@[]", &["bad@host.test"], body);
    office.await_log(&format!(
        "triple bounce: discarding bounce/{id}\nend msg {id}\n"
    ));
    await_empty(&home, &office);
    assert_eq!(bounces(&home).len(), sent);
}

#[test]
fn a_bounce_waits_for_the_last_recipient_and_names_the_real_address() {
    let home = Home::new("send-bounce-two");
    catch_bounces(&home);
    home.control("virtualdomains", "v.test:alice\n");
    home.control("bouncefrom", "Bounce Robot\n");
    home.control("bouncehost", "b.test\n");
    let office = Office::open(&home, |o| match o.recipient.as_str() {
        "alice-bad@v.test" => report("Dgone\n"),
        "late@far.test" => Answer::Held(b"Dalso gone".to_vec()),
        _ => report("Kok\n"),
    });
    let id = put(
        &home,
        "s@x.test",
        &["bad@v.test", "good@host.test", "late@far.test"],
        "m\n",
    );
    office.await_log("failure: gone/");
    // Another recipient takes long, so that it must be on disk soon.
    kit::eventually("the bounce is on disk", || {
        home.queue("bounce") == [id.to_string()]
    });
    assert!(bounces(&home).is_empty());
    office.release();
    office.await_log(&format!("end msg {id}"));
    let (text, _) = &bounces(&home)[0];
    assert!(text.contains("From: \"Bounce Robot\"@b.test\n"), "{text}");
    assert!(
        text.contains("\n<bad@v.test>:\ngone\n\n<late@far.test>:\nalso gone\n\n--- Below"),
        "{text}"
    );
    await_empty(&home, &office);
}

#[test]
fn a_bounce_that_cannot_be_sent_is_kept() {
    let home = Home::new("send-bounce-fail");
    home.fake("qmail-queue", "exit 53");
    let mut office = Office::open(&home, |_| report("Dgone\n"));
    let id = put(&home, "s@x.test", &["bad@host.test"], "m\n");
    office.await_log("warning: trouble injecting bounce message, will try later\n");
    kit::eventually("the bounce is on disk", || {
        home.queue("info").len() == 1
            && home.queue("bounce") == [id.to_string()]
            && home.queue("todo").is_empty()
    });
    office.stop();
    // The next one sends it.
    fs::remove_file(home.join("bin/qmail-queue")).unwrap();
    catch_bounces(&home);
    let office = Office::open(&home, |_| report("Dgone\n"));
    office.await_log(&format!("end msg {id}"));
    assert_eq!(bounces(&home).len(), 1);
    assert!(office.orders().is_empty());
    await_empty(&home, &office);
}

/// The processes that `pid` has made and not buried.
fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let all = all.unwrap_or_default();
    all.split_whitespace().map(|n| n.parse().unwrap()).collect()
}

fn of_all(parents: &[u32]) -> Vec<u32> {
    parents.iter().flat_map(|&pid| children(pid)).collect()
}

/// Kills processes, and sees that they hold nothing any more.
fn kill(pids: &[u32]) {
    for &pid in pids {
        // It may have left by itself when the one before it died.
        let _ = sys::signal::send(pid, Signal::SIGKILL);
    }
    for pid in pids {
        kit::eventually("it is dead", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().unwrap_or_default();
            state.is_empty() || state.starts_with('Z')
        });
    }
}

#[test]
fn bounces_are_sent_by_another_when_what_sends_them_dies() {
    let home = Home::new("send-post-dies");
    catch_bounces(&home);
    let office = Office::open(&home, |_| report("Dgone\n"));
    let mut dead = Vec::new();
    for count in 1..=3 {
        office.serve(&home, "s@x.test", &["bad@host.test"], "m\n");
        assert_eq!(bounces(&home).len(), count);
        let post = of_all(&children(office.pid));
        assert_eq!(post.len(), 1);
        assert!(!dead.contains(&post));
        kill(&post);
        dead.push(post);
    }
    assert!(!office.log().contains("dying"), "{}", office.log());
    await_empty(&home, &office);
}

#[test]
fn a_bounce_whose_sender_dies_is_sent_later() {
    let home = Home::new("send-post-busy");
    home.fake(
        "qmail-queue",
        "cat >/dev/null; cat <&1 >/dev/null; touch begun; until [ -e go ]; do sleep 0.1; done",
    );
    let mut office = Office::open(&home, |_| report("Dgone\n"));
    let id = put(&home, "s@x.test", &["bad@host.test"], "m\n");
    kit::eventually("the bounce is on its way", || home.join("begun").exists());
    let post = of_all(&children(office.pid));
    kill(&[post.clone(), of_all(&post)].concat());
    office.await_log("warning: trouble injecting bounce message, will try later\n");
    home.write("go", "");
    kit::eventually("the bounce waits on disk", || {
        home.queue("bounce") == [id.to_string()] && home.queue("todo").is_empty()
    });
    // Others need not wait.
    office.serve(&home, "s@x.test", &["bad@host.test"], "m\n");
    assert!(office.is_running());
}

#[test]
fn without_anybody_to_send_bounces_it_ends_and_the_next_one_sends_them() {
    let home = Home::new("send-post-gone");
    catch_bounces(&home);
    let mut office = Office::open(&home, |_| report("Dgone\n"));
    office.await_log("status:");
    let keeper = kit::until(kit::LIMIT, || {
        let keeper = children(office.pid);
        (!of_all(&keeper).is_empty()).then_some(keeper)
    });
    let keeper = keeper.unwrap();
    kill(&[keeper.clone(), of_all(&keeper)].concat());
    office.await_log("alert: oh no! lost what sends bounces! dying...\n");
    assert_eq!(office.wait(), End::Exit(0));
    let office = Office::open(&home, |_| report("Dgone\n"));
    office.serve(&home, "s@x.test", &["bad@host.test"], "m\n");
    assert_eq!(bounces(&home).len(), 1);
    await_empty(&home, &office);
}

#[test]
fn signals_for_all_of_its_name_lose_no_bounce() {
    let home = Home::new("send-post");
    home.fake(
        "qmail-queue",
        "cat >/dev/null; cat <&1 >/dev/null; touch begun; until [ -e go ]; do sleep 0.1; done\n\
         grep ^SigIgn /proc/self/status >>ignored",
    );
    let office = Office::open(&home, |_| report("Dgone\n"));
    let id = put(&home, "s@x.test", &["bad@host.test"], "m\n");
    kit::eventually("the bounce is on its way", || home.join("begun").exists());
    let keeper = children(office.pid);
    let post = of_all(&keeper);
    let carriers = of_all(&post);
    assert!(!carriers.is_empty());
    for pid in [keeper, post, carriers].concat() {
        for signal in [Signal::SIGALRM, Signal::SIGHUP, Signal::SIGTERM] {
            sys::signal::send(pid, signal).unwrap();
        }
    }
    home.write("go", "");
    office.await_log(&format!("end msg {id}"));
    office.serve(&home, "s@x.test", &["bad@host.test"], "m\n");
    office.await_count("bounce msg", 2);
    assert!(!office.log().contains("will try later"));
    // What takes the bounce has these as ever, and SIGCHLD.
    let of = |signal: Signal| 1u64 << (signal as u32 - 1);
    let ours = of(Signal::SIGALRM) | of(Signal::SIGHUP) | of(Signal::SIGTERM) | of(Signal::SIGCHLD);
    let text = fs::read_to_string(home.join("ignored")).unwrap();
    let masks: Vec<u64> = text
        .lines()
        .map(|line| u64::from_str_radix(line.trim_start_matches("SigIgn:\t"), 16).unwrap())
        .collect();
    assert_eq!(masks.len(), 2);
    assert!(masks.iter().all(|mask| mask & ours == 0), "{text}");
    await_empty(&home, &office);
}

#[test]
fn an_empty_doublebounceto_discards_double_bounces() {
    let home = Home::new("send-double");
    catch_bounces(&home);
    home.control("doublebounceto", "\n");
    let office = Office::open(&home, |_| report("Dgone\n"));
    let id = put(&home, "", &["bad@host.test"], "m\n");
    office.await_log(&format!(
        "double bounce: discarding bounce/{id}\nend msg {id}\n"
    ));
    assert!(bounces(&home).is_empty());
    await_empty(&home, &office);
}

#[test]
fn an_old_message_is_given_up_with_a_sentence() {
    let home = Home::new("send-old");
    catch_bounces(&home);
    home.control("queuelifetime", "1000\n");
    let mut office = Office::open(&home, |_| report("Zlater\n"));
    let id = put(&home, "s@x.test", &["a@host.test"], "m\n");
    office.await_log("deferral");
    office.stop();
    let queue = sys::Dir::open(home.join("queue")).unwrap();
    let path = |d: &str| format!("{d}/{}/{id}", id % 23).into_bytes();
    let now = base::tai::unix_now();
    queue
        .set_times(&path("info"), now - 2000, now - 2000)
        .unwrap();
    queue.set_times(&path("local"), now - 10, now - 10).unwrap();
    let office = Office::open(&home, |_| report("Zlater\n"));
    office.await_log("failure: later/I'm_not_going_to_try_again;_this_message_has_been_in_the_queue_too_long./\n");
    office.await_log(&format!("end msg {id}"));
    assert!(bounces(&home)[0].0.contains(
        "<a@host.test>:\nlater\nI'm not going to try again; this message has been in the queue too long.\n\n---"
    ));
}

#[test]
fn each_recipient_of_a_list_has_its_own_sender() {
    let home = Home::new("send-verp");
    let office = Office::open(&home, |_| report("K"));
    put(
        &home,
        "list-@x.test-@[]",
        &["bob@host.test", "al@far.test"],
        "m",
    );
    office.await_log("end msg");
    let mut senders: Vec<_> = office.orders().into_iter().map(|o| o.sender).collect();
    senders.sort();
    assert_eq!(
        senders,
        ["list-al=far.test@x.test", "list-bob=host.test@x.test"]
    );
    assert!(office.log().contains("from <list-@x.test-@[]>"));
}

#[test]
fn no_more_run_than_the_controls_and_the_spawner_allow() {
    let home = Home::new("send-concurrency");
    home.control("concurrencylocal", "3\n");
    home.control("concurrencyremote", "500\n");
    let setup = Setup {
        greeting: vec![5],
        ..Setup::default()
    };
    let office = Office::open_with(home.path(), setup, |_| Answer::Held(b"K".to_vec()));
    office.await_log("status: local 0/3 remote 0/5\n");
    let here: Vec<String> = (0..9).map(|n| format!("u{n}@host.test")).collect();
    let far: Vec<String> = (0..9).map(|n| format!("u{n}@far.test")).collect();
    for r in here.iter().chain(&far) {
        put(&home, "s@x", &[r], "m");
    }
    office.await_log("status: local 3/3 remote 5/5\n");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(office.orders().len(), 8);
    office.release();
    office.await_count("end msg", 18);
    await_empty(&home, &office);
}

#[test]
fn zero_puts_a_channel_on_hold() {
    let home = Home::new("send-hold");
    home.control("concurrencylocal", "0\n");
    let mut office = Office::open(&home, |_| report("K"));
    let kept = put(&home, "s@x", &["a@host.test"], "m");
    office.serve(&home, "s@x", &["a@far.test"], "m");
    assert_eq!(office.recipients(), ["a@far.test"]);
    assert_eq!(office.stop(), End::Exit(0));
    assert_eq!(home.queue("local"), [format!("{}/{kept}", kept % 23)]);
}

#[test]
fn term_waits_for_what_runs_and_starts_nothing() {
    let home = Home::new("send-term");
    home.control("concurrencylocal", "1\n");
    let mut office = Office::open(&home, |_| Answer::Held(b"Kok".to_vec()));
    put(&home, "s@x", &["a@host.test", "b@host.test"], "m");
    office.await_log("local 1/1");
    office.signal(Signal::SIGTERM);
    let late = put(&home, "s@x", &["c@host.test"], "m");
    std::thread::sleep(Duration::from_millis(100));
    assert!(office.is_running());
    office.release();
    assert_eq!(office.wait(), End::Exit(0));
    let log = office.log();
    assert!(
        log.ends_with("status: local 0/1 remote 0/20 exitasap\nstatus: exiting\n"),
        "{log}"
    );
    assert_eq!(office.recipients(), ["a@host.test"]);
    assert_eq!(home.queue("todo"), [late.to_string()]);
    // The one that was done with is not served again.
    let office = Office::open(&home, |_| report("K"));
    office.await_count("end msg", 2);
    let mut rest = office.recipients();
    rest.sort();
    assert_eq!(rest, ["b@host.test", "c@host.test"]);
}

#[test]
fn hup_reads_locals_and_virtualdomains_again() {
    let home = Home::new("send-hup");
    let office = Office::open(&home, |_| report("K"));
    put(&home, "s@x", &["a@new.test"], "m");
    office.await_log("to remote a@new.test");
    home.control("locals", "host.test\nnew.test\n");
    home.control("virtualdomains", "v.test:joe\n");
    office.signal(Signal::SIGHUP);
    eventually_put(&home, &office, "a@new.test", "to local a@new.test");
    put(&home, "s@x", &["a@v.test"], "m");
    office.await_log("to local joe-a@v.test");
    fs::remove_file(home.join("control/locals")).unwrap();
    fs::create_dir(home.join("control/locals")).unwrap();
    office.signal(Signal::SIGHUP);
    office.await_log("alert: unable to reread control/locals\n");
    put(&home, "s@x", &["b@new.test"], "m");
    office.await_log("to local b@new.test");
}

/// A signal may come after the next message: puts messages until the log shows what it should.
fn eventually_put(home: &Home, office: &Office, recipient: &str, text: &str) {
    kit::eventually(text, || {
        put(home, "s@x", &[recipient], "m");
        std::thread::sleep(Duration::from_millis(20));
        office.log().contains(text)
    });
}

#[test]
fn spawners_that_talk_nonsense_are_survived() {
    let home = Home::new("send-nonsense");
    let mut office = Office::open(&home, |o| match o.recipient.as_str() {
        "mangled@host.test" => report("?what"),
        "empty@host.test" => report(""),
        "range@host.test" => Answer::Raw(
            [
                &[o.slot],
                b"Kok\0".as_slice(),
                &[o.slot],
                b"Kagain\0\xfeKx\0",
            ]
            .concat(),
        ),
        "long@host.test" => {
            Answer::Raw([&[o.slot], b"K".as_slice(), &[b'x'; 200_000], b"\0"].concat())
        }
        _ => report("Kok"),
    });
    put(&home, "s@x", &["mangled@host.test", "empty@host.test"], "m");
    office.await_count(": report mangled, will defer\n", 2);
    office.serve(&home, "s@x", &["range@host.test"], "m");
    office.await_count("warning: internal error: delivery report out of range\n", 2);
    office.serve(&home, "s@x", &["long@host.test"], "m");
    let longest = office.log().lines().map(str::len).max().unwrap();
    assert!(longest < 10_100, "{longest}");
    office.serve(&home, "s@x", &["good@host.test"], "m");
    assert_eq!(office.stop(), End::Exit(0));
    assert_eq!(home.queue("local").len(), 1);
}

#[test]
fn a_lost_spawner_ends_it_and_nothing_is_lost() {
    let home = Home::new("send-died");
    let mut office = Office::open(&home, |o| {
        if o.recipient == "kill@host.test" {
            Answer::Die
        } else {
            report("K")
        }
    });
    let id = put(&home, "s@x", &["kill@host.test"], "m");
    assert_eq!(office.wait(), End::Exit(0));
    let log = office.log();
    assert!(
        log.contains("alert: oh no! lost spawn connection! dying...\n"),
        "{log}"
    );
    assert!(log.ends_with("status: exiting\n"), "{log}");
    let office = Office::open(&home, |_| report("K"));
    office.await_log(&format!("end msg {id}"));
    await_empty(&home, &office);
}

#[test]
fn a_lost_cleaner_ends_it_and_nothing_is_lost_or_delivered_each_time() {
    let home = Home::new("send-cleaner");
    let id = put(&home, "s@x", &["a@host.test"], "m");
    let setup = Setup {
        has_cleaner: false,
        ..Setup::default()
    };
    let mut office = Office::open_with(home.path(), setup, |_| report("K"));
    assert_eq!(office.wait(), End::Exit(0));
    assert!(office.orders().is_empty());
    let lost = "alert: oh no! lost qmail-clean connection! dying...\n";
    assert_eq!(office.log().matches(lost).count(), 1);
    assert_eq!(home.queue("todo"), [id.to_string()]);
    let office = Office::open(&home, |_| report("K"));
    office.await_log(&format!("end msg {id}"));
    await_empty(&home, &office);
}

#[test]
fn a_second_one_is_refused() {
    let home = Home::new("send-second");
    let first = Office::open(&home, |_| report("K"));
    first.await_log("status:");
    let mut second = Office::open(&home, |_| report("K"));
    assert_eq!(second.wait(), End::Exit(111));
    assert_eq!(
        second.log(),
        "alert: cannot start: qmail-send is already running\n"
    );
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let starts = |change: &dyn Fn(&Home), greeting: &[u8]| {
        let home = Home::new("send-start");
        change(&home);
        let setup = Setup {
            greeting: greeting.to_vec(),
            has_cleaner: false,
            ..Setup::default()
        };
        let mut office = Office::open_with(home.path(), setup, |_| report("K"));
        assert_eq!(office.wait(), End::Exit(111));
        office.log()
    };
    let remove = |name: &'static str| {
        move |home: &Home| {
            let path = home.join(name);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    };
    for (log, change) in [
        ("unable to switch to queue directory", remove("queue")),
        ("unable to open mutex", remove("queue/lock/sendmutex")),
    ] {
        assert_eq!(
            starts(&change, &[9]),
            format!("alert: cannot start: {log}\n")
        );
    }
    let no_locals = |home: &Home| {
        remove("control/locals")(home);
        remove("control/me")(home);
    };
    assert_eq!(
        starts(&no_locals, &[9]),
        "alert: cannot start: unable to read controls\n"
    );
    assert_eq!(
        starts(&|_| (), &[]),
        "alert: cannot start: hath the daemon spawn no fire?\n"
    );
    let bare = Home::new("send-bare").run("qmail-send").output();
    assert_eq!((bare.code(), bare.out.len(), bare.err.len()), (111, 0, 0));
}

#[test]
fn deliveries_go_on_while_new_mail_floods_in() {
    let home = Home::new("send-flood");
    for n in 0..300 {
        put_raw(
            &home,
            format!("u0\0p0\0Fs@x\0Tu{n}@host.test\0").as_bytes(),
            "m",
        );
    }
    let mut office = Office::open(&home, |_| report("K"));
    office.await_count("end msg", 300);
    let log = office.log();
    // When it is told that they are over depends on who else uses the machine.
    let first = log.find("starting delivery").unwrap();
    let new = log[..first].matches("new msg").count();
    assert!(
        new < 100,
        "{new} messages were taken in before the first delivery started"
    );
    await_empty(&home, &office);
    assert_eq!(office.stop(), End::Exit(0));
}

#[test]
fn what_an_earlier_one_left_is_found_while_new_mail_is_served() {
    let home = Home::new("send-scan");
    for n in 1..=1000u64 {
        let path = |d: &str| home.join(format!("queue/{d}/{}/{n}", n % 23));
        fs::write(path("mess"), "m").unwrap();
        fs::write(path("info"), "Fs@x\0").unwrap();
        fs::write(path("local"), format!("Tu{n}@host.test\0Dx@host.test\0")).unwrap();
    }
    let new = put(&home, "s@x", &["new@host.test"], "m");
    let office = Office::open(&home, |_| report("K"));
    office.await_count("end msg", 1001);
    await_empty(&home, &office);
    let mut all = office.recipients();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), office.orders().len()), (1001, 1001));
    let log = office.log();
    let place = log.find(&format!("end msg {new}\n")).unwrap();
    assert!(
        log[..place].matches("end msg").count() < 500,
        "new mail had to wait"
    );
}

#[test]
fn half_made_messages_of_a_crash_are_made_again() {
    let home = Home::new("send-half");
    // Crashed while info and local were written: the envelope is still in todo.
    let id = put_raw(&home, b"u1\0p2\0Fs@x\0Ta@host.test\0Tb@far.test\0", "m");
    for (dir, text) in [
        ("info", "Fwro"),
        ("local", "Twrong@host.test\0T"),
        ("remote", ""),
    ] {
        fs::write(home.join(format!("queue/{dir}/{}/{id}", id % 23)), text).unwrap();
    }
    // Crashed after the last recipient: only info is left, or info and a bounce.
    catch_bounces(&home);
    for n in [5u64, 6] {
        fs::write(home.join(format!("queue/mess/{n}/{n}")), "m\n").unwrap();
        fs::write(home.join(format!("queue/info/{n}/{n}")), "Fs@x\0").unwrap();
    }
    fs::write(home.join("queue/bounce/6"), "<a@b>:\nno\n\n").unwrap();
    // Crashed while the message was written: litter, that seems young or old. As the clock may have been set meanwhile, none
    // of it is swept in the first 36 hours.
    let mess = sys::Dir::open(home.join("queue/mess")).unwrap();
    let now = base::tai::unix_now();
    for n in [7u64, 8] {
        fs::write(home.join(format!("queue/mess/{n}/{n}")), "m\n").unwrap();
        let age = if n == 7 { 129_700 } else { 100 };
        mess.set_times(format!("{n}/{n}").as_bytes(), now - age, now)
            .unwrap();
    }
    let office = Office::open(&home, |_| report("K"));
    office.await_log(&format!("end msg {id}"));
    office.await_log("end msg 5");
    office.await_log("end msg 6");
    kit::eventually("only litter", || litter(&home) == ["mess/7/7", "mess/8/8"]);
    let mut all = office.recipients();
    all.sort();
    assert_eq!(all, ["a@host.test", "b@far.test"]);
    assert_eq!(bounces(&home).len(), 1);
}

#[test]
fn a_flooded_trigger_does_no_harm() {
    let home = Home::new("send-trigger");
    let office = Office::open(&home, |_| report("K"));
    office.await_log("status:");
    let lock = sys::Dir::open(home.join("queue/lock")).unwrap();
    // Somebody keeps it open, full, and never closes it.
    let fifo = lock.open_write(b"trigger").unwrap();
    while sys::fd::write(&fifo, &[0; 4096]).is_ok() {}
    office.serve(&home, "s@x", &["a@host.test"], "m");
    office.serve(&home, "s@x", &["b@host.test"], "m");
    drop(fifo);
    office.serve(&home, "s@x", &["c@host.test"], "m");
}

#[test]
fn a_split_todo_is_served() {
    let home = Home::new("send-bigtodo");
    for n in 0..kit::SPLIT {
        for dir in ["todo", "intd"] {
            fs::create_dir(home.join(format!("queue/{dir}/{n}"))).unwrap();
        }
    }
    let office = Office::open(&home, |_| report("K"));
    office.await_log("status:");
    let id = put_raw(&home, b"Fs@x\0Ta@host.test\0", "m");
    for dir in ["todo", "intd"] {
        let top = home.join("queue").join(dir);
        fs::rename(
            top.join(id.to_string()),
            top.join(format!("{}/{id}", id % 23)),
        )
        .unwrap();
    }
    pull(&home);
    office.await_log(&format!("end msg {id}"));
    await_empty(&home, &office);
}
