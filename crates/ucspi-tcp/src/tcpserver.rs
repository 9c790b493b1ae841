//! tcpserver: accept connections, and run one program for each.

pub(crate) mod acquire;
pub(crate) mod child;
mod copies;
mod counters;
mod handed;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod serve;
pub(crate) mod settings;

use base::{Call, Die};

use crate::options::last_word;
use serve::Server;
use settings::{Settings, TCPSERVER};

/// Serves until SIGTERM. See tcpserver(1).
///
/// # Errors
/// Misuse (100), or it could not begin (111).
pub fn tcpserver(call: &Call) -> Result<(), Die> {
    let settings = Settings::read(&call.args, &TCPSERVER, &mut ())?;
    run(&settings).map_err(|die| last_word(die, settings.verbosity))
}

fn run(settings: &Settings) -> Result<(), Die> {
    let port = crate::port::argument(&settings.port)?;
    let place = acquire::place(settings)?;

    let listener = acquire::listen(settings, &place, port)?;
    let port = acquire::bound_port(&listener)?;

    acquire::drop_privileges(settings)?;

    if settings.print_port {
        print(port);
    }
    let server =
        Server::new(settings, listener, ()).map_err(|e| Die::unable("catch signals", &e))?;
    close_standard();
    server.run()
}

/// Tells the port that was bound. Trouble is ignored, as in the original: it is a convenience.
pub fn print(port: u16) {
    if let Ok(out) = sys::fd::inherited(1) {
        let _ = sys::fd::write_all(&out, format!("{port}\n").as_bytes());
    }
}

/// Whoever reads the port sees end of file, and nobody's input is kept open.
pub fn close_standard() {
    drop(sys::fd::take(0));
    drop(sys::fd::take(1));
}
