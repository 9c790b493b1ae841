//! What the command line and the environment ask for.

use std::fs::File;
use std::io::{ErrorKind, Read};

use base::opt::{Opt, Options};
use base::{Bytes, Die};
use control::Map;

use super::read_error;

/// Where the recipients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipients {
    /// the arguments only
    Arguments,
    /// the header only
    Header,
    /// both
    Both,
}

impl Recipients {
    pub(super) fn reads_header(self) -> bool {
        self != Recipients::Arguments
    }

    pub(super) fn reads_arguments(self) -> bool {
        self != Recipients::Header
    }
}

/// The command line.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    pub(super) recipients: Recipients,
    /// queue the message, not print it
    pub(super) queue: bool,
    /// the value of `-f`
    pub(super) sender: Option<Bytes>,
    pub(super) words: &'a [Bytes],
}

impl Arguments<'_> {
    pub(super) fn read(words: &[Bytes]) -> Result<Arguments<'_>, Die> {
        let mut options = Options::new(words, "aAhHnNf:");
        let mut recipients = None;
        let mut queue = true;
        let mut sender = None;
        for option in options.by_ref() {
            match option {
                Opt::Flag(b'a') => recipients = Some(Recipients::Arguments),
                Opt::Flag(b'A') => recipients = None,
                Opt::Flag(b'h') => recipients = Some(Recipients::Header),
                Opt::Flag(b'H') => recipients = Some(Recipients::Both),
                Opt::Flag(b'n') => queue = false,
                Opt::Flag(_) => queue = true,
                Opt::Value(_, value) => sender = Some(value),
                Opt::Unknown(letter) => return Err(complaint("illegal option", letter)),
                Opt::Missing(letter) => {
                    return Err(complaint("option requires an argument", letter));
                }
            }
        }
        let words = options.rest();
        let default = if words.is_empty() {
            Recipients::Header
        } else {
            Recipients::Arguments
        };
        Ok(Arguments {
            recipients: recipients.unwrap_or(default),
            queue,
            sender,
            words,
        })
    }
}

fn complaint(what: &str, letter: u8) -> Die {
    let letter = base::bytes::printable(&[letter]);
    Die::plain(
        100,
        [b"qmail-inject: ", what.as_bytes(), b" -- ", &letter, b"\n"].concat(),
    )
}

/// The environment.
#[derive(Debug)]
pub(super) struct Settings {
    /// the name of the author goes into a comment, not in front of the address
    pub(super) name_as_comment: bool,
    /// a Return-Path of the caller counts for nothing
    pub(super) drop_return_path: bool,
    /// so does From
    pub(super) drop_from: bool,
    /// so does Message-ID
    pub(super) drop_message_id: bool,
    /// an envelope sender per recipient
    pub(super) sender_per_recipient: bool,
    /// an envelope sender per message
    pub(super) sender_per_message: bool,
    /// the author's user name
    pub(super) user: Bytes,
    /// the author's host
    pub(super) host: Option<Bytes>,
    /// the user name of the envelope sender
    pub(super) sender_user: Bytes,
    /// the host of the envelope sender
    pub(super) sender_host: Option<Bytes>,
    /// the author's name
    pub(super) name: Option<Bytes>,
    /// addresses of mailing lists: mail to them gets a Mail-Followup-To
    pub(super) lists: Option<Map>,
}

impl Settings {
    /// Reads the environment; the file that it names is relative to the directory of the caller.
    pub(super) fn from_environment() -> Result<Settings, Die> {
        let letters = base::env("QMAILINJECT").unwrap_or_default();
        let has = |letter: u8| letters.contains(&letter);
        let host = first_of(&["QMAILHOST", "MAILHOST"]);
        let user = first_of(&["QMAILUSER", "MAILUSER", "USER", "LOGNAME"])
            .unwrap_or_else(|| b"anonymous".to_vec());
        Ok(Settings {
            name_as_comment: has(b'c'),
            drop_return_path: has(b's'),
            drop_from: has(b'f'),
            drop_message_id: has(b'i'),
            sender_per_recipient: has(b'r'),
            sender_per_message: has(b'm'),
            sender_user: first_of(&["QMAILSUSER"]).unwrap_or_else(|| user.clone()),
            sender_host: first_of(&["QMAILSHOST"]).or_else(|| host.clone()),
            user,
            host,
            name: first_of(&["QMAILNAME", "MAILNAME", "NAME"]),
            lists: lists()?,
        })
    }
}

/// The first variable that is set, on one line: it goes into the header, where a line end would begin a field.
fn first_of(names: &[&str]) -> Option<Bytes> {
    let value = names.iter().find_map(|name| base::env(name))?;
    let one_line = |byte| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            byte
        }
    };
    Some(value.into_iter().map(one_line).collect())
}

/// The lines of QMAILMFTFILE, if it is set and there is such a file.
fn lists() -> Result<Option<Map>, Die> {
    let Some(path) = base::env("QMAILMFTFILE") else {
        return Ok(None);
    };
    let file = match File::open(sys::dir::path(&path)) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(read_error()),
    };
    let mut text = Bytes::new();
    file.take(control::file::FILE_LIMIT)
        .read_to_end(&mut text)
        .map_err(|_| read_error())?;
    Ok(Some(Map::keys(&control::file::lines(&text))))
}
