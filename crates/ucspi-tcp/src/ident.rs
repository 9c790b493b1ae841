//! Asks the other host whose connection this is (RFC 1413). The answer is what that host cares to say.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::Bytes;
use base::io::Timed;

/// The port of ident servers.
const PORT: u16 = 113;
/// The most bytes of an answer that are kept.
const INFO_LIMIT: usize = 257;
/// The most bytes that are read, kept or not.
const ANSWER_LIMIT: usize = 4096;

/// What the host of `remote` says of the user of the connection from `remote` to `local`. `None`: nothing.
///
/// Waits   at most `timeout` in all.
pub(crate) fn ask(local: &SocketAddr, remote: &SocketAddr, timeout: Duration) -> Option<Bytes> {
    converse(local, remote, timeout).ok().flatten()
}

fn converse(
    local: &SocketAddr,
    remote: &SocketAddr,
    timeout: Duration,
) -> io::Result<Option<Bytes>> {
    let deadline = Instant::now().checked_add(timeout);
    let (mut from, mut to) = (*local, *remote);
    from.set_port(0);
    to.set_port(PORT);
    let socket = sys::socket::connect(&to, Some(&from), timeout)?;
    let mut stream = Timed::new(socket, timeout);
    stream.set_deadline(deadline);
    stream.write_all(format!("{} , {}\r\n", remote.port(), local.port()).as_bytes())?;

    let mut answer = Answer::default();
    let mut seen = 0;
    let mut bytes = [0; 128];
    while seen < ANSWER_LIMIT {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(None);
        }
        seen += count;
        for &byte in bytes.get(..count).unwrap_or_default() {
            if answer.take(byte) {
                return Ok(Some(answer.info));
            }
        }
    }
    Ok(None)
}

/// An answer `port , port : USERID : system : user`, byte by byte; blanks do not count.
#[derive(Debug, Default)]
struct Answer {
    colons: u8,
    info: Bytes,
}

impl Answer {
    /// Takes one byte; says whether the answer is whole.
    fn take(&mut self, byte: u8) -> bool {
        match byte {
            b' ' | b'\t' | b'\r' => false,
            // A NUL would end a variable of the environment: it ends the answer.
            b'\n' | 0 => true,
            b':' if self.colons < 3 => {
                self.colons += 1;
                false
            }
            _ if self.colons < 3 => false,
            _ => {
                self.info.push(byte);
                self.info.len() >= INFO_LIMIT
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &[u8]) -> Option<Bytes> {
        let mut answer = Answer::default();
        text.iter().any(|&b| answer.take(b)).then_some(answer.info)
    }

    #[test]
    fn the_user_stands_behind_three_colons() {
        assert_eq!(info(b"1 , 2 : USERID : UNIX : joe\r\n").unwrap(), b"joe");
        assert_eq!(info(b"1,2:USERID:UNIX:a:b c\n").unwrap(), b"a:bc");
        assert_eq!(info(b"1,2:ERROR:NO-USER\r\n").unwrap(), b"");
        assert_eq!(info(b"1,2:USERID:UNIX:jo\0e\n").unwrap(), b"jo");
        assert_eq!(info(b"1,2:USERID:UNIX:joe"), None);
    }

    #[test]
    fn an_answer_has_a_limit() {
        let text = [b":::".as_slice(), &[b'x'; 1000]].concat();
        assert_eq!(info(&text).unwrap().len(), INFO_LIMIT);
    }
}
