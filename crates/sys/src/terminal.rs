//! A terminal: asking for what must not be seen.

use std::io::{self, BufRead, IsTerminal, Write};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

/// Whether descriptor 0 is a terminal.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Writes `prompt` on descriptor 2 and reads a line from descriptor 0, without showing it if that is a terminal. The
/// line end is cut off.
///
/// Waits   for whoever types; a terminal has no hurry.
///
/// # Errors
/// Reading, or `UnexpectedEof` without a line.
pub fn secret(prompt: &str) -> io::Result<Vec<u8>> {
    let stdin = io::stdin();
    let mut line = Vec::new();
    if stdin.is_terminal() {
        let before = tcgetattr(&stdin).map_err(crate::error)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        hidden.local_flags.insert(LocalFlags::ECHONL);
        let _ = io::stderr().write_all(prompt.as_bytes());
        tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden).map_err(crate::error)?;
        let read = stdin.lock().read_until(b'\n', &mut line);
        tcsetattr(&stdin, SetArg::TCSAFLUSH, &before).map_err(crate::error)?;
        read?;
    } else {
        stdin.lock().read_until(b'\n', &mut line)?;
    }
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}
