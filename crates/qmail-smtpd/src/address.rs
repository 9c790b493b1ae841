//! Addresses as MAIL and RCPT carry them, read strictly.
//!
//! ```text
//! argument = "FROM:" or "TO:" [spaces] "<" [route] mailbox ">" [" " parameters]
//! route    = "@" domain *("," "@" domain) ":"          dropped
//! mailbox  = local ["@" domain]
//! local    = words of plain bytes and \x pairs, or "quoted", with dots between
//! domain   = labels and dots, or "[" literal "]"
//! ```
//!
//! What is looser than the standard on purpose: a local part may have dots anywhere (there are such mailboxes), a
//! domain may have underscores, a dot at its end is dropped, and a name without a domain is read, for others to judge.
//!
//! Source  RFC 5321 4.1.2, 4.1.3; RFC 821 for pairs without quotes

use base::Bytes;

/// The longest domain, bytes. RFC 5321 4.5.3.1.2.
const DOMAIN_LIMIT: usize = 255;

/// An address with its quoting taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// never empty; may hold any printable byte and blank
    pub local: Bytes,
    /// never empty; literals keep their brackets
    pub domain: Option<Bytes>,
}

impl Mailbox {
    /// `local@domain`, or `local`.
    pub fn bytes(&self) -> Bytes {
        match &self.domain {
            Some(domain) => [self.local.as_slice(), b"@", domain].concat(),
            None => self.local.clone(),
        }
    }
}

/// An argument that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// `None` is `<>`
    pub mailbox: Option<Mailbox>,
    /// all behind the `>`; empty, or begins with a space
    pub parameters: &'a [u8],
}

/// Why an argument was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// it does not follow the grammar
    Syntax,
    /// it would, but for bytes above 127
    NonAscii,
}

/// Which argument is read, and how strictly.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// `FROM` or `TO`
    pub keyword: &'static str,
    /// whether spaces between the colon and the address are tolerated
    pub spaces: bool,
}

/// A place in the argument.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Result<u8, Fault> {
        let (&first, rest) = self.rest.split_first().ok_or(Fault::Syntax)?;
        self.rest = rest;
        Ok(first)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.skip(byte) {
            Ok(())
        } else {
            Err(Fault::Syntax)
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let count = self.rest.iter().take_while(|&&b| accept(b)).count();
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or_default();
        self.rest = rest;
        taken
    }
}

/// Reads the argument of MAIL or RCPT.
pub fn parse(argument: &[u8], form: Form) -> Result<Path<'_>, Fault> {
    read(argument, form).map_err(|fault| {
        if argument.is_ascii() {
            fault
        } else {
            Fault::NonAscii
        }
    })
}

fn read(argument: &[u8], form: Form) -> Result<Path<'_>, Fault> {
    let keyword = form.keyword.len();
    let (word, rest) = argument.split_at_checked(keyword).ok_or(Fault::Syntax)?;
    if !word.eq_ignore_ascii_case(form.keyword.as_bytes()) {
        return Err(Fault::Syntax);
    }
    let mut reader = Reader { rest };
    reader.expect(b':')?;
    if form.spaces {
        reader.take_while(|b| b == b' ');
    }
    reader.expect(b'<')?;
    let mailbox = if reader.skip(b'>') {
        None
    } else {
        route(&mut reader)?;
        let mailbox = mailbox(&mut reader)?;
        reader.expect(b'>')?;
        Some(mailbox)
    };
    match reader.peek() {
        None | Some(b' ') => Ok(Path {
            mailbox,
            parameters: reader.rest,
        }),
        Some(_) => Err(Fault::Syntax),
    }
}

fn route(reader: &mut Reader<'_>) -> Result<(), Fault> {
    if reader.peek() != Some(b'@') {
        return Ok(());
    }
    loop {
        reader.expect(b'@')?;
        domain(reader)?;
        match reader.next()? {
            b',' => {}
            b':' => return Ok(()),
            _ => return Err(Fault::Syntax),
        }
    }
}

fn mailbox(reader: &mut Reader<'_>) -> Result<Mailbox, Fault> {
    let local = local(reader)?;
    let domain = if reader.skip(b'@') {
        Some(domain(reader)?)
    } else {
        None
    };
    Ok(Mailbox { local, domain })
}

/// Whether a byte may stand in a local part by itself: printable, and without a meaning of its own.
fn is_plain(byte: u8) -> bool {
    (33..127).contains(&byte) && !b"()<>@,;:\\\"[]".contains(&byte)
}

fn local(reader: &mut Reader<'_>) -> Result<Bytes, Fault> {
    let mut local = Bytes::new();
    let mut word_begins = true;
    loop {
        match reader.peek() {
            Some(b'"') if word_begins => {
                quoted(reader, &mut local)?;
                // Behind a quoted word comes a dot, or the local part is over.
                word_begins = reader.skip(b'.');
                if !word_begins {
                    break;
                }
                local.push(b'.');
            }
            Some(b'\\') => {
                reader.next()?;
                local.push(pair(reader)?);
                word_begins = false;
            }
            Some(byte) if is_plain(byte) => {
                reader.next()?;
                local.push(byte);
                word_begins = byte == b'.';
            }
            _ => break,
        }
    }
    if local.is_empty() {
        return Err(Fault::Syntax);
    }
    Ok(local)
}

/// The byte behind a backslash: any printable one or a blank.
fn pair(reader: &mut Reader<'_>) -> Result<u8, Fault> {
    let byte = reader.next()?;
    if (32..127).contains(&byte) {
        Ok(byte)
    } else {
        Err(Fault::Syntax)
    }
}

fn quoted(reader: &mut Reader<'_>, local: &mut Bytes) -> Result<(), Fault> {
    reader.expect(b'"')?;
    loop {
        match reader.next()? {
            b'"' => return Ok(()),
            b'\\' => local.push(pair(reader)?),
            byte if (32..127).contains(&byte) => local.push(byte),
            _ => return Err(Fault::Syntax),
        }
    }
}

fn domain(reader: &mut Reader<'_>) -> Result<Bytes, Fault> {
    let domain = if reader.peek() == Some(b'[') {
        literal(reader)?
    } else {
        name(reader)?
    };
    if domain.len() > DOMAIN_LIMIT {
        return Err(Fault::Syntax);
    }
    Ok(domain)
}

fn literal(reader: &mut Reader<'_>) -> Result<Bytes, Fault> {
    reader.expect(b'[')?;
    let content = reader.take_while(|b| (33..127).contains(&b) && !b"[]\\<>".contains(&b));
    reader.expect(b']')?;
    if content.is_empty() {
        return Err(Fault::Syntax);
    }
    Ok([b"[", content, b"]"].concat())
}

fn name(reader: &mut Reader<'_>) -> Result<Bytes, Fault> {
    let name = reader.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.split(|&b| b == b'.').any(<[u8]>::is_empty) {
        return Err(Fault::Syntax);
    }
    Ok(name.to_vec())
}

#[cfg(test)]
mod tests;
