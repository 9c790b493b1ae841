//! The process that runs checkers, and the session's line to it.
//!
//! It is made before the session makes its promises, and hears no byte of the client but what a checker is to get. It
//! holds neither the connection nor the descriptors of a TLS server, so it keeps nothing open, and it ends with the
//! session.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use auth::checker::{PATIENCE, Verdict};
use base::Bytes;
use base::io::Timed;

use super::frames::{self, LIMIT, PREFIX};
use super::{Answer, Gate, Keeper, Question};

/// How long the session waits for an answer: as long as two runs of a checker may take, and a moment.
const WAIT: Duration = PATIENCE
    .saturating_mul(2)
    .saturating_add(Duration::from_secs(5));
/// How long the launcher waits for the rest of a question.
const REST: Duration = Duration::from_secs(10);

/// The session's end.
#[derive(Debug)]
pub struct Launcher {
    line: Option<Timed<OwnedFd>>,
}

impl Launcher {
    /// Makes the process. `foreign` are descriptors that it must not hold, besides 0 and 1.
    ///
    /// # Errors
    /// No sockets, or no process.
    pub fn start(keeper: Keeper, foreign: &[RawFd]) -> io::Result<Launcher> {
        let (ours, theirs) = sys::local::pair()?;
        let mut ours = Some(ours);
        sys::process::fork(|| {
            sys::fd::restore_sigpipe();
            // Passwords pass through here: no other process of the same user looks at them.
            sys::sandbox::no_look();
            // In this copy only: with it open we would never hear of the end of the session.
            ours = None;
            for number in [0, 1].iter().chain(foreign) {
                drop(sys::fd::take(*number));
            }
            serve(theirs, keeper);
            0
        })?;
        Ok(Launcher {
            line: ours.map(|line| Timed::new(line, WAIT)),
        })
    }
}

impl Gate for Launcher {
    fn ask(&mut self, question: &Question) -> Answer {
        let answer = self.line.as_mut().and_then(|line| talk(line, question));
        answer.unwrap_or_else(|| {
            // Whatever it says from now on could be the answer to another question.
            self.line = None;
            Answer::Verdict(Verdict::Temporary)
        })
    }
}

fn talk(line: &mut Timed<OwnedFd>, question: &Question) -> Option<Answer> {
    let bytes = frames::question(question)?;
    // One write: the kernel takes a small message whole.
    let sent = sys::local::send(line.get_ref(), &bytes).ok()?;
    (sent == bytes.len()).then_some(())?;
    frames::read_answer(&frame(line).ok()??)
}

/// The inside of the next frame; `None`: the other end is gone.
fn frame(line: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut size = [0; PREFIX];
    match line.read_exact(&mut size) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let size = usize::from(u16::from_le_bytes(size));
    if size > LIMIT {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut inside = vec![0; size];
    line.read_exact(&mut inside)?;
    Ok(Some(inside))
}

/// Answers until the session is over, or says something wrong.
fn serve(line: OwnedFd, mut keeper: Keeper) {
    let mut line = Timed::new(line, REST);
    loop {
        // Between two questions the client may take its time; the session's own limits hold.
        match sys::poll::readable(line.get_ref(), WAIT) {
            Ok(false) => continue,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Ok(true) | Err(_) => {}
        }
        let Ok(Some(inside)) = frame(&mut line) else {
            return;
        };
        let Some(question) = frames::read_question(&inside) else {
            return;
        };
        let Some(bytes) = frames::answer(&keeper.ask(&question)) else {
            return;
        };
        if sys::local::send(line.get_ref(), &bytes).ok() != Some(bytes.len()) {
            return;
        }
    }
}
