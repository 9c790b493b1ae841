//! qmail-inject: a message from a user, completed and queued.
//!
//! Source  qmail-inject(8), qmail-header(5)

mod complete;
mod envelope;
mod header;
mod settings;
mod sink;

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};

use base::{Call, Die};
use mail::header::Fields;
use sys::signal::{self, Signal};

use header::Header;
use settings::{Arguments, Settings};
use sink::Sink;

/// The most bytes of a header. The fields are held in memory until all recipients are known.
const HEADER_LIMIT: usize = 32 << 20;
/// Bytes read and copied at once.
const BUFFER: usize = 64 << 10;

/// Completes the message on descriptor 0 and queues it, or prints it.
///
/// # Errors
/// 100 for what will never work: options, a header that cannot be read, a refusal for good. 111 for the rest.
pub fn inject(call: &Call) -> Result<(), Die> {
    let arguments = Arguments::read(&call.args)?;
    let _ = signal::ignore(Signal::SIGPIPE);

    let settings = Settings::from_environment()?;
    control::home::enter().map_err(|_| Die::fatal(111, "internal bug"))?;
    let mut header = Header::new(settings)?;
    header.envelope_from_arguments(&arguments)?;

    let input = sys::fd::take(0).map_err(|_| read_error())?;
    let mut fields = Fields::new(
        BufReader::with_capacity(BUFFER, File::from(input)),
        HEADER_LIMIT,
    );
    while let Some(field) = fields.next_field().map_err(header_error)? {
        header.field(field)?;
    }

    let mut sink = Sink::open(arguments.queue)?;
    header.finish(&mut sink)?;
    copy(fields.into_body(), &mut sink)?;
    sink.close(header.envelope(), arguments.recipients.reads_header())
}

/// Passes the body on as it is, with a line end at its end.
fn copy(mut body: impl Read, sink: &mut Sink) -> Result<(), Die> {
    let mut buffer = vec![0; BUFFER];
    let mut last = b'\n';
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Err(read_error()),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        last = bytes.last().copied().unwrap_or(last);
        sink.write(bytes)?;
    }
    match last {
        b'\n' => Ok(()),
        _ => sink.write(b"\n"),
    }
}

fn header_error(error: io::Error) -> Die {
    match error.kind() {
        ErrorKind::FileTooLarge => {
            Die::fatal(100, format!("header longer than {HEADER_LIMIT} bytes"))
        }
        _ => read_error(),
    }
}

/// Trouble with the message, with a control file, or with the output of `-n`: one sentence for all, as in the original.
fn read_error() -> Die {
    Die::fatal(111, "read error")
}
