//! readproctitle: show the latest input in the list of processes.
//!
//! The last argument is the display: its first three bytes stay dots, the others hold the latest bytes of input.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use base::{Bytes, Call, Die};

/// The shortest display, bytes.
const SHORTEST: usize = 5;
/// The dots at the beginning that never change.
const DOTS: usize = 3;
/// Bytes read at once.
const BLOCK: usize = 4096;

/// Runs `readproctitle words... display`: reads descriptor 0 to the end.
pub fn run(call: &Call) -> Result<(), Die> {
    let display = call
        .args
        .last()
        .filter(|d| d.len() >= SHORTEST)
        .ok_or_else(|| Die::silent(base::die::PERMANENT))?;

    let stdin = sys::fd::inherited(0).map_err(|_| Die::silent(base::die::TEMPORARY))?;
    let title = Title::find(display.len());
    let mut text = vec![b'.'; display.len()];
    title.show(&text);

    let mut block = vec![0; BLOCK];
    loop {
        match sys::fd::read(&stdin, &mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                roll(&mut text, block.get(..count).unwrap_or_default());
                title.show(&text);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(Die::silent(base::die::TEMPORARY)),
        }
    }
}

/// Moves `input` in from the right, without its NUL bytes; what was there moves out to the left.
fn roll(text: &mut Bytes, input: &[u8]) {
    let length = text.len();
    let mut latest = text.split_off(DOTS.min(length));
    latest.extend(input.iter().filter(|&&b| b != 0));
    let surplus = (latest.len() + text.len()).saturating_sub(length);
    text.extend(latest.iter().skip(surplus));
}

/// Where the kernel finds the last argument of this process.
struct Title {
    place: Option<(File, u64)>,
}

impl Title {
    /// The kernel tells in /proc/self/stat where the arguments lie. Without /proc there is no display, but the
    /// input must still be read: the writer would block.
    fn find(length: usize) -> Title {
        let place = arguments_end().and_then(|end| {
            let memory = OpenOptions::new().write(true).open("/proc/self/mem").ok()?;
            Some((memory, end.checked_sub(u64::try_from(length).ok()?)?))
        });
        Title { place }
    }

    fn show(&self, text: &[u8]) {
        if let Some((memory, address)) = &self.place {
            // Only the bytes of the last argument change, not the NUL behind it, and nothing here reads them again.
            let _ = memory.write_at(text, *address);
        }
    }
}

/// The address of the NUL behind the last argument.
fn arguments_end() -> Option<u64> {
    /// `arg_end` is field 49 of proc(5); the name in parentheses, field 2, may hold blanks.
    const AFTER_NAME: usize = 49 - 3;
    let stat = fs::read("/proc/self/stat").ok()?;
    let (_, fields) = base::bytes::rsplit_once(&stat, b')')?;
    let text = std::str::from_utf8(fields).ok()?;
    let end: u64 = text
        .split_ascii_whitespace()
        .nth(AFTER_NAME)?
        .parse()
        .ok()?;
    end.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_bytes_stand_at_the_right() {
        let mut text = b"..........".to_vec();
        roll(&mut text, b"ab\0c");
        assert_eq!(text, b".......abc");
        roll(&mut text, b"0123456");
        assert_eq!(text, b"...0123456");
        roll(&mut text, b"x");
        assert_eq!(text, b"...123456x");
        roll(&mut text, b"a long piece of input");
        assert_eq!(text, b"...f input");
    }
}
