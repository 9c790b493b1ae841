use super::*;

use std::collections::HashSet;

fn stat() -> Stat {
    Stat {
        dev: 1,
        ino: 42,
        uid: 3,
        gid: 3,
        mode: 0o100_644,
        size: 900,
        mtime: 1_800_000_000,
        mtime_nsec: 123_456_789,
        atime: 1_800_000_000,
        links: 1,
    }
}

fn attempt(at: u64, past: Past) -> Attempt {
    Attempt { at, past }
}

fn args(words: [&str; 8]) -> Args {
    let words: Vec<Bytes> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
    Args::read(&[vec![b"--".to_vec()], words].concat()).unwrap()
}

const JOE: [&str; 8] = ["joe", "/h", "joe-x", "-", "x", "h", "s@x", "./Maildir/"];
const OPENING: &[u8] = b"Received: (qmail 7 invoked by uid 1); date\n";

#[test]
fn it_is_the_same_at_every_attempt() {
    let first = Once::new(&stat(), attempt(10, Past::Clean));
    // Looked at again, by another process, from another device, through another name.
    let mut again = stat();
    (again.dev, again.atime, again.links) = (2, 0, 2);
    let again = Once::new(&again, attempt(10, Past::Unknown));
    let of = |once: Once| once.of(&args(JOE), OPENING, 1);
    assert_eq!(of(first).identity, of(again).identity);
    assert_eq!(of(first).past, maildir::Past::Clean);
    assert_eq!(of(again).past, maildir::Past::Unknown);
    // Where he keeps his mail is no part of it.
    let moved = ["joe", "/new/h", "joe-x", "-", "x", "h", "s@x", "./M/"];
    let moved = again.of(&args(moved), OPENING, 1);
    assert_eq!(moved.identity, of(first).identity);
}

#[test]
fn it_is_another_one_for_anything_else() {
    let mut all = HashSet::new();
    let mut add = |once: Once, args: &Args, opening: &[u8], line| {
        let is_new = all.insert(once.of(args, opening, line).identity);
        assert!(is_new, "{once:?} {args:?} {line}");
    };
    let once = Once::new(&stat(), attempt(10, Past::Clean));
    let joe = args(JOE);
    // Equal recipients have places of their own, and so have two lines with the same maildir.
    for at in 0..1_000 {
        let once = Once::new(&stat(), attempt(at, Past::Clean));
        for line in 0..10 {
            add(once, &joe, OPENING, line);
        }
    }
    type Change = fn(&mut Stat);
    let changes: [Change; 4] = [
        |s| s.ino += 1,
        |s| s.size += 1,
        |s| s.mtime += 1,
        |s| s.mtime_nsec += 1,
    ];
    for change in changes {
        let mut stat = stat();
        change(&mut stat);
        add(Once::new(&stat, attempt(10, Past::Clean)), &joe, OPENING, 0);
    }
    for place in [0, 2, 5, 6] {
        let mut words = JOE;
        words[place] = "other";
        add(once, &args(words), OPENING, 0);
    }
    let mut words = JOE;
    (words[2], words[5]) = ("joe-", "xh");
    add(once, &args(words), OPENING, 0);
    add(once, &joe, b"Received: (qmail 8 invoked", 0);
}

#[test]
fn a_word_is_read_as_it_was_written() {
    for past in [Past::Clean, Past::Unknown] {
        let once = Once::new(&stat(), attempt(10, past));
        assert_eq!(Once::read(&once.word()), Some(once));
    }
    for bad in [
        "",
        "?",
        "0123456789abcde",
        "0123456789abcdef0",
        "0123456789abcdef??",
        "0123456789ABCDEF",
        "+123456789abcdef",
        "0123456789abcdef!",
        "0123456789abcdeg",
    ] {
        assert_eq!(Once::read(bad.as_bytes()), None, "{bad}");
    }
}
