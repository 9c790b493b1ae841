//! What a delivery knows, as lines for mailboxes and as variables for programs.
//!
//! Source  qmail-command(8), "environment variables"

use base::Bytes;
use base::bytes::{rsplit_once, split_once};

use crate::args::Args;
use crate::once;

/// The three lines that belong to a delivery, each with its line end.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// `From sender date`, for an mbox
    pub(crate) from: Bytes,
    /// `Return-Path: <sender>`
    pub(crate) return_path: Bytes,
    /// `Delivered-To: recipient`
    pub(crate) delivered_to: Bytes,
}

fn one_line(text: &[u8]) -> Bytes {
    text.iter()
        .map(|&b| if b == b'\n' { b'_' } else { b })
        .collect()
}

fn recipient(args: &Args) -> Bytes {
    [args.local.as_slice(), b"@", &args.host].concat()
}

impl Lines {
    /// The lines for a delivery at `now`, Unix seconds.
    pub(crate) fn new(args: &Args, now: i64) -> Lines {
        let sender: Bytes = match args.sender.as_slice() {
            b"" => b"MAILER-DAEMON".to_vec(),
            some => some
                .iter()
                .map(|b| if b" \t\n".contains(b) { b'-' } else { *b })
                .collect(),
        };
        let date = mail::date::ctime(now);
        let return_path = one_line(&mail::quote::address(&args.sender));
        Lines {
            from: [b"From ", sender.as_slice(), b" ", date.as_bytes(), b"\n"].concat(),
            return_path: [b"Return-Path: <", return_path.as_slice(), b">\n"].concat(),
            delivered_to: [
                b"Delivered-To: ",
                one_line(&recipient(args)).as_slice(),
                b"\n",
            ]
            .concat(),
        }
    }

    /// The header lines that a mailbox gets.
    pub(crate) fn header(&self) -> Bytes {
        [self.return_path.as_slice(), &self.delivered_to].concat()
    }
}

/// A stranger's text as the value of a variable.
///
/// A line end becomes `_`. A value that begins with `()` would be a function to old versions of bash, and run what
/// follows it: its first byte becomes `_`, too.
fn value(text: &[u8]) -> Bytes {
    let mut value = one_line(text);
    if value.starts_with(b"()")
        && let Some(first) = value.first_mut()
    {
        *first = b'_';
    }
    value
}

/// The whole environment of a program: what we were started with, and the variables of the delivery over it. What
/// qmail-lspawn told us of this delivery is not for others: a program may make deliveries that are not this one.
///
/// `default` is what `default` stood for in the name of the .qmail file; without it an inherited DEFAULT stays.
pub(crate) fn variables(
    args: &Args,
    lines: &Lines,
    new_sender: &[u8],
    default: Option<&[u8]>,
    inherited: Vec<(Bytes, Bytes)>,
) -> Vec<(Bytes, Bytes)> {
    let after_dash = |text: &[u8]| split_once(text, b'-').map_or(Bytes::new(), |(_, r)| r.to_vec());
    let before_dot =
        |text: &[u8]| rsplit_once(text, b'.').map_or(text.to_vec(), |(l, _)| l.to_vec());
    let (ext2, host2) = (after_dash(&args.ext), before_dot(&args.host));
    let (ext3, host3) = (after_dash(&ext2), before_dot(&host2));
    let (ext4, host4) = (after_dash(&ext3), before_dot(&host3));
    let ours: Vec<(Bytes, Bytes)> = [
        ("HOST", value(&args.host)),
        ("HOME", value(&args.home)),
        ("USER", value(&args.user)),
        ("LOCAL", value(&args.local)),
        ("RECIPIENT", value(&recipient(args))),
        ("DTLINE", lines.delivered_to.clone()),
        ("SENDER", value(&args.sender)),
        ("RPLINE", lines.return_path.clone()),
        ("UFLINE", lines.from.clone()),
        ("EXT", value(&args.ext)),
        ("EXT2", value(&ext2)),
        ("EXT3", value(&ext3)),
        ("EXT4", value(&ext4)),
        ("HOST2", value(&host2)),
        ("HOST3", value(&host3)),
        ("HOST4", value(&host4)),
        ("NEWSENDER", value(new_sender)),
    ]
    .into_iter()
    .chain(default.map(|text| ("DEFAULT", value(text))))
    .map(|(name, value)| (Bytes::from(name), value))
    .collect();
    inherited
        .into_iter()
        .filter(|(name, _)| name != once::VARIABLE.as_bytes())
        .filter(|(name, _)| !ours.iter().any(|(n, _)| n == name))
        .chain(ours.iter().cloned())
        .collect()
}

#[cfg(test)]
mod tests;
