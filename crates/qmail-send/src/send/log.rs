//! The log: lines on descriptor 0, in the form that log tools know.
//!
//! Source  qmail-log(5)

use std::os::fd::OwnedFd;

use base::Bytes;

/// Lines that gather before they are written, bytes.
const BUFFER: usize = 4 * 1024;

/// Where the lines go.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// `None`: nobody reads; mail goes on
    fd: Option<OwnedFd>,
    /// lines of this turn
    lines: Bytes,
}

impl Log {
    pub(crate) fn new(fd: Option<OwnedFd>) -> Log {
        Log {
            fd,
            lines: Bytes::new(),
        }
    }

    /// Adds one line; `text` has no line end yet. It is written at the end of the turn, with the others.
    pub(crate) fn line(&mut self, text: impl AsRef<[u8]>) {
        self.lines.extend_from_slice(text.as_ref());
        self.lines.push(b'\n');
        if self.lines.len() > BUFFER {
            self.flush();
        }
    }

    /// Writes what has gathered.
    pub(crate) fn flush(&mut self) {
        if let Some(fd) = self.fd.as_ref().filter(|_| !self.lines.is_empty()) {
            // A log that cannot be written must not stop the mail.
            let _ = sys::fd::write_all(fd, &self.lines);
        }
        self.lines.clear();
    }

    /// `alert: text`: somebody has to do something.
    pub(crate) fn alert(&mut self, text: impl AsRef<[u8]>) {
        self.line([b"alert: ", text.as_ref()].concat());
    }

    /// `warning: text`: something was skipped, or will be done later.
    pub(crate) fn warning(&mut self, text: impl AsRef<[u8]>) {
        self.line([b"warning: ", text.as_ref()].concat());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// `text` on one line and in printable bytes: a line end becomes a slash; blanks, percent signs and all that is not
/// printable ASCII become an underscore.
pub(crate) fn safe(text: &[u8]) -> Bytes {
    text.iter()
        .map(|&b| match b {
            b'\n' => b'/',
            b'%' => b'_',
            33..=126 => b,
            _ => b'_',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_odd_reaches_the_log() {
        assert_eq!(
            safe(b"did 1+0+0/\n100% \x1b[m\xff"),
            b"did_1+0+0//100___[m_"
        );
    }
}
