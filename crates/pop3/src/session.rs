//! The session: a function of the bytes that come in, and of a maildir.
//!
//! Source  RFC 1939, RFC 2449; qmail-pop3d(8)

use std::io::Read;

use base::Bytes;
use base::bytes::scan_number;

use crate::client::{Client, Gone, Line, Link, split};
use crate::folder::Folder;
use crate::text::Outgoing;
use crate::update;

/// Bytes of a message that are read at once.
const BLOCK: usize = 16 * 1024;

/// What CAPA tells.
const CAPABILITIES: [&str; 6] = [
    "TOP",
    "UIDL",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "PIPELINING",
    "UTF8",
];

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Size,
    Uidl,
}

/// Why the session is over.
enum End {
    Quit,
    Gone,
}

impl From<Gone> for End {
    fn from(_: Gone) -> End {
        End::Gone
    }
}

struct Session<'a, L> {
    client: &'a mut Client<L>,
    folder: &'a mut Folder,
    /// the highest message that was deleted, as the original counts LAST
    last: usize,
}

/// Serves one client to the end. Messages are removed only if it says QUIT.
pub fn session<L: Link>(client: &mut Client<L>, folder: &mut Folder) {
    let mut session = Session {
        client,
        folder,
        last: 0,
    };
    if let Err(End::Quit) = session.serve() {
        let gone = update::update(session.folder);
        let _ = match gone {
            Ok(()) => session.client.ok(""),
            Err(_) => session.client.err("unable to unlink all deleted messages"),
        };
    }
    let _ = session.client.flush();
}

impl<L: Link> Session<'_, L> {
    fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        self.client.ok("")?;
        let mut line = Bytes::new();
        loop {
            match self.client.line(&mut line)? {
                Line::Whole => self.obey(&line)?,
                Line::TooLong => self.client.err("line too long")?,
                Line::Flood | Line::Alien => {
                    self.client.err("line too long")?;
                    return Err(End::Gone);
                }
            }
        }
    }

    fn obey(&mut self, line: &[u8]) -> Result<(), End> {
        let (verb, argument) = split(line);
        match verb.as_slice() {
            b"quit" => return Err(End::Quit),
            b"stat" => self.stat()?,
            b"list" => self.list(argument, Column::Size)?,
            b"uidl" => self.list(argument, Column::Uidl)?,
            b"dele" => self.dele(argument)?,
            b"retr" | b"top" => self.retr(argument)?,
            b"rset" => {
                self.folder.keep_all();
                self.last = 0;
                self.client.ok("")?;
            }
            b"last" => self.client.ok(&self.last.to_string())?,
            b"noop" | b"utf8" => self.client.ok("")?,
            b"capa" => self.capa()?,
            _ => self.client.err("unimplemented")?,
        }
        Ok(())
    }

    fn capa(&mut self) -> Result<(), Gone> {
        self.client.ok("")?;
        for word in CAPABILITIES {
            self.client.put([word, "\r\n"].concat().as_bytes())?;
        }
        self.client.put(b".\r\n")
    }

    /// As in the original, the number counts deleted messages and the size does not.
    fn stat(&mut self) -> Result<(), Gone> {
        let text = format!("{} {}", self.folder.len(), self.folder.total());
        self.client.ok(&text)
    }

    /// The message that the first digits of an argument mean; without one, the client has been told why.
    fn number(&mut self, argument: &[u8]) -> Result<Option<usize>, Gone> {
        let (number, digits) = scan_number(argument);
        let index = number
            .checked_sub(1)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX);
        let trouble = if digits == 0 {
            "syntax error"
        } else if number == 0 {
            "messages are counted from 1"
        } else if index >= self.folder.len() {
            "not that many messages"
        } else if self.folder.is_deleted(index) {
            "already deleted"
        } else {
            return Ok(Some(index));
        };
        self.client.err(trouble)?;
        Ok(None)
    }

    fn dele(&mut self, argument: &[u8]) -> Result<(), Gone> {
        let Some(index) = self.number(argument)? else {
            return Ok(());
        };
        self.folder.delete(index);
        self.last = self.last.max(index + 1);
        self.client.ok("")
    }

    fn list(&mut self, argument: &[u8], column: Column) -> Result<(), Gone> {
        if !argument.is_empty() {
            let Some(index) = self.number(argument)? else {
                return Ok(());
            };
            self.client.put(b"+OK ")?;
            return self.entry(index, column);
        }
        self.client.ok("")?;
        for index in 0..self.folder.len() {
            if !self.folder.is_deleted(index) {
                self.entry(index, column)?;
            }
        }
        self.client.put(b".\r\n")
    }

    fn entry(&mut self, index: usize, column: Column) -> Result<(), Gone> {
        let mut line = format!("{} ", index + 1).into_bytes();
        match column {
            Column::Size => line.extend(self.folder.size(index).to_string().bytes()),
            Column::Uidl => self.folder.uidl(index, &mut line),
        }
        line.extend_from_slice(b"\r\n");
        self.client.put(&line)
    }

    /// RETR and TOP are one command in the original: a second number limits the body.
    fn retr(&mut self, argument: &[u8]) -> Result<(), End> {
        let Some(index) = self.number(argument)? else {
            return Ok(());
        };
        let (_, digits) = scan_number(argument);
        let rest = argument.get(digits..).unwrap_or_default();
        let rest = rest.trim_ascii_start();
        let (lines, digits) = scan_number(rest);
        let lines = (digits > 0).then_some(lines);
        let Ok(mut file) = self.folder.open_message(index) else {
            return Ok(self.client.err("unable to open that message")?);
        };

        self.client.ok("")?;
        let mut text = Outgoing::new(lines);
        let mut block = vec![0; BLOCK];
        let mut out = Bytes::new();
        while !text.is_over() {
            // In the middle of a text there is no way to tell of trouble but to hang up.
            let count = file.read(&mut block).map_err(|_| End::Gone)?;
            let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else {
                break;
            };
            text.feed(read, &mut out);
            self.client.put(&out)?;
            out.clear();
        }
        text.finish(&mut out);
        Ok(self.client.put(&out)?)
    }
}
