//! How numbers become a unique name.
//!
//! Source  Dovecot's setting pop3_uidl_format

use base::Bytes;

/// Digits of a padded number at most.
const WIDTH_LIMIT: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(u8),
    Uid(Shape),
    Validity(Shape),
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    width: usize,
    zeros: bool,
    hex: bool,
}

impl Shape {
    fn put(self, number: u32, out: &mut Bytes) {
        let digits = if self.hex {
            format!("{number:x}")
        } else {
            number.to_string()
        };
        let fill = if self.zeros { b'0' } else { b' ' };
        out.extend(std::iter::repeat_n(
            fill,
            self.width.saturating_sub(digits.len()),
        ));
        out.extend(digits.bytes());
    }
}

/// A unique name with places for the number (`%u`), the validity (`%v`) and the file name (`%f`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Reads a format. Between `%` and the letter may stand a width, with a 0 in front for zeros, and an X for hex.
    ///
    /// `None`: not understood, or the same for all messages, or with a blank or control byte.
    pub fn parse(format: &[u8]) -> Option<Template> {
        let mut parts = Vec::new();
        let mut rest = format;
        while let Some((&byte, after)) = rest.split_first() {
            if byte != b'%' {
                if byte <= b' ' || byte == 127 {
                    return None;
                }
                parts.push(Part::Text(byte));
                rest = after;
                continue;
            }
            let (part, after) = place(after)?;
            parts.push(part);
            rest = after;
        }
        let differs = |part: &Part| matches!(part, Part::Uid(_) | Part::Name);
        let pads = |part: &Part| match part {
            Part::Uid(shape) | Part::Validity(shape) => shape.width > 0 && !shape.zeros,
            _ => false,
        };
        (parts.iter().any(differs) && !parts.iter().any(pads)).then_some(Template(parts))
    }

    /// Appends the unique name of a message.
    pub fn put(&self, uid: u32, validity: u32, name: &[u8], out: &mut Bytes) {
        for part in &self.0 {
            match part {
                Part::Text(byte) => out.push(*byte),
                Part::Uid(shape) => shape.put(uid, out),
                Part::Validity(shape) => shape.put(validity, out),
                Part::Name => super::put_name(name, out),
            }
        }
    }
}

/// What stands behind a `%`, and the rest.
fn place(text: &[u8]) -> Option<(Part, &[u8])> {
    let (width, digits) = base::bytes::scan_number(text);
    let zeros = text.first() == Some(&b'0');
    let mut rest = text.get(digits..)?;
    let hex = rest.first() == Some(&b'X');
    if hex {
        rest = rest.get(1..)?;
    }
    let width = usize::try_from(width).ok().filter(|w| *w <= WIDTH_LIMIT)?;
    let shape = Shape { width, zeros, hex };
    let (letter, rest) = rest.split_first()?;
    let part = match letter {
        b'u' => Part::Uid(shape),
        b'v' => Part::Validity(shape),
        b'f' => Part::Name,
        b'%' => Part::Text(b'%'),
        _ => return None,
    };
    Some((part, rest))
}
