use super::*;
use crate::send::jobs::Jobs;

fn id(n: u64) -> MessageId {
    MessageId::new(n).unwrap()
}

fn batch(job: JobNumber) -> Batch {
    Batch {
        job,
        recipients: Vec::new(),
        is_dying: false,
    }
}

fn job() -> JobNumber {
    Jobs::default().number_for_tests()
}

const DAY: i64 = 86_400;

fn trouble() -> Verdict {
    Verdict::Trouble(b"no".to_vec())
}

#[test]
fn a_dead_host_costs_few_deliveries_and_then_fewer() {
    let rules = Destinations::default();
    let mut lanes = Lanes::new(true);
    lanes.set_limit(200);
    let dest = lanes.find(b"d.test", &rules);
    let mut tries = 0;
    for n in 1..=20_000 {
        lanes.park(dest, id(n), 0, 0, 0);
    }
    let mut running = Vec::new();
    for now in 0..3_600 {
        while let Some(message) = lanes.take_waiting(now) {
            lanes.push(dest, batch(job()), now);
            lanes.park(dest, message, now + 400, 0, now);
        }
        while let Some((number, _)) = lanes.next(now) {
            running.push(number);
            tries += 1;
        }
        for number in std::mem::take(&mut running) {
            lanes.report(number, trouble(), now, DAY);
        }
    }
    assert!((20..=60).contains(&tries), "{tries}");
    assert!(lanes.busy(b"d.test", 3_600).is_some());
    // It comes back.
    let mut now = 3_600;
    let mut good = 0;
    while good < 1_000 && now < 10_000 {
        now += 1;
        while lanes.take_waiting(now).is_some() {
            lanes.push(dest, batch(job()), now);
        }
        while let Some((number, _)) = lanes.next(now) {
            running.push(number);
            good += 1;
        }
        for number in std::mem::take(&mut running) {
            lanes.report(number, Verdict::Good, now, DAY);
        }
    }
    assert!(good >= 1_000 && now < 4_700, "{good} {now}");
}

#[test]
fn one_destination_leaves_places_to_others_and_turns_are_fair() {
    let rules = Destinations::default();
    let mut lanes = Lanes::new(true);
    lanes.set_limit(20);
    let slow = lanes.find(b"slow.test", &rules);
    lanes.park(slow, id(1), DAY, 0, 0);
    for _ in 0..100 {
        lanes.push(slow, batch(job()), 0);
        if let Some((number, _)) = lanes.next(0) {
            lanes.report(number, Verdict::Good, 0, DAY);
        }
    }
    for _ in 0..100 {
        lanes.push(slow, batch(job()), 0);
    }
    let count = std::iter::from_fn(|| lanes.next(0)).count();
    assert_eq!(count, 18);
    let other = lanes.find(b"other.test", &rules);
    lanes.push(other, batch(job()), 0);
    assert_eq!(lanes.next(0).map(|(d, _)| d), Some(other));
}

#[test]
fn a_rate_is_kept_and_old_messages_are_handed_out() {
    let mut rules = Destinations::default();
    rules.add(b"d.test:3:10:100");
    assert_eq!(rules.of(b"d.test").concurrency, 3);
    let mut lanes = Lanes::new(true);
    lanes.set_limit(20);
    let dest = lanes.find(b"d.test", &rules);
    lanes.park(dest, id(4), DAY, DAY, 0);
    let mut starts = Vec::new();
    for now in 1_000..1_125 {
        if lanes.has_room(dest, None, now) {
            lanes.push(dest, batch(job()), now);
        }
        assert_eq!(lanes.take_waiting(now), None);
        while let Some((number, _)) = lanes.next(now) {
            starts.push(now);
            lanes.report(number, Verdict::Good, now, DAY);
        }
    }
    assert_eq!(starts.iter().filter(|t| **t < 1_060).count(), 10);
    assert_eq!(starts.len(), 30, "{starts:?}");
    lanes.park(dest, id(5), 9_999, 1_000, 1_125);
    lanes.park(dest, id(6), 9_999, 1_500, 1_125);
    let mut expired = Vec::new();
    for _ in 0..STRIKES {
        expired.extend(lanes.report(dest, trouble(), 1_200, DAY).expired);
    }
    assert_eq!(expired, [id(5)]);
    assert_eq!(lanes.held(dest, 1_200), Some((1_260, b"no".as_slice())));
}

#[test]
fn a_rate_counts_while_nothing_waits() {
    let mut rules = Destinations::default();
    rules.add(b"d.test::3");
    let mut lanes = Lanes::new(true);
    lanes.set_limit(20);
    let mut starts = 0;
    for now in 1_000..1_060 {
        let dest = lanes.find(b"d.test", &rules);
        lanes.push(dest, batch(job()), now);
        while let Some((number, _)) = lanes.next(now) {
            starts += 1;
            lanes.report(number, Verdict::Good, now, DAY);
        }
    }
    assert_eq!(starts, 3);
}

#[test]
fn nothing_is_kept_of_an_idle_destination() {
    let rules = Destinations::default();
    let mut lanes = Lanes::new(true);
    lanes.set_limit(20);
    for n in 0..1_000 {
        let dest = lanes.find(format!("d{n}").as_bytes(), &rules);
        lanes.push(dest, batch(job()), 5);
        let (number, _) = lanes.next(5).unwrap();
        lanes.report(number, trouble(), 5, DAY);
    }
    assert!(lanes.names.is_empty() && lanes.dests.len() == 1);
}
