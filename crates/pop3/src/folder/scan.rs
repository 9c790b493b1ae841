//! Reading the names of a maildir, and finding messages again whose names have changed.

use std::io::{self, ErrorKind};

use sys::Dir;

use super::{Folder, IN_CUR, Message, RESCANS, base, name, stamps};

/// Files in tmp that nobody has looked at for so long are of deliveries that failed, seconds.
const LITTER: i64 = 129_600;

/// Removes litter from tmp. Whatever goes wrong, the messages are elsewhere.
pub(crate) fn clean_tmp(now: i64) {
    let Ok(tmp) = Dir::open("tmp") else { return };
    let Ok(entries) = tmp.entries() else { return };
    for name in entries.map_while(Result::ok) {
        let is_old = |name: &[u8]| {
            let stat = tmp.stat(name);
            stat.is_ok_and(|s| now > s.atime.saturating_add(LITTER))
        };
        if !name.starts_with(b".") && is_old(&name) {
            let _ = tmp.unlink(&name);
        }
    }
}

impl Folder {
    /// Reads new and then cur, and sorts what is there.
    pub(super) fn scan(&mut self, now: i64) -> io::Result<()> {
        self.read(0, now)?;
        self.read(IN_CUR, now)?;
        let mut messages = std::mem::take(&mut self.messages);
        messages.sort_unstable_by(|a, b| {
            let key = |m: &Message| m.time;
            key(a)
                .cmp(&key(b))
                .then_with(|| self.name_of(a).cmp(self.name_of(b)))
        });
        // One that moved from new to cur meanwhile has been read twice.
        messages.dedup_by(|later, first| {
            let same = later.time == first.time
                && (later.state ^ first.state) & IN_CUR != 0
                && base(self.name_of(later)) == base(self.name_of(first));
            if same && first.state & IN_CUR == 0 {
                *first = *later;
            }
            same
        });
        self.messages = messages;
        Ok(())
    }

    fn read(&mut self, state: u8, now: i64) -> io::Result<()> {
        let dir = if state & IN_CUR == 0 {
            &self.new
        } else {
            &self.cur
        };
        for name in dir.entries()? {
            let name = name?;
            if name.starts_with(b".") {
                continue;
            }
            let Some((time, size)) = look(dir, &name, now) else {
                continue;
            };
            let at = self.names.len();
            let (Ok(at), Ok(length)) = (u32::try_from(at), u8::try_from(name.len())) else {
                return Err(ErrorKind::OutOfMemory.into());
            };
            self.names.extend_from_slice(&name);
            self.messages.push(Message {
                size,
                at,
                time,
                uid: 0,
                length,
                state,
            });
        }
        Ok(())
    }

    /// Reads the names again, if they have changed, and notes where each message lies now. `true`: it was worth it.
    ///
    /// # Errors
    /// new or cur cannot be read.
    pub(super) fn look_again(&mut self) -> io::Result<bool> {
        let now = stamps();
        if now == self.stamps || self.rescans >= RESCANS {
            return Ok(false);
        }
        self.stamps = now;
        self.rescans += 1;
        let order = self.by_base();
        for state in [0, IN_CUR] {
            let dir = if state == 0 { &self.new } else { &self.cur };
            for name in dir.entries()? {
                let name = name?;
                let Some(index) = self.find(&order, base(&name)) else {
                    continue;
                };
                let Some(message) = self.messages.get(index) else {
                    continue;
                };
                if message.state & IN_CUR == state && self.name_of(message) == name {
                    continue;
                }
                let (Ok(at), Ok(length)) =
                    (u32::try_from(self.names.len()), u8::try_from(name.len()))
                else {
                    continue;
                };
                self.names.extend_from_slice(&name);
                if let Some(message) = self.messages.get_mut(index) {
                    message.at = at;
                    message.length = length;
                    message.state = message.state & !IN_CUR | state;
                }
            }
        }
        Ok(true)
    }

    /// The messages in the order of the unchanging parts of their names.
    pub(crate) fn by_base(&self) -> Vec<u32> {
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..count).collect();
        order.sort_unstable_by(|&a, &b| self.base(a as usize).cmp(self.base(b as usize)));
        order
    }

    /// The unchanging part of the name of a message.
    pub fn base(&self, index: usize) -> &[u8] {
        base(self.name(index))
    }

    /// The message whose name has this unchanging part.
    pub(crate) fn find(&self, order: &[u32], wanted: &[u8]) -> Option<usize> {
        let found = order.binary_search_by(|&i| self.base(i as usize).cmp(wanted));
        let index = order.get(found.ok()?)?;
        Some(*index as usize)
    }
}

/// When a message arrived and how large it is; `None` for what is no message, is gone, or arrived just now.
///
/// The time in the name goes before that of the file, which copies spoil; one in the future is none.
fn look(dir: &Dir, name: &[u8], now: i64) -> Option<(u32, u64)> {
    let told = name::arrival(name).filter(|&time| time < now);
    let (time, size) = if let (Some(time), Some(size)) = (told, name::size(name)) {
        (time, size)
    } else {
        let stat = dir.stat(name).ok()?;
        if !stat.is_file() || stat.mtime >= now {
            return None;
        }
        let size = name::size(name).unwrap_or(stat.size);
        (told.unwrap_or(stat.mtime), size)
    };
    // A time outside of 1970 to 2106 is only good for sorting first or last.
    let time = u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    Some((time, size))
}
