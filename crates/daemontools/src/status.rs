//! The 18 bytes of `supervise/status`: TAI64N of the last change, process id, paused, want.
//!
//! For a service with more than `run`, two bytes follow, its stage and 0; and for a log in the same directory another
//! 20 bytes. Readers of the first 18 see what they know. The longer forms are those of daemontools-encore.

use base::tai::Tai64N;

/// Bytes of the file.
pub(crate) const STATUS: usize = 18;

/// Bytes of the record with the stage.
pub(crate) const LONG: usize = 20;

/// How far a service has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// nothing runs, nothing is to
    Stopped,
    /// `start` runs
    Starting,
    /// `start` has done all, there is no `run`
    Started,
    /// `run` runs
    Running,
    /// it was told to end, or `stop` runs
    Stopping,
    /// `start` failed
    Failed,
}

impl Stage {
    const ALL: [(Stage, &'static str); 6] = [
        (Stage::Stopped, "stopped"),
        (Stage::Starting, "starting"),
        (Stage::Started, "started"),
        (Stage::Running, "running"),
        (Stage::Stopping, "stopping"),
        (Stage::Failed, "failed"),
    ];

    /// The byte of the file.
    pub(crate) fn pack(self) -> u8 {
        // In the order of the table.
        self as u8
    }

    /// The word for a byte of the file.
    pub(crate) fn word(byte: u8) -> Option<&'static str> {
        Stage::ALL.get(usize::from(byte)).map(|(_, word)| *word)
    }
}

/// What supervise is to do when the service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// start it again
    Up,
    /// leave it, and end it
    Down,
    /// leave it
    Once,
}

/// The state of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// when the service last went up or down
    pub(crate) since: Tai64N,
    /// process id; 0 when the service is down
    pub(crate) pid: u32,
    /// whether it was told to stop for a while
    pub(crate) paused: bool,
    /// what is wanted
    pub(crate) want: Want,
}

impl Status {
    /// The bytes of the file: big-endian time, little-endian process id, 0 or 1, `u` or `d` or 0.
    pub(crate) fn pack(&self) -> [u8; STATUS] {
        let want = match self.want {
            Want::Up => b'u',
            Want::Down => b'd',
            Want::Once => 0,
        };
        let paused = u8::from(self.paused && self.pid != 0);
        let parts = self
            .since
            .pack()
            .into_iter()
            .chain(self.pid.to_le_bytes())
            .chain([paused, want]);
        let mut packed = [0; STATUS];
        for (to, from) in packed.iter_mut().zip(parts) {
            *to = from;
        }
        packed
    }

    /// From the bytes of the file. Bytes that mean nothing are taken as 0.
    pub(crate) fn unpack(packed: &[u8]) -> Option<Status> {
        let (since, rest) = packed.split_first_chunk()?;
        let (pid, rest) = rest.split_first_chunk()?;
        let [paused, want, ..] = *rest else {
            return None;
        };
        Some(Status {
            since: Tai64N::unpack(*since),
            pid: u32::from_le_bytes(*pid),
            paused: paused != 0,
            want: match want {
                b'u' => Want::Up,
                b'd' => Want::Down,
                _ => Want::Once,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_as_the_original() {
        let status = Status {
            since: Tai64N::from_unix(0, 500),
            pid: 0x0102_0304,
            paused: true,
            want: Want::Up,
        };
        let packed = status.pack();
        assert_eq!(
            packed,
            *b"\x40\0\0\0\0\0\0\x0a\0\0\x01\xf4\x04\x03\x02\x01\x01u"
        );
        assert_eq!(Status::unpack(&packed), Some(status));
        assert_eq!(Status::unpack(&packed[..17]), None);
    }

    #[test]
    fn stages_have_the_bytes_of_their_words() {
        for (at, (stage, word)) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(stage.pack()), at);
            assert_eq!(Stage::word(stage.pack()), Some(word));
        }
        assert_eq!(Stage::word(6), None);
    }

    #[test]
    fn a_service_that_is_down_is_not_paused() {
        let status = Status {
            since: Tai64N::from_unix(0, 0),
            pid: 0,
            paused: true,
            want: Want::Down,
        };
        assert_eq!(status.pack()[16..], *b"\0d");
    }
}
