//! The small programs that lines of .qmail files call.

mod lmtp;
mod preline;

use std::fs::File;
use std::io::{self, ErrorKind, Seek};

use base::die::{PERMANENT, TEMPORARY};
use base::{Bytes, Call, Die};
use queue::submit::Outcome;
use sys::signal::Signal;

use crate::ask::ask;
use crate::forwarding::{self, Failure};

pub use lmtp::lmtp;
pub use preline::preline;

/// forward(1): sends the message on descriptor 0 to the addresses of the command line.
pub fn forward(call: &Call) -> Result<(), Die> {
    let sender = variable("NEWSENDER")?;
    let pid = send_on(&sender, message(), &call.args)?;
    Err(Die::plain(0, format!("forward: qp {pid}\n")))
}

/// bouncesaying(1): refuses the message with a text, unless a program says no.
pub fn bouncesaying(call: &Call) -> Result<(), Die> {
    let Some((text, words)) = call.args.split_first() else {
        return Err(Die::usage("bouncesaying error [ program [ arg ... ] ]"));
    };
    if !words.is_empty() && !ask(words)? {
        return Ok(());
    }
    Err(Die::plain(PERMANENT, [text.as_slice(), b"\n"].concat()))
}

/// condredirect(1): sends the message on to another address, and ends the .qmail file, if a program says yes.
pub fn condredirect(call: &Call) -> Result<(), Die> {
    let usage = || Die::usage("condredirect newaddress program [ arg ... ]");
    let (address, words) = call.args.split_first().ok_or_else(usage)?;
    if words.is_empty() {
        return Err(usage());
    }
    if !ask(words)? {
        return Ok(());
    }
    let rewound = message().and_then(|mut file| file.rewind().map(|()| file));
    let message = rewound.map_err(|e| Die::unable("rewind", &e))?;
    let sender = variable("SENDER")?;
    let pid = send_on(&sender, Ok(message), std::slice::from_ref(address))?;
    Err(Die::plain(99, format!("condredirect: qp {pid}\n")))
}

/// except(1): fails for good if a program succeeds, and the other way round.
pub fn except(call: &Call) -> Result<(), Die> {
    if call.args.is_empty() {
        return Err(Die::usage("except program [ arg ... ]"));
    }
    if ask(&call.args)? {
        return Err(Die::silent(PERMANENT));
    }
    Ok(())
}

fn variable(name: &str) -> Result<Bytes, Die> {
    base::env(name).ok_or_else(|| Die::fatal(PERMANENT, format!("{name} not set")))
}

fn message() -> io::Result<File> {
    sys::fd::take(0).map(File::from)
}

/// Puts DTLINE in front of the message and queues it. A missing descriptor 0 counts as a message that cannot be read.
fn send_on(sender: &[u8], message: io::Result<File>, recipients: &[Bytes]) -> Result<u32, Die> {
    let delivered_to = variable("DTLINE")?;
    sys::signal::ignore(Signal::SIGPIPE).map_err(|e| Die::unable("ignore SIGPIPE", &e))?;
    let sent = message
        .map_err(Failure::Read)
        .and_then(|mut file| forwarding::send(&delivered_to, &mut file, sender, recipients));
    sent.map_err(|failure| match failure {
        Failure::Fork(e) => Die::unable("fork", &e),
        Failure::Read(e) => Die::unable("read message", &e),
        Failure::Queue(Outcome::Permanent(text)) => Die::fatal(PERMANENT, text),
        Failure::Queue(Outcome::Temporary(text)) => Die::fatal(TEMPORARY, text),
        Failure::Queue(Outcome::Queued) => Die::unable("queue", &ErrorKind::Other.into()),
    })
}
