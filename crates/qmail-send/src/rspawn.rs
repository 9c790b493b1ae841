//! qmail-rspawn: one qmail-remote per recipient; its report, made one letter and one text.
//!
//! Source  qmail-rspawn(8)

use std::fs::File;
use std::os::fd::OwnedFd;

use base::{Bytes, Call, Die};
use queue::spawner::{self, Deliver};
use sys::process::End;
use sys::spawn::Spawn;

/// The most bytes that qmail-remote may say. Its texts are limited by itself to a quarter of this.
const OUTPUT_LIMIT: usize = 32 * 1024;

/// See qmail-rspawn(8). Arguments are ignored.
///
/// # Errors
/// 111 without a home or a queue, silently.
pub fn qmail_rspawn(_: &Call) -> Result<(), Die> {
    control::home::enter().map_err(|_| Die::silent(base::die::TEMPORARY))?;
    // Every start begins with a clean table of hosts that timed out. Without a table nothing is lost.
    let _ = queue::tcpto::clear();
    let program = base::env("QMAILREMOTE").unwrap_or_else(|| b"qmail-remote".to_vec());
    spawner::run(Remote { program })
}

/// Delivers to other hosts.
struct Remote {
    program: Bytes,
}

impl Deliver for Remote {
    fn output_limit(&self) -> usize {
        OUTPUT_LIMIT
    }

    fn start(
        &mut self,
        message: File,
        report: OwnedFd,
        sender: &[u8],
        recipient: &[u8],
        at: usize,
    ) -> Result<u32, Bytes> {
        let program = Spawn::new(&self.program)
            .arg(recipient.get(at + 1..).unwrap_or_default())
            .arg(sender)
            .arg(recipient);
        spawner::plumb(program, &message, &report)
            .spawn()
            .map_err(|e| {
                let letter = if sys::is_temporary(&e) { "Z" } else { "D" };
                format!("{letter}Unable to run qmail-remote.\n").into_bytes()
            })
    }

    fn report(&self, end: End, output: &[u8]) -> Bytes {
        report(end, output)
    }
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

/// Makes one report of qmail-remote's two: first that on the recipient (r, h or s and a text), then that on the
/// message (K, Z or D and a text), each ended by a NUL.
fn report(end: End, output: &[u8]) -> Bytes {
    match end {
        End::Signal(_) => return b"Zqmail-remote crashed.\n".to_vec(),
        End::Exit(0) => {}
        End::Exit(base::die::TEMPORARY) => return b"ZUnable to run qmail-remote.\n".to_vec(),
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
/// output was too long to be kept whole.
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
    if output.len() >= OUTPUT_LIMIT {
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
    fn half_reports_are_read_as_the_original_does() {
        assert_eq!(said(b""), "Zqmail-remote produced no output.\n");
        assert_eq!(said(b"Kok\n\0"), "Kok\n");
        assert_eq!(said(b"Zno\n\0"), "Zno\n");
        assert_eq!(said(b"rx\0"), "Dx");
        assert_eq!(said(b"rx"), "D");
        assert_eq!(said(b"rx\0Kno end"), "Dxno end");
        assert_eq!(said(b"rx\0junk\0Kend\0"), "Kx");
        assert_eq!(said(b"\0K\0"), "KK");
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
        assert_eq!(text(End::Exit(1)), "DUnable to run qmail-remote.\n");
    }
}
