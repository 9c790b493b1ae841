//! What tai64n and tai64nlocal have in common: bytes from descriptor 0 to descriptor 1, and no words on trouble.

use std::io::{BufRead, ErrorKind};
use std::os::fd::BorrowedFd;

use base::{Bytes, Die};

/// Bytes read at once: what a pipe holds.
pub(crate) const BLOCK: usize = 64 * 1024;

/// Where the first newline is.
pub(crate) fn newline(bytes: &[u8]) -> Option<usize> {
    // The library searches a slice behind `skip_until` by whole words, a plain iterator byte by byte.
    let mut rest = bytes;
    let count = rest.skip_until(b'\n').ok()?;
    let last = count.checked_sub(1)?;
    (bytes.get(last) == Some(&b'\n')).then_some(last)
}

/// Bytes on their way to descriptor 1.
#[derive(Debug)]
pub(crate) struct Output {
    fd: Option<BorrowedFd<'static>>,
    buffer: Bytes,
}

impl Output {
    /// Adds bytes; writes first if they do not fit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Die> {
        if self.buffer.len() + bytes.len() > BLOCK {
            self.flush()?;
        }
        if bytes.len() > BLOCK {
            return self.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes what is there.
    pub(crate) fn flush(&mut self) -> Result<(), Die> {
        let result = self.write(&self.buffer);
        self.buffer.clear();
        result
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Die> {
        if bytes.is_empty() {
            return Ok(());
        }
        let fd = self.fd.as_ref().ok_or_else(trouble)?;
        sys::fd::write_all(fd, bytes).map_err(|_| trouble())
    }
}

/// The end on any trouble: 111, silently.
fn trouble() -> Die {
    Die::silent(base::die::TEMPORARY)
}

/// Gives every block of input to `each`, to the end. What `each` has written leaves before the next wait for input,
/// so no line is held back by the one after it.
pub(crate) fn copy(
    mut each: impl FnMut(&[u8], &mut Output) -> Result<(), Die>,
) -> Result<Output, Die> {
    let stdin = sys::fd::inherited(0).map_err(|_| trouble())?;
    let mut output = Output {
        fd: sys::fd::inherited(1).ok(),
        buffer: Bytes::with_capacity(BLOCK),
    };
    let mut block = vec![0; BLOCK];
    loop {
        output.flush()?;
        match sys::fd::read(&stdin, &mut block) {
            Ok(0) => return Ok(output),
            Ok(count) => each(block.get(..count).unwrap_or_default(), &mut output)?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(trouble()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_newline() {
        for (text, expected) in [
            ("", None),
            ("\n", Some(0)),
            ("ab\ncd\n", Some(2)),
            ("abc", None),
        ] {
            assert_eq!(newline(text.as_bytes()), expected, "{text:?}");
        }
        let long = [vec![b'x'; 5000], b"\n".to_vec()].concat();
        assert_eq!(newline(&long), Some(5000));
    }
}
