//! splogger: lines from descriptor 0 to syslog.
//!
//! Source  splogger(8); RFC 3164

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::bytes::scan_number;
use base::{Bytes, Call, Die};
use mail::date::ctime;

/// Where syslogd listens.
const SOCKET: &str = "/dev/log";
/// The longest piece of a line; more goes into further messages, since syslogd cuts long ones.
const PIECE: usize = 799;
/// How long syslogd may keep us waiting before a message is dropped.
const TIMEOUT: Duration = Duration::from_mins(1);

const FACILITY_MAIL: u64 = 2;
const FACILITY_USER: u64 = 1;
const FACILITIES: u64 = 24;

/// Passes every line on, until the end of the input. Trouble with syslogd is not told: there is nobody to tell.
///
/// # Errors
/// None; a closed descriptor 0 is an end of the input.
pub fn splogger(call: &Call) -> Result<(), Die> {
    let tag = call.args.first().map_or(&b"splogger"[..], |t| t.as_slice());
    let facility = call
        .args
        .get(1)
        .map_or(FACILITY_MAIL, |word| facility(word));
    let _ = sys::signal::ignore(sys::signal::Signal::SIGPIPE);
    let mut syslog = Syslog::new(Path::new(SOCKET), tag, facility);

    if let Ok(input) = sys::fd::take(0) {
        pass_on(BufReader::new(File::from(input)), |priority, text| {
            syslog.send(priority, text);
        });
    }
    Ok(())
}

/// A number of a facility. One that is none stands for "user", as syslog(3) has it.
fn facility(word: &[u8]) -> u64 {
    match scan_number(word).0 {
        n @ 1..FACILITIES => n,
        _ => FACILITY_USER,
    }
}

/// The urgency of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Alert = 1,
    Warning = 4,
    Info = 6,
}

impl Priority {
    fn of(text: &[u8]) -> Priority {
        if text.starts_with(b"alert:") {
            Priority::Alert
        } else if text.starts_with(b"warning:") {
            Priority::Warning
        } else {
            Priority::Info
        }
    }
}

/// Cuts the input into lines, long lines into pieces, and gives each a stamp. Further pieces of a line have the stamp and
/// the priority of the first, and a plus sign.
fn pass_on(mut input: impl BufRead, mut send: impl FnMut(Priority, &[u8])) {
    let mut piece = Bytes::with_capacity(PIECE);
    let mut line: Option<(Priority, String)> = None;
    let mut flush = |piece: &mut Bytes, line: &mut Option<(Priority, String)>| {
        if piece.is_empty() {
            return;
        }
        match line {
            Some((priority, stamp)) => {
                send(*priority, &[stamp.as_bytes(), b"+", piece].concat());
            }
            None => {
                let priority = Priority::of(piece);
                let stamp = stamp();
                send(priority, &[stamp.as_bytes(), b" ", piece].concat());
                *line = Some((priority, stamp));
            }
        }
        piece.clear();
    };
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) if !bytes.is_empty() => bytes,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            _ => break,
        };
        let count = bytes.len();
        for &byte in bytes {
            if byte == b'\n' {
                flush(&mut piece, &mut line);
                line = None;
                continue;
            }
            if piece.len() >= PIECE {
                flush(&mut piece, &mut line);
            }
            piece.push(if (32..127).contains(&byte) {
                byte
            } else {
                b'?'
            });
        }
        input.consume(count);
    }
    flush(&mut piece, &mut line);
}

/// `SECONDS.MICROSECONDS`.
fn stamp() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!("{}.{:06}", since.as_secs(), since.subsec_micros())
}

/// `Nov  2 11:00:00`, UTC: syslogd knows the local time better.
fn date(unix: i64) -> String {
    let long = ctime(unix);
    let month = long.get(4..7).unwrap_or_default();
    let day = long.get(8..10).unwrap_or_default();
    let time = long.get(11..19).unwrap_or_default();
    format!("{month} {:>2} {time}", day.trim_start_matches('0'))
}

/// A way to syslogd.
enum Way {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

struct Syslog<'a> {
    path: &'a Path,
    tag: &'a [u8],
    facility: u64,
    way: Option<Way>,
}

impl<'a> Syslog<'a> {
    fn new(path: &'a Path, tag: &'a [u8], facility: u64) -> Syslog<'a> {
        Syslog {
            path,
            tag,
            facility,
            way: None,
        }
    }

    /// `<PRIORITY>Mmm dd hh:mm:ss tag: text`. syslogd may have been started anew, so a failure is tried once more.
    fn send(&mut self, priority: Priority, text: &[u8]) {
        let front = format!(
            "<{}>{} ",
            self.facility * 8 + priority as u64,
            date(base::tai::unix_now())
        );
        let message = [front.as_bytes(), self.tag, b": ", text].concat();
        if !self.try_send(&message) {
            self.way = None;
            self.try_send(&message);
        }
    }

    fn try_send(&mut self, message: &[u8]) -> bool {
        if self.way.is_none() {
            self.way = connect(self.path);
        }
        match &mut self.way {
            Some(Way::Datagram(socket)) => socket.send(message).is_ok(),
            Some(Way::Stream(socket)) => socket.write_all(&[message, b"\0"].concat()).is_ok(),
            None => false,
        }
    }
}

fn connect(path: &Path) -> Option<Way> {
    let datagram = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        std::io::Result::Ok(Way::Datagram(socket))
    };
    let stream = || {
        let socket = UnixStream::connect(path)?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        std::io::Result::Ok(Way::Stream(socket))
    };
    datagram().or_else(|_| stream()).ok()
}

#[cfg(test)]
mod tests;
