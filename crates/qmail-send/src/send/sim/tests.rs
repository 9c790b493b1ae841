//! Stories, by the thousand.

use super::chance::Chance;
use super::life::{Run, play};
use std::time::Duration;

use super::judge::Mail;
use super::story::{DAY, Hand, Mutant, Story, YEAR_2038, YEAR_2106};

/// Runs of each test, unless the environment says otherwise.
const RUNS: u64 = 700;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, change: impl Fn(&mut Story, &mut Chance)) -> Run {
    let mut chance = Chance::new(seed);
    let mut story = Story::new(&mut chance);
    change(&mut story, &mut chance);
    play(story, chance)
}

/// Runs stories that differ from others by `change`.
fn each_must_hold(change: impl Fn(&mut Story, &mut Chance)) {
    if let Some(seed) = number("QMAIL_SIM_SEED") {
        let run = run(seed, |story, chance| {
            change(story, chance);
            story.is_told = true;
            println!("{story:?}");
        });
        println!("{}", String::from_utf8_lossy(&run.scene.said));
        assert_eq!(run.failure, None);
        return;
    }
    for seed in 1..=number("QMAIL_SIM_RUNS").unwrap_or(RUNS) {
        let run = run(seed, &change);
        assert!(
            run.failure.is_none(),
            "QMAIL_SIM_SEED={seed}: {}",
            run.failure.unwrap()
        );
    }
}

#[test]
fn whatever_happens_mail_is_delivered_once() {
    each_must_hold(|_, _| {});
}

#[test]
fn whatever_the_clock_shows_mail_is_delivered_once() {
    each_must_hold(Story::play_with_clock);
}

fn with_faults(story: &mut Story, chance: &mut Chance) {
    story.faults = 5 + chance.below(100);
}

#[test]
fn whatever_the_disk_refuses_no_mail_is_lost() {
    each_must_hold(with_faults);
}

#[test]
fn what_failed_once_holds() {
    // What was left in the schedule of one message 11 was taken for a part of the next one.
    assert_eq!(run(82_124, with_faults).failure, None);
    // A look came to a name of todo when that was gone, and what was known of the message was forgotten.
    assert_eq!(run(1_049, |_, _| {}).failure, None);
}

/// A story of one message after the other, without disasters.
fn quiet(story: &mut Story, mails: &[(&str, &[&str])]) {
    let bytes = |text: &&str| text.as_bytes().to_vec();
    let mail = |(sender, recipients): &(&str, &[&str])| Mail {
        sender: bytes(sender),
        recipients: recipients.iter().map(bytes).collect(),
        text: Vec::new(),
    };
    story.mails = (0..)
        .zip(mails)
        .map(|(n, m)| (Duration::from_secs(n), mail(m)))
        .collect();
    story.disasters = Vec::new();
    story.alarms = Vec::new();
    story.stays_dead = false;
    story.lifetime = WEEK;
}

#[test]
fn a_message_that_waits_for_room_survives_a_broken_disk() {
    for seed in 1..100 {
        let run = run(seed, |story, _| {
            let slow: (&str, &[&str]) = ("s@here", &["u@slow.test"]);
            quiet(story, &[slow; 30]);
            story.wanted[1] = 1;
            story.faults = 10;
        });
        assert_eq!(run.failure, None, "{seed}");
    }
}

const HOUR: Duration = Duration::from_hours(1);
const WEEK: u64 = 604_800;

/// A message that nobody takes, in a story of the clock: its tries on each channel, seconds since it came.
fn tries(seed: u64, hands: &[(Duration, Hand)]) -> [Vec<u64>; 2] {
    let run = run(seed, |story, _| {
        quiet(story, &[("s@here", &["dead@here", "dead@dead.test"])]);
        story.hands = hands.to_vec();
        story.stays_dead = true;
        story.calm = Duration::from_secs(2 * WEEK);
    });
    assert_eq!(run.failure, None, "{hands:?}");
    [0, 1].map(|n| run.scene.judge.tries(0, n))
}

/// Rounding, the length of a delivery, and the second that each wait is longer than need be.
const SLACK: u64 = 4;

#[test]
fn tries_follow_the_schedule_whatever_the_clock_shows() {
    let at = |hours: u32, hand| (hours * HOUR, hand);
    let stories: [&[(Duration, Hand)]; 8] = [
        &[],
        &[at(1, Hand::Move(-DAY))],
        &[at(1, Hand::Move(DAY)), at(40, Hand::Move(-2 * DAY))],
        &[at(1, Hand::Set(0))],
        &[at(1, Hand::Set(0)), at(50, Hand::Right)],
        &[at(1, Hand::Set(YEAR_2038 - 3_600)), at(20, Hand::Right)],
        &[at(1, Hand::Set(YEAR_2106 - 3_600))],
        &[at(1, Hand::Stop), at(30, Hand::Right)],
    ];
    for hands in stories {
        for (all, skip) in tries(1, hands).iter().zip([10, 20]) {
            // While the clock stands still a message does not grow old; when it shows a time for the second time,
            // what came at the first time may have come at the second.
            let is_vague = |hand| matches!(hand, Hand::Stop | Hand::Move(..0));
            let is_vague = hands.iter().any(|(_, hand)| is_vague(*hand));
            for pair in all.windows(2) {
                let root = pair[0].isqrt();
                let (earliest, latest) = if is_vague {
                    let shortest = pair[0] + skip * skip;
                    (shortest, shortest + 2 * skip * (root + 1))
                } else {
                    ((root + skip).pow(2), (root + skip).pow(2))
                };
                let is_early = pair[1] + SLACK < earliest;
                let is_late = pair[1] > latest + SLACK;
                assert!(!is_early && !is_late, "{hands:?}: {pair:?} {earliest}");
            }
            let end = *all.last().unwrap();
            assert!(end > WEEK, "{hands:?}: given up after {end}");
            assert!(
                is_vague || end < WEEK + 40_000,
                "{hands:?}: given up after {end}"
            );
        }
    }
}

#[test]
fn litter_is_swept_when_it_is_surely_old() {
    for (hours, is_swept) in [(1, false), (35, false), (60, true)] {
        let run = run(1, |story, _| {
            story.disasters = Vec::new();
            story.hands = vec![(HOUR / 2, Hand::Move(10 * DAY))];
            story.litter = Some(b"mess/1/7".to_vec());
            story.calm = hours * HOUR;
        });
        assert_eq!(run.failure, None);
        assert_eq!(
            run.scene.disk.find(b"mess/1/7").is_err(),
            is_swept,
            "{hours}"
        );
    }
}

/// The judge must find what is wrong, and say what it is, within so many runs.
const RUNS_OF_A_MUTANT: u64 = 2_000;

#[test]
fn what_is_forgotten_is_found() {
    let table = [
        (Mutant::TodoUnsettled, "lost"),
        (Mutant::ContentsUnsettled, "not durable"),
        (Mutant::NamesUnsettled, "not durable"),
        (Mutant::Unmarked, "again"),
        (Mutant::MessageTooSoon, "of nothing"),
        (Mutant::RecipientsStay, "again"),
        (Mutant::NoWait, "spins"),
        (Mutant::OneTooMany, "run on channel"),
        (Mutant::FirstLost, "lost"),
        (Mutant::BounceStays, "stuck"),
        (Mutant::DoubtLost, "as if for the first time"),
    ];
    for (mutant, word) in table {
        let found = (1..RUNS_OF_A_MUTANT).find(|&seed| {
            let failure = run(seed, |story, _| story.mutant = mutant).failure;
            failure.is_some_and(|text| text.contains(word))
        });
        println!("{mutant:?}: {found:?}");
        assert!(found.is_some(), "{mutant:?} lives");
    }
}
