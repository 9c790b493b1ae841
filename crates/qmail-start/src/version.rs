//! Which file it is, and which state of it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Two files, or two states of one, differ in this. Somebody who can set the clock back and write the file in place
/// could make them agree: that is root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    pub(crate) fn of(file: &Metadata) -> Version {
        Version {
            place: (file.dev(), file.ino()),
            size: file.size(),
            written: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}
