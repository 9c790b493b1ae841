//! Sending bounces: a copy of qmail-send, made before the promises, has a process of its own for each. It fetches the
//! message, runs qmail-queue or talks to the queue service, waits, and says in one word what became of it.
//!
//! Nobody who has made promises could make that copy again, so another copy, the keeper, makes it, and a new one should it die. The
//! keeper does nothing else.
//!
//! So qmail-send calls the kernel twice for a bounce. Between the bounce's coming into the queue and the removal of what
//! it is about, a crash means a second bounce: the less happens there, the better.
//!
//! Protocol   one socket, whole messages. A letter: see `encode`. An answer: the number of the message (8 bytes, little
//!            end first), one of `SENT`, `NOT_STARTED` and `REFUSED`, the process id of qmail-queue (4 bytes). The keeper's
//!            socket brings the ends of such sockets, one with each post.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use base::Bytes;
use queue::names::{Layout, MessageId};
use sys::Dir;
use sys::handover::{self, Patience};
use sys::poll::Wait;
use sys::process::End;
use sys::signal::{self, Signal};

use super::bounce::{Fate, Letter};

/// The longest letter, bytes.
const LETTER_LIMIT: usize = 64 * 1024;
/// Failures that are longer than this go by the file `bounce`, bytes.
pub(super) const FAILURES_LIMIT: usize = 32 * 1024;
/// Bytes of an answer.
const ANSWER: usize = 13;
/// How long to rest when the kernel cannot do what it always does.
const REST: Duration = Duration::from_secs(1);
/// The longest wait: a day, only so that it has an end.
const LONGEST: Duration = Duration::from_hours(24);

/// Signals that administrators send to every process of the name of qmail-send. These ones end when that one does, and not
/// before; a process with a letter ends when it has told. They are caught and not ignored: what is run begins with them as
/// ever.
const NOT_MEANT: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGALRM,
    Signal::SIGTERM,
];

const SENT: u8 = b's';
const NOT_STARTED: u8 = b'n';
const REFUSED: u8 = b'r';

/// The exit code of a process that has told what became of its letter.
const TOLD: u8 = 0;
/// And of one that has not.
const UNTOLD: u8 = 111;

/// What comes with the socket of a post.
const POST: &[u8] = b"p";

/// The way to the post.
#[derive(Debug)]
pub(super) struct Post {
    keeper: OwnedFd,
    /// `None`: it is gone, and the next one is not there yet
    socket: Option<OwnedFd>,
}

impl Post {
    /// Makes the copies, which run with all that we may. To be called before there are threads and promises; they end with
    /// us. The working directory is home.
    ///
    /// # Errors
    /// No process, no socket.
    pub(super) fn open(layout: Layout) -> io::Result<Post> {
        let null = File::open("/dev/null")?;
        let (ours, theirs) = handover::pair()?;
        handover::fork_with_only(&theirs, &null, |socket| {
            let _ = keep(&socket, layout);
            0
        })?;
        Ok(Post::of(ours))
    }

    /// The post of a keeper at the other end of this.
    pub(super) fn of(keeper: OwnedFd) -> Post {
        Post {
            keeper,
            socket: None,
        }
    }

    /// What becomes readable when there is an answer, or another post.
    pub(super) fn news(&self) -> &OwnedFd {
        self.socket.as_ref().unwrap_or(&self.keeper)
    }

    /// Takes the next post, if the last one is gone and the keeper has made it.
    ///
    /// # Errors
    /// The keeper is gone too.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        if self.socket.is_some() {
            return Ok(());
        }
        match handover::receive(&self.keeper, &mut [0; POST.len()], Patience::Now) {
            Ok((0, _)) => Err(ErrorKind::UnexpectedEof.into()),
            Ok((_, socket)) => {
                self.socket = socket;
                Ok(())
            }
            Err(e) if is_gone(&e) => Err(e),
            Err(_) => Ok(()),
        }
    }

    /// Sends a letter. `None`: there is no post now.
    ///
    /// # Errors
    /// The letter is too long, or the kernel does not take it.
    pub(super) fn send(&self, letter: &Letter) -> Option<io::Result<()>> {
        let socket = self.socket.as_ref()?;
        let Some(bytes) = encode(letter) else {
            return Some(Err(ErrorKind::InvalidInput.into()));
        };
        match handover::send(socket, &bytes, None) {
            // What ends with it is told when that has been heard.
            Err(e) if e.kind() == ErrorKind::BrokenPipe || is_gone(&e) => None,
            done => Some(done),
        }
    }

    /// An answer, if one is there.
    ///
    /// # Errors
    /// The post is gone: there will be no answers to what it has been sent.
    pub(super) fn answer(&mut self) -> io::Result<Option<(MessageId, Fate)>> {
        let Some(socket) = &self.socket else {
            return Ok(None);
        };
        let mut answer = [0; ANSWER];
        let gone = match handover::receive(socket, &mut answer, Patience::Now) {
            Ok((ANSWER, _)) => return Ok(read_answer(answer)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Ok(_) => ErrorKind::UnexpectedEof.into(),
            Err(e) => e,
        };
        self.socket = None;
        Err(gone)
    }
}

fn is_gone(e: &io::Error) -> bool {
    e.kind() == ErrorKind::ConnectionReset
}

/// The keeper: makes a post whenever there is none, until qmail-send is gone.
fn keep(socket: &OwnedFd, layout: Layout) -> io::Result<()> {
    stay()?;
    let null = File::open("/dev/null")?;
    loop {
        match make(socket, &null, layout) {
            // It ends with qmail-send, or too early.
            Ok(pid) => drop(sys::process::wait_for(pid)),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(_) => {}
        }
        match handover::receive(socket, &mut [0; POST.len()], Patience::Now) {
            Ok((0, _)) => return Ok(()),
            Err(e) if is_gone(&e) => return Ok(()),
            Ok(_) | Err(_) => std::thread::sleep(REST),
        }
    }
}

/// Makes a post, and gives its socket away.
fn make(socket: &OwnedFd, null: &File, layout: Layout) -> io::Result<u32> {
    let (ours, theirs) = handover::pair()?;
    let pid = handover::fork_with_only(&theirs, null, |socket| {
        let _ = serve(&socket, layout);
        0
    })?;
    handover::send_waiting(socket, POST, Some(ours.as_fd()))?;
    Ok(pid)
}

/// Stays when everybody of the name of qmail-send is told to end or to do something.
fn stay() -> io::Result<()> {
    signal::ignore(Signal::SIGPIPE)?;
    for signal in NOT_MEANT {
        signal::catch(signal)?;
        signal::unblock(signal)?;
    }
    Ok(())
}

/// A letter as one message: the number (8 bytes), 1 if it is a double bounce, 1 if the failures are in the letter; then whom it
/// goes to, the opening, the failures and the separator, each after its length (4 bytes). `None`: it is too long.
fn encode(letter: &Letter) -> Option<Bytes> {
    let mut bytes = letter.id.number().to_le_bytes().to_vec();
    bytes.push(u8::from(letter.is_double()));
    bytes.push(u8::from(letter.failures.is_some()));
    let failures = letter.failures.as_deref().unwrap_or_default();
    for part in [&letter.to, &letter.opening, failures, &letter.separator] {
        bytes.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(part);
    }
    (bytes.len() <= LETTER_LIMIT).then_some(bytes)
}

/// Reads a letter. `None`: it is none.
fn decode(bytes: &[u8]) -> Option<Letter> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let ([is_double, has_failures], mut rest) = rest.split_first_chunk::<2>()?;
    let mut part = || -> Option<Bytes> {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        Some(part.to_vec())
    };
    let (to, opening, failures, separator) = (part()?, part()?, part()?, part()?);
    let id = MessageId::new(u64::from_le_bytes(*number))?;
    let mut letter = Letter::new(id, *is_double == 1, to, opening, separator);
    letter.failures = (*has_failures == 1).then_some(failures);
    rest.is_empty().then_some(letter)
}

fn write_answer(id: MessageId, fate: Fate) -> [u8; ANSWER] {
    let (word, qp) = match fate {
        Fate::Sent(qp) => (SENT, qp),
        Fate::NotStarted => (NOT_STARTED, 0),
        Fate::Refused => (REFUSED, 0),
    };
    let mut answer = [0; ANSWER];
    let bytes = id.number().to_le_bytes().into_iter();
    let bytes = bytes.chain([word]).chain(qp.to_le_bytes());
    for (place, byte) in answer.iter_mut().zip(bytes) {
        *place = byte;
    }
    answer
}

fn read_answer(answer: [u8; ANSWER]) -> Option<(MessageId, Fate)> {
    let (number, rest) = answer.split_first_chunk::<8>()?;
    let (word, qp) = rest.split_first()?;
    let fate = match *word {
        SENT => Fate::Sent(u32::from_le_bytes(qp.try_into().ok()?)),
        NOT_STARTED => Fate::NotStarted,
        _ => Fate::Refused,
    };
    Some((MessageId::new(u64::from_le_bytes(*number))?, fate))
}

/// The post's loop, until qmail-send is gone.
fn serve(socket: &OwnedFd, layout: Layout) -> io::Result<()> {
    stay()?;
    let wake = signal::wake()?;
    signal::catch(Signal::SIGCHLD)?;
    signal::unblock(Signal::SIGCHLD)?;
    let mut buffer = vec![0; LETTER_LIMIT];
    let mut carriers: HashMap<u32, MessageId> = HashMap::new();
    loop {
        let mut waits = [Wait::readable(socket), Wait::readable(&wake)];
        match sys::poll::wait(&mut waits, Some(LONGEST)) {
            Err(e) if e.kind() != ErrorKind::Interrupted => std::thread::sleep(REST),
            Ok(_) | Err(_) => {}
        }
        let [is_asked, is_woken] = waits.map(|wait| wait.is_ready());
        if is_woken {
            signal::woken();
        }
        if signal::pending(Signal::SIGCHLD) {
            bury(socket, &mut carriers);
        }
        if !is_asked {
            continue;
        }
        match handover::receive(socket, &mut buffer, Patience::Now) {
            Ok((0, _)) => return Ok(()),
            Ok((count, _)) => {
                let Some(letter) = decode(buffer.get(..count).unwrap_or_default()) else {
                    continue;
                };
                match sys::process::fork(|| carry(socket, layout, &letter)) {
                    Ok(pid) => drop(carriers.insert(pid, letter.id)),
                    Err(_) => drop(tell(socket, letter.id, Fate::NotStarted)),
                }
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) if is_gone(&e) => return Ok(()),
            // No memory, for instance: the letter is still there.
            Err(_) => std::thread::sleep(REST),
        }
    }
}

/// Tells for those that have ended without telling.
fn bury(socket: &OwnedFd, carriers: &mut HashMap<u32, MessageId>) {
    while let Some((pid, end)) = sys::process::ended() {
        if let Some(id) = carriers.remove(&pid)
            && end != End::Exit(TOLD)
        {
            let _ = tell(socket, id, Fate::Refused);
        }
    }
}

/// In a process of its own: one letter.
fn carry(socket: &OwnedFd, layout: Layout, letter: &Letter) -> u8 {
    // What it runs is waited for by number.
    if signal::default(Signal::SIGCHLD).is_err() {
        return UNTOLD;
    }
    let Ok(queue) = Dir::open("queue") else {
        return UNTOLD;
    };
    let fate = letter.send(&queue, layout);
    if tell(socket, letter.id, fate) {
        TOLD
    } else {
        UNTOLD
    }
}

/// `false`: it could not be told. When qmail-send is gone, nobody listens.
fn tell(socket: &OwnedFd, id: MessageId, fate: Fate) -> bool {
    handover::send_waiting(socket, &write_answer(id, fate), None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(is_double: bool, failures: Option<Bytes>) -> Letter {
        let id = MessageId::new(77).unwrap();
        let mut letter = Letter::new(
            id,
            is_double,
            b"x@y".to_vec(),
            b"Hi\0".to_vec(),
            b"--".to_vec(),
        );
        letter.failures = failures;
        letter
    }

    #[test]
    fn a_letter_arrives_as_it_was_sent() {
        for (is_double, failures) in [
            (false, None),
            (true, Some(Bytes::new())),
            (false, Some(b"<a>:\n\0".to_vec())),
        ] {
            let sent = letter(is_double, failures);
            let bytes = encode(&sent).unwrap();
            let got = decode(&bytes).unwrap();
            assert_eq!(format!("{got:?}"), format!("{sent:?}"));
            for cut in 0..bytes.len() {
                assert!(decode(&bytes[..cut]).is_none());
            }
            assert!(decode(&[bytes, vec![0]].concat()).is_none());
        }
        assert!(encode(&letter(false, Some(vec![b'x'; LETTER_LIMIT]))).is_none());
        assert!(encode(&letter(false, Some(vec![b'x'; FAILURES_LIMIT]))).is_some());
    }

    #[test]
    fn an_answer_arrives_as_it_was_sent() {
        let id = MessageId::new(u64::MAX >> 1).unwrap();
        for fate in [Fate::Sent(u32::MAX), Fate::NotStarted, Fate::Refused] {
            assert_eq!(read_answer(write_answer(id, fate)), Some((id, fate)));
        }
    }
}
