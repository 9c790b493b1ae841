//! Where the parts of a message stand.
//!
//! Source  qmail-queue(5)

use std::fmt;
use std::io::{self, ErrorKind};

use base::Bytes;
use base::bytes::number;
use sys::Dir;

/// The number of a message: the inode number of its first file, and the name of all of its files.
///
/// Never 0. It may be used again once the message is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// The message whose first file has this inode number.
    pub fn new(inode: u64) -> Option<MessageId> {
        (inode != 0).then_some(MessageId(inode))
    }

    /// The message of a file name: decimal digits in their shortest form, nothing else.
    pub fn parse(name: &[u8]) -> Option<MessageId> {
        if name.first() == Some(&b'0') {
            return None;
        }
        MessageId::new(number(name)?)
    }

    /// The number itself.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// the message itself
    Mess,
    /// the envelope while it is written
    Intd,
    /// the whole envelope, to be scheduled
    Todo,
    /// the sender; its time of change is when the message came
    Info,
    /// recipients on this host
    Local,
    /// recipients elsewhere
    Remote,
    /// what to tell the sender of recipients that failed
    Bounce,
}

impl Part {
    /// The directory below queue/.
    pub fn dir(self) -> &'static str {
        match self {
            Part::Mess => "mess",
            Part::Intd => "intd",
            Part::Todo => "todo",
            Part::Info => "info",
            Part::Local => "local",
            Part::Remote => "remote",
            Part::Bounce => "bounce",
        }
    }
}

/// How a queue spreads its files over subdirectories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// subdirectories of mess, info, local and remote; not 0
    pub split: u64,
    /// whether todo and intd have them too (the big-todo variant of other qmails)
    pub big_todo: bool,
}

/// The largest split that is believed.
const SPLIT_LIMIT: u64 = 100_000;

impl Layout {
    /// Reads the layout off the directories of a queue.
    ///
    /// # Errors
    /// `mess` is missing, unreadable, or has no subdirectory named by a number.
    pub fn read(queue: &Dir) -> io::Result<Layout> {
        let big_todo = queue.stat(b"todo/0").is_ok_and(|s| s.is_dir());
        let split = split(&queue.open_dir(b"mess")?)?;
        Ok(Layout { split, big_todo })
    }

    /// The subdirectory of a message.
    pub fn bucket(&self, id: MessageId) -> u64 {
        id.0 % self.split.max(1)
    }

    /// Whether a part stands in a subdirectory.
    pub fn is_split(&self, part: Part) -> bool {
        match part {
            Part::Mess | Part::Info | Part::Local | Part::Remote => true,
            Part::Intd | Part::Todo => self.big_todo,
            Part::Bounce => false,
        }
    }

    /// The directory of one part of a message, below queue/: `mess/3`.
    pub fn dir(&self, part: Part, id: MessageId) -> Bytes {
        if self.is_split(part) {
            format!("{}/{}", part.dir(), self.bucket(id)).into_bytes()
        } else {
            part.dir().into()
        }
    }

    /// The name of one part of a message, below queue/: `mess/3/123`.
    pub fn path(&self, part: Part, id: MessageId) -> Bytes {
        if self.is_split(part) {
            format!("{}/{}/{id}", part.dir(), self.bucket(id)).into_bytes()
        } else {
            format!("{}/{id}", part.dir()).into_bytes()
        }
    }

    /// The name that the spawners get, below mess/: `3/123`.
    pub fn below(&self, id: MessageId) -> Bytes {
        format!("{}/{id}", self.bucket(id)).into_bytes()
    }

    /// Every directory of a part, below queue/.
    pub fn dirs(&self, part: Part) -> Vec<Bytes> {
        if self.is_split(part) {
            (0..self.split)
                .map(|n| format!("{}/{n}", part.dir()).into_bytes())
                .collect()
        } else {
            vec![part.dir().into()]
        }
    }
}

/// One look is enough for a queue with the usual split; another one is counted.
fn split(mess: &Dir) -> io::Result<u64> {
    let is_there = |n: u64| {
        mess.stat(n.to_string().as_bytes())
            .is_ok_and(|s| s.is_dir())
    };
    let usual = control::home::default_split();
    if is_there(usual - 1) && !is_there(usual) {
        return Ok(usual);
    }
    let mut largest = None;
    for name in mess.entries()? {
        let name = name?;
        if let Some(n) =
            number(&name).filter(|n| *n < SPLIT_LIMIT && n.to_string().as_bytes() == name)
        {
            largest = largest.max(Some(n));
        }
    }
    largest
        .map(|n| n + 1)
        .ok_or_else(|| ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::Scratch;

    #[test]
    fn names_are_numbers_in_their_shortest_form() {
        assert_eq!(MessageId::parse(b"24").map(MessageId::number), Some(24));
        for bad in [
            &b""[..],
            b"0",
            b"024",
            b"-1",
            b"1x",
            b"18446744073709551616",
            b".",
        ] {
            assert_eq!(MessageId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn parts_stand_where_the_original_puts_them() {
        let layout = Layout {
            split: 23,
            big_todo: false,
        };
        let id = MessageId::new(24).unwrap();
        assert_eq!(layout.path(Part::Mess, id), b"mess/1/24");
        assert_eq!(layout.path(Part::Todo, id), b"todo/24");
        assert_eq!(layout.path(Part::Bounce, id), b"bounce/24");
        assert_eq!(layout.below(id), b"1/24");
        let big = Layout {
            split: 23,
            big_todo: true,
        };
        assert_eq!(big.path(Part::Intd, id), b"intd/1/24");
    }

    #[test]
    fn the_split_is_read_off_the_queue() {
        for (split, big) in [(23, false), (1, true), (7, false), (151, true)] {
            let scratch = Scratch::new("split");
            for n in 0..split {
                std::fs::create_dir_all(scratch.join(format!("mess/{n}"))).unwrap();
                if big {
                    std::fs::create_dir_all(scratch.join(format!("todo/{n}"))).unwrap();
                }
            }
            scratch.write("mess/99999x", "");
            let queue = Dir::open(scratch.path()).unwrap();
            let found = Layout::read(&queue).unwrap();
            assert_eq!(
                found,
                Layout {
                    split,
                    big_todo: big
                }
            );
        }
    }

    #[test]
    fn a_queue_without_subdirectories_is_none() {
        let scratch = Scratch::new("nosplit");
        let queue = Dir::open(scratch.path()).unwrap();
        assert!(Layout::read(&queue).is_err());
        std::fs::create_dir(scratch.join("mess")).unwrap();
        assert!(Layout::read(&queue).is_err());
    }
}
