//! Unique names of messages as other servers give them, so that clients do not fetch everything again when a mailbox
//! moves here.
//!
//! Courier and Dovecot number the messages of a maildir, and keep the numbers in a file of it. That file is read, and
//! new messages are written to it as its owner would: both servers may be used in turn, or at the same time, and agree.
//!
//! Source  qmail-pop3d(8), "unique names"

mod courier;
mod dovecot;
mod list;
mod lock;
mod template;

use base::Bytes;

use crate::folder::Folder;
pub use template::Template;

/// Why messages cannot be named. Nothing was changed: other names would make every client fetch everything again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// another program has the file locked
    Busy,
    /// not a list, or of an unknown version
    Broken,
    /// reading or writing failed
    Failed,
}

/// Who names the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Style {
    /// qmail-pop3d itself: by the file name
    Names,
    /// Courier: courierpop3dsizelist
    Courier,
    /// Dovecot: dovecot-uidlist, put into words as its setting pop3_uidl_format says
    Dovecot(Template),
}

impl Style {
    /// What a word means: `name`, `courier`, `dovecot`, or `dovecot:` and a format.
    pub fn parse(word: &[u8]) -> Option<Style> {
        match word {
            b"" | b"name" => Some(Style::Names),
            b"courier" => Some(Style::Courier),
            b"dovecot" => Template::parse(dovecot::TEMPLATE).map(Style::Dovecot),
            _ => {
                let format = word.strip_prefix(b"dovecot:")?;
                Template::parse(format).map(Style::Dovecot)
            }
        }
    }

    /// Names all messages of a folder.
    ///
    /// Where new messages cannot be numbered durably, they are left for the next session.
    ///
    /// # Errors
    /// See `Trouble`. The session must not begin: it would show an empty mailbox, or wrong names.
    pub fn name(self, folder: &mut Folder, now: i64) -> Result<(), Trouble> {
        match self {
            Style::Names => Ok(()),
            Style::Courier => {
                let template = Template::parse(courier::TEMPLATE).ok_or(Trouble::Broken)?;
                list::number::<courier::Courier>(folder, template, now)
            }
            Style::Dovecot(template) => list::number::<dovecot::Dovecot>(folder, template, now),
        }
    }
}

/// The first line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    /// tells the numbers of this mailbox from those of an earlier one
    validity: u32,
    /// the next number
    next: u32,
    /// what else stands there
    rest: Bytes,
}

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record<'a> {
    uid: u32,
    /// another one than in the header
    validity: Option<u32>,
    /// the unique name itself, if it was given once and for all
    text: Option<&'a [u8]>,
    /// the file name, or the part of it that stays the same
    name: &'a [u8],
    /// bytes with CR LF
    size: Option<u64>,
}

/// A file of numbers. Lines are without their end.
trait Format {
    /// Its name in the maildir.
    const FILE: &'static [u8];

    fn header(line: &[u8]) -> Option<Header>;

    fn record(line: &[u8]) -> Option<Record<'_>>;

    /// The first line of a new file.
    fn put_header(header: &Header, out: &mut Bytes);

    /// An old line in a new file, which may be of a later version.
    fn put_old(line: &[u8], record: &Record<'_>, out: &mut Bytes);

    /// The line of a new message.
    fn put_new(folder: &mut Folder, index: usize, uid: u32, header: &Header, out: &mut Bytes);
}

/// Appends the name of a file as a unique name. The original sends it as it is; a blank or a control byte would break
/// the reply, so these are written in hex.
pub(crate) fn put_name(name: &[u8], out: &mut Bytes) {
    for &byte in name {
        if byte > b' ' && byte != 127 {
            out.push(byte);
        } else {
            out.extend(format!("+{byte:02X}").bytes());
        }
    }
}

/// A decimal number of 32 bits other than 0.
fn positive(digits: &[u8]) -> Option<u32> {
    let number = base::bytes::number(digits)?;
    u32::try_from(number).ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests;
