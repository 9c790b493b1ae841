//! qmail-remote against servers that obey, refuse, lie, stall and break off.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod hostile;
mod route;
mod server;
mod session;
mod timeouts;
mod tls_and_login;
mod worker;

use kit::{Home, Output};

/// A small message.
const MESSAGE: &[u8] = b"Subject: test\n\nbody\n";

/// A home whose smtproutes is `routes`, and where nothing waits long.
fn home(routes: &str) -> Home {
    let home = Home::new("remote");
    home.control("smtproutes", routes);
    home.control("timeoutconnect", "60\n");
    home.control("timeoutremote", "60\n");
    home
}

/// Runs qmail-remote; it always exits 0 and says nothing on descriptor 2.
fn send(home: &Home, host: &str, recipients: &[&str], message: &[u8]) -> String {
    send_from(home, host, "s@a.test", recipients, message)
}

fn send_from(home: &Home, host: &str, sender: &str, recipients: &[&str], message: &[u8]) -> String {
    let run = home
        .run("qmail-remote")
        .args([host, sender])
        .args(recipients);
    report(&run.stdin(message).output())
}

/// The reports, with `^` for NUL.
fn report(output: &Output) -> String {
    assert_eq!((output.code(), output.err_text().as_str()), (0, ""));
    output.out_text().replace('\0', "^")
}
