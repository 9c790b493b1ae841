//! One new message: its envelope read, its files written; then, with others, made durable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};

use base::Bytes;
use queue::names::{MessageId, Part};
use queue::record::{Entry, Records, record};
use recipient::Route;

use super::super::channel::{BOTH, Channel};
use super::super::cleaner::{self, Request};
use super::super::desk::Desk;
use super::super::log::safe;

/// A message whose files are written but not durable.
#[derive(Debug)]
pub(super) struct Taken {
    id: MessageId,
    info: File,
    recipients: Vec<(Channel, File)>,
    /// what the log says of it
    line: Bytes,
}

/// Why a message was not taken in: a line for the log, without `warning: `; empty if it has been logged.
pub(super) type Trouble = Bytes;

/// What an envelope says of the message, its recipients aside.
#[derive(Debug, Default)]
struct Facts {
    uid: u64,
    pid: u64,
    sender: Option<Bytes>,
}

impl Taken {
    /// Reads an envelope and writes info, local and remote. `None`: the envelope is gone.
    ///
    /// Half-made files of an earlier try are discarded, and those of this one if it fails.
    pub(super) fn read(desk: &Desk, id: MessageId) -> Result<Option<Taken>, Trouble> {
        let about = |prefix: &str, part| desk.about(prefix, part, id, "");
        let todo = match desk.open(Part::Todo, id) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err(about("unable to open ", Part::Todo)),
        };
        let mess = desk.layout.path(Part::Mess, id);
        let size = match desk.queue.stat_link(&mess) {
            Ok(stat) if stat.is_file() => stat.size,
            _ => return Err(about("unable to stat ", Part::Mess)),
        };
        discard(desk, id).map_err(|part| about("unable to unlink ", part))?;
        Taken::write(desk, id, todo, size)
            .map(Some)
            .inspect_err(|_| {
                let _ = discard(desk, id);
            })
    }

    fn write(desk: &Desk, id: MessageId, todo: File, size: u64) -> Result<Taken, Trouble> {
        let about = |prefix: &str, part| desk.about(prefix, part, id, "");
        let mut records = Records::new(BufReader::new(todo), 0);
        let mut facts = Facts::default();
        let mut writers: BTreeMap<&str, (Channel, BufWriter<File>)> = BTreeMap::new();
        loop {
            let entry = match records.next_record() {
                Ok(None) => break,
                Ok(Some(record)) => {
                    Entry::read(record).map_err(|_| about("unknown record type in ", Part::Todo))?
                }
                Err(_) => return Err(about("trouble reading ", Part::Todo)),
            };
            match entry {
                Entry::Uid(uid) => facts.uid = uid,
                Entry::Pid(pid) => facts.pid = pid,
                Entry::Sender(_) if facts.sender.is_some() => {
                    return Err(about("second sender in ", Part::Todo));
                }
                Entry::Sender(sender) => facts.sender = Some(sender),
                Entry::Recipient(recipient) => {
                    let (channel, address) = match desk.rewrite.route(&recipient) {
                        Route::Local(address) => (Channel::Local, address),
                        Route::Remote(address) => (Channel::Remote, address),
                    };
                    let part = channel.part();
                    if !writers.contains_key(part.dir()) {
                        let file = create(desk, part, id)?;
                        writers.insert(part.dir(), (channel, BufWriter::new(file)));
                    }
                    if let Some((_, writer)) = writers.get_mut(part.dir()) {
                        writer
                            .write_all(&record(b'T', &address))
                            .map_err(|_| about("trouble writing to ", part))?;
                    }
                }
            }
        }
        let Some(sender) = &facts.sender else {
            return Err(about("no sender in ", Part::Todo));
        };
        let mut info = create(desk, Part::Info, id)?;
        info.write_all(&record(b'F', sender))
            .map_err(|_| about("trouble writing to ", Part::Info))?;
        let mut recipients = Vec::new();
        for (channel, writer) in writers.into_values() {
            let file = writer
                .into_inner()
                .map_err(|_| about("trouble writing to ", channel.part()))?;
            recipients.push((channel, file));
        }
        let Facts { uid, pid, .. } = facts;
        let line = [
            format!("info msg {id}: bytes {size} from <").as_bytes(),
            &safe(sender),
            format!("> qp {pid} uid {uid}").as_bytes(),
        ]
        .concat();
        Ok(Taken {
            id,
            info,
            recipients,
            line,
        })
    }

    fn files(&self) -> impl Iterator<Item = (Part, &File)> {
        let recipients = self.recipients.iter().map(|(c, f)| (c.part(), f));
        std::iter::once((Part::Info, &self.info)).chain(recipients)
    }
}

fn create(desk: &Desk, part: Part, id: MessageId) -> Result<File, Trouble> {
    desk.queue
        .create_new(&desk.layout.path(part, id), 0o600)
        .map_err(|_| desk.about("unable to create ", part, id, ""))
}

/// Removes what is made of an envelope. The error is the part that could not be removed.
fn discard(desk: &Desk, id: MessageId) -> Result<(), Part> {
    for part in [Part::Local, Part::Remote, Part::Info] {
        desk.unlink(part, id).map_err(|_| part)?;
    }
    Ok(())
}

/// What became of a message: the channels that have recipients, or why it stays in todo.
pub(super) type Settled = Result<Vec<Channel>, Trouble>;

/// Makes the files of several messages durable, then their names, and only then has their envelopes removed.
pub(super) fn settle(desk: &mut Desk, taken: Vec<Taken>) -> Vec<(MessageId, Settled)> {
    for message in &taken {
        for (_, file) in message.files() {
            sys::dir::start_sync(file);
        }
    }
    let files: Vec<Result<(), Part>> = taken
        .iter()
        .map(|message| {
            message
                .files()
                .try_for_each(|(part, file)| sys::dir::sync(file).map_err(|_| part))
        })
        .collect();
    let names = sync_names(desk, &taken);
    taken
        .into_iter()
        .zip(files)
        .map(|(message, file)| {
            let id = message.id;
            let part = file.err().or_else(|| {
                let lost = |(part, _): &(Part, &File)| names.contains(&desk.layout.dir(*part, id));
                message.files().find(lost).map(|(part, _)| part)
            });
            (id, conclude(desk, &message, part))
        })
        .collect()
}

/// Makes the directories of new files durable; returns those where that failed.
fn sync_names(desk: &Desk, taken: &[Taken]) -> BTreeSet<Bytes> {
    let dirs: BTreeSet<Bytes> = taken
        .iter()
        .flat_map(|m| m.files().map(|(part, _)| desk.layout.dir(part, m.id)))
        .collect();
    let sync = |dir: &Bytes| -> io::Result<()> { desk.queue.open_dir(dir)?.sync() };
    dirs.into_iter().filter(|d| sync(d).is_err()).collect()
}

/// `lost` is the part that could not be made durable.
fn conclude(desk: &mut Desk, message: &Taken, lost: Option<Part>) -> Settled {
    let id = message.id;
    if let Some(part) = lost {
        let _ = discard(desk, id);
        return Err(desk.about("trouble fsyncing ", part, id, ""));
    }
    desk.log.line(format!("new msg {id}"));
    desk.log.line(&message.line);
    if !cleaner::remove(desk, Request::Todo, id) {
        return Err(Bytes::new());
    }
    let has = |c: &Channel| message.recipients.iter().any(|(channel, _)| channel == c);
    Ok(BOTH.into_iter().filter(has).collect())
}
