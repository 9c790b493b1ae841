//! Numbers come again: what is known of a message must end with it, and not be taken for something of the next one.

use std::sync::Arc;

use queue::names::{MessageId, Part};
use recipient::Rewrite;

use super::chance::Chance;
use super::life::alone;
use super::stage::Stage;
use super::story::Story;
use crate::send::channel::{BOTH, Channel};
use crate::send::workers::{Done, Orders};
use crate::send::{Send, cleaner, fresh};

/// A qmail-send that a test plays with, and one message.
struct Play {
    stage: Arc<Stage>,
    orders: Orders,
    send: Send,
    id: MessageId,
}

impl Play {
    fn new() -> Play {
        let mut chance = Chance::new(1);
        let mut story = Story::new(&mut chance);
        (story.mails, story.disasters) = (Vec::new(), Vec::new());
        (story.hands, story.alarms) = (Vec::new(), Vec::new());
        let (stage, orders, send) = alone(story, chance);
        let id = MessageId::new(7).unwrap();
        Play {
            stage,
            orders,
            send,
            id,
        }
    }

    /// Puts a part of the message on the disk.
    fn put(&self, part: Part, text: &[u8]) {
        let mut scene = self.stage.scene();
        let (path, wall) = (scene.layout.path(part, self.id), scene.wall());
        let super::scene::Scene { disk, chance, .. } = &mut *scene;
        let file = disk.create(&path, wall, chance).unwrap();
        disk.write(file, 0, text, wall);
    }

    fn remove(&self, part: Part) {
        let mut scene = self.stage.scene();
        let path = scene.layout.path(part, self.id);
        let _ = scene.disk.unlink(&path);
    }

    /// The message stands in todo, with this recipient, and waits for room on a channel.
    fn park(&mut self, recipient: &str, channel: Channel) {
        self.put(Part::Mess, b"m");
        let envelope = format!("u1\0p1\0Fs@x.test\0T{recipient}\0");
        self.put(Part::Todo, envelope.as_bytes());
        let desk = &mut self.send.desk;
        desk.fresh.park(self.id, channel, desk.recent);
        self.schedule(channel);
    }

    fn schedule(&mut self, channel: Channel) {
        let desk = &mut self.send.desk;
        let queue = desk.schedule.channels.of_mut(channel);
        queue.insert(self.id, desk.recent);
    }

    /// Lets time pass.
    fn wait(&mut self, seconds: u64) {
        self.stage.scene().time += std::time::Duration::from_secs(seconds);
        self.send.desk.look_at_clocks();
    }

    /// Opens and reads what is due; nothing is delivered.
    fn pass(&mut self) {
        let Send {
            desk,
            passes,
            del,
            comm,
            ..
        } = &mut self.send;
        passes.act(desk, del, comm);
    }

    /// Does what the thread for the disk has been given, and says so.
    fn write(&mut self) {
        let desk = &mut self.send.desk;
        fresh::flush(desk);
        while let Ok(chore) = self.orders.chores.try_recv() {
            let mut all = Vec::new();
            chore.run(desk.queue.as_ref(), desk.layout, |done| all.push(done));
            for done in all {
                if let Done::Converted(id, result) = done {
                    fresh::converted(desk, id, result);
                }
            }
        }
    }

    /// Messages scheduled on each channel.
    fn scheduled(&self) -> [bool; 2] {
        let channels = &self.send.desk.schedule.channels;
        BOTH.map(|channel| !channels.of(channel).is_empty())
    }

    /// Jobs that are open.
    fn jobs(&self) -> [bool; 2] {
        BOTH.map(|channel| self.send.desk.jobs.is_open(channel, self.id))
    }

    /// Requests that have gone to qmail-clean.
    fn requests(&mut self) -> usize {
        cleaner::push(&mut self.send.desk);
        let mut scene = self.stage.scene();
        let cleaner = scene.cleaner.as_mut().unwrap();
        cleaner.hear();
        cleaner.requests()
    }
}

#[test]
fn a_message_that_cannot_be_read_waits_where_it_has_recipients() {
    let mut play = Play::new();
    play.park("u@a.test", Channel::Remote);
    play.stage.scene().story.faults = 1;
    play.pass();
    play.stage.scene().story.faults = 0;
    assert_eq!(play.scheduled(), [false, true]);
    play.wait(124);
    play.pass();
    assert_eq!((play.scheduled(), play.jobs()), ([false; 2], [false, true]));
}

#[test]
fn what_stays_in_the_schedule_of_a_message_is_not_taken_for_the_next_one() {
    let mut play = Play::new();
    play.park("u@a.test", Channel::Remote);
    // Another control/locals has been read since then.
    play.send.desk.rewrite = Rewrite::from_texts(b"here", b"", b"a.test", b"");
    play.wait(61);
    fresh::act(&mut play.send.desk);
    play.write();
    play.remove(Part::Todo);
    fresh::cleaned(&mut play.send.desk, play.id, true);
    assert_eq!(play.scheduled(), [true, true]);

    // Its end; and a later one, which has its own turn.
    for part in [Part::Info, Part::Local] {
        play.remove(part);
    }
    play.put(Part::Info, b"Fs@x.test\0");
    play.put(Part::Remote, b"Tu@a.test\0");
    play.schedule(Channel::Remote);
    play.wait(1);
    let turn = |play: &mut Play| {
        let desk = &mut play.send.desk;
        let id = desk.schedule.channels.of_mut(Channel::Remote);
        let id = id.take_due(desk.recent).unwrap();
        fresh::reopen(desk, &mut play.send.del, Channel::Remote, id)
    };
    assert!(turn(&mut play));
    assert!(!turn(&mut play));
}

#[test]
fn without_recipients_nothing_is_tried_for_ever() {
    let mut play = Play::new();
    play.put(Part::Info, b"Fs@x.test\0");
    play.schedule(Channel::Local);
    play.pass();
    assert_eq!(play.scheduled(), [false, false]);
    // And it has come to its end.
    assert!(play.send.desk.settle.is_leaving(play.id));
}

#[test]
fn nobody_is_tried_while_he_is_being_tried() {
    let mut play = Play::new();
    play.put(Part::Info, b"Fs@x.test\0");
    play.put(Part::Remote, b"Tu@a.test\0");
    play.schedule(Channel::Remote);
    play.pass();
    let jobs = play.send.desk.jobs.number_for_tests();
    play.schedule(Channel::Remote);
    play.pass();
    assert_eq!((play.scheduled(), play.jobs()), ([false; 2], [false, true]));
    assert_eq!(play.send.desk.jobs.number_for_tests(), jobs);
}

#[test]
fn a_message_that_leaves_is_not_litter() {
    let mut play = Play::new();
    play.put(Part::Mess, b"m");
    play.wait(200_000);
    let moment = play.send.desk.moment;
    let id = play.id;
    play.send.desk.settle.end(id, moment);
    play.send.cleanup.act(&mut play.send.desk);
    assert_eq!(play.requests(), 0);
    play.send.desk.settle.left(id);
    play.wait(100_000);
    play.send.cleanup.act(&mut play.send.desk);
    assert_eq!(play.requests(), 1);
}
