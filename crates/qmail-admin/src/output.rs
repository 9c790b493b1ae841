//! Descriptor 1 of programs that print what they find.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use base::Die;

/// A buffered descriptor 1. The first failure is kept and told at the end: what was found does not change by it.
#[derive(Debug)]
pub(crate) struct Output {
    inner: io::Result<BufWriter<File>>,
}

impl Output {
    pub(crate) fn open() -> Output {
        let fd = sys::fd::take(1);
        Output {
            inner: fd.map(|fd| BufWriter::new(File::from(fd))),
        }
    }

    /// Writes these pieces one after the other.
    pub(crate) fn put(&mut self, pieces: &[&[u8]]) {
        let Ok(inner) = &mut self.inner else { return };
        if let Err(e) = pieces.iter().try_for_each(|p| inner.write_all(p)) {
            self.inner = Err(e);
        }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: impl AsRef<[u8]>) {
        self.put(&[text.as_ref(), b"\n"]);
    }

    /// Writes what is still in the buffer.
    ///
    /// # Errors
    /// The first failure since the beginning.
    pub(crate) fn close(self) -> Result<(), Die> {
        self.inner
            .and_then(|mut inner| inner.flush())
            .map_err(|e| Die::unable("write output", &e))
    }

    /// The end of a program that tells its troubles on descriptor 1 too: `text`, then exit code 111.
    pub(crate) fn fail(mut self, text: impl AsRef<[u8]>) -> Die {
        self.put(&[text.as_ref()]);
        match self.close() {
            Ok(()) => Die::silent(111),
            Err(die) => die,
        }
    }
}
