//! Deliveries that wait for the disk together.

use std::fs::File;
use std::io::{ErrorKind, Read};

use base::Bytes;
use sys::{Dir, Stat};

use super::look::Search;
use super::{Arrival, LIMIT, Once, Past, unique};
use crate::limit::Limit;
use crate::{Trouble, Writer, copy, sync_entries};

/// How many names are tried. Another one with the same random bits in the same microsecond is next to impossible.
const TRIES: u32 = 3;

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
    pub(super) rooms: Vec<Room>,
    pub(super) drafts: Vec<Draft>,
}

/// An open maildir.
#[derive(Debug)]
pub(super) struct Room {
    identity: Stat,
    tmp: Dir,
    pub(super) new: Dir,
    /// open if something is to be looked for; `None` then: there is none
    pub(super) cur: Option<Dir>,
    /// whether names in it must be made durable
    pub(super) used: Used,
}

/// Which names of a maildir must be made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Used {
    #[default]
    Nothing,
    New,
    /// a reader has moved one
    NewAndCur,
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Draft {
    /// place in `rooms`
    room: usize,
    once: Option<Once>,
    /// it stands in tmp, whole; or could not be written, and counts only if it is there already
    pub(super) written: Result<(Bytes, File), Trouble>,
}

impl Draft {
    /// What is to be looked for.
    fn wanted(&self) -> Option<u64> {
        let once = self.once.filter(|once| once.past == Past::Unknown)?;
        Some(once.identity)
    }
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
    /// As `deliver`; it is not part of the batch then. One that may be there already fails in `finish` only: a mailbox
    /// that has become full since then has it nevertheless.
    pub fn add(
        &mut self,
        dir: &[u8],
        prefix: &[u8],
        message: &mut impl Read,
        once: Option<Once>,
    ) -> Result<(), Trouble> {
        let may_be_there = once.is_some_and(|once| once.past == Past::Unknown);
        let room = self.enter(dir, may_be_there)?;
        let Some(Room { tmp, .. }) = self.rooms.get(room) else {
            return Err(Trouble::Slow);
        };
        let written = create(tmp, once).and_then(|(name, file)| {
            if let Err(trouble) = write(&file, &self.limit, prefix, message) {
                let _ = tmp.unlink(&name);
                return Err(trouble);
            }
            Ok((name, file))
        });
        let written = if may_be_there { written } else { Ok(written?) };
        self.drafts.push(Draft {
            room,
            once,
            written,
        });
        Ok(())
    }

    /// Opens the maildir, or finds that it is open; `cur` only where something is to be looked for.
    fn enter(&mut self, dir: &[u8], may_be_there: bool) -> Result<usize, Trouble> {
        let maildir = Dir::open(sys::dir::path(dir)).map_err(Trouble::Open)?;
        let identity = sys::dir::stat_fd(&maildir).map_err(Trouble::Open)?;
        let known = |room: &Room| room.identity.is_same_file(&identity);
        let at = match self.rooms.iter().position(known) {
            Some(at) => at,
            None => {
                self.rooms.push(Room {
                    identity,
                    tmp: maildir.open_dir(b"tmp").map_err(Trouble::Write)?,
                    new: maildir.open_dir(b"new").map_err(Trouble::Write)?,
                    cur: None,
                    used: Used::Nothing,
                });
                self.rooms.len() - 1
            }
        };
        if may_be_there
            && let Some(room) = self.rooms.get_mut(at)
            && room.cur.is_none()
        {
            room.cur = open_cur(&maildir)?;
        }
        Ok(at)
    }

    /// Looks for all that may be there already. Called when everything else has been done, as late as possible: an
    /// attempt by a process that outlived its spawner may come to its end meanwhile.
    fn look(&mut self) -> Search {
        let wanted = self
            .drafts
            .iter()
            .filter_map(|d| Some((d.room, d.wanted()?)));
        let mut search = Search::default();
        for (room, identity) in wanted {
            search.want(room, identity);
        }
        if !search.is_empty() {
            for (at, room) in self.rooms.iter_mut().enumerate() {
                search.go_through(at, room, &self.limit);
            }
        }
        search
    }

    /// Makes all contents durable, gives them their names in new, and makes those durable. Returns what became of each,
    /// in the order of `add`.
    pub fn finish(mut self) -> (Vec<Result<Arrival, Trouble>>, Remains) {
        if self.drafts.len() > 1 {
            for (_, file) in self.drafts.iter().filter_map(|d| d.written.as_ref().ok()) {
                sys::volume::start_writing(file);
            }
        }
        let synced: Vec<Result<(), Trouble>> = self.drafts.iter().map(ready).collect();
        let search = self.look();
        let Batch {
            limit,
            mut rooms,
            drafts,
        } = self;
        let named: Vec<Result<How, Trouble>> = drafts
            .iter()
            .zip(synced)
            .map(|(draft, synced)| match rooms.get_mut(draft.room) {
                Some(room) => name(room, draft, synced, &search),
                None => Err(Trouble::Slow),
            })
            .collect();
        let flushed: Vec<Result<(), Trouble>> = rooms.iter().map(flush).collect();
        let mut files = Vec::with_capacity(drafts.len());
        let mut finished = Vec::with_capacity(drafts.len());
        for (draft, named) in drafts.into_iter().zip(named) {
            if let (Ok(How::Linked), Ok((name, _)), Some(room)) =
                (&named, &draft.written, rooms.get(draft.room))
            {
                let _ = room.tmp.unlink(name);
            }
            let place = draft.written.map(|(name, file)| {
                files.push(file);
                name
            });
            finished.push(match (named, flushed.get(draft.room)) {
                (Err(trouble), _) => Err(trouble),
                (Ok(_), Some(Err(trouble))) => Err(trouble.again()),
                (Ok(How::There), Some(Ok(()))) => Ok(Arrival::Before),
                (Ok(_), Some(Ok(()))) => place.map(Arrival::Now),
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

/// A maildir need not have a `cur` that we may read: then nothing is found there.
fn open_cur(maildir: &Dir) -> Result<Option<Dir>, Trouble> {
    use ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match maildir.open_dir(b"cur") {
        Ok(cur) => Ok(Some(cur)),
        Err(e) if matches!(e.kind(), NotFound | NotADirectory | PermissionDenied) => Ok(None),
        Err(e) => Err(Trouble::Write(e)),
    }
}

/// Makes the content durable, or sees to it that it will be before the name in new is.
fn ready(draft: &Draft) -> Result<(), Trouble> {
    match &draft.written {
        Ok((_, file)) if sys::volume::keeps_order(file) => {
            sys::volume::write_out(file).map_err(Trouble::Write)
        }
        Ok((_, file)) => sys::dir::sync(file).map_err(Trouble::Write),
        Err(trouble) => Err(trouble.again()),
    }
}

/// How a message is where readers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// it has moved from tmp to new
    Moved,
    /// it has a second name: the one in tmp is litter, not a loss
    Linked,
    /// it was there before
    There,
}

/// Sees to it that the message is where readers look, if it can be: by a name in new, unless it is there.
fn name(
    room: &mut Room,
    draft: &Draft,
    synced: Result<(), Trouble>,
    search: &Search,
) -> Result<How, Trouble> {
    let found = draft
        .wanted()
        .map(|identity| search.result(draft.room, identity));
    let named = match found {
        Some(Ok(true)) => Ok(How::There),
        Some(Err(trouble)) => Err(trouble),
        Some(Ok(false)) | None => synced.and_then(|()| publish(room, draft)),
    };
    if let (Ok(How::There) | Err(_), Ok((name, _))) = (&named, &draft.written) {
        let _ = room.tmp.unlink(name);
    }
    if named.is_ok() && room.used == Used::Nothing {
        room.used = Used::New;
    }
    named
}

/// Makes the names durable, those that were found too: they may be younger than the last flush.
fn flush(room: &Room) -> Result<(), Trouble> {
    if room.used == Used::Nothing {
        return Ok(());
    }
    sync_entries(&room.new)?;
    match &room.cur {
        Some(cur) if room.used == Used::NewAndCur => sync_entries(cur),
        _ => Ok(()),
    }
}

/// A new file in tmp.
fn create(tmp: &Dir, once: Option<Once>) -> Result<(Bytes, File), Trouble> {
    let mut tries = 0;
    loop {
        let name = unique(once)?;
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

/// Gives the file its name in new: in one step, so that nothing is left to be done between that and the report but the
/// flush. Where the file system has no such step, by a second name.
fn publish(room: &Room, draft: &Draft) -> Result<How, Trouble> {
    let Room { tmp, new, .. } = room;
    let (name, file) = draft.written.as_ref().map_err(Trouble::again)?;
    if tmp.rename_new(name, new, name).is_ok() {
        return Ok(How::Moved);
    }
    let Err(error) = tmp.link(name, new, name) else {
        return Ok(How::Linked);
    };
    // Over NFS the answer to a step that worked may get lost: the name is there then, and is ours.
    let ours = sys::dir::stat_fd(file).ok();
    match (ours, new.stat_link(name).ok()) {
        (Some(ours), Some(there)) if ours.is_same_file(&there) => Ok(How::Linked),
        _ => Err(Trouble::Write(error)),
    }
}
