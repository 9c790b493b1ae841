//! recordio: show on descriptor 2 what a program reads and writes.

use base::{Bytes, Call, Die};

use crate::adapter;
use crate::filter::{Filter, lines};

/// The longest piece of a line that is shown in one line, bytes; as in the original.
const PIECE: usize = 256;
/// The most bytes written to the log at once: a pipe takes so many whole (PIPE_BUF), so that lines of several
/// writers do not mix.
const WHOLE: usize = 4096;

/// Runs a program and shows its input and output. See recordio(1).
///
/// # Errors
/// Misuse (100), or the program could not be run (111).
pub fn recordio(call: &Call) -> Result<(), Die> {
    adapter::run("recordio", &call.args, Record::new('<'), Record::new('>'))
}

/// Shows what passes.
#[derive(Debug)]
struct Record {
    /// process id of the program, and the direction
    head: Bytes,
    log: Bytes,
}

impl Record {
    fn new(direction: char) -> Record {
        Record {
            head: format!("{} {direction} ", std::process::id()).into(),
            log: Bytes::new(),
        }
    }

    fn line(&mut self, text: &[u8], end: &[u8]) {
        if self.log.len() + self.head.len() + text.len() + end.len() > WHOLE {
            self.flush();
        }
        for part in [&self.head, text, end] {
            self.log.extend_from_slice(part);
        }
    }

    /// Trouble is ignored: the program matters more than its log.
    fn flush(&mut self) {
        if let Ok(log) = sys::fd::inherited(2) {
            let _ = sys::fd::write_all(&log, &self.log);
        }
        self.log.clear();
    }
}

impl Filter for Record {
    fn pass(&mut self, block: &[u8], out: &mut Bytes) {
        for piece in block.chunks(PIECE) {
            for (text, end) in lines(piece, b'\n') {
                self.line(text, if end { b" \n" } else { b"+\n" });
            }
        }
        self.flush();
        out.extend_from_slice(block);
    }

    fn end(&mut self, _: &mut Bytes) {
        self.line(b"[EOF]", b"\n");
        self.flush();
    }
}
