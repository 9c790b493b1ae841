//! Taking the text of one message: from the channel to the queue, within the limits.
//!
//! A message with a fault is read to its end, so that the refusal is understood, but nothing of it is stored.

use std::time::Duration;

use wire::unstuff::{Piece, Step, Unstuff};

use crate::channel::{Channel, Gone, Link};
use crate::header::{Excess, Limits, Watch};
use crate::reply::{BARE_CR, HEADER_LINES, HEADER_TOO_LONG, LOOPING, NUL, Reply, TOO_LARGE};
use crate::sink::Message;

/// Bytes that must come in each span of `Rules::progress`: far below any line in use, far above a drip.
const PROGRESS_BYTES: u64 = 1_000;

/// The limits of a message.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// bytes of text as stored, without our Received line; 0: no limit
    pub databytes: u64,
    /// limits of the header
    pub header: Limits,
    /// how often some progress must be seen
    pub progress: Option<Duration>,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// over databytes
    TooLarge,
    /// something about the header
    Header(Excess),
    /// a CR without LF
    BareCr,
    /// a NUL
    Nul,
}

impl Fault {
    /// What the client is told.
    pub fn reply(self) -> Reply {
        match self {
            Fault::TooLarge => TOO_LARGE,
            Fault::Header(Excess::Bytes) => HEADER_TOO_LONG,
            Fault::Header(Excess::Lines) => HEADER_LINES,
            Fault::Header(Excess::Hops) => LOOPING,
            Fault::BareCr => BARE_CR,
            Fault::Nul => NUL,
        }
    }

    /// Whether the client and we may disagree about where messages end, so that nothing it says next can be trusted.
    pub fn is_ambiguous(self) -> bool {
        matches!(self, Fault::BareCr | Fault::Nul)
    }
}

/// Why the end of a message never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// no more input
    Gone(Gone),
    /// a LF without CR
    BareLf,
    /// hardly any progress
    Stalled,
}

/// A message up to its end.
#[derive(Debug)]
pub struct Body<M> {
    /// the message, still open, or why it was given up
    pub message: Result<M, Fault>,
    /// bytes of text as stored
    pub bytes: u64,
}

struct Intake<M> {
    message: Option<M>,
    fault: Option<Fault>,
    watch: Watch,
    bytes: u64,
    databytes: u64,
}

impl<M: Message> Intake<M> {
    fn take(&mut self, piece: Piece<'_>) {
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Newline => b"\n",
        };
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.fault.is_some() {
            return;
        }
        if let Some(excess) = self.watch.see(piece) {
            self.fail(Fault::Header(excess));
        } else if self.databytes > 0 && self.bytes > self.databytes {
            self.fail(Fault::TooLarge);
        } else if let Some(message) = &mut self.message {
            message.write(text);
        }
    }

    /// The first fault counts; the message is given up at once.
    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        if let Some(message) = self.message.take() {
            message.abandon();
        }
    }
}

/// Reads a message to its end. `bytes` is kept up to date for the log even if the end never comes.
pub fn receive<L: Link, M: Message>(
    channel: &mut Channel<L>,
    rules: Rules,
    message: M,
    bytes: &mut u64,
) -> Result<Body<M>, Stop> {
    let mut unstuff = Unstuff::default();
    let mut progress = Progress::new(rules.progress, channel.link().elapsed());
    let mut intake = Intake {
        message: Some(message),
        fault: None,
        watch: Watch::new(rules.header),
        bytes: 0,
        databytes: rules.databytes,
    };
    loop {
        let block = channel.block().map_err(Stop::Gone)?;
        let length = block.len();
        let step = unstuff.feed(block, |piece| intake.take(piece));
        *bytes = intake.bytes;
        if unstuff.saw_bare_cr() {
            intake.fail(Fault::BareCr);
        } else if unstuff.saw_nul() {
            intake.fail(Fault::Nul);
        }
        match step {
            Step::More => channel.consume(length),
            Step::End(taken) => {
                channel.consume(taken);
                break;
            }
            Step::BareLf(_) => return Err(Stop::BareLf),
        }
        if progress.is_too_slow(length, channel.link().elapsed()) {
            return Err(Stop::Stalled);
        }
    }
    // A fault has taken the message out; without one it is there.
    let message = match (intake.message, intake.fault) {
        (Some(message), None) => Ok(message),
        (_, fault) => Err(fault.unwrap_or(Fault::TooLarge)),
    };
    Ok(Body {
        message,
        bytes: intake.bytes,
    })
}

struct Progress {
    span: Option<Duration>,
    since: Duration,
    bytes: u64,
}

impl Progress {
    fn new(span: Option<Duration>, now: Duration) -> Progress {
        Progress {
            span,
            since: now,
            bytes: 0,
        }
    }

    fn is_too_slow(&mut self, bytes: usize, now: Duration) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let since = now.saturating_sub(self.since);
        if self.span.is_none_or(|span| since < span) {
            return false;
        }
        let slow = self.bytes < PROGRESS_BYTES;
        self.since = now;
        self.bytes = 0;
        slow
    }
}
