//! Delivery into a maildir: a new file under a name that nobody else uses, so without a lock.
//!
//! Source  maildir(5)

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::Bytes;
use sys::{Dir, Stat};

use crate::limit::Limit;
use crate::{Trouble, Writer, copy, sync_entries};

/// How long a delivery may take, seconds. A reader may remove files in tmp that are older than 36 hours.
pub const LIMIT: u32 = 86_400;
/// How many names are tried. Another one with the same random bits in the same microsecond is next to impossible.
const TRIES: u32 = 3;
/// The longest host name that goes into a file name, bytes.
const HOST_LIMIT: usize = 64;

/// Deliveries of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Delivers `prefix` (whole header lines) and then `message` into the maildir at `dir`. Returns the name in `new`.
///
/// Success means durable: content, and the name in `new`. After a crash at any point there is either nothing in `new`
/// or the whole message; litter in `tmp` is left to its readers.
///
/// Waits   at most `LIMIT` seconds, with SIGALRM taken for itself meanwhile.
///
/// # Errors
/// `Open` when the maildir itself cannot be entered; the others as `Trouble` says. The file in `tmp` is gone then.
pub fn deliver(dir: &[u8], prefix: &[u8], message: &mut impl Read) -> Result<Bytes, Trouble> {
    let mut batch = Batch::start()?;
    batch.add(dir, prefix, message)?;
    let (mut done, _remains) = batch.finish();
    // One went in, one comes out.
    done.pop().unwrap_or(Err(Trouble::Slow))
}

/// What is still open and running after a batch. To be dropped when the deliveries have been reported: a crash between the
/// flush and the report makes them again, so nothing is put there that can wait.
#[derive(Debug)]
pub struct Remains {
    _limit: Limit,
    _rooms: Vec<Room>,
    _files: Vec<File>,
}

/// Several deliveries that wait for the disk together: each content is flushed, but a directory only once.
///
/// Each is durable before `finish` says so, and each succeeds or fails by itself; only a directory that cannot be
/// flushed fails all that went into it.
///
/// Waits   at most `LIMIT` seconds altogether, with SIGALRM taken for itself meanwhile.
#[derive(Debug)]
pub struct Batch {
    limit: Limit,
    /// every maildir once
    rooms: Vec<Room>,
    drafts: Vec<Draft>,
}

/// An open maildir.
#[derive(Debug)]
struct Room {
    identity: Stat,
    tmp: Dir,
    new: Dir,
}

/// A message that stands in tmp, whole.
#[derive(Debug)]
struct Draft {
    /// place in `rooms`
    room: usize,
    name: Bytes,
    file: File,
}

impl Batch {
    /// An empty one. There may be only one in a process at a time.
    ///
    /// # Errors
    /// `Write`: the time limit could not be set.
    pub fn start() -> Result<Batch, Trouble> {
        Ok(Batch {
            limit: Limit::start(LIMIT).map_err(Trouble::Write)?,
            rooms: Vec::new(),
            drafts: Vec::new(),
        })
    }

    /// How many were added.
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Writes one more message to tmp.
    ///
    /// # Errors
    /// As `deliver`; it is not part of the batch then.
    pub fn add(
        &mut self,
        dir: &[u8],
        prefix: &[u8],
        message: &mut impl Read,
    ) -> Result<(), Trouble> {
        let room = self.enter(dir)?;
        let Some(Room { tmp, .. }) = self.rooms.get(room) else {
            return Err(Trouble::Slow);
        };
        let (name, file) = create(tmp)?;
        if let Err(trouble) = write(&file, &self.limit, prefix, message) {
            let _ = tmp.unlink(&name);
            return Err(trouble);
        }
        self.drafts.push(Draft { room, name, file });
        Ok(())
    }

    /// Opens the maildir, or finds that it is open.
    fn enter(&mut self, dir: &[u8]) -> Result<usize, Trouble> {
        let maildir = Dir::open(sys::dir::path(dir)).map_err(Trouble::Open)?;
        let identity = sys::dir::stat_fd(&maildir).map_err(Trouble::Open)?;
        let known = |room: &Room| room.identity.is_same_file(&identity);
        if let Some(at) = self.rooms.iter().position(known) {
            return Ok(at);
        }
        let tmp = maildir.open_dir(b"tmp").map_err(Trouble::Write)?;
        let new = maildir.open_dir(b"new").map_err(Trouble::Write)?;
        self.rooms.push(Room { identity, tmp, new });
        Ok(self.rooms.len() - 1)
    }

    /// Makes all contents durable, gives them their names in new, and makes those durable. Returns the names, in the
    /// order of `add`.
    pub fn finish(self) -> (Vec<Result<Bytes, Trouble>>, Remains) {
        let Batch {
            limit,
            rooms,
            drafts,
        } = self;
        if drafts.len() > 1 {
            for draft in &drafts {
                sys::dir::start_sync(&draft.file);
            }
        }
        let synced: Vec<Result<(), Trouble>> = drafts
            .iter()
            .map(|d| sys::dir::sync(&d.file).map_err(Trouble::Write))
            .collect();
        let mut used = vec![false; rooms.len()];
        let mut done = Vec::with_capacity(drafts.len());
        for (draft, synced) in drafts.iter().zip(synced) {
            let Some(room) = rooms.get(draft.room) else {
                continue;
            };
            let named = synced.and_then(|()| publish(room, draft));
            if named.is_err() {
                let _ = room.tmp.unlink(&draft.name);
            }
            if let (Ok(_), Some(used)) = (&named, used.get_mut(draft.room)) {
                *used = true;
            }
            done.push(named);
        }
        let flushed: Vec<Result<(), Trouble>> = rooms
            .iter()
            .zip(used)
            .map(|(room, used)| {
                if used {
                    sync_entries(&room.new)
                } else {
                    Ok(())
                }
            })
            .collect();
        let mut files = Vec::with_capacity(drafts.len());
        let mut finished = Vec::with_capacity(drafts.len());
        for (draft, named) in drafts.into_iter().zip(done) {
            files.push(draft.file);
            if let (Ok(Old::Stays), Some(room)) = (&named, rooms.get(draft.room)) {
                let _ = room.tmp.unlink(&draft.name);
            }
            finished.push(match (named, flushed.get(draft.room)) {
                (Err(trouble), _) => Err(trouble),
                (Ok(_), Some(Ok(()))) => Ok(draft.name),
                (Ok(_), Some(Err(trouble))) => Err(trouble.again()),
                (Ok(_), None) => Err(Trouble::Slow),
            });
        }
        let remains = Remains {
            _limit: limit,
            _rooms: rooms,
            _files: files,
        };
        (finished, remains)
    }
}

/// A new file in tmp.
fn create(tmp: &Dir) -> Result<(Bytes, File), Trouble> {
    let mut tries = 0;
    loop {
        let name = unique()?;
        match tmp.create_new(&name, 0o600) {
            Ok(file) => return Ok((name, file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
            Err(e) => return Err(Trouble::Write(e)),
        }
    }
}

fn write(
    file: &File,
    limit: &Limit,
    prefix: &[u8],
    message: &mut impl Read,
) -> Result<(), Trouble> {
    let mut writer = Writer::new(file, limit);
    writer.put(prefix)?;
    copy(message, limit, |piece| writer.put(piece))?;
    writer.flush()
}

/// The name in tmp, when the file has its name in new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Old {
    /// it went with the move
    Gone,
    /// a second name: litter, not a loss
    Stays,
}

/// Gives the file its name in new: in one step, so that nothing is left to be done between that and the report but the
/// flush. Where the file system has no such step, by a second name.
fn publish(room: &Room, draft: &Draft) -> Result<Old, Trouble> {
    let Room { tmp, new, .. } = room;
    let name = &draft.name;
    if tmp.rename_new(name, new, name).is_ok() {
        return Ok(Old::Gone);
    }
    let Err(error) = tmp.link(name, new, name) else {
        return Ok(Old::Stays);
    };
    // Over NFS the answer to a step that worked may get lost: the name is there then, and is ours.
    let ours = sys::dir::stat_fd(&draft.file).ok();
    match (ours, new.stat_link(name).ok()) {
        (Some(ours), Some(there)) if ours.is_same_file(&there) => Ok(Old::Stays),
        _ => Err(Trouble::Write(error)),
    }
}

/// A name that no other delivery uses: seconds; microseconds, process, count and random bits; host.
fn unique() -> Result<Bytes, Trouble> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let random = sys::random::number().map_err(Trouble::Write)?;
    let middle = format!(
        "{}.M{}P{}Q{}R{random:08x}.",
        since.as_secs(),
        since.subsec_micros(),
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed),
    );
    Ok([middle.as_bytes(), &host(&sys::process::hostname())].concat())
}

/// A host name as part of a file name: a slash would be a directory, a colon would begin the flags.
fn host(name: &[u8]) -> Bytes {
    let name = name.get(..HOST_LIMIT).unwrap_or(name);
    if name.is_empty() {
        return b"localhost".to_vec();
    }
    let mut safe = Bytes::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'/' => safe.extend_from_slice(br"\057"),
            b':' => safe.extend_from_slice(br"\072"),
            33..=126 => safe.push(byte),
            _ => safe.push(b'_'),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
