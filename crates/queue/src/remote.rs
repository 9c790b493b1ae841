//! What qmail-rspawn and a qmail-remote that works for it job by job say to each other.
//!
//! They hold the ends of a pair of sockets that keeps the borders of messages ([`sys::handover`]); the worker's end is
//! its descriptor 0. The worker says hello once. Then each job comes as one message, with the mail open at its start,
//! and is answered by one message before the next job comes. When the spawner's end is closed the worker leaves.
//!
//! Source  qmail-rspawn(8)

use base::Bytes;
use base::bytes::{number, split_once};
use sys::dir::Stat;

use crate::frames::{self, Command};

/// The one argument of a worker. A qmail-remote that knows nothing of it refuses to do anything with one argument.
pub const ARGUMENT: &[u8] = b"-w";
/// The longest message of either side, bytes: the kernel takes it whole.
pub const MESSAGE_LIMIT: usize = 128 * 1024;
/// How long a worker keeps a connection open that nobody uses, seconds.
pub const KEEP: u64 = 2;

/// What a hello begins with; device and inode of the worker's own program follow.
const HELLO: &[u8] = b"qmail-rs/3 ";
/// Bytes of a number.
const WORD: usize = 4;

/// Which connection a worker still has open after a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// none
    None,
    /// one to the host of that job
    Host,
    /// one to a relay for all hosts that have no route of their own
    Relay,
}

impl Kept {
    fn letter(self) -> u8 {
        match self {
            Kept::None => b'-',
            Kept::Host => b'h',
            Kept::Relay => b'r',
        }
    }
}

/// The first words of a worker, whose program is the file `own`.
///
/// A wrapper that runs our program with its own arguments says hello too, but in the name of another file.
pub fn hello(own: &Stat) -> Bytes {
    [HELLO, format!("{} {}", own.dev, own.ino).as_bytes()].concat()
}

/// Whether these are the words of a worker whose program is `file`.
pub fn is_hello(message: &[u8], file: &Stat) -> bool {
    let names = message.strip_prefix(HELLO);
    let numbers = names.and_then(|n| split_once(n, b' '));
    numbers.is_some_and(|(dev, ino)| number(dev) == Some(file.dev) && number(ino) == Some(file.ino))
}

/// One job. `None`: it does not fit into one message.
pub fn encode_job(command: &Command) -> Option<Bytes> {
    let frame = frames::encode_command(command)?;
    (frame.len() <= MESSAGE_LIMIT).then(|| frame.get(WORD..).unwrap_or_default().to_vec())
}

/// The job in a message. `None`: it is none.
pub fn decode_job(message: &[u8]) -> Option<Command> {
    frames::decode_command(message)
}

/// The answer to job `job`; `reports` are those of qmail-remote(8), at most `MESSAGE_LIMIT` less 8 bytes.
pub fn answer(job: u32, kept: Kept, reports: &[u8]) -> Bytes {
    [&job.to_le_bytes()[..], &[kept.letter()], reports].concat()
}

/// Job, connection and reports of an answer. `None`: it is none.
pub fn read_answer(message: &[u8]) -> Option<(u32, Kept, &[u8])> {
    let (job, rest) = message.split_first_chunk::<WORD>()?;
    let (letter, reports) = rest.split_first()?;
    let kept = [Kept::None, Kept::Host, Kept::Relay];
    let kept = kept.into_iter().find(|k| k.letter() == *letter)?;
    Some((u32::from_le_bytes(*job), kept, reports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_itself_is_greeted() {
        let dir = sys::Dir::open(".").unwrap();
        let (one, other) = (dir.stat(b"Cargo.toml").unwrap(), dir.stat(b"src").unwrap());
        assert!(is_hello(&hello(&one), &one));
        assert!(!is_hello(&hello(&one), &other));
        for words in [
            &b""[..],
            b"DI (qmail-remote) was invoked improperly.",
            HELLO,
        ] {
            assert!(!is_hello(words, &one));
        }
    }

    #[test]
    fn jobs_and_answers_come_back_as_they_went() {
        let mut command = Command {
            number: 70_000,
            message: b"3/123".to_vec(),
            sender: b"s@a.test".to_vec(),
            attempt: None,
            recipients: vec![b"r@b.test".to_vec(); 100],
        };
        let job = encode_job(&command).unwrap();
        assert_eq!(decode_job(&job), Some(command.clone()));
        assert_eq!(decode_job(&job[..job.len() - 1]), None);
        for kept in [Kept::None, Kept::Host, Kept::Relay] {
            let bytes = answer(70_000, kept, b"r\0Kok\0");
            assert_eq!(read_answer(&bytes), Some((70_000, kept, &b"r\0Kok\0"[..])));
        }
        for bad in [&b""[..], b"\0\0\0\0", b"\0\0\0\0xK\0"] {
            assert_eq!(read_answer(bad), None);
        }
        command.recipients = vec![vec![b'x'; 2000]; 100];
        assert_eq!(encode_job(&command), None);
    }
}
