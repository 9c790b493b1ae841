//! svstat: print the states of services.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use base::tai::Tai64N;
use base::{Bytes, Call, Die};
use sys::Dir;

use crate::status::{LONG, STATUS, Stage, Status, Want};

/// Runs `svstat service ...`: one line each on descriptor 1; 0 whatever the lines say.
pub fn run(call: &Call) -> Result<(), Die> {
    let start = Dir::open(".").map_err(|e| Die::unable("open current directory", &e))?;

    let mut lines = Bytes::new();
    for service in &call.args {
        for (part, text) in look(service).unwrap_or_else(|trouble| vec![("", trouble)]) {
            let words = [
                service.as_slice(),
                part.as_bytes(),
                b": ",
                text.as_bytes(),
                b"\n",
            ];
            lines.extend_from_slice(&words.concat());
        }
        start.enter().map_err(|e| {
            let text = ["unable to set directory: ", &base::die::system_text(&e)].concat();
            Die::fatal(base::die::TEMPORARY, text)
        })?;
    }

    if let Ok(stdout) = sys::fd::inherited(1) {
        // The exit code speaks of services, not of the reader of the lines.
        let _ = sys::fd::write_all(&stdout, &lines);
    }
    Ok(())
}

/// What is usual for the service: the file `down` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Normally {
    Up,
    Down,
}

/// The states of a service, and of a log in its directory, as text. `Err` is text, too: why there is none.
fn look(service: &[u8]) -> Result<Vec<(&'static str, String)>, String> {
    std::env::set_current_dir(sys::dir::path(service)).map_err(unable("chdir"))?;
    let normally = match std::fs::metadata("down") {
        Ok(_) => Normally::Down,
        Err(e) if e.kind() == ErrorKind::NotFound => Normally::Up,
        Err(e) => return Err(unable("stat down")(e)),
    };
    match sys::dir::open_write(b"supervise/ok") {
        Ok(_) => {}
        Err(e) if sys::dir::is_without_reader(&e) => return Err("supervise not running".to_owned()),
        Err(e) => return Err(unable("open supervise/ok")(e)),
    }
    let file = File::open("supervise/status").map_err(unable("open supervise/status"))?;
    let mut bytes = Bytes::new();
    file.take(2 * LONG as u64)
        .read_to_end(&mut bytes)
        .map_err(unable("read supervise/status"))?;
    let text = |record: &[u8]| {
        let status = Status::unpack(record)?;
        let stage = record
            .get(STATUS)
            .map_or(String::new(), |&byte| stage(&status, byte));
        Some(describe(&status, Tai64N::now(), normally) + &stage)
    };
    let main = text(&bytes).ok_or("unable to read supervise/status: bad format")?;
    let log = bytes.get(LONG..).and_then(text).map(|log| (" log", log));
    Ok([("", main)].into_iter().chain(log).collect())
}

/// What a record of more than 18 bytes adds.
fn stage(status: &Status, byte: u8) -> String {
    let once = if status.pid != 0 && status.want == Want::Once {
        ", once"
    } else {
        ""
    };
    [once, ", ", Stage::word(byte).unwrap_or("status unknown")].concat()
}

fn unable(what: &'static str) -> impl Fn(io::Error) -> String {
    move |e| ["unable to ", what, ": ", &base::die::system_text(&e)].concat()
}

fn describe(status: &Status, now: Tai64N, normally: Normally) -> String {
    let seconds = now.seconds.saturating_sub(status.since.seconds);
    let mut text = match status.pid {
        0 => format!("down {seconds} seconds"),
        pid => format!("up (pid {pid}) {seconds} seconds"),
    };
    let up = status.pid != 0;
    for (holds, remark) in [
        (up && normally == Normally::Down, ", normally down"),
        (!up && normally == Normally::Up, ", normally up"),
        (up && status.paused, ", paused"),
        (!up && status.want == Want::Up, ", want up"),
        (up && status.want == Want::Down, ", want down"),
    ] {
        if holds {
            text.push_str(remark);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_as_the_original() {
        let cases = [
            (0, false, Want::Down, Normally::Down, "down 10 seconds"),
            (
                0,
                false,
                Want::Down,
                Normally::Up,
                "down 10 seconds, normally up",
            ),
            (0, false, Want::Once, Normally::Down, "down 10 seconds"),
            (
                0,
                false,
                Want::Up,
                Normally::Up,
                "down 10 seconds, normally up, want up",
            ),
            (7, false, Want::Up, Normally::Up, "up (pid 7) 10 seconds"),
            (
                7,
                true,
                Want::Up,
                Normally::Up,
                "up (pid 7) 10 seconds, paused",
            ),
            (
                7,
                true,
                Want::Down,
                Normally::Down,
                "up (pid 7) 10 seconds, normally down, paused, want down",
            ),
        ];
        for (pid, paused, want, normally, expected) in cases {
            let since = Tai64N::from_unix(1000, 999_999_999);
            let status = Status {
                since,
                pid,
                paused,
                want,
            };
            assert_eq!(
                describe(&status, Tai64N::from_unix(1010, 0), normally),
                expected
            );
        }
    }

    #[test]
    fn a_clock_that_went_back_shows_no_time() {
        let status = Status {
            since: Tai64N::from_unix(1000, 0),
            pid: 1,
            paused: false,
            want: Want::Up,
        };
        let text = describe(&status, Tai64N::from_unix(900, 0), Normally::Up);
        assert_eq!(text, "up (pid 1) 0 seconds");
    }
}
