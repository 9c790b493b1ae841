//! qmail-tcpto and qmail-tcpok: the table of hosts that did not answer.

use std::io::{self, ErrorKind};

use base::die::system_text;
use base::{Bytes, Call, Die};
use sys::Dir;
use sys::sandbox::{Access, Promises};

use crate::output::Output;

/// Prints one line for each host that did not answer; complaints go to descriptor 1 too.
///
/// # Errors
/// 111 when the table cannot be read.
pub fn tcpto(_: &Call) -> Result<(), Die> {
    let mut output = Output::open();
    let fatal =
        |what: &str, e: &io::Error| format!("fatal: unable to {what}: {}\n", system_text(e));
    if let Err(e) = control::home::enter().and_then(|()| Dir::open("queue/lock")) {
        return Err(output.fail(fatal("chdir", &e)));
    }
    tcpto_promises().enforce();

    let records = match queue::tcpto::list() {
        Ok(records) => records,
        Err(e) if e.kind() == ErrorKind::TimedOut => {
            return Err(output.fail(fatal("lock tcpto", &e)));
        }
        Err(e) => return Err(output.fail(fatal("open tcpto", &e))),
    };

    let now = base::tai::unix_now();
    for record in records {
        let age = now.saturating_sub(i64::from(record.when)).max(0);
        output.line(format!(
            "{} timed out {age} seconds ago; # recent timeouts: {}",
            record.address, record.count
        ));
    }
    output.close()
}

/// What qmail-tcpto and qmail-tcpok promise before they open the table: the two files of it.
pub fn tcpto_promises() -> Promises {
    let files = ["queue/lock/tcpto", "queue/lock/tcpto6"];
    Promises::new().paths(&files, Access::Write)
}

/// Empties the table: every host may be tried again at once.
///
/// # Errors
/// 111 when it cannot be opened, locked or written.
pub fn tcpok(_: &Call) -> Result<(), Die> {
    let at = |verb: &str, path: &str| -> Bytes {
        [verb.as_bytes(), &control::home::below(path)].concat()
    };
    control::home::enter().map_err(|e| Die::unable(at("chdir to ", ""), &e))?;
    Dir::open("queue/lock").map_err(|e| Die::unable(at("chdir to ", "queue/lock"), &e))?;

    tcpto_promises().enforce();

    queue::tcpto::clear().map_err(|e| {
        let verb = match e.kind() {
            ErrorKind::TimedOut => "lock ",
            _ => "write ",
        };
        Die::unable(at(verb, "queue/lock/tcpto"), &e)
    })
}
