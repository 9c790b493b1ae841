//! A status file: the last line that was selected, padded with newlines.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use base::{Bytes, Die};
use sys::Dir;

use crate::multilog::pause::insist;

/// Bytes of the file.
const PAGE: usize = 1001;

/// A status file and the line for it.
#[derive(Debug)]
pub(crate) struct Status {
    name: Bytes,
    file: File,
    page: Bytes,
    /// the page differs from the file
    fresh: bool,
}

impl Status {
    /// Makes the file if it is missing; what it holds stays until there is a line.
    pub(crate) fn open(start: &Dir, name: &[u8]) -> Result<Status, Die> {
        let unable = |verb: &[u8], e: &io::Error| Die::unable([verb, b" ", name].concat(), e);
        start
            .open_append_now(name, 0o600)
            .map_err(|e| unable(b"create", &e))?;
        let file = start.open_write(name).map_err(|e| unable(b"write", &e))?;
        Ok(Status {
            name: name.to_vec(),
            file,
            page: vec![b'\n'; PAGE],
            fresh: false,
        })
    }

    /// Takes a line of less than a page, without its newline.
    pub(crate) fn keep(&mut self, line: &[u8]) {
        self.page.clear();
        self.page.extend_from_slice(line);
        self.page.resize(PAGE, b'\n');
        self.fresh = true;
    }

    /// Writes the last line taken. Lines in between have been seen by nobody.
    pub(crate) fn flush(&mut self) {
        if self.fresh {
            insist(
                || [b"write ", self.name.as_slice()].concat(),
                || self.file.write_all_at(&self.page, 0),
            );
            self.fresh = false;
        }
    }
}
