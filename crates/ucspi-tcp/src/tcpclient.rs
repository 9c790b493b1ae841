//! tcpclient: make one connection, and become a program that uses it on descriptors 6 and 7.

pub(crate) mod dial;
pub(crate) mod settings;

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use base::{Call, Die};
use net::ucspi::{self, Connection, Side};
use sys::signal::{self, Signal};
use sys::socket::mapped;
use sys::spawn::Spawn;

use crate::host::plain;
use crate::ident;
use crate::names::{Belief, Names};
use crate::options::{Verbosity, last_word};
use settings::{Settings, TCPCLIENT};

/// Connects and runs a program. See tcpclient(1).
///
/// # Errors
/// Misuse (100), no connection, or the program could not be run (111).
pub fn tcpclient(call: &Call) -> Result<(), Die> {
    let settings = Settings::read(&call.args, &TCPCLIENT, &mut ())?;
    run(&settings).map_err(|die| last_word(die, settings.verbosity))
}

fn run(settings: &Settings) -> Result<(), Die> {
    let port = crate::port::argument(&settings.port)?;
    let addresses = dial::addresses(settings)?;

    signal::ignore(Signal::SIGPIPE).map_err(|e| Die::unable("ignore SIGPIPE", &e))?;
    let socket = dial::dial(settings, &addresses, port)?;
    if settings.no_delay {
        let _ = sys::socket::no_delay(&socket);
    }

    let connection = find_out(settings, &socket)?;
    Err(become_program(settings, &socket, &connection))
}

/// Both ends of a connection, with their names if they are wanted.
///
/// # Errors
/// The connection is none any more.
pub fn find_out(settings: &Settings, socket: &OwnedFd) -> Result<Connection, Die> {
    let names = Names::default();
    let local = sys::socket::local(socket)
        .map(|a| plain(&a))
        .map_err(|e| Die::unable("get local address", &e))?;
    let local_name = settings
        .local_name
        .clone()
        .or_else(|| names.of(mapped(local.ip()), Belief::Any));
    let remote = sys::socket::peer(socket)
        .map(|a| plain(&a))
        .map_err(|e| Die::unable("get remote address", &e))?;
    if settings.verbosity == Verbosity::All {
        let ip = ucspi::text(mapped(remote.ip()), settings.form);
        dial::say(
            settings,
            &format!("connected to {ip} port {}", remote.port()),
        );
    }
    let remote_name = settings
        .remote_name
        .then(|| names.of(mapped(remote.ip()), Belief::Any))
        .flatten();
    let info = settings
        .ident
        .then(|| ident::ask(&local, &remote, settings.ident_time))
        .flatten();
    let side = |address: SocketAddr, host| Side {
        ip: mapped(address.ip()),
        port: address.port(),
        host,
    };
    Ok(Connection {
        local: side(local, local_name),
        remote: side(remote, remote_name),
        info,
        interface: None,
    })
}

/// Returns only if the program could not be run. Descriptors 0 to 2 stay what they are, even closed.
fn become_program(settings: &Settings, socket: &OwnedFd, connection: &Connection) -> Die {
    let Some((program, args)) = settings.program.split_first() else {
        return Die::silent(111);
    };
    let changes = ucspi::of_client(connection, settings.form);
    let mut spawn = Spawn::new(program)
        .args(args)
        .env(ucspi::changed(sys::spawn::environment(), changes))
        .search_here()
        .fd(6, socket.as_fd())
        .fd(7, socket.as_fd());
    for number in 0..=2 {
        if !sys::fd::was_open(number) {
            spawn = spawn.without_fd(number);
        }
    }
    let _ = signal::default(Signal::SIGPIPE);
    let error = spawn.exec();
    Die::unable([b"run ", program.as_slice()].concat(), &error)
}
