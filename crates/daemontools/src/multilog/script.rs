//! The script: what the arguments of multilog ask for.

use base::{Bytes, Die};
use sys::Dir;

use crate::multilog::directory::Directory;
use crate::multilog::status::Status;

/// Size of a log file, bytes: smallest, default and largest.
const SIZE: (u64, u64, u64) = (4096, 99_999, 16_777_215);
/// Number of log files: smallest and default.
const NUMBER: (usize, usize) = (2, 10);

/// One step for every line.
#[derive(Debug)]
pub(crate) enum Action {
    /// `+`: selects the line if the pattern matches
    Select(Bytes),
    /// `-`: deselects it
    Deselect(Bytes),
    /// `e`: the line goes to descriptor 2
    Report,
    /// `=`: the line is kept in a file
    Keep(Status),
    /// a directory: the line goes into the log
    Log(Box<Directory>),
}

/// The steps in order, and whether lines get a label first.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) stamped: bool,
    pub(crate) actions: Vec<Action>,
}

/// How logs are kept from here on in the script.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) size: u64,
    pub(crate) number: usize,
    pub(crate) processor: Option<Bytes>,
}

impl Script {
    /// Opens everything that the words name. First the status files, then the directories, as in the original: after
    /// trouble with a status file no directory has been touched. A word that is no action is passed over.
    pub(crate) fn read(start: &Dir, words: &[Bytes]) -> Result<Script, Die> {
        let mut kept = words
            .iter()
            .filter_map(|word| word.strip_prefix(b"="))
            .map(|name| Status::open(start, name))
            .collect::<Result<Vec<_>, Die>>()?
            .into_iter();
        let logs = words.iter().filter(|word| is_directory(word)).count();

        let mut manner = Manner {
            size: SIZE.1,
            number: NUMBER.1,
            processor: None,
        };
        let mut actions = Vec::new();
        for word in words {
            let Some((&letter, rest)) = word.split_first() else {
                continue;
            };
            match letter {
                b'+' => actions.push(Action::Select(rest.to_vec())),
                b'-' => actions.push(Action::Deselect(rest.to_vec())),
                b'e' => actions.push(Action::Report),
                b'=' => actions.extend(kept.next().map(Action::Keep)),
                b's' => manner.size = base::bytes::scan_number(rest).0.clamp(SIZE.0, SIZE.2),
                b'n' => manner.number = number(rest),
                b'!' => manner.processor = Some(rest.to_vec()),
                b'.' | b'/' => {
                    let log = Directory::open(start, word, manner.clone(), logs)?;
                    actions.push(Action::Log(Box::new(log)));
                }
                _ => {}
            }
        }
        let stamped = words
            .first()
            .is_some_and(|word| word.first() == Some(&b't'));
        Ok(Script { stamped, actions })
    }

    /// Finds out whether every log can still be reached.
    pub(crate) fn reach(&self) -> Result<(), Die> {
        for action in &self.actions {
            if let Action::Log(log) = action {
                log.dir.open_read(b"current").map_err(|e| {
                    Die::unable([b"open ", log.name.as_slice(), b"/current"].concat(), &e)
                })?;
            }
        }
        Ok(())
    }

    /// Whether a log has a processor.
    pub(crate) fn has_processor(&self) -> bool {
        let processed =
            |action: &Action| matches!(action, Action::Log(log) if log.manner.processor.is_some());
        self.actions.iter().any(processed)
    }
}

/// Whether a word names a log directory.
pub(super) fn is_directory(word: &[u8]) -> bool {
    matches!(word.first(), Some(b'.' | b'/'))
}

fn number(digits: &[u8]) -> usize {
    let (number, _) = base::bytes::scan_number(digits);
    usize::try_from(number).unwrap_or(usize::MAX).max(NUMBER.0)
}
