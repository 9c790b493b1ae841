//! One envelope of todo, read: who gets the message, by which channel.

use std::io::{BufReader, ErrorKind};

use base::Bytes;
use queue::names::{MessageId, Part};
use queue::record::{Entry, Records, record};
use recipient::Route;

use super::super::channel::{BOTH, Channel, Pair};
use super::super::convert;
use super::super::desk::Desk;
use super::super::log::safe;

/// A message that stands in todo.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) sender: Bytes,
    /// what local and remote would hold
    pub(crate) recipients: Pair<Bytes>,
    /// what the log says of it
    pub(crate) line: Bytes,
    /// an earlier qmail-send had made something of it
    pub(crate) is_second: bool,
}

/// Why a message was not taken in: a line for the log, without `warning: `.
pub(super) type Trouble = Bytes;

/// Reads an envelope for the first time. `None`: it is gone.
///
/// What an earlier qmail-send has half made of it is discarded: nothing of that counts while the envelope is there.
pub(super) fn first(desk: &mut Desk, id: MessageId) -> Result<Option<Envelope>, Trouble> {
    let Some(mut envelope) = read(desk, id)? else {
        return Ok(None);
    };
    let found = convert::discard(desk.queue.as_ref(), desk.layout, id)
        .map_err(|part| desk.about("unable to unlink ", part, id, ""))?;
    envelope.is_second = !found.is_empty();
    for part in found {
        let dir = desk.layout.dir(part, id);
        desk.settle.dir(dir, desk.moment);
    }
    Ok(Some(envelope))
}

/// Reads an envelope. `None`: it is gone.
pub(crate) fn read(desk: &Desk, id: MessageId) -> Result<Option<Envelope>, Trouble> {
    let about = |prefix: &str, part| desk.about(prefix, part, id, "");
    let todo = match desk.open(Part::Todo, id) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) => return Err(about("unable to open ", Part::Todo)),
    };
    let mess = desk.layout.path(Part::Mess, id);
    let size = match desk.queue.stat(&mess) {
        Ok(stat) if stat.is_file() => stat.size,
        _ => return Err(about("unable to stat ", Part::Mess)),
    };
    let mut records = Records::new(BufReader::new(todo), 0);
    let (mut uid, mut pid, mut sender) = (0, 0, None);
    let mut recipients: Pair<Bytes> = Pair::default();
    loop {
        let entry = match records.next_record() {
            Ok(None) => break,
            Ok(Some(record)) => {
                Entry::read(record).map_err(|_| about("unknown record type in ", Part::Todo))?
            }
            Err(_) => return Err(about("trouble reading ", Part::Todo)),
        };
        match entry {
            Entry::Uid(number) => uid = number,
            Entry::Pid(number) => pid = number,
            Entry::Sender(_) if sender.is_some() => {
                return Err(about("second sender in ", Part::Todo));
            }
            Entry::Sender(address) => sender = Some(address),
            Entry::Recipient(recipient) => {
                let (channel, address) = match desk.rewrite.route(&recipient) {
                    Route::Local(address) => (Channel::Local, address),
                    Route::Remote(address) => (Channel::Remote, address),
                };
                let list = recipients.of_mut(channel);
                list.extend_from_slice(&record(b'T', &address));
            }
        }
    }
    let Some(sender) = sender else {
        return Err(about("no sender in ", Part::Todo));
    };
    for channel in BOTH {
        recipients.of_mut(channel).shrink_to_fit();
    }
    let line = [
        format!("info msg {id}: bytes {size} from <").as_bytes(),
        &safe(&sender),
        format!("> qp {pid} uid {uid}").as_bytes(),
    ]
    .concat();
    Ok(Some(Envelope {
        sender,
        recipients,
        line,
        is_second: false,
    }))
}
