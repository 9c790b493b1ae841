//! Small files: reading them with a limit, writing them whole.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use base::Bytes;
use sys::Dir;

/// A file, whole.
///
/// # Errors
/// The kernel's, and `FileTooLarge`.
pub(crate) fn whole(path: &[u8], limit: u64) -> io::Result<Bytes> {
    content(sys::dir::open_read(path)?, limit)
}

/// What is in an open file.
pub(crate) fn content(file: File, limit: u64) -> io::Result<Bytes> {
    if !sys::dir::stat_fd(&file)?.is_file() {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut text = Bytes::new();
    file.take(limit + 1).read_to_end(&mut text)?;
    if text.len() as u64 > limit {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// Puts `text` in the place of `name`, whole or not at all, durably.
///
/// # Errors
/// `name` is then as it was, unless only the directory could not be flushed.
pub(crate) fn replace(dir: &Dir, name: &[u8], text: &[u8], mode: u32) -> io::Result<()> {
    let aside = [name, b".tmp"].concat();
    match dir.unlink(&aside) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = dir.create_new(&aside, mode)?;
    file.write_all(text)?;
    sys::dir::sync(&file)?;
    dir.rename(&aside, dir, name)?;
    dir.sync()
}
