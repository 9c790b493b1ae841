//! Lives of qmail-send on the stage, until the queue is empty.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use base::Bytes;
use recipient::Rewrite;

use super::chance::Chance;
use super::judge::{CAPPED, RATED};
use super::scene::{Ending, OrdersOf, Scene};
use super::stage::{DISK, Killed, LOOP, POSTMEN, Queue, Stage, State, Surroundings, pipe};
use super::story::Story;
use crate::send::bounce::{Envelope, Fate};
use crate::send::channel::Pair;
use crate::send::cleaner::Cleaner;
use crate::send::log::Log;
use crate::send::settings::{Destinations, Settings};
use crate::send::workers::{Done, Orders, Results, Workers};
use crate::send::{Means, Send};

use super::judge::Mail;

/// The most lives of one run.
const LIVES: usize = 20;

/// A run that is over.
pub(super) struct Run {
    pub(super) failure: Option<String>,
    pub(super) scene: Scene,
}

/// Plays a story to its end.
pub(super) fn play(story: Story, chance: Chance) -> Run {
    let stage = Stage::new(Scene::new(story, chance));
    for _ in 0..LIVES {
        live(&stage);
        let mut scene = stage.scene();
        if scene.failure.is_some() || scene.ending == Ending::Drained {
            break;
        }
        scene.fall();
    }
    let stage = Arc::into_inner(stage).unwrap();
    let mut scene = stage.into_scene();
    let mut failure = scene.failure.take();
    if failure.is_none() && scene.ending != Ending::Drained {
        failure = Some("it does not live".to_owned());
    }
    let failure = failure.or_else(|| scene.judge.ends(scene.time).err());
    Run { failure, scene }
}

/// What qmail-send is made of in a new life, with everybody else at the other ends; and what its threads have.
fn rise(stage: &Arc<Stage>) -> (Means, Log, Results) {
    let (workers, orders) = Workers::connect().unwrap();
    let results = orders.results.clone();
    let (log_from, log_to) = pipe();
    sys::fd::nonblocking(&log_from, true).unwrap();
    sys::fd::nonblocking(&log_to, true).unwrap();
    let pairs = [pipe(), pipe(), pipe(), pipe(), pipe(), pipe()];
    let [
        to_local,
        from_local,
        to_remote,
        from_remote,
        to_clean,
        from_clean,
    ] = pairs;
    for fd in [&to_local.1, &to_remote.1] {
        sys::fd::nonblocking(fd, true).unwrap();
    }
    let mut scene = stage.scene();
    scene.rise(
        [(to_local.0, from_local.1), (to_remote.0, from_remote.1)],
        (to_clean.0, from_clean.1),
    );
    scene.orders = Some(OrdersOf(orders));
    scene.log = Some(log_from);
    let (layout, story) = (scene.layout, scene.story.clone());
    drop(scene);
    let count = |n: usize| story.wanted[n] as u64;
    let able = |n: usize| u8::try_from(story.able[n]).unwrap();
    let means = Means {
        world: Box::new(Surroundings(Arc::clone(stage))),
        queue: Box::new(Queue(Arc::clone(stage))),
        layout,
        settings: settings(story.lifetime),
        rewrite: Rewrite::from_texts(b"here", b"", b"here", b""),
        destinations: destinations(),
        workers,
        cleaner: Cleaner::new(to_clean.1, from_clean.0).unwrap(),
        to: Pair::new(to_local.1, to_remote.1),
        from: Pair::new(from_local.0, from_remote.0),
        wanted: Pair::new(count(0), count(1)),
        able: Pair::new(able(0), able(1)),
    };
    (means, Log::new(Some(log_to)), results)
}

/// A qmail-send that does nothing by itself, and whose threads are played by the caller.
pub(super) fn alone(story: Story, chance: Chance) -> (Arc<Stage>, Orders, Send) {
    let stage = Stage::new(Scene::new(story, chance));
    let (means, log, _) = rise(&stage);
    drop(stage.enter(LOOP));
    let OrdersOf(orders) = stage.scene().orders.take().unwrap();
    let send = Send::assemble(means, log);
    (stage, orders, send)
}

/// One life.
fn live(stage: &Arc<Stage>) {
    let (means, log, results) = rise(stage);
    let layout = means.layout;
    std::thread::scope(|scope| {
        let disk = results.clone();
        scope.spawn(move || {
            mortal(stage, || {
                drop(stage.enter(DISK));
                loop {
                    let chore = stage.scene().chore.take().unwrap();
                    chore.run(&Queue(Arc::clone(stage)), layout, |done| {
                        drop(stage.turn(State::Ready));
                        disk.give(done);
                    });
                    drop(stage.turn(State::Idle));
                }
            });
        });
        for (n, me) in POSTMEN.into_iter().enumerate() {
            let results = results.clone();
            scope.spawn(move || {
                mortal(stage, || {
                    drop(stage.enter(me));
                    loop {
                        let letter = stage.scene().letters[n].take().unwrap();
                        let mut draft = Draft::default();
                        letter.fill(&Queue(Arc::clone(stage)), layout, &mut draft);
                        let fate = carry(stage, draft);
                        results.give(Done::Bounced(letter.id, fate));
                        drop(stage.turn(State::Idle));
                    }
                });
            });
        }
        mortal(stage, || {
            drop(stage.enter(LOOP));
            let mut send = Send::assemble(means, log);
            send.serve();
            send.leave();
        });
        stage.scene().is_over = true;
        stage.wake_all();
    });
    let mut scene = stage.scene();
    // Files in there let go of the stage, which must be free for that.
    let unfinished = (scene.orders.take(), scene.chore.take());
    scene.letters = [None, None];
    drop(scene);
    drop(unfinished);
}

/// Runs until it is over or killed; anything else is a failure.
fn mortal(stage: &Stage, life: impl FnOnce()) {
    let Err(end) = catch_unwind(AssertUnwindSafe(life)) else {
        return;
    };
    if !end.is::<Killed>() {
        stage.scene().fail("panic");
        stage.wake_all();
    }
}

fn settings(lifetime: u64) -> Settings {
    Settings {
        lifetime: i64::try_from(lifetime).unwrap(),
        bounce_from: b"MAILER-DAEMON".to_vec(),
        bounce_host: b"here".to_vec(),
        double_bounce_to: Some(b"postmaster@here".to_vec()),
    }
}

fn destinations() -> Destinations {
    let mut all = Destinations::default();
    let line = |name: &[u8], colons, count| [name, colons, format!("{count}").as_bytes()].concat();
    all.add(&line(CAPPED.0, b":".as_slice(), CAPPED.1));
    all.add(&line(RATED.0, b"::", RATED.1));
    all
}

/// A bounce that is being written.
#[derive(Debug, Default)]
struct Draft {
    text: Bytes,
    envelope: Option<(Bytes, Bytes)>,
    has_failed: bool,
}

impl Envelope for Draft {
    fn write(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    fn address(&mut self, from: &[u8], to: &[u8]) {
        self.envelope = Some((from.to_vec(), to.to_vec()));
    }

    fn fail(&mut self) {
        self.has_failed = true;
    }

    fn has_failed(&self) -> bool {
        self.has_failed
    }
}

/// Hands a bounce to qmail-queue.
fn carry(stage: &Stage, draft: Draft) -> Fate {
    let mut scene = stage.turn(State::Ready);
    let refuses = !scene.is_calm() && scene.chance.one_in(12);
    let (Some((sender, to)), false) = (draft.envelope, draft.has_failed || refuses) else {
        return if scene.chance.one_in(2) {
            Fate::Refused
        } else {
            Fate::NotStarted
        };
    };
    let time = scene.time;
    let place = scene.send(
        Mail {
            sender,
            recipients: vec![to],
            text: draft.text,
        },
        time,
    );
    drop(scene);
    let scene = stage.turn(State::Posting(place));
    match scene.is_sent(place) {
        Some(true) => Fate::Sent(1),
        _ => Fate::Refused,
    }
}
