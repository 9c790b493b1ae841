//! How it ends, and what is left then.

use std::collections::HashSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Post;
use super::client::Client;
use sys::process::End;
use sys::signal::Signal;

#[test]
fn sigterm_lets_messages_on_their_way_finish() {
    let mut post = Post::open("qd-term", &[]);
    let mut slow = post.client();
    slow.say(b"q5:hello,");
    let mut silent = post.client();
    let mut many = post.client();
    many.say(b"Q");
    many.message(b"m", b"F\0\0");
    assert_eq!(many.answer().unwrap().code, 0);
    post.service().signal(Signal::SIGTERM);
    let socket = post.home.join("run/queue/socket");
    kit::eventually("no socket", || !socket.exists());
    slow.say(b"0:,6:Fs\0Tr\0,1:\0,0:,");
    assert_eq!(slow.answer().unwrap().code, 0);
    assert!(silent.answer().is_none());
    assert!(many.answer().is_none());
    assert_eq!(post.service().wait(kit::LIMIT), End::Exit(0));
    assert_eq!(post.files(), [0, 2, 2, 2]);
}

#[test]
fn sigterm_does_not_wait_for_ever() {
    let mut post = Post::open("qd-term-slow", &[]);
    let mut slow = post.client();
    slow.say(b"q5:hello,");
    let mut large = post.client();
    large.say(b"q1000000:");
    large.say(&vec![b'x'; 300_000]);
    kit::eventually("a file of it", || post.files() == [0, 1, 0, 0]);
    post.service().signal(Signal::SIGTERM);
    assert_eq!(post.service().wait(kit::LIMIT), End::Exit(0));
    assert!(slow.answer().is_none());
    assert_eq!(post.files(), [0; 4]);
}

#[test]
fn no_acknowledged_message_is_lost_when_it_is_killed() {
    let mut post = Post::open("qd-kill", &[]);
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..5 {
        let socket = post.home.join("run/queue/socket");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (socket, stop, acknowledged) = (&socket, &stop, &acknowledged);
                scope.spawn(move || {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let Ok(socket) = std::os::unix::net::UnixStream::connect(socket) else {
                            return;
                        };
                        let text = format!("{round}.{thread}.{n} {}\n", "x".repeat(5000));
                        let answer = Client { socket }.one(text.as_bytes(), b"Fs\0Tr\0\0");
                        if answer.is_some_and(|a| a.code == 0) {
                            acknowledged.lock().unwrap().push(text);
                        }
                    }
                });
            }
            let enough = (round + 1) * 60;
            kit::eventually("some messages", || {
                acknowledged.lock().unwrap().len() >= enough
            });
            post.service().signal(Signal::SIGKILL);
            stop.store(true, Ordering::Relaxed);
        });
        post.service().wait(kit::LIMIT);
        post.start(&[]);
    }
    let mut found = HashSet::new();
    for id in post.home.queue("todo") {
        let number: u64 = id.parse().unwrap();
        let mess = format!("queue/mess/{}/{id}", number % kit::SPLIT);
        let text = fs::read_to_string(post.home.join(mess)).unwrap();
        let (_, text) = text.split_once('\n').unwrap();
        assert!(text.ends_with("xxx\n"), "torn: {id}");
        let todo = fs::read(post.home.join("queue/todo").join(&id)).unwrap();
        assert!(todo.ends_with(b"\0Fs\0Tr\0"), "torn: {id}");
        assert!(found.insert(text.to_owned()), "twice: {id}");
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 300);
    for text in &acknowledged {
        assert!(found.contains(text), "lost: {text:.20}");
    }
    // What was in the middle of something: at most one for each client and kill.
    assert!(found.len() <= acknowledged.len() + 5 * 8);
}
