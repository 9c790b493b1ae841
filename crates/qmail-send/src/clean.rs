//! qmail-clean: removes the files that qmail-send may not touch.
//!
//! Requests come on descriptor 0: `foop/ID` NUL (envelope draft and message) or `todo/ID` NUL (both names of the
//! envelope). Each is answered by one byte: `+` done, `!` failed, `x` not understood.
//!
//! Source  qmail-clean(8)

use std::cell::RefCell;
use std::io::{BufReader, ErrorKind};
use std::os::fd::OwnedFd;

use base::bytes::scan_number;
use base::io::Line;
use base::{Bytes, Call, Die};
use queue::names::{Layout, MessageId, Part};
use sys::Dir;
use sys::sandbox::{Access, Promises};
use sys::signal::Signal;

/// The longest request, bytes with its NUL.
const REQUEST_LIMIT: usize = 100;
/// The shortest one.
const REQUEST_LEAST: usize = 7;
/// Requests between two sweeps of `pid`.
const SWEEP_EVERY: u32 = 30;
/// Seconds after its last access when a file in `pid` is litter; more than qmail-queue lives.
const OSSIFIED: i64 = 129_600;

/// Exit code when qmail-send is gone.
const UNHEARD: u8 = 100;

/// See qmail-clean(8). Arguments are ignored.
///
/// # Errors
/// 111 without a queue, 100 when an answer cannot be written; silently.
pub fn qmail_clean(_: &Call) -> Result<(), Die> {
    let broken = |_| Die::silent(base::die::TEMPORARY);
    control::home::enter().map_err(broken)?;
    let queue = Dir::open("queue").map_err(broken)?;
    let layout = Layout::read(&queue).map_err(broken)?;
    sys::signal::ignore(Signal::SIGPIPE).map_err(broken)?;
    let Ok(input) = sys::fd::take(0) else {
        return Ok(());
    };

    promises().enforce();

    serve(&queue, layout, input)
}

/// What qmail-clean promises before it hears the first request: to remove names in four directories. It can read
/// nothing.
pub fn promises() -> Promises {
    let directories = ["queue/pid", "queue/mess", "queue/intd", "queue/todo"];
    Promises::new().paths(&directories, Access::Remove)
}

fn serve(queue: &Dir, layout: Layout, input: OwnedFd) -> Result<(), Die> {
    let output = sys::fd::inherited(1);
    let answers = RefCell::new(Bytes::new());
    let flush = || -> Result<(), Die> {
        let bytes = std::mem::take(&mut *answers.borrow_mut());
        match &output {
            _ if bytes.is_empty() => Ok(()),
            Ok(fd) => sys::fd::write_all(fd, &bytes).map_err(|_| Die::silent(UNHEARD)),
            Err(_) => Err(Die::silent(UNHEARD)),
        }
    };
    let answer = |byte: u8| {
        answers.borrow_mut().push(byte);
        Ok(())
    };
    let mut input = BufReader::new(std::fs::File::from(input));
    let mut request = Bytes::new();
    let mut until_sweep = 0;
    loop {
        if until_sweep == 0 {
            sweep(queue, base::tai::unix_now());
            until_sweep = SWEEP_EVERY + 1;
        }
        until_sweep -= 1;
        // Answers to requests that came together go together; none waits for a request that is not whole.
        if !input.buffer().contains(&0) {
            flush()?;
        }
        match base::io::line(&mut input, 0, REQUEST_LIMIT, &mut request) {
            Ok(Line::Whole) => obey(queue, layout, &request, answer)?,
            Ok(Line::TooLong) => {
                // What is left of it, in pieces; the last piece ends with the NUL.
                while matches!(
                    base::io::line(&mut input, 0, REQUEST_LIMIT, &mut request),
                    Ok(Line::TooLong)
                ) {}
                if request.last() != Some(&0) {
                    return flush();
                }
                answer(b'x')?;
            }
            Ok(Line::Partial | Line::End) | Err(_) => return flush(),
        }
    }
}

/// Does one request; `request` ends with its NUL.
///
/// As in the original, each byte that is no digit gets an `x` of its own, and the digits before it still count.
fn obey(
    queue: &Dir,
    layout: Layout,
    request: &[u8],
    answer: impl Fn(u8) -> Result<(), Die>,
) -> Result<(), Die> {
    let [name @ .., 0] = request else {
        return answer(b'x');
    };
    let (Some(word), Some(digits)) = (name.get(..5), name.get(5..)) else {
        return answer(b'x');
    };
    if request.len() < REQUEST_LEAST {
        return answer(b'x');
    }
    for _ in digits.iter().filter(|b| !b.is_ascii_digit()) {
        answer(b'x')?;
    }
    // A number too large stays at the largest one, which is no message.
    let (number, length) = scan_number(digits);
    if length == 0 {
        return answer(b'x');
    }
    let parts = match word {
        b"foop/" => [Part::Intd, Part::Mess],
        // The name that counts goes first: a crash before that would have the message served again. A draft that stays
        // goes with the message.
        [b't', b'o', b'd', b'o', _] => [Part::Todo, Part::Intd],
        _ => return answer(b'x'),
    };
    let Some(id) = MessageId::new(number) else {
        return answer(b'+');
    };
    for part in parts {
        match queue.unlink(&layout.path(part, id)) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(_) => return answer(b'!'),
        }
    }
    answer(b'+')
}

/// Removes what dead qmail-queues left in `pid`.
fn sweep(queue: &Dir, now: i64) {
    let Ok(pid) = queue.open_dir(b"pid") else {
        return;
    };
    let Ok(entries) = pid.entries() else { return };
    for name in entries.map_while(Result::ok) {
        if pid
            .stat_link(&name)
            .is_ok_and(|s| now >= s.atime.saturating_add(OSSIFIED))
        {
            let _ = pid.unlink(&name);
        }
    }
}
