//! The stage: one at a time goes on, and chance says who.
//!
//! qmail-send's loop and its threads are real threads, but only the one with the baton runs; it gives the baton up where it
//! touches the disk, waits, or has nothing to do. Everybody else (spawners, qmail-clean, qmail-queue, whoever
//! sets the clock) is moved by whoever has the baton. Time passes when nobody can do anything before it does.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base::Bytes;
use queue::names::Layout;
use sys::Stat;
use sys::poll::Wait;
use sys::signal::Signal;
use sys::watch::News;

use super::scene::{Pick, Scene};
use super::story::Mutant;
use crate::send::files::{Files, Names, Open, Purpose};
use crate::send::world::{Ear, World};

/// Who has threads: the loop, the disk, two postmen.
pub(super) const LOOP: usize = 0;
pub(super) const DISK: usize = 1;
pub(super) const POSTMEN: [usize; 2] = [2, 3];
pub(super) const ACTORS: usize = 4;

/// What somebody with a thread is doing.
#[derive(Debug)]
pub(super) enum State {
    Ready,
    /// busy until then
    Until(Duration),
    /// the loop, in its wait
    Waiting(Vec<Wait>, Duration),
    /// a thread without work
    Idle,
    /// a postman, until this message is in the queue or not
    Posting(usize),
}

/// With this a thread ends that is killed.
#[derive(Debug)]
pub(super) struct Killed;

thread_local! {
    static ME: Cell<usize> = const { Cell::new(LOOP) };
}

#[derive(Debug)]
pub(super) struct Stage {
    scene: Mutex<Scene>,
    bells: [Condvar; ACTORS],
    origin: Instant,
}

impl Stage {
    pub(super) fn new(scene: Scene) -> Arc<Stage> {
        Arc::new(Stage {
            scene: Mutex::new(scene),
            bells: [const { Condvar::new() }; ACTORS],
            origin: Instant::now(),
        })
    }

    /// When the play is over.
    pub(super) fn into_scene(self) -> Scene {
        self.scene.into_inner().unwrap()
    }

    pub(super) fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap()
    }

    /// The thread of an actor begins: it waits for the baton.
    pub(super) fn enter(&self, me: usize) -> MutexGuard<'_, Scene> {
        ME.set(me);
        let mut scene = self.scene();
        if me == LOOP {
            scene.baton = LOOP;
            scene.actors[me] = State::Ready;
            return scene;
        }
        while scene.baton != me && !scene.is_over {
            scene = self.bells[me].wait(scene).unwrap();
        }
        self.survive(scene)
    }

    fn survive<'a>(&'a self, scene: MutexGuard<'a, Scene>) -> MutexGuard<'a, Scene> {
        if scene.is_over {
            drop(scene);
            self.wake_all();
            resume_unwind(Box::new(Killed));
        }
        scene
    }

    pub(super) fn wake_all(&self) {
        for bell in &self.bells {
            bell.notify_all();
        }
    }

    /// Gives the baton up, and comes back with it.
    pub(super) fn turn(&self, state: State) -> MutexGuard<'_, Scene> {
        let me = ME.get();
        let mut scene = self.survive(self.scene());
        if matches!(state, State::Ready) && !scene.chance.one_in(6) {
            return scene;
        }
        scene.actors[me] = state;
        loop {
            scene = self.survive(scene);
            match scene.pick() {
                Pick::Moved => {}
                Pick::Actor(next) => {
                    if next != me {
                        scene.baton = next;
                        self.bells[next].notify_one();
                        while scene.baton != me && !scene.is_over {
                            scene = self.bells[me].wait(scene).unwrap();
                        }
                        scene = self.survive(scene);
                    }
                    scene.actors[me] = State::Ready;
                    return scene;
                }
            }
        }
    }

    /// One call of the kernel.
    fn call<T>(&self, act: impl FnOnce(&mut Scene) -> T) -> T {
        let mut scene = self.turn(State::Ready);
        scene.count_call();
        // A disaster may have come.
        let mut scene = self.survive(scene);
        act(&mut scene)
    }

    /// One that changes something, and may fail.
    fn change<T>(&self, act: impl FnOnce(&mut Scene) -> io::Result<T>) -> io::Result<T> {
        self.call(|scene| {
            if scene.fails() {
                return Err(io::Error::from_raw_os_error(5));
            }
            act(scene)
        })
    }

    /// One that waits for the disk.
    fn settle(&self, act: impl FnOnce(&mut Scene, u64) -> io::Result<()>) -> io::Result<()> {
        let (count, until) = self.call(|scene| {
            let longest = scene.story.sync;
            (scene.disk.count(), scene.time + scene.chance.time(longest))
        });
        drop(self.turn(State::Until(until)));
        self.change(|scene| act(scene, count))
    }
}

/// The queue, for one thread.
#[derive(Clone, Debug)]
pub(super) struct Queue(pub(super) Arc<Stage>);

/// An open file of it.
#[derive(Debug)]
struct Held {
    stage: Arc<Stage>,
    file: usize,
    at: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Ok(mut scene) = self.stage.scene.lock() {
            scene.disk.release(self.file);
        }
    }
}

fn stat(scene: &Scene, file: usize) -> Stat {
    let (mtime, atime) = scene.disk.times(file);
    Stat {
        dev: 1,
        ino: scene.disk.number(file),
        uid: 0,
        gid: 0,
        mode: 0o100_600,
        size: scene.disk.bytes(file).len() as u64,
        mtime,
        atime,
        mtime_nsec: 0,
        links: 1,
    }
}

impl Files for Queue {
    fn open(&self, path: &[u8], purpose: Purpose) -> io::Result<Box<dyn Open>> {
        let file = self.0.change(|scene| {
            let wall = scene.wall();
            let Scene { disk, chance, .. } = scene;
            let file = match (purpose, disk.find(path)) {
                (Purpose::New, _) => disk.create(path, wall, chance)?,
                (Purpose::Append, Err(_)) => disk.create(path, wall, chance)?,
                (_, found) => found?,
            };
            disk.hold(file);
            scene.tell(&format!("open {purpose:?}"), path);
            Ok(file)
        })?;
        Ok(Box::new(Held {
            stage: Arc::clone(&self.0),
            file,
            at: 0,
        }))
    }

    fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        self.0.call(|scene| {
            let file = scene.disk.find(path)?;
            Ok(stat(scene, file))
        })
    }

    fn unlink(&self, path: &[u8]) -> io::Result<()> {
        self.0.change(|scene| {
            scene.tell("unlink", path);
            let stays = match scene.story.mutant {
                Mutant::RecipientsStay => path.starts_with(b"remote") || path.starts_with(b"local"),
                Mutant::BounceStays => path.starts_with(b"bounce") || path.starts_with(b"info"),
                _ => false,
            };
            if stays {
                Ok(())
            } else {
                scene.disk.unlink(path)
            }
        })
    }

    fn set_times(&self, path: &[u8], when: i64) -> io::Result<()> {
        self.0.change(|scene| {
            let file = scene.disk.find(path)?;
            scene.disk.set_times(file, when);
            Ok(())
        })
    }

    fn names(&self, dir: &[u8]) -> io::Result<Box<dyn Names>> {
        let names = self.0.change(|scene| {
            let mut names = scene.disk.names(dir)?;
            for n in (1..names.len()).rev() {
                names.swap(n, scene.chance.index(n + 1));
            }
            Ok(names)
        })?;
        Ok(Box::new(names.into_iter().map(Ok)))
    }

    fn sync(&self, dir: &[u8]) -> io::Result<()> {
        self.0.settle(|scene, count| {
            if scene.story.mutant == Mutant::NamesUnsettled {
                return Ok(());
            }
            scene.tell("settled", dir);
            scene.disk.settle_folder(dir, count)
        })
    }
}

impl Read for Held {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (file, at) = (self.file, self.at);
        let count = self.stage.call(|scene| {
            let rest = &scene.disk.bytes(file)[at..];
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            count
        });
        self.at += count;
        Ok(count)
    }
}

impl Open for Held {
    fn stat(&self) -> io::Result<Stat> {
        self.stage.call(|scene| Ok(stat(scene, self.file)))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes;
        self.stage.change(|scene| {
            let end = scene.disk.bytes(self.file).len();
            let wall = scene.wall();
            if scene.story.mutant == Mutant::FirstLost && bytes.first() == Some(&b'T') {
                let first = bytes.iter().position(|&b| b == 0).unwrap();
                bytes = &bytes[first + 1..];
            }
            scene.disk.write(self.file, end, bytes, wall);
            Ok(())
        })
    }

    fn cut(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).unwrap();
        self.stage.change(|scene| {
            scene.disk.cut(self.file, size);
            Ok(())
        })
    }

    fn byte_at(&self, at: u64) -> io::Result<u8> {
        let at = usize::try_from(at).unwrap();
        let byte = |scene: &mut Scene| scene.disk.bytes(self.file).get(at).copied();
        self.stage.call(byte).ok_or(ErrorKind::UnexpectedEof.into())
    }

    fn set_byte_at(&self, at: u64, byte: u8) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        self.stage.change(|scene| {
            if scene.story.mutant != Mutant::Unmarked {
                let wall = scene.wall();
                scene.tell("mark at", at.to_string().as_bytes());
                scene.disk.write(self.file, at, &[byte], wall);
            }
            Ok(())
        })
    }

    fn start_sync(&self) {}

    fn sync(&self) -> io::Result<()> {
        self.stage.settle(|scene, count| {
            if scene.story.mutant != Mutant::ContentsUnsettled {
                scene.disk.settle_file(self.file, count);
            }
            Ok(())
        })
    }
}

/// The surroundings of the loop.
#[derive(Debug)]
pub(super) struct Surroundings(pub(super) Arc<Stage>);

impl World for Surroundings {
    fn now(&self) -> i64 {
        self.0.scene().wall()
    }

    fn instant(&self) -> Instant {
        self.0.origin + self.0.scene().time
    }

    fn wait(&self, list: &mut Vec<Wait>, limit: Duration) -> io::Result<()> {
        let mut scene = self.0.scene();
        scene.turn_ends();
        let until = if scene.story.mutant == Mutant::NoWait {
            scene.time
        } else {
            scene.time + limit
        };
        drop(scene);
        let mut scene = self.0.turn(State::Waiting(list.clone(), until));
        if std::mem::take(&mut scene.has_signal) && scene.chance.one_in(2) {
            return Err(ErrorKind::Interrupted.into());
        }
        drop(scene);
        sys::poll::wait(list, Some(Duration::ZERO)).map(drop)
    }

    fn pending(&self, signal: Signal) -> bool {
        let signals = &mut self.0.scene().signals;
        let place = signals.iter().position(|s| *s == signal);
        place.map(|p| signals.remove(p)).is_some()
    }

    fn trigger(&self) -> Option<std::fs::File> {
        let (from, to) = sys::fd::pipe().unwrap();
        sys::fd::nonblocking(&from, true).unwrap();
        self.0.scene().trigger = Some(to);
        Some(from.into())
    }

    fn ear(&self, _: &[Bytes]) -> Option<Box<dyn Ear>> {
        let mut scene = self.0.scene();
        scene.news = scene.story.has_ear.then(VecDeque::new);
        let has_ear = scene.news.is_some();
        drop(scene);
        has_ear.then(|| Box::new(Heard(Arc::clone(&self.0))) as Box<dyn Ear>)
    }
}

/// News of names.
#[derive(Debug)]
struct Heard(Arc<Stage>);

impl Ear for Heard {
    fn hear(&self) -> Vec<News> {
        let mut scene = self.0.scene();
        if scene.chance.one_in(20) {
            scene.news = Some(VecDeque::new());
            return vec![News::Lost];
        }
        let news = scene.news.as_mut();
        news.map(|n| n.drain(..).collect()).unwrap_or_default()
    }
}

/// A pipe: the end to read from, and the one to write to.
pub(super) fn pipe() -> (OwnedFd, OwnedFd) {
    sys::fd::pipe().unwrap()
}

/// How the queue lies.
pub(super) fn layout(big_todo: bool) -> Layout {
    Layout { split: 2, big_todo }
}
