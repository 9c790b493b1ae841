//! qmail-qstat: how many messages the queue holds.

use std::io;

use base::die::system_text;
use base::{Bytes, Call, Die};
use sys::Dir;

use crate::output::Output;

/// Directories below a queue directory that are looked into, levels.
const DEPTH: usize = 2;

/// Prints two lines. What cannot be read counts nothing, with a warning.
///
/// # Errors
/// 111 when descriptor 1 cannot be written.
pub fn qstat(_: &Call) -> Result<(), Die> {
    if let Err(e) = control::home::enter() {
        warn(b"home", &e);
    }
    let messages = count(b"queue/mess");
    let new = count(b"queue/todo");

    let mut output = Output::open();
    output.line(format!("messages in queue: {messages}"));
    output.line(format!("messages in queue but not yet preprocessed: {new}"));
    output.close()
}

/// Regular files in a directory and those below it.
fn count(top: &[u8]) -> u64 {
    match Dir::open(sys::dir::path(top)) {
        Ok(dir) => count_in(&dir, top, DEPTH),
        Err(e) => {
            warn(top, &e);
            0
        }
    }
}

fn count_in(dir: &Dir, path: &[u8], depth: usize) -> u64 {
    let entries = match dir.entries() {
        Ok(entries) => entries,
        Err(e) => {
            warn(path, &e);
            return 0;
        }
    };
    let mut sum: u64 = 0;
    for name in entries {
        let name = match name {
            Ok(name) => name,
            Err(e) => {
                warn(path, &e);
                break;
            }
        };
        // A message may go while we count.
        let Ok(stat) = dir.stat_link(&name) else {
            continue;
        };
        if stat.is_file() {
            sum = sum.saturating_add(1);
        } else if stat.is_dir() && depth > 0 {
            let below: Bytes = [path, b"/", &name].concat();
            match dir.open_dir(&name) {
                Ok(inner) => sum = sum.saturating_add(count_in(&inner, &below, depth - 1)),
                Err(e) => warn(&below, &e),
            }
        }
    }
    sum
}

fn warn(path: &[u8], error: &io::Error) {
    base::warn(
        "qmail-qstat",
        [
            b"unable to read ",
            path,
            b": ",
            system_text(error).as_bytes(),
        ]
        .concat(),
    );
}
