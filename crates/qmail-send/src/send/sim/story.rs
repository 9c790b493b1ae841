//! What happens in one run: all of it comes from the seed.

use std::time::Duration;

use base::Bytes;

use super::chance::Chance;
use super::judge::Mail;

/// The clock when the story begins, Unix seconds.
pub(super) const START: i64 = 1_800_000_000;

/// What befalls the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disaster {
    /// the power fails
    Cut,
    /// qmail-send is killed
    Kill,
    /// qmail-send is asked to stop
    Term,
    /// a spawner dies: 0 local, 1 remote
    Spawner(usize),
    /// qmail-clean dies
    Cleaner,
}

/// What somebody does to the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hand {
    /// it is set
    Set(i64),
    /// it is moved
    Move(i64),
    /// it stands still
    Stop,
    /// it shows the right time again
    Right,
}

/// Something that the program or its surroundings fail to do, so that the judge has something to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mutant {
    #[default]
    None,
    /// qmail-queue does not make `todo` durable
    TodoUnsettled,
    /// contents of files are not made durable by qmail-send
    ContentsUnsettled,
    /// names are not made durable by qmail-send
    NamesUnsettled,
    /// recipients that are done with are not marked
    Unmarked,
    /// the message goes with its envelope
    MessageTooSoon,
    /// recipient files that are done with stay
    RecipientsStay,
    /// the wait returns at once
    NoWait,
    /// a spawner says that it can run one more than it can
    OneTooMany,
    /// the first recipient of each list is lost
    FirstLost,
    /// a bounce is sent and its file stays
    BounceStays,
    /// the local spawner does not hear that a delivery may have been made
    DoubtLost,
}

#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) lifetime: u64,
    pub(super) is_ours: [bool; 2],
    /// deliveries that the spawners can run, and that the control files allow
    pub(super) able: [usize; 2],
    pub(super) wanted: [usize; 2],
    /// the longest times of these
    pub(super) sync: Duration,
    pub(super) cleaning: Duration,
    pub(super) delivery: Duration,
    pub(super) has_ear: bool,
    pub(super) big_todo: bool,
    pub(super) mails: Vec<(Duration, Mail)>,
    /// after so many changes and looks at the disk
    pub(super) disasters: Vec<(u64, Disaster)>,
    pub(super) hands: Vec<(Duration, Hand)>,
    pub(super) alarms: Vec<Duration>,
    /// one call in so many fails; 0: none
    pub(super) faults: u64,
    /// from then on everything works
    pub(super) calm: Duration,
    pub(super) mutant: Mutant,
    /// whether destinations stay dead for ever
    pub(super) stays_dead: bool,
    /// what a qmail-queue left long ago
    pub(super) litter: Option<Bytes>,
    /// whether the log tells of everybody
    pub(super) is_told: bool,
}

const SENDERS: [&[u8]; 5] = [b"s@x.test", b"s@here", b"", b"list-@x.test-@[]", b"#@[]"];

fn address(chance: &mut Chance, n: u64) -> Bytes {
    let host = match chance.below(16) {
        0..6 => "here",
        6..9 => "a.test",
        9 | 10 => "b.test",
        11 => "slow.test",
        12 => "dead.test",
        13 => "capped.test",
        14 => "rated.test",
        _ => "bad.test",
    };
    let user = match chance.below(12) {
        0 => "dead",
        1 => "bad",
        _ => "u",
    };
    format!("{user}{n}@{host}").into_bytes()
}

fn mail(chance: &mut Chance) -> Mail {
    let count = if chance.one_in(4) {
        1 + chance.below(30)
    } else {
        1 + chance.below(4)
    };
    let sender = match chance.below(12) {
        0 => SENDERS[2],
        1 => SENDERS[3],
        2 => SENDERS[4],
        3..6 => SENDERS[1],
        _ => SENDERS[0],
    };
    Mail {
        sender: sender.to_vec(),
        recipients: (0..count).map(|n| address(chance, n)).collect(),
        text: vec![b'x'; chance.index(200)],
    }
}

/// The last second of four bytes, with a sign and without.
pub(super) const YEAR_2038: i64 = 0x7fff_ffff;
pub(super) const YEAR_2106: i64 = 0xffff_ffff;
pub(super) const DAY: i64 = 86_400;

fn hand(chance: &mut Chance) -> Hand {
    let small = i64::try_from(chance.below(2_000)).unwrap();
    match chance.below(9) {
        0 => Hand::Move(-DAY),
        1 => Hand::Move(DAY),
        2 => Hand::Set(small),
        3 => Hand::Set(YEAR_2038 - small),
        4 => Hand::Set(YEAR_2106 - small),
        5 => Hand::Stop,
        6 => Hand::Right,
        7 => Hand::Move(small),
        _ => Hand::Move(-small),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Story {
    /// Everything may happen, but the clock is right and the disk works.
    pub(super) fn new(chance: &mut Chance) -> Story {
        let mut mails = Vec::new();
        let spread = if chance.one_in(2) {
            seconds(3)
        } else {
            seconds(3_000)
        };
        for _ in 0..=chance.below(6) {
            mails.push((chance.time(spread), mail(chance)));
        }
        if chance.one_in(8) {
            for _ in 0..30 {
                mails.push((chance.time(spread), mail(chance)));
            }
        }
        let mut disasters = Vec::new();
        let mut at = 0;
        for _ in 0..chance.below(4) {
            at += 1 + chance.below(400);
            let what = match chance.below(10) {
                0..4 => Disaster::Cut,
                4..7 => Disaster::Kill,
                7 => Disaster::Term,
                8 => Disaster::Spawner(chance.index(2)),
                _ => Disaster::Cleaner,
            };
            disasters.push((at, what));
        }
        let stays_dead = chance.one_in(3);
        Story {
            lifetime: if stays_dead {
                500 + chance.below(20_000)
            } else {
                604_800
            },
            is_ours: [chance.one_in(2), chance.one_in(2)],
            able: [1 + chance.index(12), 1 + chance.index(30)],
            wanted: [1 + chance.index(12), 1 + chance.index(30)],
            sync: if chance.one_in(8) {
                seconds(1)
            } else {
                Duration::from_millis(30)
            },
            cleaning: if chance.one_in(8) {
                seconds(1)
            } else {
                Duration::from_millis(30)
            },
            delivery: if chance.one_in(3) {
                seconds(20)
            } else {
                Duration::from_millis(500)
            },
            has_ear: !chance.one_in(4),
            big_todo: chance.one_in(4),
            mails,
            disasters,
            hands: Vec::new(),
            alarms: if chance.one_in(4) {
                vec![chance.time(seconds(3_000))]
            } else {
                Vec::new()
            },
            faults: 0,
            calm: seconds(4_000),
            mutant: Mutant::None,
            stays_dead,
            litter: None,
            is_told: false,
        }
    }

    /// Somebody plays with the clock.
    pub(super) fn play_with_clock(&mut self, chance: &mut Chance) {
        for _ in 0..=chance.below(4) {
            let when = chance.time(self.calm);
            self.hands.push((when, hand(chance)));
        }
        self.hands.sort_by_key(|(when, _)| *when);
        // A clock that never goes on again never lets a message grow old.
        if self
            .hands
            .last()
            .is_some_and(|(_, hand)| *hand == Hand::Stop)
        {
            self.hands.push((self.calm, Hand::Right));
        }
    }

    /// What qmail-send has known for so long must be durable.
    pub(super) fn window(&self) -> Duration {
        seconds(4) + 40 * self.sync + 20 * self.cleaning
    }

    /// What becomes of one recipient.
    pub(super) fn letter(&self, address: &[u8], is_calm: bool, chance: &mut Chance) -> u8 {
        if address.starts_with(b"bad") || address.ends_with(b"bad.test") {
            return b'D';
        }
        if address.starts_with(b"dead") || address.ends_with(b"dead.test") {
            return if is_calm && !self.stays_dead {
                b'K'
            } else {
                b'Z'
            };
        }
        match chance.below(20) {
            _ if is_calm => b'K',
            0..15 => b'K',
            15..18 => b'Z',
            18 => b'D',
            _ => b'?',
        }
    }
}
