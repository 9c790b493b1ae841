//! Ports by number or by name.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind};

use base::bytes::{scan_number, split_once};
use base::io::{Line, line};
use base::{Bytes, Die};

/// The longest line of /etc/services, bytes.
const LINE_LIMIT: usize = 4096;

/// The port that an argument names.
///
/// # Errors
/// The last word of a program that cannot go on without it.
pub fn argument(word: &[u8]) -> Result<u16, Die> {
    port(word)
        .map_err(|e| Die::unable("read /etc/services", &e))?
        .ok_or_else(|| {
            let text = [b"unable to figure out port number for ", word].concat();
            Die::fatal(111, text)
        })
}

/// The port that `word` names: a number, or a service of /etc/services. `Ok(None)`: no such service.
///
/// A number above 65535 loses its high bits, as in the original.
///
/// # Errors
/// /etc/services cannot be read.
fn port(word: &[u8]) -> io::Result<Option<u16>> {
    let (value, count) = scan_number(word);
    if count == word.len() {
        return Ok(Some(low(value)));
    }
    let file = match File::open("/etc/services") {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut input = BufReader::new(file);
    let mut text = Bytes::new();
    loop {
        match line(&mut input, b'\n', LINE_LIMIT, &mut text)? {
            Line::End => return Ok(None),
            // The rest of a line that is too long reads as lines that name no service of interest.
            Line::Whole | Line::Partial | Line::TooLong => {
                if let Some(found) = service(&text, word) {
                    return Ok(Some(found));
                }
            }
        }
    }
}

/// The low 16 bits.
pub(crate) fn low(value: u64) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(0)
}

/// The port of a line `name port/tcp alias...`, if it is about the service `wanted`.
fn service(line: &[u8], wanted: &[u8]) -> Option<u16> {
    let text = split_once(line, b'#').map_or(line, |(before, _)| before);
    let mut words = text
        .split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty());
    let name = words.next()?;
    let (port, protocol) = split_once(words.next()?, b'/')?;
    let meant = name == wanted || words.any(|alias| alias == wanted);
    (meant && protocol == b"tcp")
        .then(|| base::bytes::number(port))
        .flatten()
        .map(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ports() {
        assert_eq!(port(b"25").unwrap(), Some(25));
        assert_eq!(port(b"016").unwrap(), Some(16));
        assert_eq!(port(b"99999").unwrap(), Some(34463));
        assert_eq!(port(b"").unwrap(), Some(0));
        assert_eq!(port(b"no such service").unwrap(), None);
    }

    #[test]
    fn services_have_names_and_aliases() {
        let line = b"smtp\t\t25/tcp\t\tmail # simple mail\n";
        assert_eq!(service(line, b"smtp"), Some(25));
        assert_eq!(service(line, b"mail"), Some(25));
        assert_eq!(service(line, b"simple"), None);
        assert_eq!(service(line, b"25/tcp"), None);
        assert_eq!(service(b"domain 53/udp\n", b"domain"), None);
        assert_eq!(service(b"#smtp 25/tcp\n", b"#smtp"), None);
        assert_eq!(service(b"\n", b""), None);
    }
}
