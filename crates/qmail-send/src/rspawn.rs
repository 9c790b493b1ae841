//! qmail-rspawn: hands messages to qmail-remote; its reports, made one letter and one text for each recipient.
//!
//! Our own qmail-remote works for us job by job, so that it can keep connections; any other is run once for each
//! recipient. See `program` for how the two are told apart.
//!
//! Source  qmail-rspawn(8)

mod pool;
mod program;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use base::bytes::{lower, rsplit_once};
use base::{Bytes, Call, Die};
use queue::frames::{Command, RECIPIENT_LIMIT};
use queue::remote;
use queue::spawner::{self, Deliver, Step, Ticket, Work};
use sys::poll::Wait;
use sys::process::End;
use sys::spawn::Spawn;

use pool::{News, Pool};
use program::{Program, World};

/// The most bytes that qmail-remote may say of one recipient and the message. Its texts are limited by itself to a
/// quarter of this.
const OUTPUT_LIMIT: usize = 32 * 1024;
/// The most deliveries at a time: each has a process, and one descriptor of ours.
const DELIVERIES: u32 = 500;
/// How often we look whether qmail-remote or what it reads has changed.
const LOOK: Duration = Duration::from_millis(20);

const PROGRAM: &[u8] = b"qmail-remote";

/// See qmail-rspawn(8). Arguments are ignored.
///
/// # Errors
/// 111 without a home or a queue, silently.
pub fn qmail_rspawn(_: &Call) -> Result<(), Die> {
    let broken = |_| Die::silent(base::die::TEMPORARY);
    control::home::enter().map_err(broken)?;
    sys::dir::stat_path(b"queue/mess").map_err(broken)?;
    // Every start begins with a clean table of hosts that timed out. Without a table nothing is lost.
    let _ = queue::tcpto::clear();
    spawner::run(Remote::open(base::env("QMAILREMOTE")))
}

/// Delivers to other hosts.
struct Remote {
    program: Bytes,
    office: Option<Office>,
}

/// Our own qmail-remote, if it is that.
struct Office {
    world: World,
    found: Option<Program>,
    pool: Option<Pool>,
    looked: Instant,
}

impl Office {
    fn open() -> Office {
        let found = Program::find(PROGRAM);
        Office {
            world: World::look(),
            pool: found.clone().and_then(Pool::open),
            found,
            looked: Instant::now(),
        }
    }

    /// Lets no worker go on that knows an older world, and none of a program that was replaced.
    fn look(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        let world = World::look();
        if world != self.world {
            self.world = world;
            self.pool.iter_mut().for_each(Pool::retire);
        }
        let found = Program::find(PROGRAM);
        if found == self.found {
            return;
        }
        self.found.clone_from(&found);
        let next = found.and_then(Pool::open);
        self.pool = match (self.pool.take(), next) {
            (Some(old), Some(mut next)) => {
                next.inherit(old);
                Some(next)
            }
            (old, next) => next.or(old.and_then(Pool::last_jobs)),
        };
    }
}

impl Remote {
    /// `replaced` is the program that the administrator wants in place of qmail-remote.
    fn open(replaced: Option<Bytes>) -> Remote {
        let office = match replaced {
            Some(_) => None,
            None => Some(Office::open()),
        };
        Remote {
            program: replaced.unwrap_or_else(|| PROGRAM.to_vec()),
            office,
        }
    }

    fn pool(&mut self) -> Option<&mut Pool> {
        self.office.as_mut()?.pool.as_mut()
    }

    /// A process of its own for this work.
    fn run(&mut self, message: File, sender: &[u8], recipients: &[Bytes]) -> Step {
        let Ok((output, report)) = sys::fd::pipe() else {
            return Step::done(b"Zqmail-spawn unable to create pipe. (#4.3.0)\n");
        };
        match self.start_batch(message, report, sender, recipients) {
            Ok(pid) => Step::Process { pid, output },
            Err(text) => Step::Done(vec![text]),
        }
    }
}

fn unable(error: &std::io::Error) -> Bytes {
    let letter = if sys::is_temporary(error) { "Z" } else { "D" };
    format!("{letter}Unable to run qmail-remote.\n").into_bytes()
}

impl Deliver for Remote {
    fn output_limit(&self) -> usize {
        OUTPUT_LIMIT
    }

    fn limit(&self) -> u32 {
        DELIVERIES
    }

    fn batch(&self) -> usize {
        match &self.office {
            Some(Office {
                pool: Some(pool), ..
            }) if pool.is_open() => RECIPIENT_LIMIT,
            _ => 1,
        }
    }

    fn start(
        &mut self,
        message: File,
        report: OwnedFd,
        sender: &[u8],
        recipient: &[u8],
        _: usize,
    ) -> Result<u32, Bytes> {
        self.start_batch(message, report, sender, &[recipient.to_vec()])
    }

    fn start_batch(
        &mut self,
        message: File,
        report: OwnedFd,
        sender: &[u8],
        recipients: &[Bytes],
    ) -> Result<u32, Bytes> {
        let first = recipients.first().and_then(|r| rsplit_once(r, b'@'));
        let program = Spawn::new(&self.program)
            .arg(first.map(|(_, host)| host).unwrap_or_default())
            .arg(sender)
            .args(recipients);
        spawner::plumb(program, &message, &report)
            .spawn()
            .map_err(|e| unable(&e))
    }

    fn report(&self, end: End, output: &[u8]) -> Bytes {
        report(end, output)
    }

    fn reports(&self, end: End, output: &[u8], recipients: usize) -> Vec<Bytes> {
        match (end, recipients) {
            (End::Exit(0), 2..) => reports(output, recipients),
            _ => vec![report(end, output)],
        }
    }

    fn begin(&mut self, ticket: Ticket, work: Work<'_>) -> Step {
        let Work {
            message,
            sender,
            recipients,
            ..
        } = work;
        let host = recipients.first().and_then(|r| rsplit_once(r, b'@'));
        let host = lower(host.map(|(_, host)| host).unwrap_or_default());
        let Some(pool) = self.pool().filter(|pool| pool.is_open()) else {
            return self.run(message, sender, recipients);
        };
        let command = Command {
            // Only one job at a time has this number at one worker.
            number: u32::try_from(ticket.0 & u64::from(u32::MAX)).unwrap_or(0),
            message: Bytes::new(),
            sender: sender.to_vec(),
            attempt: None,
            recipients: recipients.to_vec(),
        };
        let Some(job) = remote::encode_job(&command) else {
            return self.run(message, sender, recipients);
        };
        match pool.give(ticket, &command, &job, &host, &message) {
            Ok(()) => Step::Later,
            // The classic way may do, or tells what is wrong.
            Err(_) => self.run(message, sender, recipients),
        }
    }

    fn waits(&self, waits: &mut Vec<Wait>) -> Option<Duration> {
        let office = self.office.as_ref()?;
        office.pool.as_ref()?.waits(waits)
    }

    fn advance(&mut self, waits: &[Wait]) -> Vec<(Ticket, Step)> {
        let Some(office) = &mut self.office else {
            return Vec::new();
        };
        let news = office.pool.as_mut().map(|pool| pool.listen(waits));
        // Before the next jobs come.
        office.look();
        let news = news.unwrap_or_default().into_iter();
        news.map(|news| (news.ticket, Step::Done(told(&news))))
            .collect()
    }

    fn ended(&mut self, pid: u32, _: End) {
        if let Some(pool) = self.pool() {
            pool.ended(pid);
        }
    }
}

/// The texts for the recipients of a job.
fn told(news: &News) -> Vec<Bytes> {
    match (&news.reports, news.recipients) {
        (None, _) => vec![report(End::Signal(0), b"")],
        (Some(output), 1) => vec![report(End::Exit(0), output)],
        (Some(output), many) => reports(output, many),
    }
}

/// A text for each of several recipients, from qmail-remote's reports on each of them and on the message.
fn reports(output: &[u8], recipients: usize) -> Vec<Bytes> {
    let mut parts: Vec<&[u8]> = output.split(|&b| b == 0).collect();
    // What has no end does not count.
    parts.pop();
    let is_last = |part: &&[u8]| matches!(part.first(), Some(b'K' | b'Z' | b'D'));
    let known = parts.iter().position(is_last).unwrap_or(parts.len());
    let last = parts.get(known).copied();
    let nobody_said = last.is_some_and(|l| !l.starts_with(b"K"));
    (0..recipients)
        .map(|at| match (parts.get(at).filter(|_| at < known), last) {
            (Some(part), Some(last)) => {
                report(End::Exit(0), &[part, &b"\0"[..], last, b"\0"].concat())
            }
            // It did not come to the recipients.
            (None, Some(last)) if nobody_said => last.to_vec(),
            _ => b"Zqmail-remote produced no output.\n".to_vec(),
        })
        .collect()
}

/// What became of the message, by its letter; ordered from bad to good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Failed,
    Deferred,
    Delivered,
}

impl Verdict {
    fn letter(self) -> u8 {
        match self {
            Verdict::Failed => b'D',
            Verdict::Deferred => b'Z',
            Verdict::Delivered => b'K',
        }
    }
}

/// Exit code of the system's loader when it cannot start a program: no memory, no descriptors, a library that cannot
/// be read for now. Never a reason to bounce.
const LOADER: u8 = 127;

/// Makes one report of qmail-remote's two: first that on the recipient (r, h or s and a text), then that on the
/// message (K, Z or D and a text), each ended by a NUL.
fn report(end: End, output: &[u8]) -> Bytes {
    match end {
        End::Signal(_) => return b"Zqmail-remote crashed.\n".to_vec(),
        End::Exit(0) => {}
        End::Exit(base::die::TEMPORARY | LOADER) => {
            return b"ZUnable to run qmail-remote.\n".to_vec();
        }
        End::Exit(_) => return b"DUnable to run qmail-remote.\n".to_vec(),
    }
    if output.is_empty() {
        return b"Zqmail-remote produced no output.\n".to_vec();
    }
    let message = message_verdict(output);
    let verdict = match output.first() {
        Some(b's') => Verdict::Deferred,
        Some(b'h') => Verdict::Failed,
        _ => message,
    };
    let mut text = vec![verdict.letter()];
    // Only a text with an end counts.
    let mut parts = output.get(1..).unwrap_or_default().split(|&b| b == 0);
    if let (Some(recipient), Some(rest)) = (parts.next(), parts.next()) {
        text.extend_from_slice(recipient);
        if message <= verdict
            && let [b'K' | b'Z' | b'D', more @ ..] = rest
        {
            text.extend_from_slice(more);
        }
    }
    text
}

/// The first part that begins with K, Z or D decides. None: the program did not say, which is a failure; unless its
/// output is not whole: too long to be kept, or cut off.
fn message_verdict(output: &[u8]) -> Verdict {
    let mut parts: Vec<&[u8]> = output.split(|&b| b == 0).collect();
    parts.pop();
    for part in parts {
        match part.first() {
            Some(b'K') => return Verdict::Delivered,
            Some(b'Z') => return Verdict::Deferred,
            Some(b'D') => return Verdict::Failed,
            _ => {}
        }
    }
    if output.len() >= OUTPUT_LIMIT || output.last() != Some(&0) {
        Verdict::Deferred
    } else {
        Verdict::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(output: &[u8]) -> String {
        String::from_utf8(report(End::Exit(0), output)).unwrap()
    }

    #[test]
    fn the_message_and_the_recipient_make_one_letter() {
        // recipient letter, message letter, expected letter, whether the message's text is passed on
        let table = [
            ('r', 'K', 'K', true),
            ('r', 'Z', 'Z', true),
            ('r', 'D', 'D', true),
            ('s', 'K', 'Z', false),
            ('s', 'Z', 'Z', true),
            ('s', 'D', 'Z', true),
            ('h', 'K', 'D', false),
            ('h', 'Z', 'D', false),
            ('h', 'D', 'D', true),
        ];
        for (r, m, letter, passed) in table {
            let text = said(format!("{r}one\n\0{m}two\n\0").as_bytes());
            let expected = if passed {
                format!("{letter}one\ntwo\n")
            } else {
                format!("{letter}one\n")
            };
            assert_eq!(text, expected, "{r}{m}");
        }
    }

    #[test]
    fn half_reports_are_read_as_the_original_does_but_no_cut_off_one_is_a_failure() {
        assert_eq!(said(b""), "Zqmail-remote produced no output.\n");
        assert_eq!(said(b"Kok\n\0"), "Kok\n");
        assert_eq!(said(b"Zno\n\0"), "Zno\n");
        assert_eq!(said(b"rx\0"), "Dx");
        assert_eq!(said(b"rx"), "Z");
        assert_eq!(said(b"rx\0Kno end"), "Zxno end");
        assert_eq!(said(b"rx\0junk\0Kend\0"), "Kx");
        assert_eq!(said(b"\0K\0"), "KK");
    }

    #[test]
    fn each_recipient_of_several_has_its_own_report() {
        let texts = |output: &[u8], count| -> Vec<String> {
            let texts = reports(output, count).into_iter();
            texts.map(|t| String::from_utf8(t).unwrap()).collect()
        };
        assert_eq!(
            texts(b"r\0hno\n\0slater\n\0r\0Ktaken\n\0", 4),
            ["Ktaken\n", "Dno\n", "Zlater\n", "Ktaken\n"]
        );
        assert_eq!(
            texts(b"hno\n\0slater\n\0Dall\n\0", 2),
            ["Dno\nall\n", "Zlater\nall\n"]
        );
        assert_eq!(texts(b"Znobody\n\0", 2), ["Znobody\n", "Znobody\n"]);
        assert_eq!(texts(b"r\0Zlost\n\0", 2), ["Zlost\n", "Zlost\n"]);
        let silent = "Zqmail-remote produced no output.\n";
        // Success is never guessed.
        assert_eq!(texts(b"r\0Kok\n\0", 2), ["Kok\n", silent]);
        for odd in [&b""[..], b"r\0r\0", b"r\0r\0Kno end"] {
            assert_eq!(texts(odd, 2), [silent, silent]);
        }
    }

    #[test]
    fn an_output_that_was_cut_is_not_a_failure() {
        let mut output = vec![b'x'; OUTPUT_LIMIT];
        assert_eq!(said(&output), "Z");
        output[0] = b'h';
        assert_eq!(said(&output), "D");
    }

    #[test]
    fn ends_without_a_report() {
        let text = |end| String::from_utf8(report(end, b"rx\0Kx\0")).unwrap();
        assert_eq!(text(End::Signal(9)), "Zqmail-remote crashed.\n");
        assert_eq!(text(End::Exit(111)), "ZUnable to run qmail-remote.\n");
        assert_eq!(text(End::Exit(127)), "ZUnable to run qmail-remote.\n");
        assert_eq!(text(End::Exit(1)), "DUnable to run qmail-remote.\n");
    }
}
