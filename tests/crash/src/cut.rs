//! Power cuts: a workload on recorded disks, then every disk state that a cut may have left.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kit::until;

use crate::disk::{Kind, quiet, unmount};
use crate::fuse::Fuse;
use crate::kill::MAILDIR;
use crate::sink::Sink;
use crate::store::{Chance, Cut, Event, Left, Player, Store};
use crate::suite::{Mail, Suite};

/// How long one state may take to drain.
const DRAIN: Duration = Duration::from_secs(15);
/// How long the workload may take.
const WORK: Duration = Duration::from_mins(2);
/// Messages of one workload.
pub const MAILS: usize = 18;
/// So many are given to the queue service at once.
const AT_ONCE: usize = 12;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// the file system
    pub kind: Kind,
    /// queue and mailboxes on two of them
    pub two: bool,
    /// messages of the workload
    pub mails: usize,
    /// states to try, at most
    pub states: usize,
    /// random subsets per point of the log
    pub subsets: u64,
    /// workloads, each recorded anew
    pub rounds: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// states tried, all different
    pub states: usize,
    /// of them with nothing unflushed left, with everything, with a part
    pub by_left: [usize; 3],
    /// states that follow an acknowledgement at once
    pub newest: usize,
    /// of those, the ones where a message was lost
    pub newest_lost: usize,
    /// states in which an acknowledged message was lost
    pub lost: usize,
    /// states with a visible part of a message
    pub torn: usize,
    /// states that the manager did not drain
    pub stuck: usize,
    /// states whose file system could not be mounted
    pub unmountable: usize,
    /// messages delivered twice, and deliveries in all
    pub twice: usize,
    /// of those, in a maildir without a forward in between
    pub outside: usize,
    /// copies found in all
    pub copies: usize,
    /// flushes of the workloads, from submission to an empty queue
    pub flushes: usize,
    /// messages of the workloads
    pub mails: usize,
    /// the first findings, in words
    pub findings: Vec<String>,
}

/// The place of a plan: disks and mount points.
struct Place<'a> {
    plan: &'a Plan,
    suite: &'a Suite,
    sink: &'a Sink,
    fuse: &'a Fuse,
}

impl Place<'_> {
    fn mount(&self, disks: &[PathBuf]) -> bool {
        let q = self.suite.scratch.join("q");
        let m = self.suite.scratch.join("m");
        if !self.plan.kind.mount(&disks[0], &q) {
            return false;
        }
        let second = match disks.get(1) {
            Some(disk) => self.plan.kind.mount(disk, &m),
            None => quiet(
                std::process::Command::new("mount")
                    .arg("--bind")
                    .arg(&q)
                    .arg(&m),
            ),
        };
        if !second {
            unmount(&q);
        }
        second
    }

    fn unmount(&self) -> io::Result<()> {
        for dir in ["m", "q"] {
            if !unmount(&self.suite.scratch.join(dir)) {
                return Err(io::Error::other("unable to unmount"));
            }
        }
        Ok(())
    }

    fn show(&self, stores: Vec<Store>, record: bool) -> Vec<PathBuf> {
        stores
            .into_iter()
            .enumerate()
            .map(|(n, s)| self.fuse.add(s, record.then_some(n)))
            .collect()
    }

    fn take(&self, disks: &[PathBuf]) -> Vec<Store> {
        disks.iter().filter_map(|d| self.fuse.take(d)).collect()
    }
}

/// The messages: most to alice, by a worker; one to nobody that comes back to bob, one that is forwarded, one to another
/// host, one to alice and there.
fn mails(count: usize) -> Vec<Mail> {
    (0..count)
        .map(|n| {
            let to: &[&str] = match n % 6 {
                2 => &["far@elsewhere.test"],
                3 => &["nobody@host.test"],
                4 => &["alice-copy@host.test"],
                5 => &["alice@host.test", "far@elsewhere.test"],
                _ => &["alice@host.test"],
            };
            Mail::new("cut", n, to)
        })
        .collect()
}

fn present(mail: &Mail, texts: &[Vec<u8>]) -> usize {
    texts.iter().filter(|t| mail.ends(t)).count()
}

/// Runs the workload on recorded disks. What was on them before, and what happened.
fn record(place: &Place<'_>, mails: &[Mail]) -> io::Result<(Vec<Store>, Vec<Event>)> {
    let suite = place.suite;
    let count = if place.plan.two { 2 } else { 1 };
    let mut fresh = Vec::new();
    for _ in 0..count {
        fresh.push(place.plan.kind.make(&suite.scratch.join("image"))?);
    }
    let disks = place.show(fresh, false);
    if !place.mount(&disks) {
        return Err(io::Error::other("unable to mount a fresh file system"));
    }
    suite.make_queue()?;
    suite.make_mailboxes()?;
    place.unmount()?;
    let base = place.take(&disks);
    let disks = place.show(base.clone(), true);
    if !place.mount(&disks) {
        return Err(io::Error::other("unable to mount the recorded disks"));
    }
    // The queue service takes that as proven, and flushes less: here it is tried.
    let reach = sys::volume::reach(&sys::Dir::open(suite.scratch.join("q"))?);
    if reach != sys::volume::Reach::Everything {
        return Err(io::Error::other(format!("syncfs: {reach:?}")));
    }
    // And that these two keep order.
    let keeps = sys::volume::keeps_order(&sys::Dir::open(suite.scratch.join("q"))?);
    if keeps != (place.plan.kind != Kind::Btrfs) {
        return Err(io::Error::other(format!("keeps order: {keeps}")));
    }
    // Not what the first mount writes, only what the workload does.
    for dir in ["q", "m"] {
        let mut sync = std::process::Command::new("sync");
        quiet(sync.arg("-f").arg(suite.scratch.join(dir)));
    }
    let started = place.fuse.record();
    let submit = |n: usize| -> io::Result<()> {
        match suite.submit(&mails[n])? {
            Some(status) if status.success() => {
                place.fuse.mark(Event::Acknowledged(n));
                Ok(())
            }
            other => Err(io::Error::other(format!("qmail-queue: {other:?}"))),
        }
    };
    let give = |n: usize| -> io::Result<()> {
        if suite.inject(&mails[n])? {
            place.fuse.mark(Event::Acknowledged(n));
            Ok(())
        } else {
            Err(io::Error::other("the queue service did not take a message"))
        }
    };
    let taken = place.fuse.marker();
    let all = mails.to_vec();
    place.sink.hook(Some(Arc::new(move |text: &[u8]| {
        if let Some(n) = all.iter().position(|m| m.ends(text)) {
            taken.mark(Event::Taken(n));
        }
    })));
    // The first third waits in the queue; the rest comes while deliveries go on, several at once to the queue service.
    let third = mails.len() / 3;
    for n in 0..third {
        submit(n)?;
    }
    let mut running = suite.start()?;
    let mut service = if suite.reference {
        None
    } else {
        Some(suite.serve()?)
    };
    let later: Vec<usize> = (third..mails.len()).collect();
    for group in later.chunks(AT_ONCE) {
        if suite.reference {
            group.iter().try_for_each(|n| submit(*n))?;
        } else {
            std::thread::scope(|scope| {
                let at_work: Vec<_> = group.iter().map(|n| scope.spawn(|| give(*n))).collect();
                at_work.into_iter().try_for_each(|w| w.join().unwrap())
            })?;
        }
    }
    let drained = until(WORK, || suite.is_empty().then_some(()));
    let log = running.log();
    running.stop();
    if let Some(service) = &mut service {
        service.stop();
    }
    let events = place.fuse.recorded();
    place.sink.hook(None);
    place.sink.take();
    place.unmount()?;
    place.take(&disks);
    if drained.is_none() {
        return Err(io::Error::other(format!("the workload never ended: {log}")));
    }
    Ok((started, events))
}

/// The cuts to try: all different states, thinned to the number of the plan. Those at an acknowledgement come first.
fn choose(plan: &Plan, base: &[Store], events: &[Event]) -> Vec<(Cut, bool)> {
    let mut unique: HashMap<Vec<u64>, (Cut, bool)> = HashMap::new();
    let mut player = Player::new(base, events);
    for at in 1..=events.len() {
        player.forward(at);
        let newest = matches!(events[at - 1], Event::Acknowledged(_));
        let mut lefts = Vec::new();
        if player.unflushed() > 0 {
            lefts.extend((0..plan.subsets).map(Left::Some));
            lefts.push(Left::Issued);
        }
        lefts.push(Left::Flushed);
        for left in lefts {
            // Later is stronger: more was acknowledged and the disks are the same.
            let key: Vec<u64> = player.disks(left).iter().map(Store::hash).collect();
            let newest =
                newest && left == Left::Flushed || unique.get(&key).is_some_and(|(_, n)| *n);
            unique.insert(key, (Cut { at, left }, newest));
        }
    }
    let mut cuts: Vec<(Cut, bool)> = unique.into_values().collect();
    cuts.sort_by_key(|(cut, _)| (cut.at, format!("{:?}", cut.left)));
    let mut chance = Chance::new(cuts.len() as u64);
    let mut wanted: Vec<(bool, u64, Cut, bool)> = cuts
        .into_iter()
        .map(|(cut, newest)| (!newest, chance.number(), cut, newest))
        .collect();
    wanted.sort_by_key(|(last, by, ..)| (*last, *by));
    wanted.truncate(plan.states);
    let mut chosen: Vec<(Cut, bool)> = wanted
        .into_iter()
        .map(|(_, _, cut, newest)| (cut, newest))
        .collect();
    chosen.sort_by_key(|(cut, _)| cut.at);
    chosen
}

/// Looks at one state that is mounted, lets the real manager drain it, looks again.
fn judge(
    place: &Place<'_>,
    mails: &[Mail],
    acknowledged: &[usize],
    taken: &[usize],
    figures: &mut Figures,
) -> Vec<String> {
    let suite = place.suite;
    place.sink.take();
    let mut said = Vec::new();
    let mut lost = false;
    let mut torn = false;
    let whole = |text: &[u8]| mails.iter().any(|m| m.ends(text));
    let visible = suite.visible();
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for (id, text) in visible {
        if whole(&text) {
            texts.push(text);
        } else {
            torn = true;
            said.push(format!(
                "queue entry {id} is visible with {} bytes",
                text.len()
            ));
        }
    }
    for user in crate::suite::USERS {
        for text in suite.delivered(user) {
            if whole(&text) {
                texts.push(text);
            } else {
                torn = true;
                said.push(format!(
                    "a message of {} bytes in {user}'s new/",
                    text.len()
                ));
            }
        }
    }
    for n in acknowledged {
        if present(&mails[*n], &texts) == 0 && !taken.contains(n) {
            lost = true;
            said.push(format!("message {n} was acknowledged and is nowhere"));
        }
    }
    if let Err(why) = suite.drain(DRAIN) {
        figures.stuck += 1;
        said.push(why);
    }
    let local: Vec<Vec<u8>> = crate::suite::USERS
        .iter()
        .flat_map(|u| suite.delivered(u))
        .collect();
    let far = place.sink.take();
    let copies: Vec<Vec<u8>> = local.iter().chain(&far).cloned().collect();
    figures.copies += copies.len();
    for text in &copies {
        if !whole(text) {
            torn = true;
            said.push(format!(
                "after the drain: a message of {} bytes",
                text.len()
            ));
        }
    }
    for (n, mail) in mails.iter().enumerate() {
        let to_far = mail.recipients.iter().any(|r| r.starts_with("far@"));
        let to_local = mail.recipients.iter().any(|r| !r.starts_with("far@"));
        let far = present(mail, &far) + usize::from(taken.contains(&n));
        let local = present(mail, &local);
        let is_missing = to_far && far == 0 || to_local && local == 0;
        if is_missing && acknowledged.contains(&n) && !lost {
            lost = true;
            said.push(format!("message {n} was acknowledged and never delivered"));
        }
        // A delivery to a maildir is known again. C programs do not do that.
        if local > 1 && mail.recipients.iter().any(|r| r == MAILDIR.1) {
            figures.outside += 1;
            said.push(format!("message {n}: {local} copies at {}", MAILDIR.0));
        }
        figures.twice += far.saturating_sub(1) + local.saturating_sub(1);
    }
    figures.lost += usize::from(lost);
    figures.torn += usize::from(torn);
    said
}

/// Records workloads and tries the states of each.
///
/// # Errors
/// The machine cannot do it, or the workload itself failed.
pub fn run(plan: &Plan, suite: &Suite, sink: &Sink, mount: &Path) -> io::Result<Figures> {
    let fuse = Fuse::mount(mount)?;
    let place = Place {
        plan,
        suite,
        sink,
        fuse: &fuse,
    };
    let mut figures = Figures::default();
    for _ in 0..plan.rounds {
        round(&place, &mut figures)?;
    }
    Ok(figures)
}

fn round(place: &Place<'_>, figures: &mut Figures) -> io::Result<()> {
    let plan = place.plan;
    let mails = mails(plan.mails);
    let (base, events) = record(place, &mails)?;
    figures.mails += mails.len();
    figures.flushes += events
        .iter()
        .filter(|e| matches!(e, Event::Flush { .. }))
        .count();
    let chosen = choose(plan, &base, &events);
    let mut player = Player::new(&base, &events);
    for (cut, newest) in chosen {
        player.forward(cut.at);
        let before = &events[..cut.at];
        let named = |what: fn(&Event) -> Option<usize>| -> Vec<usize> {
            before.iter().filter_map(what).collect()
        };
        let acknowledged = named(|e| match e {
            Event::Acknowledged(n) => Some(*n),
            _ => None,
        });
        let taken = named(|e| match e {
            Event::Taken(n) => Some(*n),
            _ => None,
        });
        figures.states += 1;
        figures.by_left[match cut.left {
            Left::Flushed => 0,
            Left::Issued => 1,
            Left::Some(_) => 2,
        }] += 1;
        let disks = place.show(player.disks(cut.left), false);
        figures.newest += usize::from(newest);
        let said = if place.mount(&disks) {
            let before = figures.lost;
            let said = judge(place, &mails, &acknowledged, &taken, figures);
            figures.newest_lost += usize::from(newest && figures.lost > before);
            place.unmount()?;
            said
        } else {
            figures.unmountable += 1;
            vec!["it cannot be mounted".to_owned()]
        };
        place.take(&disks);
        if !said.is_empty() && figures.findings.len() < 20 {
            figures.findings.push(format!(
                "event {} of {}, {:?}, {} acknowledged: {}",
                cut.at,
                events.len(),
                cut.left,
                acknowledged.len(),
                said.join("; ")
            ));
        }
    }
    Ok(())
}
