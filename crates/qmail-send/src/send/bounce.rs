//! Bounces: gathering what failed, and telling the sender.
//!
//! The texts are those of the original: programs everywhere know them (the QSBMF form).
//!
//! Source  qmail-send(8), bounce texts; qmail-log(5)

use std::io::{self, ErrorKind, Read, Write};

use base::Bytes;
use queue::names::{MessageId, Part};
use queue::submit::{Outcome, Submission};
use recipient::Rewrite;

use super::desk::{Desk, Info};
use super::settings::Settings;

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

/// Notes a failure, durably. `false`: it could not be noted, so the recipient must not be given up yet.
pub(crate) fn append(desk: &mut Desk, id: MessageId, recipient: &[u8], report: &[u8]) -> bool {
    let text = paragraph(&desk.rewrite, recipient, report);
    let done = try_append(desk, id, &text);
    if done.is_err() {
        desk.log
            .alert("unable to append to bounce message; will try again later");
    }
    done.is_ok()
}

fn try_append(desk: &Desk, id: MessageId, text: &[u8]) -> io::Result<()> {
    let path = desk.layout.path(Part::Bounce, id);
    match desk.queue.stat_link(&path) {
        Ok(stat) if !stat.is_file() => return Err(ErrorKind::InvalidInput.into()),
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = desk.queue.open_append(&path, 0o600)?;
    let before = sys::dir::stat_fd(&file)?.size;
    let done = file
        .write_all(text)
        .and_then(|()| sys::dir::sync(&file))
        .and_then(|()| {
            if before > 0 {
                return Ok(());
            }
            let dir = desk.layout.dir(Part::Bounce, id);
            desk.queue.open_dir(&dir)?.sync()
        });
    if done.is_err() {
        // Half a paragraph must not stand before the next one.
        let _ = file.set_len(before);
    }
    done
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

/// Sends the bounce of a message, if it has one. `false`: try again later; the log says why.
pub(crate) fn inject(desk: &mut Desk, id: MessageId) -> bool {
    let Ok(info) = desk.info(id) else {
        let text = desk.about("trouble reading ", Part::Info, id, "; will try again later");
        desk.log.warning(text);
        return false;
    };
    match desk.exists(Part::Bounce, id) {
        Ok(true) => {}
        Ok(false) => return true,
        Err(_) => {
            let text = desk.about("unable to stat ", Part::Bounce, id, "");
            desk.log.warning(text);
            return false;
        }
    }
    if !send(desk, id, &info) {
        return false;
    }
    if desk.unlink(Part::Bounce, id).is_err() {
        let text = desk.about("unable to unlink ", Part::Bounce, id, "");
        desk.log.warning(text);
        return false;
    }
    let dir = desk.layout.dir(Part::Bounce, id);
    desk.settle.dir(dir, desk.recent);
    true
}

fn send(desk: &mut Desk, id: MessageId, info: &Info) -> bool {
    let (sender, target) = target(&desk.settings, &info.sender);
    let (from, to): (&[u8], Bytes) = match target {
        Target::Nowhere(why) => {
            let text = desk.about(why, Part::Bounce, id, "");
            desk.log.line(text);
            return true;
        }
        Target::Single(to) => (b"", to),
        Target::Double(to) => (DOUBLE, to),
    };
    let is_double = from == DOUBLE;
    let Ok(mut submission) = Submission::open() else {
        desk.log
            .warning("unable to start qmail-queue, will try later");
        return false;
    };
    let now = desk.clock.now();
    submission.write(&opening(&desk.settings, now, &to, is_double));
    copy(desk, Part::Bounce, id, &mut submission);
    submission.write(&separator(&sender, is_double));
    copy(desk, Part::Mess, id, &mut submission);
    submission.sender(from);
    submission.recipient(&to);
    if submission.close() != Outcome::Queued {
        desk.log
            .warning("trouble injecting bounce message, will try later");
        return false;
    }
    let qp = submission.pid();
    desk.log.line(format!("bounce msg {id} qp {qp}"));
    true
}

/// Copies a part into the bounce; trouble fails the bounce.
fn copy(desk: &Desk, part: Part, id: MessageId, submission: &mut Submission) {
    let Ok(mut file) = desk.open(part, id) else {
        submission.fail();
        return;
    };
    let mut piece = vec![0; PIECE];
    while !submission.has_failed() {
        match file.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => submission.write(piece.get(..count).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => submission.fail(),
        }
    }
}

#[cfg(test)]
mod tests;
