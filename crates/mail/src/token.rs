//! Words and marks of address fields: header text to tokens and back (djb's `token822`).
//!
//! A run of ISO-2022-JP (from an escape sequence that begins a double-byte set to the one that returns to ASCII) is
//! opaque: its bytes look like quotes, brackets and commas but are halves of characters.
//!
//! Source  RFC 822 3.3; qmail-header(5); RFC 1468 for the escape sequences

use base::Bytes;

/// The most tokens of one text: twelve bytes of memory each.
pub const TOKEN_LIMIT: usize = 8 << 20;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// a word that can stand as it is
    Atom,
    /// a word in double quotes, or one that needs them
    Quote,
    /// text in brackets
    Literal,
    /// text in parentheses
    Comment,
    /// `<`
    Left,
    /// `>`
    Right,
    /// `@`
    At,
    /// `,`
    Comma,
    /// `;`
    Semi,
    /// `:`
    Colon,
    /// `.`
    Dot,
}

impl Kind {
    fn mark(byte: u8) -> Option<Kind> {
        Some(match byte {
            b'<' => Kind::Left,
            b'>' => Kind::Right,
            b'@' => Kind::At,
            b',' => Kind::Comma,
            b';' => Kind::Semi,
            b':' => Kind::Colon,
            b'.' => Kind::Dot,
            _ => return None,
        })
    }

    /// The byte of a mark; `None` for tokens with text.
    fn byte(self) -> Option<u8> {
        Some(match self {
            Kind::Left => b'<',
            Kind::Right => b'>',
            Kind::At => b'@',
            Kind::Comma => b',',
            Kind::Semi => b';',
            Kind::Colon => b':',
            Kind::Dot => b'.',
            Kind::Atom | Kind::Quote | Kind::Literal | Kind::Comment => return None,
        })
    }

    /// What stands around the text when it is written.
    fn fence(self) -> Option<(u8, u8)> {
        match self {
            Kind::Quote => Some((b'"', b'"')),
            Kind::Literal => Some((b'[', b']')),
            Kind::Comment => Some((b'(', b')')),
            _ => None,
        }
    }

    fn needs_space_before(self, next: Kind) -> bool {
        matches!(self, Kind::Colon | Kind::Comma)
            || next == Kind::Left
            || (self.byte().is_none() && next.byte().is_none())
    }
}

/// One token; its text is held by the `Words` that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// what it is
    pub kind: Kind,
    at: u32,
    len: u32,
}

impl Token {
    /// A token without text.
    pub fn mark(kind: Kind) -> Token {
        Token {
            kind,
            at: 0,
            len: 0,
        }
    }

    /// The same token without the last byte of its text.
    #[must_use]
    pub fn shortened(self) -> Token {
        Token {
            len: self.len.saturating_sub(1),
            ..self
        }
    }
}

/// Why a text could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// a fence without its partner, or a list that is none
    Syntax,
    /// more than `TOKEN_LIMIT` tokens or 4 GiB of text
    TooLong,
}

/// The texts of tokens, without quotes and backslashes.
#[derive(Clone, Debug, Default)]
pub struct Words {
    text: Bytes,
}

impl Words {
    /// No texts yet.
    pub fn new() -> Words {
        Words::default()
    }

    /// How much text there is, for `forget`.
    pub fn mark(&self) -> usize {
        self.text.len()
    }

    /// Drops the texts of all tokens made since `mark`; those tokens are worthless then.
    pub fn forget(&mut self, mark: usize) {
        self.text.truncate(mark);
    }

    /// The text of a token, without quotes and backslashes.
    pub fn text(&self, token: &Token) -> &[u8] {
        let at = token.at as usize;
        self.text
            .get(at..at + token.len as usize)
            .unwrap_or_default()
    }

    /// A token with a text of its own.
    ///
    /// # Errors
    /// `TooLong` when there is no room for it.
    pub fn word(&mut self, kind: Kind, text: &[u8]) -> Result<Token, Malformed> {
        let at = self.text.len();
        self.text.extend_from_slice(text);
        self.token(kind, at)
    }

    /// A token of all the text since `at`.
    fn token(&self, kind: Kind, at: usize) -> Result<Token, Malformed> {
        let small = |n: usize| u32::try_from(n).map_err(|_| Malformed::TooLong);
        Ok(Token {
            kind,
            at: small(at)?,
            len: small(self.text.len() - at)?,
        })
    }

    /// Cuts `bytes` into tokens. White space and line ends only separate.
    ///
    /// # Errors
    /// `Syntax` for an open quote, bracket or parenthesis, or one that closes nothing.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Vec<Token>, Malformed> {
        let mut input = Input {
            bytes,
            at: 0,
            barren: 0,
        };
        let mut tokens = Vec::new();
        while let Some(byte) = input.peek() {
            let token = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    input.at += 1;
                    continue;
                }
                b')' | b']' => return Err(Malformed::Syntax),
                b'(' => self.fenced(&mut input, Kind::Comment)?,
                b'"' => self.fenced(&mut input, Kind::Quote)?,
                b'[' => self.fenced(&mut input, Kind::Literal)?,
                _ => match Kind::mark(byte) {
                    Some(kind) => {
                        input.at += 1;
                        Token::mark(kind)
                    }
                    None => self.atom(&mut input)?,
                },
            };
            if tokens.len() >= TOKEN_LIMIT {
                return Err(Malformed::TooLong);
            }
            tokens.push(token);
        }
        Ok(tokens)
    }

    /// Reads from an opening quote, bracket or parenthesis past its partner. Only comments nest; the parentheses inside
    /// one are not part of its text.
    fn fenced(&mut self, input: &mut Input<'_>, kind: Kind) -> Result<Token, Malformed> {
        let (_, close) = kind.fence().unwrap_or_default();
        let at = self.text.len();
        let mut level = 1usize;
        input.at += 1;
        while level > 0 {
            if let Some(run) = input.opaque() {
                self.text.extend_from_slice(run);
                continue;
            }
            match input.next().ok_or(Malformed::Syntax)? {
                b if b == close => level -= 1,
                b'(' if kind == Kind::Comment => level += 1,
                b'\\' => self.text.push(input.next().ok_or(Malformed::Syntax)?),
                b => self.text.push(b),
            }
        }
        self.token(kind, at)
    }

    /// Reads a word without fence, up to white space or a special byte. A word that holds what an atom may not hold
    /// counts as quoted.
    fn atom(&mut self, input: &mut Input<'_>) -> Result<Token, Malformed> {
        let at = self.text.len();
        loop {
            if let Some(run) = input.opaque() {
                self.text.extend_from_slice(run);
            } else {
                match input.next() {
                    Some(b'\\') => self.text.extend(input.next()),
                    other => self.text.extend(other),
                }
            }
            if input.peek().is_none_or(ends_atom) {
                break;
            }
        }
        let word = self.text.get(at..).unwrap_or_default();
        let kind = if !word.is_empty() && word.iter().all(|&b| stands_bare(b)) {
            Kind::Atom
        } else {
            Kind::Quote
        };
        self.token(kind, at)
    }

    /// Tokens as the text of a header field, with quotes and backslashes where they are needed and a line end.
    ///
    /// Units   a line is broken after a comma where it would be longer than `width` bytes; 0 never breaks.
    pub fn unparse(&self, tokens: &[Token], width: usize) -> Bytes {
        let mut lines = Lines::new(width);
        let mut last = None;
        for token in tokens {
            if last.is_some_and(|kind: Kind| kind.needs_space_before(token.kind)) {
                lines.out.push(b' ');
            }
            last = Some(token.kind);
            match token.kind.byte() {
                Some(mark) => lines.out.push(mark),
                None => self.put_word(&mut lines.out, token),
            }
            if token.kind == Kind::Comma {
                lines.may_break();
            }
        }
        lines.may_break();
        lines.out.pop();
        lines.out
    }

    fn put_word(&self, out: &mut Bytes, token: &Token) {
        let fence = token.kind.fence();
        out.extend(fence.map(|f| f.0));
        let mut input = Input {
            bytes: self.text(token),
            at: 0,
            barren: 0,
        };
        loop {
            if let Some(run) = input.opaque() {
                out.extend_from_slice(run);
            }
            let Some(byte) = input.next() else { break };
            if b"\"[]()\\\r\n".contains(&byte) {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.extend(fence.map(|f| f.1));
    }

    /// Tokens of an address as the address itself: no quotes, no comments.
    pub fn unquote(&self, tokens: &[Token]) -> Bytes {
        let mut out = Bytes::new();
        for token in tokens {
            match token.kind {
                Kind::Comment => {}
                Kind::Literal => {
                    out.push(b'[');
                    out.extend_from_slice(self.text(token));
                    out.push(b']');
                }
                Kind::Atom | Kind::Quote => out.extend_from_slice(self.text(token)),
                mark => out.extend(mark.byte()),
            }
        }
        out
    }
}

/// Whether a byte of an atom needs no quotes around it; some of them need a backslash, which keeps them bare.
fn stands_bare(byte: u8) -> bool {
    (33..127).contains(&byte) && !b")]\\<>;:@,.".contains(&byte)
}

fn ends_atom(byte: u8) -> bool {
    b" \t\r\n([\"<>;:@,.".contains(&byte)
}

/// A place in a text.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// No opaque run begins before this place: a search has been there in vain. It keeps the work linear.
    barren: usize,
}

impl<'a> Input<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes a run of double-byte text that begins here: all up to and including the return to ASCII.
    fn opaque(&mut self) -> Option<&'a [u8]> {
        if self.peek() != Some(ESC) || self.at < self.barren {
            return None;
        }
        let rest = self.bytes.get(self.at..)?;
        match double_byte_run(rest) {
            Ok(len) => {
                self.at += len;
                rest.get(..len)
            }
            Err(seen) => {
                self.barren = self.at + seen.max(1);
                None
            }
        }
    }
}

const ESC: u8 = 0x1b;

/// Length of the run of double-byte text at the start of `bytes`, which begins with an escape; `Err` tells how many bytes
/// were looked at before it was clear that there is none.
///
/// Every escape among the bytes looked at would lead to the same end, so none of them begins a run either.
fn double_byte_run(bytes: &[u8]) -> Result<usize, usize> {
    let mut at = 0;
    loop {
        let (skip, width) = match bytes.get(at..).unwrap_or_default() {
            [ESC, b'$', b'@' | b'A' | b'B', ..] => (3, 2),
            [ESC, b'$', b'(', b'@'..=b'~', ..] => (4, 2),
            // Katakana of JIS X 0201: one byte each, but not ASCII.
            [ESC, b'(', b'I', ..] => (3, 1),
            [ESC, b'(', b'B' | b'J' | b'H', ..] if at > 0 => return Ok(at + 3),
            _ => return Err(at),
        };
        at += skip;
        let body = bytes.get(at..).unwrap_or_default();
        let count = body
            .iter()
            .take_while(|b| (0x21..0x7f).contains(*b))
            .count();
        at += count;
        if count % width != 0 || bytes.get(at) != Some(&ESC) {
            return Err(at);
        }
    }
}

/// Text that is broken into lines at the places where it may be.
struct Lines {
    out: Bytes,
    width: usize,
    start: usize,
    /// where the last break was put; it is taken back if the piece after it still fits on the line
    open: Option<usize>,
}

impl Lines {
    fn new(width: usize) -> Lines {
        Lines {
            out: Bytes::new(),
            width,
            start: 0,
            open: None,
        }
    }

    fn may_break(&mut self) {
        let mut end = self.out.len();
        if let Some(at) = self.open {
            if self.width == 0 || end - self.start <= self.width {
                self.out.drain(at..at + 2);
                end -= 2;
            } else {
                self.start = at + 1;
            }
        }
        self.open = Some(end);
        self.out.extend_from_slice(b"\n ");
    }
}

#[cfg(test)]
mod tests;
