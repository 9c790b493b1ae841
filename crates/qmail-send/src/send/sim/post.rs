//! qmail-queue: messages on their way in, step by step.

use std::time::Duration;

use base::Bytes;
use queue::names::{Layout, MessageId, Part};

use super::disk::{Disk, Identity};

/// The steps, in the order of `queue::intake`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Make,
    Name,
    Write,
    Envelope,
    SettleEnvelope,
    SettleMessage,
    SettleName,
    Publish,
    SettlePublished,
    Acknowledge,
    Pull,
    Over,
}

const STEPS: [Step; 12] = [
    Step::Make,
    Step::Name,
    Step::Write,
    Step::Envelope,
    Step::SettleEnvelope,
    Step::SettleMessage,
    Step::SettleName,
    Step::Publish,
    Step::SettlePublished,
    Step::Acknowledge,
    Step::Pull,
    Step::Over,
];

/// One message on its way in.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) token: usize,
    pub(super) next: Duration,
    step: usize,
    mess: Identity,
    intd: Identity,
    id: Option<MessageId>,
    pub(super) has_failed: bool,
}

/// As in `queue::intake`: what a crash has left under the number is nobody's, unless qmail-send sees it.
fn envelope_file(
    disk: &mut Disk,
    layout: Layout,
    id: MessageId,
    wall: i64,
    chance: &mut super::chance::Chance,
) -> std::io::Result<Identity> {
    let path = layout.path(Part::Intd, id);
    if disk.find(&path).is_ok() && disk.find(&layout.path(Part::Todo, id)).is_err() {
        disk.unlink(&path)?;
    }
    disk.create(&path, wall, chance)
}

/// What the disk must know.
pub(super) struct Load<'a> {
    pub(super) text: &'a [u8],
    pub(super) envelope: &'a [u8],
    pub(super) wall: i64,
    /// whether the sync of `todo` is forgotten: a mutant
    pub(super) forgets: bool,
}

impl Intake {
    pub(super) fn new(token: usize, next: Duration) -> Intake {
        Intake {
            token,
            next,
            step: 0,
            mess: 0,
            intd: 0,
            id: None,
            has_failed: false,
        }
    }

    pub(super) fn step(&self) -> Step {
        STEPS[self.step]
    }

    /// The name in `todo` while it is published.
    pub(super) fn name(&self) -> Bytes {
        self.id
            .map_or_else(Bytes::new, |id| id.to_string().into_bytes())
    }

    /// Does the step, and goes on to the next.
    pub(super) fn act(
        &mut self,
        disk: &mut Disk,
        layout: Layout,
        chance: &mut super::chance::Chance,
        load: &Load<'_>,
    ) {
        let path = |part, id: Option<MessageId>| layout.path(part, id.unwrap());
        let draft = format!("pid/{}", self.token).into_bytes();
        let count = disk.count();
        match self.step() {
            Step::Make => {
                self.mess = disk.create(&draft, load.wall, chance).unwrap();
                self.id = MessageId::new(disk.number(self.mess));
            }
            Step::Name => {
                let _ = disk.unlink(&draft);
                if disk.link(self.mess, &path(Part::Mess, self.id)).is_err() {
                    // Litter of a crash has the number. The real one tries another.
                    self.fail();
                }
            }
            Step::Write => disk.write(self.mess, 0, load.text, load.wall),
            Step::Envelope => {
                match envelope_file(disk, layout, self.id.unwrap(), load.wall, chance) {
                    Ok(file) => {
                        self.intd = file;
                        disk.write(file, 0, load.envelope, load.wall);
                    }
                    Err(_) => {
                        let _ = disk.unlink(&path(Part::Mess, self.id));
                        self.fail();
                    }
                }
            }
            Step::SettleEnvelope => disk.settle_file(self.intd, count),
            Step::SettleMessage => disk.settle_file(self.mess, count),
            Step::SettleName => {
                let dir = layout.dir(Part::Mess, self.id.unwrap());
                disk.settle_folder(&dir, count).unwrap();
            }
            Step::Publish => {
                if disk.link(self.intd, &path(Part::Todo, self.id)).is_err() {
                    self.fail();
                }
            }
            Step::SettlePublished if load.forgets => {}
            Step::SettlePublished => {
                let dir = layout.dir(Part::Todo, self.id.unwrap());
                disk.settle_folder(&dir, count).unwrap();
            }
            Step::Acknowledge | Step::Pull | Step::Over => {}
        }
        if !self.has_failed {
            self.step += 1;
        }
    }

    /// Whether it is on disk in part.
    pub(super) fn has_begun(&self) -> bool {
        self.step > 0
    }

    /// It ends where it is: the power has failed.
    pub(super) fn end(&mut self) {
        self.step = STEPS.len() - 1;
    }

    fn fail(&mut self) {
        self.has_failed = true;
        self.step = STEPS.len() - 1;
    }
}
