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
    /// its output; `None` once all writers are gone
    pub(super) pipe: Option<OwnedFd>,
    pub(super) output: Bytes,
    cut: bool,
}

impl Process {
    pub(super) fn new(pid: u32, pipe: OwnedFd) -> Process {
        Process {
            pid,
            end: None,
            pipe: Some(pipe),
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
        self.end.is_some() && self.pipe.is_none()
    }

    /// Takes what the program wrote. The pipe is readable.
    pub(super) fn collect(&mut self, limit: usize, note: &[u8]) {
        let Some(pipe) = &self.pipe else { return };
        let mut piece = [0; PIECE];
        match sys::fd::read(pipe, &mut piece) {
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Ok(0) | Err(_) => self.pipe = None,
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
