//! One running program and what it says.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use base::Bytes;
use sys::process::End;

/// Bytes read at once from a program.
const PIECE: usize = 4096;

/// A program at work.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    /// how it ended, once it has
    pub(super) end: Option<End>,
    /// its output
    pipe: OwnedFd,
    /// all writers are gone
    ended: bool,
    pub(super) output: Bytes,
    cut: bool,
}

impl Process {
    pub(super) fn new(pid: u32, pipe: OwnedFd) -> Process {
        Process {
            pid,
            end: None,
            pipe,
            ended: false,
            output: Bytes::new(),
            cut: false,
        }
    }

    /// Whether it is this child, and has not ended: numbers of children come again.
    pub(super) fn is(&self, pid: u32) -> bool {
        self.pid == pid && self.end.is_none()
    }

    /// Whether it has ended and nobody can write to its report any more.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some() && self.ended
    }

    /// Its output, as long as somebody may write there.
    pub(super) fn pipe(&self) -> Option<&OwnedFd> {
        (!self.ended).then_some(&self.pipe)
    }

    /// Takes what the program wrote. The pipe is readable.
    pub(super) fn collect(&mut self, limit: usize, note: &[u8]) {
        let mut piece = [0; PIECE];
        match sys::fd::read(&self.pipe, &mut piece) {
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Ok(0) | Err(_) => self.ended = true,
            Ok(_) if self.cut => {}
            Ok(count) => {
                self.output
                    .extend_from_slice(piece.get(..count).unwrap_or_default());
                if self.output.len() > limit {
                    self.output.truncate(limit.saturating_sub(note.len()));
                    self.output.extend_from_slice(note);
                    self.cut = true;
                }
            }
        }
    }
}
