//! What happens between a connection and its program: find out who it is, look the rules up, become the program.
//!
//! It runs in a process of its own, so it may wait for the DNS and for ident.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use base::Bytes;
use base::die::system_text;
use base::io::Timed;
use net::proxy::{self, Header};
use net::ucspi::{self, Change, Connection, Side};
use sys::signal::{self, Signal};
use sys::socket::mapped;
use sys::spawn::Spawn;

use super::log::{Line, say, warn};
use super::settings::Settings;
use crate::host::plain;
use crate::ident;
use crate::names::{Belief, Names};
use crate::options::Verbosity;
use crate::rulefile::{Found, look};
use crate::rules::{Client, Order, Rule, verdict};

/// The exit code of a client that was denied.
pub(super) const DENIED: u8 = 100;
/// The exit code of a connection that was dropped.
const DROPPED: u8 = 111;
/// How long a client may take to receive the banner.
const BANNER_TIME: Duration = Duration::from_mins(1);

/// How long a front end may take to say whose connection it is.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// A connection that has just come.
#[derive(Debug)]
pub struct Visitor {
    /// what the program gets as descriptors 0 and 1
    pub socket: OwnedFd,
    /// the other side of the connection: the client, or a front end
    pub address: SocketAddr,
    /// both ends, where `socket` is not the connection itself but what another process makes of it; that process has set
    /// the options of the connection, and heard the front end
    pub ends: Option<Ends>,
    /// descriptors of the program besides 0, 1 and 2, by number
    pub more: Vec<(RawFd, OwnedFd)>,
    /// what else the program is told; rules come after it
    pub told: Vec<Change>,
}

impl Visitor {
    /// A connection as the kernel gives it.
    pub fn new(socket: OwnedFd, address: SocketAddr) -> Visitor {
        Visitor {
            socket,
            address,
            ends: None,
            more: Vec::new(),
            told: Vec::new(),
        }
    }
}

/// Why there is no program: the reason, for the log.
type Dropped = Bytes;

fn unable(what: &[u8], why: &str) -> Dropped {
    [b"unable to ", what, b": ", why.as_bytes()].concat()
}

/// What to do with a connection, as far as that can be known without waiting.
pub(super) enum Plan {
    /// a rule denies it; the line for the log
    Deny(Bytes),
    /// start the program at once
    Start(Connection, Vec<Change>),
    /// find out more, in a process of its own
    FindOut,
}

/// Trouble leads to a process too, which then reports it.
pub(super) fn plan(settings: &Settings, visitor: &Visitor) -> Plan {
    let ip = visitor
        .ends
        .map_or(visitor.address, |ends| ends.remote)
        .ip();
    let ip = mapped(ip);
    if visitor.ends.is_none() && settings.extras.is_front_end(ip) {
        return Plan::FindOut;
    }
    if settings.is_quick() {
        return quick(settings, visitor).unwrap_or(Plan::FindOut);
    }
    if settings.denies_early()
        && is_denied(settings, ip)
        && let Ok(ends) = ends(settings, visitor)
    {
        let connection = Connection {
            local: side(&ends.local, settings.local_name.clone()),
            remote: side(&ends.remote, None),
            info: None,
            interface: None,
        };
        return Plan::Deny(report(&connection, &Ruling::Denied, "0"));
    }
    Plan::FindOut
}

fn quick(settings: &Settings, visitor: &Visitor) -> Result<Plan, Dropped> {
    let ends = ends(settings, visitor)?;
    let connection = find_out(settings, ends);
    match judge(settings, &connection)? {
        Ruling::Denied if settings.denies_early() => {
            Ok(Plan::Deny(report(&connection, &Ruling::Denied, "0")))
        }
        Ruling::Denied => Ok(Plan::FindOut),
        Ruling::Allowed(variables) => {
            prepare_socket(settings, visitor)?;
            Ok(Plan::Start(connection, variables))
        }
    }
}

/// Whether the address alone is enough to deny: its own rule does, which nothing about a name can change; with
/// `--both-rules` any rule for addresses is enough, and without names every rule.
fn is_denied(settings: &Settings, ip: Ipv6Addr) -> bool {
    let shown = ucspi::text(ip, settings.form);
    let client = Client {
        ip: shown.as_bytes(),
        host: None,
        info: None,
    };
    let path = settings.rules.as_deref().unwrap_or_default();
    let Ok(Found::Rules(rules)) = look(path, settings.extras.order, &client) else {
        return false;
    };
    let final_word = |rule: &Rule| {
        !settings.remote_name
            || rule.key == shown.as_bytes()
            || (settings.extras.order == Order::Both && !rule.key.is_empty())
    };
    verdict(&rules).is_none() && rules.first().is_some_and(final_word)
}

/// A program that is to be started without a process in between.
pub(super) struct Start<'a> {
    visitor: &'a Visitor,
    /// of the connection, and by the rules
    changes: Vec<Change>,
    /// for the log, with the process id of the program between each two
    announcement: Option<[Bytes; 3]>,
}

impl<'a> Start<'a> {
    pub(super) fn new(
        settings: &Settings,
        visitor: &'a Visitor,
        connection: &Connection,
        variables: Vec<Change>,
    ) -> Start<'a> {
        Start {
            visitor,
            changes: changes(settings, visitor, connection, variables),
            announcement: (settings.verbosity == Verbosity::All)
                .then(|| announcement(settings, connection)),
        }
    }

    /// Starts the program. Returns the child; it exists even if the program cannot be run.
    ///
    /// # Errors
    /// No process could be made.
    pub(super) fn run(
        self,
        settings: &Settings,
        environment: &[(Bytes, Bytes)],
    ) -> io::Result<u32> {
        let Some(spawn) = program(settings, environment, self.visitor, self.changes) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let err = sys::fd::inherited(2);
        let spawn = match (err, self.announcement) {
            (Ok(err), Some(pieces)) => spawn.announce(err, pieces.into()),
            _ => spawn,
        };
        let (pid, error) = spawn.spawn_or_end(DROPPED)?;
        if let Some(error) = error {
            let why = not_run(settings, &error);
            warn(
                settings,
                [b"dropping connection, ", why.as_slice()].concat(),
            );
        }
        Ok(pid)
    }

    /// The same for a fork server; `None`: it is too much for one.
    pub(super) fn message(&self, environment: &[(Bytes, Bytes)]) -> Option<Bytes> {
        // Others than those of UCSPI-TLS have numbers that a copy cannot promise.
        if !matches!(self.visitor.more.len(), 0 | 3) {
            return None;
        }
        let environment = ucspi::merged(environment, &self.changes);
        let announcement = match &self.announcement {
            Some([a, b, c]) => [a.as_slice(), b, c],
            None => [&b""[..]; 3],
        };
        net::forkserver::message(announcement, environment)
    }
}

fn announcement(settings: &Settings, connection: &Connection) -> [Bytes; 3] {
    let shown = ucspi::text(connection.remote.ip, settings.form);
    let line = report(connection, &Ruling::Allowed(Vec::new()), "");
    let (before, after) = line.split_at_checked(3).unwrap_or((&line, b""));
    let name = settings.name;
    [
        format!("{name}: pid ").into_bytes(),
        [format!(" from {shown}\n{name}: ").as_bytes(), before].concat(),
        [after, b"\n"].concat(),
    ]
}

/// Becomes the program. The result is the exit code when that is not possible.
pub(super) fn run(settings: &Settings, environment: &[(Bytes, Bytes)], visitor: &Visitor) -> u8 {
    let _ = signal::default(Signal::SIGTERM);
    let _ = signal::default(Signal::SIGCHLD);
    let _ = signal::unblock_all();
    match serve(settings, environment, visitor) {
        Ok(code) => code,
        Err(why) => {
            warn(
                settings,
                [b"dropping connection, ", why.as_slice()].concat(),
            );
            DROPPED
        }
    }
}

fn serve(
    settings: &Settings,
    environment: &[(Bytes, Bytes)],
    visitor: &Visitor,
) -> Result<u8, Dropped> {
    let known = visitor.ends.map_or(visitor.address, |ends| ends.remote);
    let shown = ucspi::text(mapped(known.ip()), settings.form);
    let pid = std::process::id();
    say(settings, format!("pid {pid} from {shown}"));

    let ends = ends(settings, visitor)?;
    prepare_socket(settings, visitor)?;
    let connection = find_out(settings, ends);
    let ruling = judge(settings, &connection)?;

    say(settings, report(&connection, &ruling, &pid.to_string()));
    match ruling {
        Ruling::Denied => Ok(DENIED),
        Ruling::Allowed(variables) => Err(become_program(
            settings,
            environment,
            visitor,
            &connection,
            variables,
        )),
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// our end
    pub local: SocketAddr,
    /// the client
    pub remote: SocketAddr,
    /// a front end told
    pub passed: bool,
}

/// Nothing is sent to a front end before it has told whose connection it is.
fn ends(settings: &Settings, visitor: &Visitor) -> Result<Ends, Dropped> {
    if let Some(ends) = visitor.ends {
        return Ok(ends);
    }
    let own = |socket| {
        let local = sys::socket::local(socket)
            .map_err(|e| unable(b"get local address", &system_text(&e)))?;
        let (remote, passed) = (visitor.address, false);
        Ok(Ends {
            local,
            remote,
            passed,
        })
    };
    if !settings.extras.is_front_end(mapped(visitor.address.ip())) {
        return own(&visitor.socket);
    }
    let mut input = Timed::new(visitor.socket.as_fd(), HEADER_TIME);
    input.set_deadline(Instant::now().checked_add(HEADER_TIME));
    match proxy::read(&mut input) {
        Ok(Header::Own) => own(&visitor.socket),
        Ok(Header::Passed {
            source,
            destination,
        }) => Ok(Ends {
            local: destination,
            remote: source,
            passed: true,
        }),
        Err(e) => Err(unable(b"read PROXY header", &system_text(&e))),
    }
}

/// Sets the options of a connection. Those that cannot be set are no reason to drop anybody.
pub fn set_options(settings: &Settings, socket: &OwnedFd) {
    if !settings.keep_ip_options {
        let _ = sys::socket::drop_ip_options(socket);
    }
    if settings.no_delay {
        let _ = sys::socket::no_delay(socket);
    }
}

fn prepare_socket(settings: &Settings, visitor: &Visitor) -> Result<(), Dropped> {
    if visitor.ends.is_none() {
        set_options(settings, &visitor.socket);
    }
    if settings.banner.is_empty() {
        return Ok(());
    }
    io::Write::write_all(
        &mut Timed::new(visitor.socket.as_fd(), BANNER_TIME),
        &settings.banner,
    )
    .map_err(|e| unable(b"print banner", &system_text(&e)))
}

/// The host of a client behind a front end is not asked for the user: it knows no connection with us.
fn find_out(settings: &Settings, ends: Ends) -> Connection {
    let Ends {
        local,
        remote,
        passed,
    } = ends;
    let (local_ip, remote_ip) = (mapped(local.ip()), mapped(remote.ip()));
    let names = Names::default();
    let local_name = settings
        .local_name
        .clone()
        .or_else(|| names.of(local_ip, Belief::Any));
    let remote_name = settings
        .remote_name
        .then(|| names.of(remote_ip, settings.belief))
        .flatten();
    let info = (settings.ident && !passed)
        .then(|| ident::ask(&plain(&local), &plain(&remote), settings.ident_time))
        .flatten();
    Connection {
        local: side(&local, local_name),
        remote: side(&remote, remote_name),
        info,
        interface: interface(&local),
    }
}

fn side(address: &SocketAddr, host: Option<Bytes>) -> Side {
    Side {
        ip: mapped(address.ip()),
        port: address.port(),
        host,
    }
}

fn interface(local: &SocketAddr) -> Option<Bytes> {
    match local {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => sys::socket::interface_name(v6.scope_id()),
        _ => None,
    }
}

/// What the rules say.
enum Ruling {
    Denied,
    /// serve, with these variables
    Allowed(Vec<Change>),
}

fn judge(settings: &Settings, connection: &Connection) -> Result<Ruling, Dropped> {
    let Some(path) = &settings.rules else {
        return Ok(Ruling::Allowed(Vec::new()));
    };
    let ip = ucspi::text(connection.remote.ip, settings.form);
    let client = Client {
        ip: ip.as_bytes(),
        host: connection.remote.host.as_deref(),
        info: connection.info.as_deref(),
    };
    let unreadable = |why: &str| unable(&[b"read ", path.as_slice()].concat(), why);
    match look(path, settings.extras.order, &client).map_err(|why| unreadable(&why))? {
        Found::Rules(rules) => Ok(apply(&rules)),
        Found::NoFile if !settings.rules_may_miss => Err(unreadable("file does not exist")),
        Found::NoFile => Ok(Ruling::Allowed(Vec::new())),
    }
}

fn apply(rules: &[Rule]) -> Ruling {
    let Some(set) = verdict(rules) else {
        return Ruling::Denied;
    };
    let split = |variable| {
        let (name, value) = base::bytes::split_once(variable, b'=')?;
        Some((name.into(), Some(value.into())))
    };
    Ruling::Allowed(set.into_iter().filter_map(split).collect())
}

fn report(connection: &Connection, ruling: &Ruling, pid: &str) -> Bytes {
    let Connection { local, remote, .. } = connection;
    let known = |name: &'_ Option<Bytes>| name.clone().unwrap_or_default();
    let (local_name, remote_name) = (known(&local.host), known(&remote.host));
    let info = known(&connection.info);
    Line {
        verdict: match ruling {
            Ruling::Denied => "deny",
            Ruling::Allowed(_) => "ok",
        },
        pid,
        local: [
            &local_name,
            ucspi::text6(local.ip).as_bytes(),
            local.port.to_string().as_bytes(),
        ],
        remote: [
            &remote_name,
            ucspi::text6(remote.ip).as_bytes(),
            &info,
            remote.port.to_string().as_bytes(),
        ],
    }
    .text()
}

/// Returns only if the program could not be run: why.
fn become_program(
    settings: &Settings,
    environment: &[(Bytes, Bytes)],
    visitor: &Visitor,
    connection: &Connection,
    variables: Vec<Change>,
) -> Dropped {
    let changes = changes(settings, visitor, connection, variables);
    let Some(spawn) = program(settings, environment, visitor, changes) else {
        return b"no program".to_vec();
    };
    let _ = signal::default(Signal::SIGPIPE);
    not_run(settings, &spawn.exec())
}

fn not_run(settings: &Settings, error: &io::Error) -> Dropped {
    let program = settings.program.first().map_or(&b""[..], Vec::as_slice);
    unable(&[b"run ", program].concat(), &system_text(error))
}

fn changes(
    settings: &Settings,
    visitor: &Visitor,
    connection: &Connection,
    variables: Vec<Change>,
) -> Vec<Change> {
    let mut changes = settings.protocol.variables(connection, settings.form);
    changes.extend_from_slice(&visitor.told);
    changes.extend(variables);
    changes
}

fn program<'a>(
    settings: &Settings,
    environment: &[(Bytes, Bytes)],
    visitor: &'a Visitor,
    changes: Vec<Change>,
) -> Option<Spawn<'a>> {
    let (program, args) = settings.program.split_first()?;
    let socket = visitor.socket.as_fd();
    let spawn = Spawn::new(program)
        .args(args)
        .env(ucspi::changed(environment.to_vec(), changes))
        .search_here()
        .fd(0, socket)
        .fd(1, socket);
    let more = visitor.more.iter();
    Some(more.fold(spawn, |spawn, (number, fd)| spawn.fd(*number, fd.as_fd())))
}
