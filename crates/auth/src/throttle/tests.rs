#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;

struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Temporary {
        let path = std::env::temp_dir().join(format!("throttle-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Throttle::create(&path, 0o600).unwrap();
        Temporary(path)
    }

    fn open(&self) -> Throttle {
        Throttle::open(&self.0)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const T: u32 = 1_800_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn failures_make_the_next_answer_wait_longer() {
    let file = Temporary::new("delay");
    let throttle = file.open();
    assert!(throttle.is_working());
    let waits: Vec<u64> = (0..12)
        .map(|_| {
            throttle
                .failed_at(ip("192.0.2.1"), b"tim", T)
                .delay
                .as_secs()
        })
        .collect();
    assert_eq!(waits, [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 16, 16]);
    let other = throttle.failed_at(ip("192.0.2.2"), b"tom", T);
    assert_eq!(
        (other.delay.as_secs(), other.network, other.account),
        (1, 1, 1)
    );
    // It is shared, and it fades.
    let again = file.open().failed_at(ip("192.0.2.1"), b"x", T + HALF_LIFE);
    assert_eq!((again.network, again.account), (7, 1));
    let later = throttle.failed_at(ip("192.0.2.1"), b"y", T + 40 * HALF_LIFE);
    assert_eq!(later.network, 1);
}

#[test]
fn an_address_that_guesses_is_refused_but_not_its_neighbours_nor_those_who_are_known() {
    let file = Temporary::new("network");
    let throttle = file.open();
    let office = ip("192.0.2.1");
    throttle.succeeded_at(office, b"alice@host.example", T - 86400);
    for n in 0..NETWORK_LIMIT {
        assert_eq!(throttle.before_at(office, b"x", T), Before::Ask, "{n}");
        throttle.failed_at(office, format!("name{n}").as_bytes(), T);
    }
    assert_eq!(
        throttle.before_at(office, b"bob", T),
        Before::Refuse(Why::Network)
    );
    assert_eq!(
        throttle.before_at(office, b"Alice@Host.example", T),
        Before::Ask,
        "an honest user behind the same address"
    );
    assert_eq!(throttle.before_at(ip("192.0.2.2"), b"bob", T), Before::Ask);
    assert_eq!(
        throttle.before_at(ip("::ffff:192.0.2.1"), b"bob", T),
        Before::Refuse(Why::Network)
    );
    assert_eq!(
        throttle.before_at(office, b"bob", T + 2 * HALF_LIFE),
        Before::Ask,
        "it fades"
    );
    assert_eq!(
        throttle.before_at(office, b"alice@host.example", T + PAIR_LIFE),
        Before::Ask
    );
    // However long it went on, the way back takes hours, not days.
    for _ in 0..100_000 / 50 {
        throttle.failed_at(office, b"x", T);
    }
    assert_eq!(
        throttle.before_at(office, b"bob", T + 3 * HALF_LIFE),
        Before::Ask
    );
}

#[test]
fn an_account_that_is_tried_from_everywhere_is_refused_to_strangers_only() {
    let file = Temporary::new("account");
    let throttle = file.open();
    throttle.succeeded_at(ip("198.51.100.7"), b"tim", T);
    for n in 0..ACCOUNT_LIMIT {
        throttle.failed_at(ip(&format!("10.0.0.{n}")), b" TIM ", T);
    }
    assert_eq!(
        throttle.before_at(ip("10.1.0.1"), b"tim", T),
        Before::Refuse(Why::Account)
    );
    assert_eq!(
        throttle.before_at(ip("198.51.100.7"), b"tim", T),
        Before::Ask
    );
    assert_eq!(throttle.before_at(ip("10.1.0.1"), b"tom", T), Before::Ask);
}

#[test]
fn an_ipv6_network_is_one_guesser() {
    let file = Temporary::new("v6");
    let throttle = file.open();
    for n in 0..NETWORK_LIMIT {
        throttle.failed_at(ip(&format!("2001:db8::{n:x}")), b"x", T);
    }
    assert_eq!(
        throttle.before_at(ip("2001:db8::ffff"), b"bob", T),
        Before::Refuse(Why::Network)
    );
    assert_eq!(
        throttle.before_at(ip("2001:db8:0:1::1"), b"bob", T),
        Before::Ask
    );
}

#[test]
fn the_file_does_not_grow_and_the_worst_are_kept() {
    let file = Temporary::new("size");
    let throttle = file.open();
    let bad = ip("203.0.113.9");
    for n in 0..NETWORK_LIMIT {
        throttle.failed_at(bad, format!("{n}").as_bytes(), T);
    }
    for n in 0..20_000u32 {
        throttle.failed_at(IpAddr::V4((0x0a00_0000 + n).into()), &n.to_le_bytes(), T);
    }
    assert_eq!(std::fs::metadata(&file.0).unwrap().len(), SIZE as u64);
    assert_eq!(
        throttle.before_at(bad, b"z", T),
        Before::Refuse(Why::Network)
    );
    let text = std::fs::read(&file.0).unwrap();
    assert!(base::bytes::find(&text, b"tim").is_none());
}

#[test]
fn without_a_good_file_nothing_is_refused() {
    let file = Temporary::new("bad");
    let nothing = Throttle::open("/nonexistent/throttle");
    assert!(!nothing.is_working());
    for _ in 0..100 {
        assert_eq!(nothing.failed_at(ip("192.0.2.1"), b"x", T).delay, DELAYS[0]);
    }
    assert_eq!(nothing.before_at(ip("192.0.2.1"), b"x", T), Before::Ask);
    for text in [vec![], vec![0], vec![1; SIZE], vec![0; SIZE + 1]] {
        std::fs::write(&file.0, text).unwrap();
        assert!(!file.open().is_working());
    }
    // As it is installed.
    std::fs::write(&file.0, vec![0; SIZE]).unwrap();
    assert!(file.open().is_working());
    assert_eq!(file.open().failed_at(ip("192.0.2.1"), b"x", T).network, 1);
    assert_eq!(file.open().failed_at(ip("192.0.2.1"), b"x", T).network, 2);
    // Any content in the right form is content, whatever it says; a clock that was set back does not lock out for ever.
    let mut text = FORM.to_vec();
    text.resize(SIZE, 0xff);
    std::fs::write(&file.0, &text).unwrap();
    let throttle = file.open();
    throttle.failed_at(ip("192.0.2.1"), b"x", T);
    assert_eq!(throttle.before_at(ip("192.0.2.1"), b"x", T), Before::Ask);
}

#[test]
fn many_processes_at_once_lose_no_failure() {
    let file = Temporary::new("lock");
    let counted = std::thread::scope(|s| {
        let each: Vec<_> = (0..8)
            .map(|_| {
                s.spawn(|| {
                    let throttle = file.open();
                    for _ in 0..5 {
                        throttle.failed_at(ip("192.0.2.1"), b"x", T);
                    }
                })
            })
            .collect();
        each.into_iter().map(|t| t.join().unwrap()).count()
    });
    assert_eq!(counted, 8);
    assert_eq!(file.open().failed_at(ip("192.0.2.1"), b"x", T).network, 41);
}
