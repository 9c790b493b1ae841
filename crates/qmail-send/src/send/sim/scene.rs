//! Everything on the stage but qmail-send itself, and whose turn it is.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

use base::Bytes;
use queue::frames::Past;
use queue::names::{Layout, Part};
use queue::record::record;
use sys::signal::Signal;
use sys::watch::News;

use super::chance::Chance;
use super::cleaner::Cleaner;
use super::disk::Disk;
use super::judge::{Judge, Limits, Mail};
use super::post::{Intake, Load, Step};
use super::spawner::{Order, Running, Spawner};
use super::stage::{ACTORS, DISK, LOOP, POSTMEN, State, layout};
use super::story::{Disaster, Hand, Mutant, START, Story};
use crate::send::bounce::Letter;
use crate::send::channel::Channel;
use crate::send::workers::{Chore, Orders};

/// Turns of the loop at one moment, with nothing happening, that are not a spin: a start with a queue takes some.
const TURNS_AT_ONCE: u32 = 200;
/// Turns of an hour, and for each thing that happens in it.
const TURNS_AN_HOUR: u64 = 4_000;
const TURNS_FOR_EACH: u64 = 20;

/// Who moves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    /// somebody with a thread
    Actor(usize),
    /// somebody without has moved, or time has passed
    Moved,
}

/// Somebody without a thread.
#[derive(Clone, Copy, Debug)]
enum Other {
    Spawner(usize),
    Cleaner,
    Intake(usize),
    Hand,
    Alarm,
}

/// How a life of qmail-send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// it was asked to stop, because all is done
    Drained,
    /// by itself or by request
    Exit,
    Disaster(Disaster),
}

#[derive(Debug)]
pub(super) struct Scene {
    pub(super) story: Story,
    pub(super) chance: Chance,
    pub(super) disk: Disk,
    pub(super) layout: Layout,
    pub(super) judge: Judge,
    pub(super) time: Duration,
    /// what the system's clock shows, less the time since the beginning; or where it stands still
    ahead: i64,
    stands_at: Option<i64>,

    pub(super) baton: usize,
    pub(super) actors: [State; ACTORS],
    pub(super) is_over: bool,
    pub(super) ending: Ending,
    pub(super) failure: Option<String>,
    calls: u64,
    lost_cleaner: Option<Duration>,

    pub(super) signals: Vec<Signal>,
    pub(super) has_signal: bool,
    pub(super) trigger: Option<OwnedFd>,
    pub(super) news: Option<VecDeque<News>>,
    pub(super) log: Option<OwnedFd>,
    pub(super) said: Bytes,
    pub(super) orders: Option<OrdersOf>,
    pub(super) chore: Option<Chore>,
    pub(super) letters: [Option<Letter>; 2],
    pub(super) spawners: Vec<Spawner>,
    pub(super) cleaner: Option<Cleaner>,
    pub(super) intakes: Vec<Intake>,

    turns: u64,
    turns_at_once: u32,
    last_turn: Duration,
    hour: (u64, u64, u64),
    events: u64,
}

/// Work for the threads; it has no form that can be shown.
pub(super) struct OrdersOf(pub(super) Orders);

impl std::fmt::Debug for OrdersOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders")
    }
}

impl Scene {
    pub(super) fn new(story: Story, chance: Chance) -> Scene {
        let layout = layout(story.big_todo);
        let mut disk = Disk::default();
        disk.make_folder(b"pid");
        for part in [
            Part::Mess,
            Part::Intd,
            Part::Todo,
            Part::Info,
            Part::Local,
            Part::Remote,
            Part::Bounce,
        ] {
            for dir in layout.dirs(part) {
                disk.make_folder(&dir);
            }
        }
        let limit = |n: usize| story.able[n].min(story.wanted[n]);
        let less = usize::from(story.mutant == Mutant::OneTooMany);
        let limits = Limits {
            running: [limit(0) - less, limit(1) - less],
            lifetime: story.lifetime,
            is_lifetime_known: story.hands.is_empty() || story.disasters.is_empty(),
            may_repeat: story.faults > 0,
        };
        let mut scene = Scene {
            chance,
            disk,
            layout,
            judge: Judge::new(limits),
            time: Duration::ZERO,
            ahead: START,
            stands_at: None,
            baton: LOOP,
            actors: [const { State::Idle }; ACTORS],
            is_over: false,
            ending: Ending::Exit,
            failure: None,
            calls: 0,
            lost_cleaner: None,
            signals: Vec::new(),
            has_signal: false,
            trigger: None,
            news: None,
            log: None,
            said: Bytes::new(),
            orders: None,
            chore: None,
            letters: [None, None],
            spawners: Vec::new(),
            cleaner: None,
            intakes: Vec::new(),
            turns: 0,
            turns_at_once: 0,
            last_turn: Duration::ZERO,
            hour: (0, 0, 0),
            events: 0,
            story,
        };
        if let Some(path) = &scene.story.litter.clone() {
            let Scene { disk, chance, .. } = &mut scene;
            disk.create(path, START - 999_999, chance).unwrap();
        }
        for (when, mail) in scene.story.mails.clone() {
            scene.send(mail, when);
        }
        scene
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.time.as_secs()).unwrap()
    }

    /// What the system's clock shows.
    pub(super) fn wall(&self) -> i64 {
        self.stands_at.unwrap_or(self.ahead + self.seconds())
    }

    pub(super) fn is_calm(&self) -> bool {
        self.time >= self.story.calm
    }

    fn set_clock(&mut self, hand: Hand) {
        self.stands_at = None;
        match hand {
            Hand::Set(to) => self.ahead = to - self.seconds(),
            Hand::Move(by) => self.ahead += by,
            Hand::Stop => self.stands_at = Some(self.wall()),
            Hand::Right => self.ahead = START,
        }
    }

    /// Somebody sends a message; returns its number among all.
    pub(super) fn send(&mut self, mail: Mail, when: Duration) -> usize {
        let token = self.judge.arrives(mail, when);
        self.intakes.push(Intake::new(token, when));
        self.intakes.len() - 1
    }

    /// Whether a message is in the queue; `None`: not yet.
    pub(super) fn is_sent(&self, place: usize) -> Option<bool> {
        let intake = &self.intakes[place];
        match intake.step() {
            Step::Over => Some(!intake.has_failed),
            _ => None,
        }
    }

    /// Something must not be.
    pub(super) fn fail(&mut self, text: impl Into<String>) {
        self.failure.get_or_insert(text.into());
        self.is_over = true;
    }

    /// Tells of something in the log of a run that is looked at.
    pub(super) fn tell(&mut self, what: &str, name: &[u8]) {
        if self.story.is_told {
            self.hear_log();
            let name = String::from_utf8_lossy(name);
            let line = format!("{:?} [{}] {what} {name}\n", self.time, self.baton);
            self.said.extend_from_slice(line.as_bytes());
        }
    }

    fn hear_log(&mut self) {
        if let Some(log) = &self.log {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = sys::fd::read(log, &mut piece) {
                self.said.extend_from_slice(&piece[..count]);
            }
        }
    }

    fn must<T>(&mut self, verdict: Result<T, String>) -> Option<T> {
        verdict.map_err(|text| self.fail(text)).ok()
    }

    /// One call of qmail-send: it takes a moment, and a disaster may come with it.
    pub(super) fn count_call(&mut self) {
        self.calls += 1;
        self.time += Duration::from_micros(5);
        if !self.is_calm()
            && let Some(&(at, disaster)) = self.story.disasters.first()
            && self.calls >= at
        {
            self.story.disasters.remove(0);
            self.befall(disaster);
        }
    }

    fn befall(&mut self, disaster: Disaster) {
        self.tell("disaster", format!("{disaster:?}").as_bytes());
        match disaster {
            Disaster::Cut | Disaster::Kill => {
                self.ending = Ending::Disaster(disaster);
                self.judge.crashes(self.time, self.story.window());
                self.is_over = true;
            }
            Disaster::Term => self.signal(Signal::SIGTERM),
            Disaster::Spawner(n) => self.spawners[n].dies = Some(self.time),
            Disaster::Cleaner => {
                self.lost_cleaner.get_or_insert(self.time);
                if let Some(cleaner) = &mut self.cleaner {
                    cleaner.die();
                }
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        self.signals.push(signal);
        self.has_signal = true;
    }

    /// Whether a call fails because the disk does.
    pub(super) fn fails(&mut self) -> bool {
        self.story.faults > 0 && !self.is_calm() && self.chance.one_in(self.story.faults)
    }

    /// The loop goes to wait: what has it written, and has it been here too often?
    pub(super) fn turn_ends(&mut self) {
        self.hear_log();
        if let Some(cleaner) = &mut self.cleaner {
            let was_idle = cleaner.due().is_none();
            cleaner.hear();
            if was_idle {
                cleaner.next = self.time + self.chance.time(self.story.cleaning);
            }
        }
        for n in 0..self.spawners.len() {
            for order in self.spawners[n].hear() {
                self.begin(n, order);
            }
        }
        self.turns += 1;
        if self.last_turn == self.time {
            self.turns_at_once += 1;
        } else {
            self.turns_at_once = 0;
            self.last_turn = self.time;
        }
        let hour = self.time.as_secs() / 3_600;
        if self.hour.0 != hour {
            self.hour = (hour, self.turns, self.events);
        }
        let (turns, events) = (self.turns - self.hour.1, self.events - self.hour.2);
        if self.turns_at_once > TURNS_AT_ONCE || turns > TURNS_AN_HOUR + TURNS_FOR_EACH * events {
            self.fail(format!(
                "it spins: {turns} turns, {events} events, at {:?}",
                self.time
            ));
        }
        self.see_whether_done();
    }

    fn see_whether_done(&mut self) {
        if !self.is_calm() || self.ending == Ending::Drained {
            return;
        }
        if self.is_drained() {
            self.ending = Ending::Drained;
            self.signal(Signal::SIGTERM);
        } else if self.time
            > self.story.calm + Duration::from_secs(200_000 + self.story.lifetime / 4)
        {
            let left = self.left();
            self.fail(format!("stuck: {left:?}"));
        }
    }

    /// Messages that qmail-send has to do with.
    fn left(&self) -> Vec<Bytes> {
        let dirs = [Part::Todo, Part::Info]
            .map(|p| self.layout.dirs(p))
            .concat();
        dirs.iter()
            .flat_map(|d| self.disk.names(d).unwrap())
            .collect()
    }

    fn is_drained(&self) -> bool {
        self.left().is_empty()
            && self.intakes.iter().all(|i| i.step() == Step::Over)
            && self.cleaner.as_ref().is_none_or(|c| c.due().is_none())
            && matches!(self.actors[DISK], State::Idle)
    }

    /// A delivery is ordered.
    fn begin(&mut self, n: usize, order: Order) {
        let path = [b"mess/", order.message.as_slice()].concat();
        let Ok(file) = self.disk.find(&path) else {
            let number = order.number;
            return self.fail(format!("delivery {number} of nothing: {path:?}"));
        };
        if !self.disk.is_safe(&path) || !self.has_safe_envelope(n, &order.message) {
            return self.fail(format!("delivery of {path:?}, which is not durable"));
        }
        let text = self.disk.bytes(file).to_vec();
        let channel = self.spawners[n].channel;
        let (sender, to) = (order.sender.as_slice(), order.recipients.as_slice());
        let verdict = self.judge.starts(channel, &text, (sender, to), self.time);
        let Some(all) = self.must(verdict) else {
            return;
        };
        if let Some(mut attempt) = order.attempt {
            if self.story.mutant == Mutant::DoubtLost {
                attempt.past = Past::Clean;
            }
            let verdict = self.judge.attempts(channel, &all, attempt);
            self.must(verdict);
        }
        let is_calm = self.is_calm();
        let letters: Vec<u8> = (order.recipients.iter())
            .map(|r| self.story.letter(r, is_calm, &mut self.chance))
            .collect();
        let mut takes = self.chance.time(self.story.delivery);
        if order.recipients[0].ends_with(b"slow.test") {
            takes += Duration::from_secs(30);
        }
        self.spawners[n].running.push(Running {
            number: order.number,
            all: all.into_iter().zip(letters).collect(),
            until: self.time + takes,
        });
    }

    /// Whether a power cut now would leave the envelope.
    fn has_safe_envelope(&self, n: usize, message: &[u8]) -> bool {
        let id = message.rsplit(|&b| b == b'/').next().unwrap();
        let id = queue::names::MessageId::parse(id).unwrap();
        if let Ok(todo) = self.disk.find(&self.layout.path(Part::Todo, id)) {
            return self.disk.has_safe_contents(todo);
        }
        let part = if n == 0 { Part::Local } else { Part::Remote };
        self.disk.is_safe(&self.layout.path(Part::Info, id))
            && self.disk.is_safe(&self.layout.path(part, id))
    }

    /// Chooses who moves, and moves those without a thread.
    pub(super) fn pick(&mut self) -> Pick {
        self.hand_out();
        let ready: Vec<usize> = (0..ACTORS).filter(|&n| self.is_ready(n)).collect();
        let others = self.others();
        let due: Vec<Other> = (others.iter())
            .filter(|(when, _)| *when <= self.time)
            .map(|(_, other)| *other)
            .collect();
        let count = ready.len() + due.len();
        if count > 0 {
            let choice = self.chance.index(count);
            if let Some(&actor) = ready.get(choice) {
                return Pick::Actor(actor);
            }
            self.events += 1;
            self.move_other(due[choice - ready.len()]);
            return Pick::Moved;
        }
        let busy = self.actors.iter().filter_map(|a| match a {
            State::Until(when) | State::Waiting(_, when) => Some(*when),
            _ => None,
        });
        let next = busy.chain(others.iter().map(|(when, _)| *when)).min();
        // The loop always waits for a time.
        self.time = self.time.max(next.unwrap());
        Pick::Moved
    }

    fn is_ready(&self, n: usize) -> bool {
        match &self.actors[n] {
            State::Ready => true,
            State::Until(when) => *when <= self.time,
            State::Idle => false,
            State::Posting(place) => self.is_sent(*place).is_some(),
            State::Waiting(list, until) => {
                *until <= self.time
                    || self.has_signal
                    || sys::poll::wait(&mut list.clone(), Some(Duration::ZERO)).unwrap() > 0
            }
        }
    }

    /// Gives work to threads that have none.
    fn hand_out(&mut self) {
        let Some(OrdersOf(orders)) = &self.orders else {
            return;
        };
        if matches!(self.actors[DISK], State::Idle)
            && let Ok(chore) = orders.chores.try_recv()
        {
            self.chore = Some(chore);
            let when = self.time + self.chance.time(self.story.sync);
            self.actors[DISK] = State::Until(when);
        }
        for (n, &postman) in POSTMEN.iter().enumerate() {
            if matches!(self.actors[postman], State::Idle)
                && let Ok(letter) = orders.letters.try_recv()
            {
                self.letters[n] = Some(letter);
                let when = self.time + self.chance.time(self.story.sync);
                self.actors[postman] = State::Until(when);
            }
        }
    }

    /// Everybody without a thread, and when they have something to do.
    fn others(&self) -> Vec<(Duration, Other)> {
        let mut all = Vec::new();
        for (n, spawner) in self.spawners.iter().enumerate() {
            all.extend(spawner.due().map(|when| (when, Other::Spawner(n))));
        }
        let cleaner = self.cleaner.as_ref().and_then(Cleaner::due);
        all.extend(cleaner.map(|when| (when, Other::Cleaner)));
        for (n, intake) in self.intakes.iter().enumerate() {
            if intake.step() != Step::Over {
                all.push((intake.next, Other::Intake(n)));
            }
        }
        all.extend(
            self.story
                .hands
                .first()
                .map(|(when, _)| (*when, Other::Hand)),
        );
        all.extend(self.story.alarms.first().map(|when| (*when, Other::Alarm)));
        all
    }

    fn move_other(&mut self, other: Other) {
        match other {
            Other::Spawner(n) => self.move_spawner(n),
            Other::Cleaner => {
                let refuses = self.story.faults > 0 && !self.is_calm() && self.chance.one_in(9);
                if let Some(cleaner) = &mut self.cleaner {
                    let is_mutant = self.story.mutant == Mutant::MessageTooSoon;
                    cleaner.step(&mut self.disk, self.layout, refuses, is_mutant);
                    cleaner.next = self.time + self.chance.time(self.story.cleaning);
                }
            }
            Other::Intake(n) => self.move_intake(n),
            Other::Hand => {
                let (_, hand) = self.story.hands.remove(0);
                self.tell("clock", format!("{hand:?}").as_bytes());
                self.set_clock(hand);
            }
            Other::Alarm => {
                self.story.alarms.remove(0);
                self.signal(Signal::SIGALRM);
            }
        }
    }

    fn move_spawner(&mut self, n: usize) {
        let time = self.time;
        let spawner = &mut self.spawners[n];
        if spawner.dies.is_some_and(|when| when <= time) {
            self.judge.crashes(time, Duration::ZERO);
            let left = spawner.die();
            return self.forget(left);
        }
        let ended = spawner.running.iter().position(|r| r.until <= time);
        let channel = spawner.channel;
        if let Some(place) = ended {
            let Running { number, all, .. } = spawner.running.swap_remove(place);
            for (who, letter) in &all {
                self.judge.delivered(*who, *letter, time);
            }
            spawner.report(number, all);
            if self.chance.one_in(30) {
                spawner.babble();
            }
        } else {
            for all in spawner.write(&mut self.chance) {
                self.judge.reported(channel, &all, time);
            }
        }
        self.spawners[n].looks = time + self.chance.time(Duration::from_millis(20));
    }

    /// Deliveries whose reports nobody will hear; they may still have happened.
    fn forget(&mut self, left: Vec<Running>) {
        for Running { all, .. } in left {
            let happens = self.chance.one_in(2);
            for (who, letter) in all.into_iter().filter(|_| happens) {
                self.judge.delivered(who, letter, self.time);
            }
        }
    }

    fn move_intake(&mut self, n: usize) {
        let token = self.intakes[n].token;
        let mail = self.judge.mail(token);
        let mut envelope = [b"u1\0p1\0", record(b'F', &mail.sender).as_slice()].concat();
        for recipient in &mail.recipients {
            envelope.extend(record(b'T', recipient));
        }
        let load = Load {
            text: &self.judge.text(token),
            envelope: &envelope,
            wall: self.wall(),
            forgets: self.story.mutant == Mutant::TodoUnsettled,
        };
        let intake = &mut self.intakes[n];
        let step = intake.step();
        intake.act(&mut self.disk, self.layout, &mut self.chance, &load);
        intake.next = self.time + self.chance.time(2 * self.story.sync);
        let name = intake.name();
        self.tell(&format!("qmail-queue {step:?} token {token}"), &name);
        let intake = &self.intakes[n];
        match step {
            Step::Publish if !intake.has_failed => {
                self.news
                    .iter_mut()
                    .for_each(|n| n.push_back(News::Name(name.clone())));
            }
            Step::Acknowledge => {
                let verdict = self.judge.acknowledged(token, self.time);
                self.must(verdict);
            }
            Step::Pull => {
                if let Some(trigger) = &self.trigger {
                    let _ = sys::fd::write(trigger, &[0]);
                }
            }
            _ => {}
        }
    }

    /// After a life: what is left of everybody else.
    pub(super) fn fall(&mut self) {
        if let Some(when) = self.lost_cleaner.take() {
            // What was in memory then can neither be converted nor end.
            let window = self.story.window() + self.time.saturating_sub(when);
            self.judge.crashes(self.time, window);
        }
        for mut spawner in std::mem::take(&mut self.spawners) {
            let left = spawner.die();
            self.forget(left);
        }
        self.judge.all_end();
        if let Some(cleaner) = &mut self.cleaner {
            cleaner.die();
        }
        if self.ending == Ending::Disaster(Disaster::Cut) {
            self.disk.lose_power(&mut self.chance);
            for intake in &mut self.intakes {
                if intake.next <= self.time || intake.has_begun() {
                    intake.end();
                }
            }
        }
        self.signals.clear();
        self.has_signal = false;
        self.trigger = None;
        self.news = None;
        self.log = None;
        self.time += Duration::from_secs(1) + self.chance.time(Duration::from_secs(5));
    }

    /// A new life: the others are there.
    pub(super) fn rise(&mut self, spawners: [(OwnedFd, OwnedFd); 2], cleaner: (OwnedFd, OwnedFd)) {
        let mut channels = [Channel::Local, Channel::Remote].into_iter();
        self.spawners = spawners
            .into_iter()
            .enumerate()
            .map(|(n, pipes)| {
                let channel = channels.next().unwrap();
                Spawner::new(channel, pipes, self.story.is_ours[n], self.story.able[n])
            })
            .collect();
        self.cleaner = Some(Cleaner::new(cleaner));
        self.actors = [const { State::Idle }; ACTORS];
        self.baton = LOOP;
        self.is_over = false;
        self.ending = Ending::Exit;
    }
}
