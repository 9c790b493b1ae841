//! What QUIT does: removes what the client deleted, durably, and moves what it has seen from new to cur.
//!
//! The client hears of it when it cannot be undone by a power cut. Before, each message is there or gone; a client that
//! got no answer asks for unique names when it comes back.

use std::io::{self, ErrorKind};

use crate::folder::{self, Folder, Place};
use crate::quota;

/// Makes the wishes of the client true.
///
/// # Errors
/// The first one: at least one message could not be removed, or not durably. The others are gone.
pub fn update(folder: &mut Folder) -> io::Result<()> {
    let mut result = Ok(());
    let mut used = [false; 2];
    let mut freed = quota::Freed::default();
    let counts = quota::is_kept(folder.root());
    for index in 0..folder.len() {
        if !folder.is_deleted(index) {
            continue;
        }
        let size = if counts { real_size(folder, index) } else { 0 };
        match folder.remove(index) {
            Ok(true) => {
                freed.add(size);
                let place = usize::from(folder.place(index) == Place::Cur);
                if let Some(used) = used.get_mut(place) {
                    *used = true;
                }
            }
            Ok(false) => {}
            Err(e) => result = result.and(Err(e)),
        }
    }
    for (place, used) in [Place::New, Place::Cur].into_iter().zip(used) {
        if used {
            result = result.and(sync(folder, place));
        }
    }
    if counts && !freed.is_nothing() {
        // The quota is recounted now and then anyway.
        let _ = quota::note(folder.root(), &freed);
    }
    move_seen(folder);
    result
}

/// The bytes that a quota counts for a message.
fn real_size(folder: &Folder, index: usize) -> u64 {
    let name = folder.name(index);
    folder::size(name).unwrap_or_else(|| {
        let stat = folder.dir(folder.place(index)).stat(name);
        stat.map_or(0, |s| s.size)
    })
}

/// Makes removals durable. File systems that cannot do so for a directory say that the request makes no sense.
fn sync(folder: &Folder, place: Place) -> io::Result<()> {
    match folder.dir(place).sync() {
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// Moves all that is left in new to cur. One that cannot be moved stays, as in the original.
fn move_seen(folder: &Folder) {
    let (new, cur) = (folder.dir(Place::New), folder.dir(Place::Cur));
    for index in 0..folder.len() {
        if folder.is_deleted(index) || folder.place(index) == Place::Cur {
            continue;
        }
        let name = folder.name(index);
        let seen = [name, b":2,"].concat();
        let _ = match new.rename_new(name, cur, &seen) {
            Err(e) if sys::dir::is_unsupported(&e) => new.rename(name, cur, &seen),
            done => done,
        };
    }
}
