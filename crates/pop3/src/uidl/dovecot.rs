//! dovecot-uidlist: `3 V1700000000 N17 G0123`, then lines `16 W5 Pxyz :1700000000.unique,S=4`.
//!
//! Version 1, which Courier's IMAP server wrote too, has `1 VALIDITY NEXT` and lines `16 NAME`.

use base::Bytes;
use base::bytes::split_once;

use super::{Format, Header, Record, positive};
use crate::folder::Folder;

/// The default of Dovecot's pop3_uidl_format.
pub(super) const TEMPLATE: &[u8] = b"%08Xu%08Xv";

pub(super) struct Dovecot;

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&b| b == b' ').filter(|w| !w.is_empty())
}

/// Whether a file name follows the number at once, as in version 1. In version 3 capitals or a colon stand there.
fn is_name(rest: &[u8]) -> bool {
    rest.first().is_some_and(u8::is_ascii_digit)
}

impl Format for Dovecot {
    const FILE: &'static [u8] = b"dovecot-uidlist";

    fn header(line: &[u8]) -> Option<Header> {
        let mut words = words(line);
        let mut header = Header {
            validity: 0,
            next: 0,
            rest: Bytes::new(),
        };
        match words.next()? {
            b"1" => {
                header.validity = positive(words.next()?)?;
                header.next = positive(words.next()?)?;
            }
            b"3" => {
                for word in words {
                    match word.split_first()? {
                        (b'V', digits) => header.validity = positive(digits)?,
                        (b'N', digits) => header.next = positive(digits)?,
                        _ => {
                            header.rest.push(b' ');
                            header.rest.extend_from_slice(word);
                        }
                    }
                }
            }
            _ => return None,
        }
        (header.validity > 0 && header.next > 0).then_some(header)
    }

    fn record(line: &[u8]) -> Option<Record<'_>> {
        let (uid, mut rest) = split_once(line, b' ')?;
        let mut record = Record {
            uid: positive(uid)?,
            validity: None,
            text: None,
            name: b"",
            size: None,
        };
        if is_name(rest) {
            record.name = rest;
        } else {
            while let Some((first, after)) = rest.split_first() {
                if *first == b':' {
                    record.name = after;
                    break;
                }
                let (word, after) = split_once(rest, b' ').unwrap_or((rest, b""));
                if *first == b'P' {
                    record.text = word.get(1..).filter(|text| !text.is_empty());
                }
                rest = after;
            }
        }
        (!record.name.is_empty() && !record.name.contains(&b'/')).then_some(record)
    }

    fn put_header(header: &Header, out: &mut Bytes) {
        let Header { validity, next, .. } = header;
        out.extend(format!("3 V{validity} N{next}").bytes());
        out.extend_from_slice(&header.rest);
        out.push(b'\n');
    }

    fn put_old(line: &[u8], record: &Record<'_>, out: &mut Bytes) {
        let (_, rest) = split_once(line, b' ').unwrap_or_default();
        if is_name(rest) {
            out.extend(format!("{} :", record.uid).bytes());
            out.extend_from_slice(record.name);
        } else {
            out.extend_from_slice(line);
        }
        out.push(b'\n');
    }

    fn put_new(folder: &mut Folder, index: usize, uid: u32, _: &Header, out: &mut Bytes) {
        out.extend(format!("{uid} :").bytes());
        out.extend_from_slice(folder.base(index));
        out.push(b'\n');
    }
}
