//! Command lines as a server reads them: strictly ended by CR LF, clean, cut into a verb and an argument.
//!
//! Source  RFC 5321 2.3.8, 4.1.1; RFC 1939 3

/// What is wrong with the bytes of a line, whatever its words may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclean {
    /// it ends with a LF that has no CR before it
    BareLf,
    /// a CR stands elsewhere than before the LF
    BareCr,
    /// it holds a NUL
    Nul,
}

/// A command: both parts are slices of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// all before the first space
    pub verb: &'a [u8],
    /// all behind the spaces that follow the verb
    pub argument: &'a [u8],
}

/// The content of a whole line, which ends with LF, without its end.
///
/// # Errors
/// The line must not be obeyed. Two machines might disagree about where it ends or what it says.
pub fn content(line: &[u8]) -> Result<&[u8], Unclean> {
    if line.contains(&0) {
        return Err(Unclean::Nul);
    }
    let Some(content) = line.strip_suffix(b"\r\n") else {
        return Err(Unclean::BareLf);
    };
    if content.contains(&b'\r') {
        return Err(Unclean::BareCr);
    }
    Ok(content)
}

/// Cuts the content of a line at its first space.
pub fn split(content: &[u8]) -> Command<'_> {
    let (verb, rest) = base::bytes::split_once(content, b' ').unwrap_or((content, b""));
    let blanks = rest.iter().take_while(|&&b| b == b' ').count();
    Command {
        verb,
        argument: rest.get(blanks..).unwrap_or_default(),
    }
}

impl Command<'_> {
    /// Whether the verb is `word`, in upper or lower case.
    pub fn is(&self, word: &str) -> bool {
        self.verb.eq_ignore_ascii_case(word.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_lines_have_a_content() {
        assert_eq!(content(b"NOOP\r\n"), Ok(&b"NOOP"[..]));
        assert_eq!(content(b"\r\n"), Ok(&b""[..]));
        assert_eq!(content(b"NOOP\n"), Err(Unclean::BareLf));
        assert_eq!(content(b"\n"), Err(Unclean::BareLf));
        assert_eq!(content(b"NO\rOP\r\n"), Err(Unclean::BareCr));
        assert_eq!(content(b"NOOP\r\r\n"), Err(Unclean::BareCr));
        assert_eq!(content(b"NO\0OP\r\n"), Err(Unclean::Nul));
        assert_eq!(content(b"NOOP"), Err(Unclean::BareLf));
    }

    #[test]
    fn the_first_space_ends_the_verb() {
        let command = split(b"mail  FROM:<a b@c> X=1 ");
        assert!(command.is("MAIL"));
        assert_eq!(command.argument, b"FROM:<a b@c> X=1 ");
        assert_eq!(split(b"QUIT").argument, b"");
        assert_eq!(split(b" QUIT").verb, b"");
        assert_eq!(split(b"A\tB").verb, b"A\tB");
    }
}
