//! Reading a list of numbers, and writing it anew with those of new messages.
//!
//! The list is written aside, flushed, and renamed, under a lock: whoever reads it sees the old or the new one, and no
//! number is told to a client that a power cut could give to another message.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};

use base::Bytes;
use base::io::Line;
use sys::Dir;

use super::lock::Lock;
use super::{Format, Header, Record, Template, Trouble};
use crate::folder::{Folder, arrival, base};

/// Bytes of a line that are understood; longer ones are passed over.
const LINE_LIMIT: usize = 4096;
/// Lines of messages that are gone are kept up to so many more than there are others: there may be a reason why we do
/// not see them now.
const STALE_LIMIT: u64 = 1000;
/// A line of a message that is so young is kept in any case, seconds.
const YOUNG: i64 = 3600;

/// What was found.
struct Found {
    header: Header,
    /// lines of messages that we do not see
    stale: u64,
    mode: u32,
}

/// Numbers all messages: by the list, and where there is no number yet by a new one, which goes into the list first.
pub(super) fn number<F: Format>(
    folder: &mut Folder,
    template: Template,
    now: i64,
) -> Result<(), Trouble> {
    let order = folder.by_base();
    let found = read::<F>(folder, &order)?;
    let done = if folder.is_numbered() {
        Ok(found.map_or(0, |f| f.header.validity))
    } else {
        extend::<F>(folder, &order, now)
    };
    match done {
        Ok(validity) => folder.set_template(template, validity),
        // What has no number waits; without any number there was no list, or nothing old is left.
        Err(trouble) => {
            let found = read::<F>(folder, &order)?.ok_or(trouble)?;
            folder.drop_unnumbered();
            if folder.is_empty() {
                return Err(trouble);
            }
            folder.set_template(template, found.header.validity);
        }
    }
    Ok(())
}

fn open<F: Format>(root: &Dir) -> Result<Option<File>, Trouble> {
    match root.open_read(F::FILE) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(_) => Err(Trouble::Failed),
    }
}

/// Gives the messages the numbers of the list. `None`: there is no list.
fn read<F: Format>(folder: &mut Folder, order: &[u32]) -> Result<Option<Found>, Trouble> {
    folder.forget_numbers();
    let Some(file) = open::<F>(folder.root())? else {
        return Ok(None);
    };
    let stat = sys::dir::stat_fd(&file).map_err(|_| Trouble::Failed)?;
    if !stat.is_file() {
        return Err(Trouble::Broken);
    }
    let mut input = BufReader::new(file);
    let mut line = Bytes::new();
    if !next(&mut input, &mut line)? {
        // Somebody has made it and has not written yet, or a power cut emptied it.
        return Ok(None);
    }
    let mut header = F::header(&line).ok_or(Trouble::Broken)?;
    let mut stale = 0;
    while next(&mut input, &mut line)? {
        let Some(record) = F::record(&line) else {
            continue;
        };
        header.next = header.next.max(record.uid.saturating_add(1));
        match folder.find(order, base(record.name)) {
            Some(index) => take(folder, index, &record, &header)?,
            None => stale += 1,
        }
    }
    Ok(Some(Found {
        header,
        stale,
        mode: stat.mode & 0o666,
    }))
}

fn take(
    folder: &mut Folder,
    index: usize,
    record: &Record<'_>,
    header: &Header,
) -> Result<(), Trouble> {
    if let Some(size) = record.size {
        folder.set_size(index, size);
    }
    let given = match (record.text, record.validity) {
        (Some(text), _) => folder.set_text(index, text),
        (None, Some(0)) => folder.set_text(index, format!("UID{}", record.uid).as_bytes()),
        (None, Some(validity)) if validity != header.validity => {
            folder.set_text(index, format!("UID{}-{validity}", record.uid).as_bytes())
        }
        _ => {
            folder.set_number(index, record.uid);
            Ok(())
        }
    };
    given.map_err(|_| Trouble::Failed)
}

/// The next line, without its end. `false`: none. A last line without end is none: somebody is writing it.
fn next(input: &mut impl BufRead, line: &mut Bytes) -> Result<bool, Trouble> {
    let read = base::io::line(input, b'\n', LINE_LIMIT, line).map_err(|_| Trouble::Failed)?;
    match read {
        Line::Whole => {
            line.pop();
            Ok(true)
        }
        Line::Partial | Line::End => Ok(false),
        Line::TooLong => {
            input.skip_until(b'\n').map_err(|_| Trouble::Failed)?;
            line.clear();
            Ok(true)
        }
    }
}

/// Numbers the messages that the list does not know, and writes it anew. Returns its validity.
fn extend<F: Format>(folder: &mut Folder, order: &[u32], now: i64) -> Result<u32, Trouble> {
    let root = folder.root().again().map_err(|_| Trouble::Failed)?;
    let _lock = Lock::take(&root, F::FILE).map_err(|e| match e.kind() {
        ErrorKind::TimedOut => Trouble::Busy,
        _ => Trouble::Failed,
    })?;
    // Somebody may have numbered them while we waited.
    let found = read::<F>(folder, order)?;
    let mut found = found.unwrap_or_else(|| Found {
        header: Header {
            validity: u32::try_from(now).unwrap_or(1).max(1),
            next: 1,
            rest: Bytes::new(),
        },
        stale: 0,
        mode: 0o600,
    });
    write::<F>(folder, order, &root, &mut found, now).map_err(|_| Trouble::Failed)?;
    Ok(found.header.validity)
}

fn write<F: Format>(
    folder: &mut Folder,
    order: &[u32],
    root: &Dir,
    found: &mut Found,
    now: i64,
) -> io::Result<()> {
    let first = found.header.next;
    let fresh: u64 = folder.unnumbered();
    let next = u64::from(first).saturating_add(fresh);
    found.header.next = u32::try_from(next).map_err(|_| ErrorKind::OutOfMemory)?;

    let aside = [F::FILE, b".new"].concat();
    let _ = root.unlink(&aside);
    let file = root.create_new(&aside, found.mode)?;
    let written = content::<F>(folder, order, root, found, first, now, &file)
        .and_then(|()| sys::dir::sync(&file))
        .and_then(|()| root.rename(&aside, root, F::FILE));
    if let Err(e) = written {
        let _ = root.unlink(&aside);
        return Err(e);
    }
    match root.sync() {
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

fn content<F: Format>(
    folder: &mut Folder,
    order: &[u32],
    root: &Dir,
    found: &Found,
    first: u32,
    now: i64,
    file: &File,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(file);
    let mut text = Bytes::new();
    F::put_header(&found.header, &mut text);
    out.write_all(&text)?;
    let crowded = found.stale > STALE_LIMIT.saturating_add(folder.len() as u64);
    if let Ok(Some(old)) = open::<F>(root) {
        let mut input = BufReader::new(old);
        let mut line = Bytes::new();
        // The header.
        next(&mut input, &mut line).map_err(|_| ErrorKind::InvalidData)?;
        while next(&mut input, &mut line).map_err(|_| ErrorKind::InvalidData)? {
            let Some(record) = F::record(&line) else {
                continue;
            };
            let unchanging = base(record.name);
            let young = || arrival(unchanging).is_some_and(|time| time.saturating_add(YOUNG) > now);
            if crowded && folder.find(order, unchanging).is_none() && !young() {
                continue;
            }
            text.clear();
            F::put_old(&line, &record, &mut text);
            out.write_all(&text)?;
        }
    }
    let mut uid = first;
    for index in 0..folder.len() {
        if folder.has_number(index) {
            continue;
        }
        text.clear();
        F::put_new(folder, index, uid, &found.header, &mut text);
        out.write_all(&text)?;
        folder.set_number(index, uid);
        uid = uid.checked_add(1).ok_or(ErrorKind::OutOfMemory)?;
    }
    out.flush()
}
