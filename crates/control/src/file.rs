//! Control files: one line, one number, or a list of lines.
//!
//! A file that is missing gives `Ok(None)`; one that cannot be read is an error, and its reader answers "try again
//! later": never a default in its place.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use base::Bytes;
use base::bytes::{number, trim_end};

use crate::kept;

/// The largest control file, bytes.
pub const FILE_LIMIT: u64 = 64 << 20;

/// The whole of a file: `name` below control/, or a path if it has a slash.
///
/// # Errors
/// All but "not there": unreadable, a directory, larger than `FILE_LIMIT`.
pub fn whole(name: &str) -> io::Result<Option<Bytes>> {
    if name.contains('/') {
        return read(name);
    }
    kept::or_read(name, || read(&format!("control/{name}")))
}

fn read(path: &str) -> io::Result<Option<Bytes>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = Bytes::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(Some(text))
}

/// The first line of a control file, without blanks and tabs at its end. An empty file gives an empty line.
pub fn line(name: &str) -> io::Result<Option<Bytes>> {
    Ok(whole(name)?.map(|text| {
        let first = text.split(|&b| b == b'\n').next().unwrap_or_default();
        trim_end(first).to_vec()
    }))
}

/// The first line of `name`, else that of `me`, else the literal `name` (as C qmail: "bouncehost").
pub fn line_or_me(name: &str) -> io::Result<Bytes> {
    if let Some(found) = line(name)? {
        return Ok(found);
    }
    Ok(line("me")?.unwrap_or_else(|| name.as_bytes().to_vec()))
}

/// The first line of `name`, else `default`.
pub fn line_or(name: &str, default: &str) -> io::Result<Bytes> {
    Ok(line(name)?.unwrap_or_else(|| default.as_bytes().to_vec()))
}

/// The number that the first line of `name` begins with; `default` when the file is missing or holds no number.
pub fn int(name: &str, default: u64) -> io::Result<u64> {
    let Some(text) = line(name)? else {
        return Ok(default);
    };
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    Ok(number(text.get(..digits).unwrap_or_default()).unwrap_or(default))
}

/// The lines of a list: without blanks at their ends, empty lines and lines that begin with `#`.
pub fn list(name: &str) -> io::Result<Option<Vec<Bytes>>> {
    Ok(whole(name)?.map(|text| lines(&text)))
}

/// The lines of a list that has been read already.
pub fn lines(text: &[u8]) -> Vec<Bytes> {
    text.split(|&b| b == b'\n')
        .map(trim_end)
        .filter(|l| !l.is_empty() && l.first() != Some(&b'#'))
        .map(<[u8]>::to_vec)
        .collect()
}
