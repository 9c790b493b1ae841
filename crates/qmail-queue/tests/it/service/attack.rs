//! What a local user may try.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{Post, STRANGER};

/// A message of the keeper's goes through, soon.
fn still_serves(post: &Post) {
    let start = Instant::now();
    let answer = post.client().one(b"still here\n", b"Fs\0Tr\0\0").unwrap();
    assert_eq!(answer.code, 0);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn garbage_is_refused() {
    let mut post = Post::open("qd-garbage", &[]);
    let noise = vec![0xff; 100_000];
    let garbage: [&[u8]; 12] = [
        b"\0",
        b"x",
        b"GET / HTTP/1.0\r\n\r\n",
        b"qx",
        b"q-1:",
        b"q01:x,",
        b"q1:xx",
        b"q1048577:",
        b"q99999999999999999999999999999:",
        b"q0:,0:,0:,",
        b"Q0:,3:F\0\0,0:,0:,",
        &noise,
    ];
    for bytes in garbage {
        let mut client = post.client();
        client.say(bytes);
        let answer = client.answer();
        assert!(
            answer.is_none_or(|a| [54, 91].contains(&a.code)),
            "{bytes:?}"
        );
        assert!(client.answer().is_none());
    }
    // Any number of small garbage, cut anywhere.
    let whole = b"q5:hello,0:,4:Fs\0T,3:r\0\0,0:,";
    for cut in 0..whole.len() {
        let mut client = post.client();
        client.say(&whole[..cut]);
        drop(client);
        let mut wrong = whole.to_vec();
        wrong[cut] ^= 0x55;
        let mut client = post.client();
        client.say(&wrong);
        let _ = client.socket.shutdown(std::net::Shutdown::Write);
        let _ = client.answer();
    }
    still_serves(&post);
    assert!(post.service().is_running());
    // Some of the changes above made a whole message with another text.
    let [pid, mess, intd, todo] = post.files();
    assert_eq!((pid, mess, intd), (0, todo, todo));
}

#[test]
fn half_messages_leave_nothing() {
    let post = Post::open("qd-half", &[]);
    for size in [1usize, 70_000, 1_000_000] {
        let text = vec![b'x'; size];
        let mut bytes = b"q".to_vec();
        queue::service::put_pieces(&mut bytes, &text);
        let mut clients: Vec<_> = (0..10).map(|_| post.client()).collect();
        for client in &mut clients {
            client.say(&bytes);
            client.say(b"0:,10:Fs\0");
        }
        if size > 100_000 {
            kit::eventually("files of them", || post.files()[1] == 10);
        }
        drop(clients);
        kit::eventually("no files", || post.files() == [0; 4]);
    }
    still_serves(&post);
}

#[test]
fn slow_writers_are_ended_and_hold_nobody_up() {
    let post = Post::open("qd-slow", &["-t", "2", "-T", "3", "-n", "4"]);
    let start = Instant::now();
    let mut slow: Vec<_> = (0..60).map(|_| post.client()).collect();
    for client in &mut slow {
        client.say(b"q1000000:");
    }
    let mut steps = 0;
    // A byte now and then keeps them from being idle, but not from taking too long.
    let over = kit::until(kit::LIMIT, || {
        if start.elapsed() > Duration::from_millis(200 * (steps + 1)) {
            steps += 1;
            still_serves(&post);
        }
        let mut said = false;
        for client in slow.iter_mut().take(30) {
            said |= client.say(b"x");
        }
        (!said).then_some(())
    });
    assert!(over.is_some(), "slow writers go on");
    assert!(start.elapsed() >= Duration::from_secs(2));
    for client in &mut slow {
        assert!(client.answer().is_none());
    }
    assert!(steps > 0);
}

#[test]
fn ten_thousand_connections_of_one_user_hold_nobody_up() {
    let post = Post::open("qd-crowd", &[]);
    if !kit::is_root("ten_thousand_connections_of_one_user_hold_nobody_up") {
        return;
    }
    let log = post.home.join("crowd");
    let mut crowd = post
        .role("attack::crowds")
        .ids(STRANGER, STRANGER)
        .start(&log);
    let standing = |text: &str| std::fs::read_to_string(&log).unwrap().contains(text);
    kit::eventually("connections", || standing("standing"));
    for _ in 0..20 {
        still_serves(&post);
    }
    // Of the crowd, each ordinary user gets a share; others of them are still served.
    let output = post
        .role("submits")
        .ids(STRANGER - 1, STRANGER - 1)
        .output();
    assert!(
        output.out_text().contains("Queued service"),
        "{}",
        output.out_text()
    );
    assert!(crowd.is_running());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("standing: 10000 made, 100 kept"), "{text}");
    assert!(post.log().is_empty(), "{}", post.log());
}

/// Not a test: opens ten thousand connections and stays.
#[test]
#[ignore = "a role that other tests play"]
#[allow(clippy::print_stdout)]
fn crowds() {
    use std::io::Write;
    let _ = sys::limit::set_soft(sys::limit::Resource::RLIMIT_NOFILE, 20_000);
    let mut made = Vec::new();
    while made.len() < 10_000 {
        let socket = UnixStream::connect("run/queue/socket").unwrap();
        socket.set_nonblocking(true).unwrap();
        made.push(socket);
    }
    // Half of those that stay begin a message.
    for socket in made.iter().step_by(2) {
        let _ = (&*socket).write_all(b"q100:half");
    }
    let kept = kit::until(kit::LIMIT, || {
        let is_kept = |s: &&UnixStream| {
            let error = (&**s).read(&mut [0; 64]).err();
            error.is_some_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        };
        let kept = made.iter().filter(is_kept).count();
        (kept <= 100).then_some(kept)
    });
    println!("standing: {} made, {} kept", made.len(), kept.unwrap());
    std::thread::sleep(kit::LIMIT);
}

#[test]
fn a_flood_of_one_user_does_not_delay_the_others() {
    if !kit::is_root("a_flood_of_one_user_does_not_delay_the_others") {
        return;
    }
    let post = Post::open("qd-flood", &["-n", "8"]);
    let mut flood = post
        .role("attack::floods")
        .ids(STRANGER, STRANGER)
        .start(post.home.join("flood"));
    kit::eventually("a flood", || post.files()[3] > 50);
    for _ in 0..10 {
        still_serves(&post);
    }
    assert!(flood.is_running());
    flood.stop();
}

/// Not a test: brings messages from many threads, without end.
#[test]
#[ignore = "a role that other tests play"]
fn floods() {
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let path = std::path::Path::new("run/queue/socket");
                let end = Instant::now() + kit::LIMIT;
                while Instant::now() < end {
                    let _ = super::client::Client::new(path).one(b"flood\n", b"Fs\0Tr\0\0");
                }
            });
        }
    });
}
