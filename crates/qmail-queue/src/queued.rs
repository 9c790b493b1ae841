//! qmail-queued: the queue service.
//!
//! Threads wait together for connections and for what they say. The one that a piece of news goes to reads it, without
//! ever waiting for the other side; when a message is whole it writes it and hands it to the `settle` desk, where one
//! flush serves all messages that are there. A slow or silent client holds a connection, whose number is limited, and
//! nothing else.

mod conn;
mod door;
mod ledger;
mod serve;
mod settle;

use std::time::Duration;

use base::opt::{Opt, Options};
use base::{Call, Die};
use queue::intake::{Fault, Intake};
use sys::limit::Resource;
use sys::sandbox::{Access, Network, Promises};
use sys::signal::Signal;

use crate::received::Known;
use door::Door;
use ledger::Limits;
use serve::Service;

const USAGE: &str = "qmail-queued [ -c connections ] [ -n threads ] [ -t idle ] [ -T whole ]";
/// Connections at once, unless said otherwise.
const CONNECTIONS: usize = 1500;
/// Threads at most, unless said otherwise: more wait for the disk together, and share its flushes.
const THREADS: usize = 64;
/// Seconds without a byte that end a connection, unless said otherwise.
const IDLE: u64 = 1200;
/// Seconds that a message may take to come, unless said otherwise: as long as qmail-queue waits.
const WHOLE: u64 = 86_400;
/// Descriptors that a message needs while it comes: its connection, two files, and in a large queue a directory.
const FDS_EACH: u64 = 4;
/// Descriptors for everything else: the directories of a queue, and what threads open for a moment.
const FDS_BESIDE: u64 = 2048;
/// The least that makes sense.
const CONNECTIONS_LEAST: usize = 20;

/// What the arguments say.
#[derive(Clone, Copy, Debug)]
struct Settings {
    connections: usize,
    threads: usize,
    idle: Duration,
    whole: Duration,
}

/// See qmail-queued(8).
///
/// # Errors
/// Misuse; no place to serve; another service serves this queue.
pub fn qmail_queued(call: &Call) -> Result<(), Die> {
    let mut settings = arguments(call)?;

    sys::process::umask(0o033);
    control::home::enter().map_err(|e| Die::unable("chdir to home", &e))?;
    settings.connections = descriptors(settings.connections);
    let known = Known::find();

    become_qmailq()?;
    signals().map_err(|e| Die::unable("catch signals", &e))?;
    let _lock = door::lock()?;
    let intake = Intake::open_for_many().map_err(no_queue)?;
    let door = Door::open().map_err(|e| Die::unable("listen at run/queue/socket", &e))?;

    queued_promises().enforce();

    let limits = Limits::new(settings.connections, settings.threads);
    let service = Service::new(&intake, door, known, limits, settings)
        .map_err(|e| Die::unable("watch connections", &e))?;
    service.run();
    Ok(())
}

/// What qmail-queued promises before it takes a connection: to work in the directories of the queue, to pull the
/// trigger, and to take its socket away. Threads inherit the promises.
pub fn queued_promises() -> Promises {
    let directories = [
        "queue/pid",
        "queue/mess",
        "queue/intd",
        "queue/todo",
        "run/queue",
    ];
    Promises::new()
        .paths(&directories, Access::Make)
        .path("queue/lock", Access::Write)
        .network(Network::Local)
        .with_threads()
}

fn arguments(call: &Call) -> Result<Settings, Die> {
    let mut settings = Settings {
        connections: CONNECTIONS,
        threads: THREADS,
        idle: Duration::from_secs(IDLE),
        whole: Duration::from_secs(WHOLE),
    };
    let mut options = Options::new(&call.args, "c:n:t:T:");
    for option in options.by_ref() {
        let Opt::Value(letter, text) = option else {
            return Err(Die::usage(USAGE));
        };
        let number = base::bytes::number(&text)
            .filter(|n| (1..=1_000_000).contains(n))
            .ok_or_else(|| Die::usage(USAGE))?;
        let count = usize::try_from(number).unwrap_or(1);
        match letter {
            b'c' => settings.connections = count.max(CONNECTIONS_LEAST),
            b'n' => settings.threads = count.clamp(2, 1024),
            b't' => settings.idle = Duration::from_secs(number),
            _ => settings.whole = Duration::from_secs(number),
        }
    }
    if options.rest().is_empty() {
        Ok(settings)
    } else {
        Err(Die::usage(USAGE))
    }
}

/// Gets descriptors for so many connections; the number that there are enough for.
fn descriptors(connections: usize) -> usize {
    let wanted = connections as u64 * FDS_EACH + FDS_BESIDE;
    if sys::ids::euid() == 0 {
        // A limit of the machine may be lower; then the next line gets what there is.
        let _ = sys::limit::set_hard(Resource::RLIMIT_NOFILE, wanted);
    }
    let _ = sys::limit::set_soft(Resource::RLIMIT_NOFILE, wanted);
    let _ = sys::limit::set_hard(Resource::RLIMIT_CORE, 0);
    let there = sys::limit::read(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    if there >= wanted {
        return connections;
    }
    let room = there.saturating_sub(there.min(FDS_BESIDE) / 2) / FDS_EACH;
    usize::try_from(room)
        .unwrap_or(connections)
        .min(connections)
        .max(CONNECTIONS_LEAST)
}

fn become_qmailq() -> Result<(), Die> {
    if sys::ids::euid() != 0 {
        return Ok(());
    }
    let owners =
        control::owners::Owners::find().map_err(|e| Die::unable("find the users of qmail", &e))?;
    sys::ids::become_for_good(&owners.in_qmail(owners.qmailq))
        .map_err(|e| Die::unable("become the owner of the queue", &e))
}

fn signals() -> std::io::Result<()> {
    sys::signal::unblock_all()?;
    for signal in crate::IGNORED {
        sys::signal::ignore(signal)?;
    }
    sys::signal::ignore(Signal::SIGALRM)?;
    sys::signal::wake()?;
    sys::signal::catch(Signal::SIGTERM)
}

fn no_queue(fault: Fault) -> Die {
    let dir = match fault {
        Fault::Pid => "queue/pid",
        Fault::Mess => "queue/mess",
        Fault::Intd => "queue/intd",
        Fault::Todo => "queue/todo",
        _ => "queue",
    };
    Die::fatal(base::die::TEMPORARY, format!("unable to enter {dir}"))
}
