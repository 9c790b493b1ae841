//! Which maildir belongs to an address: the one that its .qmail file names.
//!
//! The working directory is the home of the user, and the program runs with his rights, so a name in the file leads
//! only where he may go himself.
//!
//! Source  dot-qmail(5); qmail-pop3d(8)

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use base::Bytes;
use base::bytes::trim_end;
use recipient::dot;

/// The largest .qmail file that is read, bytes.
const LIMIT: u64 = 1 << 20;
/// Written by others: nobody's instructions.
const OTHERS_WRITE: u32 = 0o002;

/// The first maildir line of the file that controls the address with this dash and extension. `default` if there is no
/// such file and no extension, or if the file is empty.
///
/// # Errors
/// `NotFound`: nobody gets mail there, or not into a maildir. Others: temporary.
pub fn maildir(dash: &[u8], ext: &[u8], default: &[u8]) -> io::Result<Bytes> {
    for candidate in dot::candidates(dash, ext) {
        if let Some(text) = read(&candidate.name)? {
            if text.is_empty() {
                return Ok(default.to_vec());
            }
            let mut lines = text.split(|&b| b == b'\n').map(trim_end);
            let found = lines.find(|line| is_maildir(line));
            return found
                .map(<[u8]>::to_vec)
                .ok_or_else(|| ErrorKind::NotFound.into());
        }
    }
    if dash.is_empty() && ext.is_empty() {
        Ok(default.to_vec())
    } else {
        Err(ErrorKind::NotFound.into())
    }
}

fn is_maildir(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'.' | b'/')) && line.ends_with(b"/") && !line.contains(&0)
}

/// The text of a candidate; `None`: not there, or not a regular file.
fn read(name: &[u8]) -> io::Result<Option<Bytes>> {
    let file = match sys::dir::open_read(name) {
        Ok(file) => file,
        Err(e) if sys::is_temporary(&e) || e.kind() == ErrorKind::PermissionDenied => {
            return Err(e);
        }
        Err(_) => return Ok(None),
    };
    let stat = sys::dir::stat_fd(&file)?;
    if !stat.is_file() {
        return Ok(None);
    }
    if stat.mode & OTHERS_WRITE != 0 {
        return Err(ErrorKind::PermissionDenied.into());
    }
    whole(file).map(Some)
}

fn whole(file: File) -> io::Result<Bytes> {
    let mut text = Bytes::new();
    file.take(LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}
