//! qmail-send: decides which message goes where, and when.
//!
//! This file holds only the start and the loop. Each part has a `prepare`, which says what it waits for, and an `act`,
//! which does what can be done without waiting.
//!
//! Source  qmail-send(8), qmail-log(5)

mod bounce;
mod channel;
mod cleaner;
mod cleanup;
mod clock;
mod comm;
mod convert;
mod del;
mod desk;
mod files;
mod fresh;
mod jobs;
mod lane;
mod log;
mod pass;
mod plan;
mod post;
mod prioq;
mod scan;
mod settings;
mod settle;
#[cfg(test)]
mod sim;
mod todo;
mod workers;
mod world;

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use base::{Call, Die};
use queue::names::Layout;
use recipient::Rewrite;
use sys::Dir;
use sys::sandbox::{Access, Network, Promises};
use sys::signal::Signal;

use channel::{BOTH, Channel, Pair};
use cleaner::Cleaner;
use cleanup::Cleanup;
use clock::Clock;
use comm::Comm;
use del::Deliveries;
use desk::{Desk, Schedule};
use files::Files;
use fresh::Fresh;
use jobs::Jobs;
use lane::Lanes;
use log::Log;
use pass::Passes;
use plan::Plan;
use post::Post;
use scan::Scan;
use settings::{Destinations, Settings};
use settle::Settle;
use todo::Todo;
use workers::{Done, Workers};
use world::{System, World};

/// How long to leave a message alone after the system failed it, seconds.
const SYSTEM_FAILURE: i64 = 123;
/// How long to leave a directory alone that could not be opened, seconds.
const DIRECTORY_PAUSE: i64 = 10;
/// How long to rest when the kernel cannot even wait for us.
const REST: Duration = Duration::from_secs(1);

/// How long the end may take, when nothing is delivered any more.
const LAST_WAIT: Duration = Duration::from_mins(2);
/// One wait of those.
const SHORT_WAIT: Duration = Duration::from_millis(10);

/// See qmail-send(8). Arguments are ignored.
///
/// Descriptor 0 is the log; 1 and 2 go to and come from qmail-lspawn, 3 and 4 qmail-rspawn, 5 and 6 qmail-clean.
///
/// # Errors
/// 111 when it cannot start; the log says why, because nothing else is anybody's to read.
pub fn qmail_send(_: &Call) -> Result<(), Die> {
    let mut log = Log::new(sys::fd::take(0).ok());
    match Send::start(&mut log) {
        Ok(mut send) => {
            send.serve();
            send.leave();
            Ok(())
        }
        Err(why) => {
            log.alert(format!("cannot start: {why}"));
            Err(Die::silent(base::die::TEMPORARY))
        }
    }
}

/// What qmail-send promises before it starts its threads and hears of the first message: the queue, its control files,
/// and the queue service.
pub fn promises() -> Promises {
    Promises::new()
        .paths(
            &["control", "queue/mess", "queue/todo", "queue/lock"],
            Access::Read,
        )
        .paths(
            &["queue/info", "queue/local", "queue/remote", "queue/bounce"],
            Access::Make,
        )
        .network(Network::Local)
        .with_threads()
}

/// Control files that are read again while it runs.
const READ_AGAIN: [&str; 3] = [
    "control/locals",
    "control/virtualdomains",
    "control/destinations",
];

/// Makes the promises. A control file that is a link to another home is read there, also when it has been replaced.
fn confine() {
    let real = READ_AGAIN
        .iter()
        .filter_map(|file| std::fs::canonicalize(file).ok());
    let all = real.fold(promises(), |all, path| {
        let path = path.into_os_string().into_encoded_bytes();
        all.path(sys::sandbox::directory_of(&path), Access::Read)
    });
    all.enforce();
}

/// All parts.
struct Send {
    desk: Desk,
    comm: Comm,
    del: Deliveries,
    passes: Passes,
    todo: Todo,
    cleanup: Cleanup,
    scan: Scan,
}

/// What it is made of.
struct Means {
    world: Box<dyn World>,
    queue: Box<dyn Files>,
    layout: Layout,
    settings: Settings,
    rewrite: Rewrite,
    destinations: Destinations,
    workers: Workers,
    cleaner: Cleaner,
    /// to the spawners, and from them
    to: Pair<OwnedFd>,
    from: Pair<OwnedFd>,
    /// deliveries that the control files allow, and that the spawners can run
    wanted: Pair<u64>,
    able: Pair<u8>,
}

/// Takes the lock that says: this queue has its qmail-send.
fn lock(queue: &Dir) -> Result<std::fs::File, &'static str> {
    let mutex = queue
        .open_write(b"lock/sendmutex")
        .map_err(|_| "unable to open mutex")?;
    match sys::lock::try_exclusive(&mutex) {
        Ok(true) => Ok(mutex),
        Ok(false) | Err(_) => Err("qmail-send is already running"),
    }
}

fn signals() -> io::Result<()> {
    sys::signal::wake()?;
    sys::signal::ignore(Signal::SIGPIPE)?;
    sys::signal::default(Signal::SIGCHLD)?;
    for signal in [Signal::SIGTERM, Signal::SIGALRM, Signal::SIGHUP] {
        sys::signal::catch(signal)?;
        sys::signal::unblock(signal)?;
    }
    Ok(())
}

/// Takes two descriptors, the second of which belongs to the remote side.
fn take(local: i32, remote: i32) -> io::Result<Pair<OwnedFd>> {
    Ok(Pair::new(sys::fd::take(local)?, sys::fd::take(remote)?))
}

/// The first byte of a spawner: how many deliveries it can run. SIGTERM ends the wait.
fn greeting(from: &OwnedFd) -> Option<u8> {
    let mut byte = [0];
    loop {
        match sys::fd::read(from, &mut byte) {
            Err(e)
                if e.kind() == ErrorKind::Interrupted && !sys::signal::pending(Signal::SIGTERM) => {
            }
            Ok(1) => return byte.first().copied(),
            _ => return None,
        }
    }
}

/// Waits for both spawners: how many deliveries each can run at least.
fn greet(from: &Pair<OwnedFd>) -> Option<Pair<u8>> {
    Some(Pair::new(
        greeting(from.of(Channel::Local))?,
        greeting(from.of(Channel::Remote))?,
    ))
}

impl Send {
    /// Acquires everything. The error ends the sentence `cannot start: `.
    fn start(log: &mut Log) -> Result<Send, &'static str> {
        const FIRE: &str = "hath the daemon spawn no fire?";
        control::home::enter().map_err(|_| "unable to switch to home directory")?;
        let unread = |_| "unable to read controls";
        let settings = Settings::load().map_err(unread)?;
        let wanted = settings::concurrency().map_err(unread)?;
        let rewrite = Rewrite::load().map_err(unread)?;
        let queue = Dir::open("queue").map_err(|_| "unable to switch to queue directory")?;
        let layout = Layout::read(&queue).map_err(|_| "unable to read queue directory")?;
        let destinations = Destinations::load().map_err(unread)?;
        signals().map_err(|_| "unable to catch signals")?;
        sys::process::umask(0o077);
        // What takes bounces is a program too, and may be set-uid or QMAILQUEUE: a copy of us runs it. It must not hold the
        // lock for a moment longer than we do.
        let post = Post::open(layout).map_err(|_| "unable to start the post")?;
        let mutex = lock(&queue)?;

        let (to, from) = (take(1, 3).map_err(|_| FIRE)?, take(2, 4).map_err(|_| FIRE)?);
        let able = greet(&from).ok_or(FIRE)?;
        let (to_clean, from_clean) = (
            sys::fd::take(5).map_err(|_| "no qmail-clean")?,
            sys::fd::take(6).map_err(|_| "no qmail-clean")?,
        );
        for channel in BOTH {
            sys::fd::nonblocking(to.of(channel), true).map_err(|_| FIRE)?;
        }
        let trigger = Dir::open("queue").map_err(|_| "unable to switch to queue directory")?;
        let disk = Dir::open("queue").map_err(|_| "unable to switch to queue directory")?;

        confine();

        let means = Means {
            world: Box::new(System::new(trigger, mutex)),
            queue: Box::new(queue),
            layout,
            settings,
            rewrite,
            destinations,
            workers: Workers::start(layout, disk, post).map_err(|_| "unable to start threads")?,
            cleaner: Cleaner::new(to_clean, from_clean).map_err(|_| "no qmail-clean")?,
            to,
            from,
            wanted,
            able,
        };
        Ok(Send::assemble(means, std::mem::take(log)))
    }

    /// Puts the parts together, and asks the spawners for their protocol.
    fn assemble(means: Means, log: Log) -> Send {
        let (recent, moment) = (means.world.now(), means.world.instant());
        let mut desk = Desk {
            clock: Clock::new(recent, moment),
            recent,
            moment,
            world: means.world,
            queue: means.queue,
            layout: means.layout,
            log,
            settings: means.settings,
            rewrite: means.rewrite,
            destinations: means.destinations,
            jobs: Jobs::default(),
            schedule: Schedule::default(),
            lanes: Pair::new(Lanes::new(false), Lanes::new(true)),
            fresh: Fresh::default(),
            workers: means.workers,
            cleaner: means.cleaner,
            settle: Settle::default(),
            doubtful: HashSet::new(),
            bouncing: HashSet::new(),
            all_due: false,
            unborn: HashMap::new(),
            is_stopping: false,
        };
        desk.settle.start(desk.layout, desk.moment);
        let mut comm = Comm::new(means.to);
        let mut del = Deliveries::new(means.from, &means.wanted, &means.able);
        for channel in BOTH {
            let limit = del.limit(channel);
            desk.lanes.of_mut(channel).set_limit(limit);
        }
        del.log_status(&mut desk);
        del.ask(&mut comm, recent);
        del.wait_for_clean(recent);
        desk.cleaner.ask(recent);
        Send {
            comm,
            del,
            passes: Passes::default(),
            todo: Todo::new(&mut desk),
            cleanup: Cleanup::new(recent),
            scan: Scan::new(&mut desk),
            desk,
        }
    }

    /// Does what signals asked for.
    fn heed(&mut self) {
        let world = &self.desk.world;
        let asked = [Signal::SIGTERM, Signal::SIGALRM, Signal::SIGHUP].map(|s| world.pending(s));
        let [must_stop, all_due, reread] = asked;
        if must_stop {
            self.desk.is_stopping = true;
        }
        if all_due {
            for channel in BOTH {
                let queue = self.desk.schedule.channels.of_mut(channel);
                queue.make_due(self.desk.recent);
                let lanes = self.desk.lanes.of_mut(channel);
                lanes.make_due(self.desk.recent);
            }
            self.desk.fresh.make_due(self.desk.recent);
            // What the scan has not found yet is meant too.
            self.desk.all_due = self.desk.schedule.is_scanning;
        }
        if reread {
            self.reread();
        }
    }

    /// Reads the control files again that may change while it runs.
    fn reread(&mut self) {
        if let Err(unread) = self.desk.rewrite.reload() {
            self.desk.log.alert(unread.to_string());
        }
        match Destinations::load() {
            Ok(destinations) => self.desk.destinations = destinations,
            Err(_) => self.desk.log.alert("unable to reread control/destinations"),
        }
    }

    /// The loop.
    fn serve(&mut self) {
        loop {
            self.desk.look_at_clocks();
            self.heed();
            if self.desk.is_stopping && self.del.can_exit() {
                return;
            }
            self.desk.log.flush();
            // A crash once a bounce is on its way repeats it, so nothing comes after that.
            self.desk.workers.post();
            let mut plan = self.prepare();
            match plan.wait(self.desk.world.as_ref()) {
                Ok(()) => {
                    // A signal that came before what the wait found counts first.
                    self.heed();
                    self.act(&plan);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.desk.log.warning("trouble in poll");
                    std::thread::sleep(REST);
                }
            }
        }
    }

    fn prepare(&mut self) -> Plan {
        let mut plan = Plan::new(self.desk.recent, self.desk.moment);
        self.comm.prepare(&mut plan);
        self.del.prepare(&mut plan);
        self.passes
            .prepare(&self.desk, &self.del, &self.comm, &mut plan);
        self.todo.prepare(&self.desk, &self.del, &mut plan);
        self.cleanup.prepare(&self.desk, &mut plan);
        self.scan.prepare(&self.desk, &mut plan);
        fresh::prepare(&self.desk, &mut plan);
        self.desk.settle.prepare(&mut plan);
        self.desk.cleaner.prepare(&mut plan);
        self.desk.workers.prepare(&mut plan);
        plan
    }

    fn act(&mut self, plan: &Plan) {
        let desk = &mut self.desk;
        desk.look_at_clocks();
        self.comm.act(desk, plan);
        self.del.act(desk, &mut self.comm, plan);
        fresh::decide_closed(desk);
        cleaner::act(desk, plan);
        if desk.cleaner.has_answered() {
            self.del.clean_is_there();
        }
        take_results(desk, plan);
        // A crash before this would deliver again what has just been reported: it comes before everything else.
        cleaner::push(desk);
        self.passes.act(desk, &mut self.del, &mut self.comm);
        self.todo.act(desk, &mut self.del, plan);
        Passes::start(desk, &mut self.del, &mut self.comm);
        self.cleanup.act(desk);
        self.scan.act(desk);
        fresh::decide_closed(desk);
        fresh::act(desk);
        fresh::flush(desk);
        settle::act(desk);
        cleaner::push(desk);
    }

    /// Writes down what the next qmail-send must know.
    fn leave(&mut self) {
        let desk = &mut self.desk;
        Passes::end_due(desk);
        fresh::decide_closed(desk);
        fresh::convert_all(desk);
        desk.look_at_clocks();
        let end = desk.moment + LAST_WAIT;
        while desk.moment < end && desk.cleaner.is_alive() {
            fresh::flush(desk);
            let is_quiet = desk.workers.is_idle() && desk.cleaner.is_idle();
            // Settling comes last: it lets messages go, and that is asked for too.
            if is_quiet && !settle::now(desk) {
                break;
            }
            desk.workers.post();
            let mut plan = Plan::new(desk.recent, desk.moment);
            plan.soon(SHORT_WAIT);
            desk.cleaner.prepare(&mut plan);
            desk.workers.prepare(&mut plan);
            if plan.wait(desk.world.as_ref()).is_ok() {
                cleaner::act(desk, &plan);
                take_results(desk, &plan);
            }
            desk.look_at_clocks();
        }
        pass::finish(desk);
        desk.log.line("status: exiting");
        desk.log.flush();
    }
}

/// Heeds what others have done.
fn take_results(desk: &mut Desk, plan: &Plan) {
    for done in desk.workers.done(plan) {
        match done {
            Done::Converted(id, result) => fresh::converted(desk, id, result),
            Done::Settled(settled) => settle::settled(desk, settled),
            Done::Bounced(id, fate) => {
                if !fresh::bounced(desk, id, fate) {
                    pass::bounced(desk, id, fate);
                }
            }
            Done::NoPost => {
                desk.log.alert("oh no! lost what sends bounces! dying...");
                desk.is_stopping = true;
            }
        }
    }
}
