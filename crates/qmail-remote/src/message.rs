//! The message on descriptor 0: looked over before it is offered, then read again to be sent.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use base::Bytes;
use wire::stuff::Survey;

/// Bytes that are read and sent at a time. A message that fits is read once.
pub(crate) const BLOCK: usize = 64 * 1024;

/// Bytes that are asked for first: most messages are not longer.
const FIRST: usize = 16 * 1024;

/// What there is behind the first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// nothing
    None,
    /// more, from this place of the file on
    At(u64),
    /// more, but it can be read only once
    Stream,
}

/// A message to send.
#[derive(Debug)]
pub(crate) struct Message {
    file: File,
    head: Bytes,
    rest: Rest,
    survey: Option<Survey>,
}

impl Message {
    /// Takes descriptor 0 and looks the message over, if it can be read twice.
    pub(crate) fn open() -> io::Result<Message> {
        Message::new(File::from(sys::fd::take(0)?))
    }

    /// A message that stands at its start.
    pub(crate) fn new(mut file: File) -> io::Result<Message> {
        let mut head = Bytes::with_capacity(FIRST);
        fill(&mut file, &mut head)?;
        let mut survey = Survey::default();
        survey.feed(&head);
        if head.len() < BLOCK {
            return Ok(Message {
                file,
                head,
                rest: Rest::None,
                survey: Some(survey),
            });
        }
        let Ok(place) = file.stream_position() else {
            return Ok(Message {
                file,
                head,
                rest: Rest::Stream,
                survey: None,
            });
        };
        let mut block = Bytes::with_capacity(BLOCK);
        loop {
            fill(&mut file, &mut block)?;
            survey.feed(&block);
            if block.len() < BLOCK {
                break;
            }
        }
        Ok(Message {
            file,
            head,
            rest: Rest::At(place),
            survey: Some(survey),
        })
    }

    /// What is known before sending; nothing of a large message in a pipe.
    pub(crate) fn survey(&self) -> Option<Survey> {
        self.survey
    }

    /// Bytes of the first block, which is the whole of most messages.
    pub(crate) fn head_size(&self) -> usize {
        self.head.len()
    }

    /// Calls `body` for each block, in order. To be called once.
    ///
    /// # Errors
    /// Those of reading, through `unreadable`, and those of `body`.
    pub(crate) fn blocks<E>(
        &mut self,
        unreadable: impl Fn() -> E,
        mut body: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        body(&self.head)?;
        match self.rest {
            Rest::None => return Ok(()),
            Rest::At(place) => {
                let sought = self.file.seek(SeekFrom::Start(place));
                sought.map_err(|_| unreadable())?;
            }
            Rest::Stream => {}
        }
        let mut block = std::mem::take(&mut self.head);
        loop {
            fill(&mut self.file, &mut block).map_err(|_| unreadable())?;
            body(&block)?;
            if block.len() < BLOCK {
                return Ok(());
            }
        }
    }
}

/// Reads a whole block, or what is left.
fn fill(file: &mut File, block: &mut Bytes) -> io::Result<()> {
    let mut filled = 0;
    while filled < BLOCK {
        let size = if filled < FIRST { FIRST } else { BLOCK };
        block.resize(size, 0);
        match file.read(block.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    block.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(message: &mut Message) -> Bytes {
        let mut text = Bytes::new();
        message
            .blocks(
                || (),
                |b| {
                    text.extend_from_slice(b);
                    Ok(())
                },
            )
            .unwrap();
        text
    }

    #[test]
    fn every_size_comes_out_whole_from_file_and_pipe() {
        let scratch = kit::Scratch::new("message");
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7] {
            let text: Bytes = (0..size).map(|n| b"abc\n"[n % 4]).collect();
            let path = scratch.write("m", &text);
            let mut message = Message::new(File::open(path).unwrap()).unwrap();
            let ends = text.split(|&b| b == b'\n').count() - 1;
            assert_eq!(message.survey().unwrap().size(), (size + ends) as u64);
            assert_eq!(all(&mut message), text);

            let (reader, writer) = sys::fd::pipe().unwrap();
            let copy = text.clone();
            let thread = std::thread::spawn(move || sys::fd::write_all(&writer, &copy));
            let mut message = Message::new(File::from(reader)).unwrap();
            assert_eq!(message.survey().is_some(), size < BLOCK);
            assert_eq!(all(&mut message), text);
            thread.join().unwrap().unwrap();
        }
    }
}
