//! qmail-qread: every message of the queue that qmail-send has looked at, with its recipients.

use std::io::{self, BufReader, ErrorKind};

use base::die::system_text;
use base::io::line;
use base::{Bytes, Call, Die};
use mail::date::rfc5322;
use queue::names::{Layout, MessageId, Part};
use queue::record::RECORD_LIMIT;
use sys::Dir;
use sys::sandbox::{Access, Promises};

use crate::output::Output;

/// Lists the queue on descriptor 1; complaints go there too.
///
/// # Errors
/// 111 when the queue cannot be read; a message that cannot be read gets a warning.
pub fn qread(_: &Call) -> Result<(), Die> {
    let output = Output::open();
    let queue = match control::home::enter().and_then(|()| Dir::open("queue")) {
        Ok(queue) => queue,
        Err(e) => return Err(output.fail(trouble("fatal: unable to chdir", &e))),
    };
    let layout = match Layout::read(&queue) {
        Ok(layout) => layout,
        Err(e) => return Err(output.fail(trouble("fatal: unable to opendir mess", &e))),
    };

    qread_promises().enforce();

    let mut list = List {
        queue,
        layout,
        output,
    };
    for name in layout.dirs(Part::Info) {
        if let Err(e) = list.directory(&name) {
            let what = format!(
                "fatal: unable to opendir {}",
                String::from_utf8_lossy(&name)
            );
            return Err(list.output.fail(trouble(&what, &e)));
        }
    }
    list.output.close()
}

/// What qmail-qread promises before it reads the first message: to read the queue.
pub fn qread_promises() -> Promises {
    Promises::new().path("queue", Access::Read)
}

fn trouble(what: &str, error: &io::Error) -> String {
    format!("{what}: {}\n", system_text(error))
}

struct List {
    queue: Dir,
    layout: Layout,
    output: Output,
}

impl List {
    /// Every message of one directory of info, by number.
    fn directory(&mut self, name: &[u8]) -> io::Result<()> {
        let mut ids = Vec::new();
        for entry in self.queue.open_dir(name)?.entries()? {
            ids.extend(MessageId::parse(&entry?));
        }
        ids.sort_unstable();
        for id in ids {
            if let Err(e) = self.message(id) {
                self.warn(id, &e);
            }
        }
        Ok(())
    }

    fn warn(&mut self, id: MessageId, error: &io::Error) {
        let text = trouble(&format!("warning: trouble with #{id}"), error);
        self.output.put(&[text.as_bytes()]);
    }

    fn message(&mut self, id: MessageId) -> io::Result<()> {
        let layout = self.layout;
        let path = |part| layout.path(part, id);
        let size = self.queue.stat(&path(Part::Mess))?.size;
        let bouncing = self.queue.stat(&path(Part::Bounce)).is_ok();
        let info = self.queue.open_read(&path(Part::Info))?;
        let came = sys::dir::stat_fd(&info)?.mtime;
        let sender = first_record(info)?;

        let date = rfc5322(came);
        let date = date.strip_suffix(" -0000").unwrap_or(&date);
        let front = format!("{date} GMT  #{id}  {size}  <");
        let back: &[u8] = if bouncing { b">  bouncing" } else { b"> " };
        self.output
            .put(&[front.as_bytes(), &visible(&sender), back, b"\n"]);

        for (part, word) in [(Part::Local, "\tlocal\t"), (Part::Remote, "\tremote\t")] {
            match self.recipients(&path(part), word) {
                Err(e) if e.kind() != ErrorKind::NotFound => self.warn(id, &e),
                _ => {}
            }
        }
        Ok(())
    }

    /// The recipients of one channel. Records of another kind, and one without an end, are passed over: qmail-send
    /// complains of them.
    fn recipients(&mut self, path: &[u8], word: &str) -> io::Result<()> {
        let mut input = BufReader::new(self.queue.open_read(path)?);
        let mut record = Bytes::new();
        while line(&mut input, 0, RECORD_LIMIT, &mut record)? == base::io::Line::Whole {
            let done: &[u8] = match record.first() {
                Some(b'T') => b"",
                Some(b'D') => b"  done",
                _ => continue,
            };
            let address = record.get(1..record.len() - 1).unwrap_or_default();
            self.output
                .put(&[done, word.as_bytes(), &visible(address), b"\n"]);
        }
        Ok(())
    }
}

/// The text of the first record of a file, whatever its letter.
fn first_record(file: std::fs::File) -> io::Result<Bytes> {
    let mut record = Bytes::new();
    line(&mut BufReader::new(file), 0, RECORD_LIMIT, &mut record)?;
    record.retain(|&b| b != 0);
    Ok(record.get(1..).unwrap_or_default().to_vec())
}

/// Bytes that are no printable ASCII become underscores.
fn visible(bytes: &[u8]) -> Bytes {
    bytes
        .iter()
        .map(|&b| if (32..127).contains(&b) { b } else { b'_' })
        .collect()
}
