//! sslclient: make one connection, speak TLS on it, and run a program that uses it in plain text on descriptors 6 and 7.

mod pump;
mod settings;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use base::{Bytes, Call, Die};
use net::ucspi::{self, Change, Connection};
use sys::process::End;
use sys::signal::{self, Signal};
use sys::socket::unmapped;
use sys::spawn::Spawn;
use tls::client::Session;
use ucspi_tcp::client::{self, Settings};

use pump::Pump;
use settings::Options;

/// Connects and runs a program; ends as the program ends. See sslclient(1).
///
/// # Errors
/// Misuse (100); no connection, no TLS, or the program could not be run (111); else the program's own exit code, without a
/// word.
pub fn sslclient(call: &Call) -> Result<(), Die> {
    let (settings, options) = settings::read_line(&call.args)?;
    run(&settings, &options).map_err(|die| client::last_word(die, settings.verbosity))
}

fn run(settings: &Settings, options: &Options) -> Result<(), Die> {
    let port = client::port(&settings.port)?;
    let config = options.config(&settings.host)?;
    let addresses = client::addresses(settings)?;

    signal::ignore(Signal::SIGPIPE).map_err(|e| Die::unable("ignore SIGPIPE", &e))?;
    let socket = client::dial(settings, &addresses, port)?;
    if settings.no_delay {
        let _ = sys::socket::no_delay(&socket);
    }
    let connection = client::find_out(settings, &socket)?;
    let address = unmapped(connection.remote.ip.into());
    let session = Session::new(&config, settings::name(&settings.host), address)
        .map_err(|why| Die::fatal(111, format!("unable to begin TLS: {why}")))?;

    let mut pump = Pump::new(socket, session).map_err(|e| Die::unable("begin TLS", &e))?;
    let end = Instant::now().checked_add(options.handshake_time);
    pump.shake(end)
        .map_err(|why| Die::fatal(111, format!("unable to speak TLS: {why}")))?;
    let (ours, theirs) = sys::local::pair().map_err(|e| Die::unable("make channel", &e))?;
    let told = told(settings, options, &connection, &pump);
    let pid = start(settings, &theirs, told)?;
    drop(theirs);

    pump.carry(ours, options.idle_time);
    leave(pid)
}

/// The program's end is ours.
fn leave(pid: u32) -> Result<(), Die> {
    match sys::process::wait_for(pid).map_err(|e| Die::unable("wait for the program", &e))? {
        End::Exit(0) => Ok(()),
        End::Exit(code) => Err(Die::silent(code)),
        End::Signal(_) => Err(Die::silent(111)),
    }
}

fn told(
    settings: &Settings,
    options: &Options,
    connection: &Connection,
    pump: &Pump,
) -> Vec<Change> {
    let form = settings.form;
    let tcp = ucspi::of_client(connection, form);
    let ssl = ucspi::of_tls_client(connection, form);
    let mut changes: Vec<Change> = if options.tcp_variables {
        ssl.into_iter().chain(tcp).collect()
    } else {
        let none = tcp.into_iter().map(|(name, _)| (name, None));
        none.chain(ssl).collect()
    };
    if let Some(agreed) = pump.agreed() {
        let bits = agreed.bits.to_string();
        for (name, value) in [
            ("SSL_PROTOCOL", agreed.protocol),
            ("SSL_CIPHER", agreed.cipher),
            ("SSL_CIPHER_USEKEYSIZE", &bits),
            ("SSL_CIPHER_ALGKEYSIZE", &bits),
        ] {
            changes.push((name.into(), Some(value.into())));
        }
    }
    changes
}

/// Starts the program. Descriptors 0 to 2 stay what they are, even closed.
fn start(settings: &Settings, plain: &OwnedFd, told: Vec<Change>) -> Result<u32, Die> {
    let Some((program, args)) = settings.program.split_first() else {
        return Err(Die::silent(111));
    };
    let mut spawn = Spawn::new(program)
        .args(args)
        .env(ucspi::changed(sys::spawn::environment(), told))
        .search_here()
        .fd(6, plain.as_fd())
        .fd(7, plain.as_fd());
    for number in 0..=2 {
        if !sys::fd::was_open(number) {
            spawn = spawn.without_fd(number);
        }
    }
    let _ = signal::default(Signal::SIGPIPE);
    let started = spawn.spawn();
    let _ = signal::ignore(Signal::SIGPIPE);
    started.map_err(|e| Die::unable(Bytes::from([b"run ", program.as_slice()].concat()), &e))
}
