//! Reading a message: its fields one at a time, then its body (djb's `headerbody`).
//!
//! Source  RFC 822 3.1; qmail-header(5)

use std::io::{self, BufRead, ErrorKind, Read};

use base::Bytes;
use base::io::{Line, line};

use crate::field;

/// Reads the fields of a header.
///
/// Shape   each field comes with its continuation lines and line ends; a last line without a line end gets one. A line
///         that begins with `From ` becomes a field `MBOX-Line`. The header ends at a blank line, or before the first
///         line that is no field: a blank line is put in front of that one.
#[derive(Debug)]
pub struct Fields<R> {
    input: R,
    /// bytes of the header that may still come
    left: usize,
    /// the line after the current field
    next: Bytes,
    body: Bytes,
    in_header: bool,
}

impl<R: BufRead> Fields<R> {
    /// Units   `limit` is the most bytes that all fields together may have.
    pub fn new(input: R, limit: usize) -> Fields<R> {
        Fields {
            input,
            left: limit,
            next: Bytes::new(),
            body: Bytes::new(),
            in_header: true,
        }
    }

    /// The next field; `None` at the end of the header.
    ///
    /// # Errors
    /// What reading says; `FileTooLarge` when the header is longer than its limit.
    pub fn next_field(&mut self) -> io::Result<Option<Bytes>> {
        if !self.in_header {
            return Ok(None);
        }
        let mut field = self.begin()?;
        if field.is_empty() {
            return Ok(None);
        }
        loop {
            self.next = self.read_line()?;
            if !matches!(self.next.first(), Some(b' ' | b'\t')) {
                return Ok(Some(field));
            }
            field.append(&mut self.next);
        }
    }

    /// The first line of a field; empty when there is none, and the header is over.
    fn begin(&mut self) -> io::Result<Bytes> {
        let first = if self.next.is_empty() {
            self.read_line()?
        } else {
            std::mem::take(&mut self.next)
        };
        if first.starts_with(b"From ") {
            return Ok([b"MBOX-Line: ", first.as_slice()].concat());
        }
        if field::is_valid(&first) {
            return Ok(first);
        }
        self.in_header = false;
        if !first.is_empty() && first != b"\n" {
            self.body.push(b'\n');
        }
        self.body.extend(first);
        Ok(Bytes::new())
    }

    fn read_line(&mut self) -> io::Result<Bytes> {
        let mut found = Bytes::new();
        match line(&mut self.input, b'\n', self.left, &mut found)? {
            Line::TooLong => return Err(ErrorKind::FileTooLarge.into()),
            Line::Partial => found.push(b'\n'),
            Line::Whole | Line::End => {}
        }
        self.left = self.left.saturating_sub(found.len());
        Ok(found)
    }

    /// The body, once the header is over: first what has been read of it already, then the rest of the input.
    ///
    /// Shape   the blank line is part of it; a message that ends within its header has none.
    pub fn into_body(self) -> impl Read {
        io::Cursor::new(self.body).chain(self.input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message, its fields and its body.
    type Case = (&'static [u8], &'static [&'static [u8]], &'static [u8]);

    fn read(message: &[u8]) -> (Vec<Bytes>, Bytes) {
        let mut fields = Fields::new(message, 1000);
        let mut found = Vec::new();
        while let Some(field) = fields.next_field().unwrap() {
            found.push(field);
        }
        assert_eq!(fields.next_field().unwrap(), None);
        let mut body = Bytes::new();
        fields.into_body().read_to_end(&mut body).unwrap();
        (found, body)
    }

    #[test]
    fn fields_then_body() {
        let cases: [Case; 9] = [
            (
                b"A: b\n\tc\nD: e\n\nbody",
                &[b"A: b\n\tc\n", b"D: e\n"],
                b"\nbody",
            ),
            (b"A: b", &[b"A: b\n"], b""),
            (b"A: b\n c", &[b"A: b\n c\n"], b""),
            (b"A: b\n", &[b"A: b\n"], b""),
            (b"", &[], b""),
            (b"\n", &[], b"\n"),
            (b" x\nA: b\n", &[], b"\n x\nA: b\n"),
            (
                b"A: b\nno field\nC: d\n",
                &[b"A: b\n"],
                b"\nno field\nC: d\n",
            ),
            (
                b"From joe\n x\nA: b\r\n\r\nz",
                &[b"MBOX-Line: From joe\n x\n", b"A: b\r\n"],
                b"\n\r\nz",
            ),
        ];
        for (message, fields, body) in cases {
            assert_eq!(
                read(message),
                (fields.iter().map(|f| f.to_vec()).collect(), body.to_vec())
            );
        }
    }

    #[test]
    fn a_header_has_a_limit_and_a_body_none() {
        let mut fields = Fields::new(&b"A: b\n\n0123456789"[..], 6);
        assert_eq!(fields.next_field().unwrap().unwrap(), b"A: b\n");
        assert_eq!(fields.next_field().unwrap(), None);
        let mut fields = Fields::new(&b"A: b\n c\n"[..], 6);
        assert_eq!(
            fields.next_field().unwrap_err().kind(),
            ErrorKind::FileTooLarge
        );
    }
}
