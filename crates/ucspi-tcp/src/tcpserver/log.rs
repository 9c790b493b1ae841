//! What the server says on descriptor 2.

use base::Bytes;

use super::settings::Settings;
use crate::options::Verbosity;

/// The most bytes of one field of the "ok" line.
const FIELD_LIMIT: usize = 100;

/// Writes `NAME: TEXT`, for `-v`.
pub fn say(settings: &Settings, text: impl AsRef<[u8]>) {
    if settings.verbosity == Verbosity::All {
        let line = [settings.name.as_bytes(), b": ", text.as_ref(), b"\n"].concat();
        // Nobody is left to hear of trouble with the log.
        let _ = sys::fd::inherited(2).and_then(|err| sys::fd::write_all(&err, &line));
    }
}

/// Writes `NAME: warning: TEXT`, unless `-q`.
pub fn warn(settings: &Settings, text: impl AsRef<[u8]>) {
    if settings.verbosity >= Verbosity::Trouble {
        base::warn(settings.name, text);
    }
}

/// `ok` or `deny`, and who talks to whom.
pub(super) struct Line<'a> {
    pub(super) verdict: &'a str,
    pub(super) pid: &'a str,
    pub(super) local: [&'a [u8]; 3],
    pub(super) remote: [&'a [u8]; 4],
}

impl Line<'_> {
    /// `VERDICT PID HOST:IP:PORT HOST:IP:INFO:PORT`, every field cut and without bytes that could confuse a log.
    pub(super) fn text(&self) -> Bytes {
        let joined = |fields: &[&[u8]]| {
            let safe: Vec<Bytes> = fields.iter().map(|f| field(f)).collect();
            safe.join(&b':')
        };
        [
            format!("{} {} ", self.verdict, self.pid).into_bytes(),
            joined(&self.local),
            b" ".to_vec(),
            joined(&self.remote),
        ]
        .concat()
    }
}

fn field(bytes: &[u8]) -> Bytes {
    let mut out: Bytes = bytes
        .iter()
        .take(FIELD_LIMIT)
        .map(|&b| {
            if matches!(b, 33..=126) && b != b'%' {
                b
            } else {
                b'?'
            }
        })
        .collect();
    if bytes.len() >= FIELD_LIMIT {
        out.extend_from_slice(b"...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_safe_and_short() {
        assert_eq!(field(b"a b%c\n\xffd:e"), b"a?b?c??d:e");
        assert_eq!(field(&[b'x'; 99]), [b'x'; 99]);
        let long = field(&[b'x'; 100]);
        assert_eq!((long.len(), long.ends_with(b"x...")), (103, true));
    }

    #[test]
    fn the_line_of_a_connection() {
        let line = Line {
            verdict: "ok",
            pid: "7",
            local: [b"", b"::1", b"25"],
            remote: [b"h.test", b"::2", b"joe", b"4000"],
        };
        assert_eq!(line.text(), b"ok 7 :::1:25 h.test:::2:joe:4000");
    }
}
