//! The 18 bytes of `supervise/status`: TAI64N of the last change, process id, paused, want.

use base::tai::Tai64N;

/// Bytes of the file.
pub(crate) const STATUS: usize = 18;

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
