//! The lines of a .qmail file.
//!
//! Source  dot-qmail(5), "description"

use base::bytes::trim_end;

/// What a .qmail file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// everything
    Everything,
    /// neither files nor programs
    Forwards,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instruction<'a> {
    /// nothing at all
    Blank,
    /// a comment, or a setting that is not known
    Nothing,
    /// append to this file
    Mbox(&'a [u8]),
    /// a new file in this directory, whose name ends with a slash
    Maildir(&'a [u8]),
    /// give the message to this command of the shell
    Program(&'a [u8]),
    /// send it on to this address
    Forward(&'a [u8]),
    /// from here on only forwards are allowed
    ForwardsOnly,
}

impl<'a> Instruction<'a> {
    /// Reads one line, without its line end. Blanks and tabs at the end do not count; those in front do.
    pub(crate) fn parse(line: &'a [u8]) -> Instruction<'a> {
        let line = trim_end(line);
        match line.split_first() {
            None | Some((0, _)) => Instruction::Blank,
            Some((b'#', _)) => Instruction::Nothing,
            Some((b'.' | b'/', _)) if line.ends_with(b"/") => Instruction::Maildir(line),
            Some((b'.' | b'/', _)) => Instruction::Mbox(line),
            Some((b'|', command)) => Instruction::Program(command),
            Some((b'+', setting)) if before_nul(setting) == b"list" => Instruction::ForwardsOnly,
            Some((b'+', _)) => Instruction::Nothing,
            Some((b'&', address)) => Instruction::Forward(address),
            Some(_) => Instruction::Forward(line),
        }
    }
}

/// The lines of a file; the last one may lack its line end.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n")
        .unwrap_or(text)
        .split(|&b| b == b'\n')
}

/// Names of files, commands and addresses cannot hold a NUL: what follows one is lost.
pub(crate) fn before_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Instruction::*;
    use super::*;

    #[test]
    fn the_first_byte_tells() {
        for (line, want) in [
            ("", Blank),
            (" \t ", Blank),
            ("\0./x", Blank),
            ("# ./x", Nothing),
            ("./Mailbox \t", Mbox(b"./Mailbox")),
            (".qmail", Mbox(b".qmail")),
            ("./Maildir/ ", Maildir(b"./Maildir/")),
            ("/", Maildir(b"/")),
            ("/var/m", Mbox(b"/var/m")),
            ("| a b ", Program(b" a b")),
            ("|", Program(b"")),
            ("&a@b", Forward(b"a@b")),
            ("& a@b", Forward(b" a@b")),
            ("&", Forward(b"")),
            ("&&a", Forward(b"&a")),
            ("a@b", Forward(b"a@b")),
            ("  a", Forward(b"  a")),
            ("+list", ForwardsOnly),
            ("+list ", ForwardsOnly),
            ("+list\0x", ForwardsOnly),
            ("+List", Nothing),
            ("+", Nothing),
        ] {
            assert_eq!(Instruction::parse(line.as_bytes()), want, "{line:?}");
        }
    }

    #[test]
    fn a_last_line_may_lack_its_end() {
        let all = |text: &'static str| lines(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(all("a\nb"), [b"a", b"b"]);
        assert_eq!(all("a\nb\n"), [b"a", b"b"]);
        assert_eq!(all("a\n\n"), [b"a".as_slice(), b""]);
        assert_eq!(all(""), [b""]);
        assert_eq!(all("\n"), [b""]);
    }
}
