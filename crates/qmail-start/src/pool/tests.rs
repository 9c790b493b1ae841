//! What a worker may say and do, and what it gets for it.

use super::*;

use std::os::fd::AsRawFd;

use recipient::User;
use sys::spawn::Spawn;

const ME: Owner = Owner { uid: 7, gid: 7 };

fn job() -> Job {
    Job {
        message: File::open("/dev/null").unwrap(),
        sender: b"s".to_vec(),
        local: b"joe".to_vec(),
        host: b"h".to_vec(),
        user: User {
            name: b"joe".to_vec(),
            uid: ME.uid,
            gid: ME.gid,
            home: b"/".to_vec(),
            dash: Bytes::new(),
            ext: Bytes::new(),
        },
        once: None,
    }
}

/// A pool with one worker, played by the test and by a process that sleeps.
fn pool() -> (Pool, OwnedFd, u32) {
    let mut pool = Pool::new(false, b"#").unwrap();
    pool.per_user = 1;
    let (ours, theirs) = handover::pair().unwrap();
    let pid = Spawn::new("/bin/sleep").arg("600").spawn().unwrap();
    pool.workers.push(Worker {
        pid,
        owner: ME,
        socket: Some(ours),
        broken: false,
        in_hand: BTreeMap::new(),
        given: 0,
        heard: Instant::now(),
    });
    (pool, theirs, pid)
}

/// One turn, when the worker has said something.
fn turn(pool: &mut Pool) -> Vec<(Ticket, News)> {
    let mut waits = Vec::new();
    pool.waits(&mut waits);
    sys::poll::wait(&mut waits, Some(Duration::from_mins(1))).unwrap();
    pool.advance(&waits)
}

fn say(socket: &impl AsRawFd, ticket: u64, code: u8, text: &str) {
    let answer = Answer::Over {
        code,
        text: text.into(),
    };
    let letter = letter::answer(Ticket(ticket), &answer);
    handover::send(socket, &letter, None).unwrap();
}

fn reports(news: Vec<(Ticket, News)>) -> Vec<(u64, String)> {
    news.into_iter()
        .map(|(ticket, news)| match news {
            News::Report(text) => (ticket.0, String::from_utf8(text).unwrap()),
            News::Elsewhere(_) => (ticket.0, "elsewhere".to_owned()),
        })
        .collect()
}

/// The process ends by a signal, and the pool hears of it.
fn buried(pool: &mut Pool, pid: u32) -> Vec<(u64, String)> {
    assert_eq!(sys::process::wait_for(pid).unwrap(), End::Signal(9));
    pool.ended(pid, End::Signal(9));
    assert!(pool.workers.is_empty());
    reports(pool.advance(&[]))
}

#[test]
fn answers_are_reports() {
    let (mut pool, worker, pid) = pool();
    for n in 1..=3 {
        pool.take(Ticket(n), job());
    }
    pool.hand_out();
    let mut buffer = [0; 4096];
    for n in 1..=3 {
        let (count, message) = handover::receive(&worker, &mut buffer, Patience::Now).unwrap();
        assert!(message.is_some());
        let (ticket, _, words) = letter::read_order(&buffer[..count], b"#").unwrap();
        assert_eq!((ticket, words[0].as_slice()), (Ticket(n), &b"joe"[..]));
    }
    say(&worker, 2, 0, "did 1+0+0\n");
    say(&worker, 1, 100, "no\n");
    let letter = letter::answer(Ticket(3), &Answer::NotHere);
    handover::send(&worker, &letter, None).unwrap();
    assert_eq!(
        reports(turn(&mut pool)),
        [
            (2, "Kdid 1+0+0\n".to_owned()),
            (1, "Dno\n".to_owned()),
            (3, "elsewhere".to_owned())
        ]
    );
    assert_eq!(pool.workers.len(), 1, "it waits for more");
    pool.workers[0].kill();
    assert!(buried(&mut pool, pid).is_empty());
}

#[test]
fn a_worker_that_says_what_it_must_not_is_ended_and_believed_no_more() {
    let over = |ticket: u64| {
        let text = b"did 1+0+0\n".to_vec();
        letter::answer(Ticket(ticket), &Answer::Over { code: 0, text })
    };
    let long = vec![b'o'; ANSWER_LIMIT + 1];
    let (said, with_fd): (Vec<Bytes>, bool) = (vec![b"rubbish".to_vec(), long, over(9)], false);
    let mut cases: Vec<(Bytes, bool)> = said.into_iter().map(|s| (s, with_fd)).collect();
    cases.push((over(1), true));
    for (letter, with_fd) in cases {
        let (mut pool, worker, pid) = pool();
        pool.take(Ticket(1), job());
        pool.take(Ticket(2), job());
        pool.hand_out();
        let null = File::open("/dev/null").unwrap();
        handover::send(&worker, &letter, with_fd.then_some(null.as_fd())).unwrap();
        // Too late.
        say(&worker, 1, 0, "did 1+0+0\n");
        // Its jobs are in doubt until it is known to have ended.
        assert!(reports(turn(&mut pool)).is_empty());
        let crashed = "Zqmail-local crashed.\n".to_owned();
        assert_eq!(
            buried(&mut pool, pid),
            [(1, crashed.clone()), (2, crashed)],
            "{}",
            letter.escape_ascii()
        );
    }
}

#[test]
fn the_same_answer_does_not_count_twice() {
    let (mut pool, worker, pid) = pool();
    pool.take(Ticket(1), job());
    pool.take(Ticket(2), job());
    pool.hand_out();
    say(&worker, 1, 0, "one\n");
    say(&worker, 1, 0, "one\n");
    assert_eq!(reports(turn(&mut pool)), [(1, "Kone\n".to_owned())]);
    assert_eq!(
        buried(&mut pool, pid),
        [(2, "Zqmail-local crashed.\n".to_owned())]
    );
}

#[test]
fn what_was_answered_before_the_end_counts() {
    for (end, text) in [
        (End::Exit(0), "Zqmail-local crashed.\n"),
        (End::Exit(112), "ZInternal qmail-lspawn bug.\n"),
        (End::Signal(11), "Zqmail-local crashed.\n"),
    ] {
        let (mut pool, worker, pid) = pool();
        pool.take(Ticket(1), job());
        pool.take(Ticket(2), job());
        pool.hand_out();
        say(&worker, 1, 0, "");
        drop(worker);
        signal::send(pid, Signal::SIGKILL).unwrap();
        sys::process::wait_for(pid).unwrap();
        pool.ended(pid, end);
        assert_eq!(
            reports(pool.advance(&[])),
            [(1, "K".to_owned()), (2, text.to_owned())]
        );
    }
}

#[test]
fn one_that_cannot_be_talked_to_is_still_heard() {
    let (mut pool, worker, pid) = pool();
    pool.take(Ticket(1), job());
    pool.hand_out();
    say(&worker, 1, 0, "done\n");
    drop(worker);
    // Nobody takes this one: it waits for somebody else.
    let owner = pool.workers[0].owner;
    pool.queues
        .entry(owner)
        .or_default()
        .push_back((Ticket(2), job()));
    pool.workers[0].broken = true;
    let mut waits = Vec::new();
    pool.waits(&mut waits);
    sys::poll::wait(&mut waits, Some(Duration::from_mins(1))).unwrap();
    for worker in &mut pool.workers {
        listen(worker, &mut pool.news, &mut pool.over);
    }
    assert_eq!(
        reports(std::mem::take(&mut pool.news)),
        [(1, "Kdone\n".to_owned())]
    );
    pool.queues.clear();
    signal::send(pid, Signal::SIGKILL).unwrap();
    assert!(buried(&mut pool, pid).is_empty());
}

#[test]
fn a_worker_that_has_done_enough_or_rests_too_long_is_let_go() {
    let (mut pool, worker, pid) = pool();
    pool.workers[0].given = JOBS - 1;
    pool.take(Ticket(1), job());
    pool.hand_out();
    say(&worker, 1, 0, "");
    assert_eq!(reports(turn(&mut pool)), [(1, "K".to_owned())]);
    assert!(pool.workers[0].socket.is_none());
    assert!(!pool.workers[0].serves(ME));
    signal::send(pid, Signal::SIGKILL).unwrap();
    assert!(buried(&mut pool, pid).is_empty());
}
