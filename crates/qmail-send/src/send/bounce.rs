//! Bounces: gathering what failed, and telling the sender.
//!
//! The texts are those of the original: programs everywhere know them (the QSBMF form).
//!
//! Source  qmail-send(8), bounce texts; qmail-log(5)

use std::io::{self, ErrorKind};

use base::Bytes;
use queue::names::{Layout, MessageId, Part};
use queue::submit::{Outcome, Submission};
use recipient::Rewrite;

use super::desk::Desk;
use super::files::{Files, Open, Purpose};
use super::settings::Settings;
use super::settle;

/// Bytes copied at once.
const PIECE: usize = 64 * 1024;

/// The sender of a double bounce.
const DOUBLE: &[u8] = b"#@[]";

/// What one failure adds to the bounce: the address, the report without blank lines, a blank line.
pub(crate) fn paragraph(rewrite: &Rewrite, recipient: &[u8], report: &[u8]) -> Bytes {
    let mut text: Bytes = b"<".to_vec();
    text.extend(
        rewrite
            .strip(recipient)
            .iter()
            .map(|&b| if b == b'\n' { b'_' } else { b }),
    );
    text.extend_from_slice(b">:\n");
    text.extend_from_slice(report);
    if report.last().is_some_and(|&b| b != b'\n') {
        text.push(b'\n');
    }
    // The last byte is a line end and stays one; before it no line may be empty.
    let last = text.len() - 1;
    let mut previous = 0;
    let mut at = 0;
    text = text
        .into_iter()
        .map(|byte| {
            let blank = at < last && byte == b'\n' && previous == b'\n';
            previous = byte;
            at += 1;
            if blank { b'/' } else { byte }
        })
        .collect();
    text.push(b'\n');
    text
}

/// Notes a failure: in memory for a message that stands in todo, else durably. `false`: it could not be noted, so the
/// recipient must not be given up yet.
pub(crate) fn append(desk: &mut Desk, id: MessageId, recipient: &[u8], report: &[u8]) -> bool {
    let text = paragraph(&desk.rewrite, recipient, report);
    if desk.fresh.has(id) {
        desk.fresh.add_bounce(id, &text);
        return true;
    }
    append_text(desk, id, &text)
}

/// Notes failures durably.
pub(crate) fn append_text(desk: &mut Desk, id: MessageId, text: &[u8]) -> bool {
    let done = try_append(desk, id, text);
    if done.is_err() {
        desk.log
            .alert("unable to append to bounce message; will try again later");
    }
    done.is_ok()
}

fn try_append(desk: &Desk, id: MessageId, text: &[u8]) -> io::Result<()> {
    let before = match desk.open_update(Part::Bounce, id) {
        Ok(file) => whole(file.as_ref())?,
        Err(e) if e.kind() == ErrorKind::NotFound => 0,
        Err(e) => return Err(e),
    };
    let path = desk.layout.path(Part::Bounce, id);
    let mut file = desk.queue.open(&path, Purpose::Append)?;
    if before == 0 {
        // The name first: a file that holds something always has a durable one.
        desk.queue.sync(&desk.layout.dir(Part::Bounce, id))?;
    }
    let done = file.append(text).and_then(|()| file.sync());
    if done.is_err() {
        // Half a paragraph must not stand before the next one.
        let _ = file.cut(before);
    }
    done
}

/// Cuts off what a crash left of a paragraph that was being added; returns how many bytes are left. Only the end of a paragraph
/// is a blank line.
fn whole(file: &dyn Open) -> io::Result<u64> {
    let found = file.stat()?.size;
    let mut size = found;
    while size > 0
        && !(size > 1 && file.byte_at(size - 1)? == b'\n' && file.byte_at(size - 2)? == b'\n')
    {
        size -= 1;
    }
    if size < found {
        file.cut(size)?;
    }
    Ok(size)
}

/// Whether there is something to tell the sender of a message. What a crash left of a paragraph does not count: its recipient
/// was not given up.
///
/// # Errors
/// It cannot be read, or such rest not be removed.
pub(crate) fn is_due(desk: &mut Desk, id: MessageId) -> io::Result<bool> {
    match desk.open_update(Part::Bounce, id) {
        Ok(file) if whole(file.as_ref())? > 0 => Ok(true),
        Ok(_) => settle::unlink(desk, Part::Bounce, id).map(|()| false),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Where a bounce goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// to the sender, from nobody
    Single(Bytes),
    /// to the postmaster
    Double(Bytes),
    /// nowhere, with a line in the log
    Nowhere(&'static str),
}

/// The sender as it stands in Return-Path, and where the bounce goes.
fn target(settings: &Settings, sender: &[u8]) -> (Bytes, Target) {
    // With VERP, what is told to the list is told to its owner: `list-@host-@[]` becomes `list-@host`.
    let sender = sender.strip_suffix(b"-@[]").unwrap_or(sender);
    let target = if sender == DOUBLE {
        Target::Nowhere("triple bounce: discarding ")
    } else if !sender.is_empty() {
        Target::Single(sender.to_vec())
    } else {
        match &settings.double_bounce_to {
            Some(to) => Target::Double(to.clone()),
            None => Target::Nowhere("double bounce: discarding "),
        }
    };
    (sender.to_vec(), target)
}

/// What stands before the failures.
fn opening(settings: &Settings, now: i64, to: &[u8], is_double: bool) -> Bytes {
    let host = settings.bounce_host.as_slice();
    let greeting: &[u8] = if is_double {
        b".\nI tried to deliver a bounce message to this address, but the bounce bounced!\n\n"
    } else {
        b".\nI'm afraid I wasn't able to deliver your message to the following addresses.\n\
          This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
    };
    [
        format!("Date: {}\nFrom: ", mail::date::rfc5322(now)).as_bytes(),
        &mail::quote::local(&settings.bounce_from),
        b"@",
        host,
        b"\nTo: ",
        &mail::quote::address(to),
        b"\nSubject: failure notice\n\nHi. This is the qmail-send program at ",
        host,
        greeting,
    ]
    .concat()
}

/// What stands between the failures and the message.
fn separator(sender: &[u8], is_double: bool) -> Bytes {
    let line: &[u8] = if is_double {
        b"--- Below this line is the original bounce.\n\n"
    } else {
        b"--- Below this line is a copy of the message.\n\n"
    };
    [
        line,
        b"Return-Path: <",
        &mail::quote::address(sender),
        b">\n",
    ]
    .concat()
}

/// A bounce to be sent.
#[derive(Debug)]
pub(crate) struct Letter {
    /// the message that it is about
    pub(crate) id: MessageId,
    from: &'static [u8],
    pub(super) to: Bytes,
    pub(super) opening: Bytes,
    /// the failures; `None`: they stand in `bounce`
    pub(super) failures: Option<Bytes>,
    pub(super) separator: Bytes,
}

/// What became of a bounce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// in the queue, by the qmail-queue with this process id
    Sent(u32),
    /// qmail-queue could not be started
    NotStarted,
    /// qmail-queue did not take it
    Refused,
}

/// The bounce of a message from `sender`. `None`: it goes nowhere, as the log now says.
pub(crate) fn letter(
    desk: &mut Desk,
    id: MessageId,
    sender: &[u8],
    failures: Option<Bytes>,
) -> Option<Letter> {
    let (sender, target) = target(&desk.settings, sender);
    let (from, to): (&'static [u8], Bytes) = match target {
        Target::Nowhere(why) => {
            let text = desk.about(why, Part::Bounce, id, "");
            desk.log.line(text);
            return None;
        }
        Target::Single(to) => (b"", to),
        Target::Double(to) => (DOUBLE, to),
    };
    let is_double = from == DOUBLE;
    let now = desk.world.now();
    Some(Letter {
        id,
        from,
        opening: opening(&desk.settings, now, &to, is_double),
        to,
        failures,
        separator: separator(&sender, is_double),
    })
}

/// Logs what became of a bounce. `true`: it is in the queue.
pub(crate) fn tell(desk: &mut Desk, id: MessageId, fate: Fate) -> bool {
    match fate {
        Fate::Sent(qp) => desk.log.line(format!("bounce msg {id} qp {qp}")),
        Fate::NotStarted => desk
            .log
            .warning("unable to start qmail-queue, will try later"),
        Fate::Refused => desk
            .log
            .warning("trouble injecting bounce message, will try later"),
    }
    matches!(fate, Fate::Sent(_))
}

impl Letter {
    /// One whose failures stand in `bounce`.
    pub(super) fn new(
        id: MessageId,
        is_double: bool,
        to: Bytes,
        opening: Bytes,
        separator: Bytes,
    ) -> Letter {
        Letter {
            id,
            from: if is_double { DOUBLE } else { b"" },
            to,
            opening,
            failures: None,
            separator,
        }
    }

    /// Whether it goes to the postmaster.
    pub(super) fn is_double(&self) -> bool {
        self.from == DOUBLE
    }

    /// Sends it; waits for qmail-queue. To be called by a process that ends when it has told what came of it.
    pub(crate) fn send(&self, queue: &dyn Files, layout: Layout) -> Fate {
        let Ok(mut submission) = Submission::open() else {
            return Fate::NotStarted;
        };
        self.fill(queue, layout, &mut submission);
        let fate = match submission.close() {
            Outcome::Queued => Fate::Sent(submission.pid()),
            Outcome::Permanent(_) | Outcome::Temporary(_) => Fate::Refused,
        };
        // First it is told; what is open is closed by the end.
        std::mem::forget(submission);
        fate
    }

    /// Writes it, with its envelope.
    pub(crate) fn fill(&self, queue: &dyn Files, layout: Layout, envelope: &mut impl Envelope) {
        envelope.write(&self.opening);
        match &self.failures {
            Some(text) => envelope.write(text),
            None => copy(queue, &layout.path(Part::Bounce, self.id), envelope),
        }
        envelope.write(&self.separator);
        copy(queue, &layout.path(Part::Mess, self.id), envelope);
        envelope.address(self.from, &self.to);
    }
}

/// What takes a bounce.
pub(crate) trait Envelope {
    /// More of the message.
    fn write(&mut self, bytes: &[u8]);
    /// The end of the message, and who it is from and to.
    fn address(&mut self, from: &[u8], to: &[u8]);
    /// Gives it up.
    fn fail(&mut self);
    /// Whether it is in vain to go on.
    fn has_failed(&self) -> bool;
}

impl Envelope for Submission {
    fn write(&mut self, bytes: &[u8]) {
        Submission::write(self, bytes);
    }

    fn address(&mut self, from: &[u8], to: &[u8]) {
        self.sender(from);
        self.recipient(to);
    }

    fn fail(&mut self) {
        Submission::fail(self);
    }

    fn has_failed(&self) -> bool {
        Submission::has_failed(self)
    }
}

/// Copies a file of the queue into the bounce; trouble fails the bounce.
fn copy(queue: &dyn Files, path: &[u8], envelope: &mut impl Envelope) {
    let Ok(mut file) = queue.open(path, Purpose::Read) else {
        envelope.fail();
        return;
    };
    let mut piece = vec![0; PIECE];
    while !envelope.has_failed() {
        match file.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => envelope.write(piece.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => envelope.fail(),
        }
    }
}

#[cfg(test)]
mod tests;
