//! Fields that every new message gets: Date and Message-ID (djb's `newfield`).
//!
//! Source  RFC 5322 3.6.1, 3.6.4

use base::Bytes;

use crate::date::{Civil, rfc5322};

/// `Date: 22 Nov 2026 11:00:00 -0000`, with a line end.
pub fn date(unix: i64) -> Bytes {
    format!("Date: {}\n", rfc5322(unix)).into_bytes()
}

/// `Message-ID: <20261122110000.PID.qmail@host>`, with a line end.
///
/// Unique as long as no process id comes again within a second.
pub fn message_id(unix: i64, pid: u32, host: &[u8]) -> Bytes {
    let t = Civil::from_unix(unix);
    let front = format!(
        "Message-ID: <{}{:02}{:02}{:02}{:02}{:02}.{pid}.qmail@",
        t.year, t.month, t.day, t.hour, t.minute, t.second
    );
    [front.as_bytes(), host, b">\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_fields() {
        assert_eq!(date(0), b"Date: 1 Jan 1970 00:00:00 -0000\n");
        assert_eq!(
            message_id(951_782_401, 7, b"h.test"),
            b"Message-ID: <20000229000001.7.qmail@h.test>\n"
        );
    }
}
