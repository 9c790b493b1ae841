//! Bytes into lines, and every line through the script.

use base::Bytes;

use crate::filter::newline;
use crate::multilog::pattern::matches;
use crate::multilog::script::{Action, Script};
use crate::stamp::{STAMP, Stamper};

/// What patterns and status files see of a line, bytes with the label. The rest goes into the logs only.
const HEAD: usize = 1000;
/// What descriptor 2 gets of a line, bytes.
const REPORT: usize = 200;

/// The line at hand and the script for it.
#[derive(Debug)]
pub(crate) struct Lines {
    stamper: Option<Stamper>,
    actions: Vec<Action>,
    /// the line so far, label included; empty before its first byte has come
    head: Bytes,
    /// the head was full: the script has run, the rest of the line follows it into the logs
    overlong: bool,
}

impl Lines {
    pub(crate) fn new(script: Script) -> Lines {
        Lines {
            stamper: script.stamped.then(Stamper::new),
            actions: script.actions,
            head: Bytes::with_capacity(HEAD + 1),
            overlong: false,
        }
    }

    /// Takes the next bytes of input.
    pub(crate) fn feed(&mut self, block: &[u8]) {
        let mut rest = block;
        while !rest.is_empty() {
            rest = if self.overlong {
                self.tail(rest)
            } else {
                self.begin(rest)
            };
        }
    }

    /// Adds to the head of the line.
    fn begin<'a>(&mut self, block: &'a [u8]) -> &'a [u8] {
        if let (true, Some(stamper)) = (self.head.is_empty(), &mut self.stamper) {
            self.head.extend_from_slice(stamper.now());
        }
        let room = HEAD.saturating_sub(self.head.len());
        let window = block.get(..room).unwrap_or(block);
        let end = newline(window);
        let (part, after) = block
            .split_at_checked(end.unwrap_or(window.len()))
            .unwrap_or_default();
        self.head.extend_from_slice(part);
        if end.is_some() {
            self.end_line();
            return after.get(1..).unwrap_or_default();
        }
        if self.head.len() >= HEAD {
            self.act(HEAD);
            self.overlong = true;
        }
        after
    }

    /// Sends on what exceeds the head.
    fn tail<'a>(&mut self, block: &'a [u8]) -> &'a [u8] {
        let end = newline(block);
        let (part, after) = block
            .split_at_checked(end.map_or(block.len(), |at| at + 1))
            .unwrap_or_default();
        self.log(part);
        if end.is_some() {
            self.next_line();
        }
        after
    }

    fn end_line(&mut self) {
        let text = self.head.len();
        self.head.push(b'\n');
        self.act(text);
        self.next_line();
    }

    fn next_line(&mut self) {
        self.head.clear();
        self.overlong = false;
    }

    /// Runs the script. The first `text` bytes of the head are what it sees; a newline may follow them.
    fn act(&mut self, text: usize) {
        let line = self.head.get(..text).unwrap_or_default();
        let mut selected = true;
        for action in &mut self.actions {
            match action {
                Action::Select(pattern) => selected = selected || matches(pattern, line),
                Action::Deselect(pattern) => selected = selected && !matches(pattern, line),
                Action::Report if selected => report(line),
                Action::Keep(status) if selected => status.keep(line),
                Action::Report | Action::Keep(_) => {}
                Action::Log(log) => {
                    log.selected = selected;
                    if selected {
                        log.push(&self.head);
                    }
                }
            }
        }
    }

    /// Adds to the logs that the line is selected for.
    fn log(&mut self, bytes: &[u8]) {
        for action in &mut self.actions {
            if let Action::Log(log) = action
                && log.selected
            {
                log.push(bytes);
            }
        }
    }

    /// Writes everything out.
    pub(crate) fn flush(&mut self) {
        for action in &mut self.actions {
            match action {
                Action::Keep(status) => status.flush(),
                Action::Log(log) => log.flush(),
                _ => {}
            }
        }
    }

    /// Begins a new file in every log that has something in the old one.
    pub(crate) fn rotate(&mut self) {
        for action in &mut self.actions {
            if let Action::Log(log) = action {
                log.rotate_if_used();
            }
        }
    }

    /// The end of the input: a line without newline gets one, and the logs are safe.
    pub(crate) fn finish(mut self) {
        if self.overlong {
            self.log(b"\n");
        } else if !self.head.is_empty() {
            self.end_line();
        }
        self.flush();
        for action in &mut self.actions {
            if let Action::Log(log) = action {
                log.close();
            }
        }
    }
}

/// Writes the beginning of a line on descriptor 2, whole in one call, so that lines of several programs do not mix.
fn report(line: &[u8]) {
    let text = match line.get(..REPORT) {
        Some(begin) if line.len() > REPORT => [begin, b"...\n"].concat(),
        _ => [line, b"\n"].concat(),
    };
    if let Ok(stderr) = sys::fd::inherited(2) {
        let _ = sys::fd::write_all(&stderr, &text);
    }
}

const _: () = assert!(STAMP < REPORT && REPORT < HEAD);
