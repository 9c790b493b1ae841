//! What happens to the bytes that go through addcr, delcr, fixcrio, recordio and mconnect-io.
//!
//! Every filter takes blocks as they come and keeps what must be known about the end of the block before: how the
//! bytes are cut into blocks never shows.

use base::Bytes;
use base::bytes::find_byte;

/// A way from one stream of bytes to another.
pub(crate) trait Filter {
    /// Appends to `out` what becomes of `block`.
    fn pass(&mut self, block: &[u8], out: &mut Bytes);

    /// Appends to `out` what was held back when the stream has ended.
    fn end(&mut self, out: &mut Bytes) {
        let _ = out;
    }
}

/// The bytes as they are.
#[derive(Debug, Default)]
pub(crate) struct Plain;

impl Filter for Plain {
    fn pass(&mut self, block: &[u8], out: &mut Bytes) {
        out.extend_from_slice(block);
    }
}

/// A CR before every LF, also where there is one.
#[derive(Debug, Default)]
pub(crate) struct AddCr;

impl Filter for AddCr {
    fn pass(&mut self, block: &[u8], out: &mut Bytes) {
        for (line, end) in lines(block, b'\n') {
            out.extend_from_slice(line);
            if end {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// A CR before every LF that has none.
#[derive(Debug, Default)]
pub(crate) struct FixCr {
    after_cr: bool,
}

impl Filter for FixCr {
    fn pass(&mut self, block: &[u8], out: &mut Bytes) {
        for (line, end) in lines(block, b'\n') {
            out.extend_from_slice(line);
            if let Some(last) = line.last() {
                self.after_cr = *last == b'\r';
            }
            if end {
                out.extend_from_slice(if self.after_cr { b"\n" } else { b"\r\n" });
                self.after_cr = false;
            }
        }
    }
}

/// No CR before an LF; other ones stay.
#[derive(Debug, Default)]
pub(crate) struct DelCr {
    held: bool,
}

impl Filter for DelCr {
    fn pass(&mut self, block: &[u8], out: &mut Bytes) {
        for (text, end) in lines(block, b'\r') {
            if self.held && text.first().is_some_and(|&b| b != b'\n') {
                out.push(b'\r');
            }
            // One CR after another: the first is no part of a line end.
            if self.held && text.is_empty() && end {
                out.push(b'\r');
            }
            self.held = end || (self.held && text.is_empty());
            out.extend_from_slice(text);
        }
    }

    fn end(&mut self, out: &mut Bytes) {
        if self.held {
            out.push(b'\r');
        }
    }
}

/// The parts of `block` between the bytes `mark`, each with whether a mark follows. Nothing after a last mark.
pub(crate) fn lines(block: &[u8], mark: u8) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = find_byte(rest, mark).and_then(|at| rest.split_at_checked(at));
        match found {
            Some((line, after)) => {
                rest = after.get(1..).unwrap_or_default();
                Some((line, true))
            }
            None => Some((std::mem::take(&mut rest), false)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(filter: &mut dyn Filter, blocks: &[&[u8]]) -> Bytes {
        let mut out = Bytes::new();
        for block in blocks {
            filter.pass(block, &mut out);
        }
        filter.end(&mut out);
        out
    }

    /// Every text of a few letters, cut at every place, gives what a program that takes byte after byte gives.
    fn agrees<F: Filter>(new: impl Fn() -> F, slow: impl Fn(&[u8]) -> Bytes) {
        for n in 0..4usize.pow(6) {
            let text: Bytes = (0..6).map(|i| b"a\r\nb"[n / 4usize.pow(i) % 4]).collect();
            let want = slow(&text);
            for cut in 0..=text.len() {
                let (a, b) = text.split_at(cut);
                let got = through(&mut new(), &[a, b"", b]);
                assert_eq!(got, want, "{:?} {cut}", text.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn a_cr_is_added_before_every_lf() {
        agrees(AddCr::default, |text| {
            text.iter()
                .flat_map(|&b| if b == b'\n' { vec![13, 10] } else { vec![b] })
                .collect()
        });
    }

    #[test]
    fn a_cr_is_added_only_where_there_is_none() {
        agrees(FixCr::default, |text| {
            let mut last = 0;
            let mut out = Bytes::new();
            for &b in text {
                if b == b'\n' && last != b'\r' {
                    out.push(b'\r');
                }
                out.push(b);
                last = b;
            }
            out
        });
    }

    #[test]
    fn only_the_cr_before_an_lf_goes() {
        agrees(DelCr::default, |text| {
            let mut out = Bytes::new();
            for (i, &b) in text.iter().enumerate() {
                if !(b == b'\r' && text.get(i + 1) == Some(&b'\n')) {
                    out.push(b);
                }
            }
            out
        });
    }

    #[test]
    fn plain_changes_nothing() {
        agrees(|| Plain, <[u8]>::to_vec);
    }
}
