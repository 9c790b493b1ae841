//! courierpop3dsizelist: `/3 NEXT VALIDITY`, then lines `NAME SIZE UID:VALIDITY:UTF8`.
//!
//! Version 2 has no UTF8, version 1 no VALIDITY, neither here nor there. SIZE is what Courier tells clients: with CR LF.

use std::io::Read;

use base::Bytes;
use base::bytes::{number, rsplit_once};

use super::{Format, Header, Record, positive};
use crate::folder::Folder;

/// How Courier puts the numbers into words.
pub(super) const TEMPLATE: &[u8] = b"UID%u-%v";
/// Bytes that are read at once.
const BLOCK: usize = 16 * 1024;

pub(super) struct Courier;

impl Format for Courier {
    const FILE: &'static [u8] = b"courierpop3dsizelist";

    fn header(line: &[u8]) -> Option<Header> {
        let mut words = line.split(|&b| b == b' ');
        let version = words.next()?;
        let next = positive(words.next()?)?;
        let validity = words.next().and_then(positive);
        match (version, validity) {
            (b"/1" | b"/2" | b"/3", Some(validity)) => Some(Header {
                validity,
                next,
                rest: Bytes::new(),
            }),
            // New messages get the validity of a new mailbox: older names have none and cannot be mistaken for them.
            (b"/1", None) => Some(Header {
                validity: 1,
                next,
                rest: Bytes::new(),
            }),
            _ => None,
        }
    }

    fn record(line: &[u8]) -> Option<Record<'_>> {
        let (rest, numbers) = rsplit_once(line, b' ')?;
        let (name, size) = rsplit_once(rest, b' ')?;
        let mut numbers = numbers.split(|&b| b == b':');
        let uid = positive(numbers.next()?)?;
        let validity = number(numbers.next().unwrap_or(b"0"))?;
        Some(Record {
            uid,
            validity: Some(u32::try_from(validity).ok()?),
            text: None,
            name: Some(name).filter(|n| !n.is_empty() && !n.contains(&b'/'))?,
            size: Some(number(size)?),
        })
    }

    fn put_header(header: &Header, out: &mut Bytes) {
        let Header { validity, next, .. } = header;
        out.extend(format!("/3 {next} {validity}\n").bytes());
    }

    fn put_old(line: &[u8], _: &Record<'_>, out: &mut Bytes) {
        out.extend_from_slice(line);
        let numbers = line.iter().rev().take_while(|&&b| b != b' ');
        let colons = numbers.filter(|&&b| b == b':').count();
        match colons {
            0 => out.extend_from_slice(b":0:0\n"),
            1 => out.extend_from_slice(b":0\n"),
            _ => out.push(b'\n'),
        }
    }

    fn put_new(folder: &mut Folder, index: usize, uid: u32, header: &Header, out: &mut Bytes) {
        let (size, utf8) = measure(folder, index);
        folder.set_size(index, size);
        // Courier knows a name only with the beginning of its flags.
        out.extend_from_slice(folder.base(index));
        out.extend_from_slice(b":2,");
        let (validity, utf8) = (header.validity, u8::from(utf8));
        out.extend(format!(" {size} {uid}:{validity}:{utf8}\n").bytes());
    }
}

/// The size of a message with CR LF (Courier does not count a line end that is missing), and whether its header is in UTF-8.
fn measure(folder: &mut Folder, index: usize) -> (u64, bool) {
    let Ok(mut file) = folder.open_message(index) else {
        return (folder.size(index), false);
    };
    let mut survey = Survey::default();
    let mut block = vec![0; BLOCK];
    while let Ok(count) = file.read(&mut block) {
        let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        survey.feed(read);
    }
    (survey.size, survey.utf8)
}

struct Survey {
    size: u64,
    last: u8,
    over: bool,
    utf8: bool,
}

impl Default for Survey {
    fn default() -> Survey {
        Survey {
            size: 0,
            last: b'\n',
            over: false,
            utf8: false,
        }
    }
}

impl Survey {
    fn feed(&mut self, block: &[u8]) {
        for &byte in block {
            self.size = self.size.saturating_add(1);
            if byte == b'\n' {
                self.over |= self.last == b'\n';
                if self.last != b'\r' {
                    self.size = self.size.saturating_add(1);
                }
            }
            self.utf8 |= !self.over && byte > 127;
            self.last = byte;
        }
    }
}
