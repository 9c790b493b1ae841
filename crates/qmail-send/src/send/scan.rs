//! The scan at the start: what an earlier qmail-send left in the queue is scheduled, a piece at a time, while mail is
//! already being taken in and delivered.

use std::io::ErrorKind;

use base::Bytes;
use queue::names::{MessageId, Part};
use sys::Stat;

use super::channel::{BOTH, Channel};
use super::desk::Desk;
use super::files::Names;
use super::plan::Plan;
use super::{DIRECTORY_PAUSE, SYSTEM_FAILURE};

/// Names looked at in one turn.
const STEPS: usize = 200;

/// Goes through the numbers in the directories of one part.
#[derive(Debug)]
pub(crate) struct Walk {
    /// directories still to be read, the next one last
    dirs: Vec<Bytes>,
    entries: Option<Box<dyn Names>>,
    /// not before this time: a directory could not be opened
    pause_until: i64,
    /// every directory was read to its end
    is_whole: bool,
}

/// What a step of a walk found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// a message
    Found(MessageId),
    /// nothing of interest, but there is more
    Nothing,
    /// a pause
    Pause,
    /// no more
    End,
}

impl Walk {
    pub(crate) fn new(mut dirs: Vec<Bytes>) -> Walk {
        dirs.reverse();
        Walk {
            dirs,
            entries: None,
            pause_until: i64::MIN,
            is_whole: true,
        }
    }

    /// When to go on.
    pub(crate) fn due(&self) -> i64 {
        self.pause_until
    }

    /// Whether all names were there to be seen, so far.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Looks at one more name.
    pub(crate) fn step(&mut self, desk: &mut Desk) -> Step {
        if desk.recent < self.pause_until {
            return Step::Pause;
        }
        if let Some(entries) = &mut self.entries {
            return match entries.next() {
                Some(Ok(name)) => MessageId::parse(&name).map_or(Step::Nothing, Step::Found),
                end @ (Some(Err(_)) | None) => {
                    self.is_whole &= end.is_none();
                    self.entries = None;
                    self.dirs.pop();
                    Step::Nothing
                }
            };
        }
        let Some(dir) = self.dirs.last() else {
            return Step::End;
        };
        match desk.queue.names(dir) {
            Ok(entries) => self.entries = Some(entries),
            Err(e) => {
                let text = [b"unable to opendir ", dir.as_slice()].concat();
                if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
                    desk.log
                        .alert([&text, b", skipping it".as_slice()].concat());
                    self.dirs.pop();
                } else {
                    desk.log
                        .alert([&text, b", sleeping...".as_slice()].concat());
                    self.pause_until = desk.recent.saturating_add(DIRECTORY_PAUSE);
                }
            }
        }
        Step::Nothing
    }
}

/// The scan of `info`.
#[derive(Debug)]
pub(crate) struct Scan {
    walk: Option<Walk>,
}

impl Scan {
    /// Begins.
    pub(crate) fn new(desk: &mut Desk) -> Scan {
        desk.schedule.is_scanning = true;
        Scan {
            walk: Some(Walk::new(desk.layout.dirs(Part::Info))),
        }
    }

    pub(crate) fn prepare(&self, desk: &Desk, plan: &mut Plan) {
        if let Some(walk) = &self.walk
            && !desk.is_stopping
        {
            plan.wake_at(walk.due().max(desk.recent));
        }
    }

    pub(crate) fn act(&mut self, desk: &mut Desk) {
        let Some(walk) = &mut self.walk else { return };
        for _ in 0..STEPS {
            if desk.is_stopping {
                return;
            }
            match walk.step(desk) {
                Step::Found(id) => add(desk, id),
                Step::Nothing => {}
                Step::Pause => return,
                Step::End => {
                    self.walk = None;
                    desk.schedule.is_scanning = false;
                    return;
                }
            }
        }
    }
}

/// Schedules a message that has been taken in before.
pub(crate) fn add(desk: &mut Desk, id: MessageId) {
    if desk.schedule.fresh.contains(&id) || desk.fresh.knows(id) {
        return;
    }
    if let Err(part) = try_add(desk, id) {
        let text = desk.about("unable to stat ", part, id, "; will try again later");
        desk.log.warning(text);
        let later = desk.recent.saturating_add(SYSTEM_FAILURE);
        desk.schedule.failed.insert(id, later);
    }
}

/// `None`: it is not there.
fn stat(desk: &Desk, part: Part, id: MessageId) -> Result<Option<Stat>, Part> {
    match desk.queue.stat(&desk.layout.path(part, id)) {
        Ok(stat) => Ok(Some(stat)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(_) => Err(part),
    }
}

/// The error is the part that could not be looked at.
fn try_add(desk: &mut Desk, id: MessageId) -> Result<(), Part> {
    let Some(info) = stat(desk, Part::Info, id)? else {
        return Ok(());
    };
    // With an envelope in todo, info is a half-made thing that will be made again.
    if stat(desk, Part::Todo, id)?.is_some() {
        return Ok(());
    }
    let birth = desk.birth(id, info.mtime);
    let mut found = Vec::new();
    for channel in BOTH {
        if let Some(stat) = stat(desk, channel.part(), id)? {
            // No later than if it were tried now: the clock may have been wrong when this was written.
            let latest = channel.next_try(birth, desk.recent);
            found.push((channel, desk.clock.coming(stat.mtime).min(latest)));
        }
    }
    for (channel, when) in &found {
        if *channel == Channel::Local {
            // An earlier qmail-send may have had it delivered without coming to know of it.
            desk.doubtful.insert(id);
        }
        let when = if desk.all_due { desk.recent } else { *when };
        desk.schedule.channels.of_mut(*channel).insert(id, when);
    }
    if found.is_empty() {
        desk.schedule.done.insert(id, desk.recent);
    }
    Ok(())
}
