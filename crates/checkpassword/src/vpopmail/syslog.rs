//! Lines for syslog as vpopmail writes them: `vpopmail[PID]: TEXT`, facility mail, priority notice.

use std::os::unix::net::UnixDatagram;

use base::Bytes;
use base::bytes::printable;

const SOCKET: &str = "/dev/log";
/// Facility mail (2), priority notice (5).
const PRIORITY: &str = "<21>";

/// What is logged, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// nothing
    Nothing,
    /// what went wrong
    Errors,
    /// every attempt
    All,
}

/// Where and how much: VCHKPWLOG, or control/vchkpwlog: `n`, `e` or `y`, and `stderr` behind it for descriptor 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    mode: Mode,
    to_stderr: bool,
}

impl Log {
    pub(super) fn find() -> Log {
        let text = base::env("VCHKPWLOG").or_else(|| control::line("vchkpwlog").ok().flatten());
        Log::parse(&text.unwrap_or_default())
    }

    pub(super) fn parse(text: &[u8]) -> Log {
        Log {
            // The words `p` and `v` of the original add passwords: they are `e` and `y` here.
            mode: match text.first() {
                Some(b'n') => Mode::Nothing,
                Some(b'y' | b'v') => Mode::All,
                _ => Mode::Errors,
            },
            to_stderr: text.ends_with(b"stderr"),
        }
    }

    pub(super) fn error(self, text: &[u8]) {
        if self.mode != Mode::Nothing {
            self.write(text);
        }
    }

    pub(super) fn success(self, text: &[u8]) {
        if self.mode == Mode::All {
            self.write(text);
        }
    }

    fn write(self, text: &[u8]) {
        let text: Bytes = printable(text)
            .into_iter()
            .map(|b| if b == b'%' { b'#' } else { b })
            .collect();
        let line = [
            format!("vpopmail[{}]: ", std::process::id()).as_bytes(),
            &text,
        ]
        .concat();
        // A log that is not there is no reason to let nobody in.
        if self.to_stderr {
            if let Ok(fd) = sys::fd::inherited(2) {
                let _ = sys::fd::write_all(&fd, &[line.as_slice(), b"\n"].concat());
            }
            return;
        }
        if let Ok(socket) = UnixDatagram::unbound()
            && socket.connect(SOCKET).is_ok()
            && socket.set_nonblocking(true).is_ok()
        {
            let _ = socket.send(&[PRIORITY.as_bytes(), stamp().as_bytes(), &line].concat());
        }
    }
}

/// `Nov 26 20:15:09 `
fn stamp() -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Some(t) = sys::time::local(base::tai::unix_now()) else {
        return String::new();
    };
    let month = MONTHS.get(usize::from(t.month).saturating_sub(1));
    let month = month.copied().unwrap_or("Jan");
    format!(
        "{month} {:2} {:02}:{:02}:{:02} ",
        t.day, t.hour, t.minute, t.second
    )
}
