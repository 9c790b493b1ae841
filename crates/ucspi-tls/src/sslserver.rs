//! sslserver: accept connections, and run one program for each, which sees plain text.
//!
//! Three kinds of processes, so that keys, strangers' bytes and the right to run programs are never in one. The keeper
//! reads certificates and keys, makes workers, and talks to nobody else. The workers have the keys and speak TLS with
//! the clients; they can open nothing and run nothing. The listener takes connections as tcpserver does and starts the
//! programs; it never sees a key, and only the keeper and the workers ever see a byte of TLS.
//!
//! Source  docs/decisions/0021-tls-processes.md

mod files;
mod front;
mod keeper;
mod pump;
mod settings;
mod wire;
mod worker;

use base::{Call, Die};
use ucspi_tcp::server;
use ucspi_tcp::server::{Server, Settings};

use front::Tls;
pub use keeper::promises as keeper_promises;
use settings::Options;
pub use worker::promises as worker_promises;

/// Serves until SIGTERM. See sslserver(1).
///
/// # Errors
/// Misuse (100), or it could not begin (111).
pub fn sslserver(call: &Call) -> Result<(), Die> {
    let (settings, options) = settings::read(&call.args)?;
    run(&settings, options).map_err(|die| server::last_word(die, settings.verbosity))
}

fn run(settings: &Settings, options: Options) -> Result<(), Die> {
    let port = server::port(&settings.port)?;
    let place = server::place(settings)?;

    let listener = server::listen(settings, &place, port)?;
    let port = server::bound_port(&listener)?;
    let delayed = options.delayed;
    let keeper = keeper::start(settings, options, port)?;

    server::drop_privileges(settings)?;

    let front = Tls::new(settings, keeper, delayed)?;
    if settings.print_port {
        server::print(port);
    }
    let server =
        Server::new(settings, listener, front).map_err(|e| Die::unable("catch signals", &e))?;
    server::close_standard();
    server.run()
}
