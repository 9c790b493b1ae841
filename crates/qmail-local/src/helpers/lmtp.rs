//! qmail-lmtp(1): hands one delivery to a server that speaks LMTP.
//!
//! Source  RFC 2033; RFC 5321 4.2

use std::io::{self, BufReader, ErrorKind};
use std::os::fd::{OwnedFd, RawFd};
use std::time::{Duration, Instant};

use base::die::{PERMANENT, TEMPORARY};
use base::io::Timed;
use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use sys::signal::Signal;
use wire::reply::{self, Reply};
use wire::stuff::Stuff;

const USAGE: &str = "qmail-lmtp [ -r recipient ] [ socket ]";
/// Where a UCSPI client has the connection.
const READ: RawFd = 6;
const WRITE: RawFd = 7;
/// The longest wait for one reply, or for room for some bytes.
const WAIT: Duration = Duration::from_mins(5);
/// The end of the whole dialogue.
const WHOLE: Duration = Duration::from_hours(1);
/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// Delivers the message on descriptor 0, behind its DTLINE, to one recipient: over the local socket that the argument
/// names, or over descriptors 6 and 7.
///
/// # Errors
/// 100 when the server refuses for good or the call makes no sense, 111 for everything else.
pub fn lmtp(call: &Call) -> Result<(), Die> {
    let mut options = Options::new(&call.args, "r:");
    let mut recipient = None;
    for option in options.by_ref() {
        match option {
            Opt::Value(_, text) => recipient = Some(text),
            _ => return Err(Die::usage(USAGE)),
        }
    }
    let ([] | [_]) = options.rest() else {
        return Err(Die::usage(USAGE));
    };
    let recipient = match recipient {
        Some(recipient) => recipient,
        None => addressed()?,
    };
    let (sender, front) = (super::variable("SENDER")?, super::variable("DTLINE")?);
    let (sender, recipient) = (path(&sender)?, path(&recipient)?);
    sys::signal::ignore(Signal::SIGPIPE).map_err(|e| Die::unable("ignore SIGPIPE", &e))?;
    let message = sys::fd::take(0).map_err(|e| Die::unable("read message", &e))?;
    let mut server = match options.rest().first() {
        Some(socket) => Server::local(socket)
            .map_err(|e| Die::unable([b"connect to ", socket.as_slice()].concat(), &e))?,
        None => Server::given().map_err(|e| Die::unable("use descriptors 6 and 7", &e))?,
    };

    server.expect(b"", 220)?;
    let host = sys::process::hostname();
    server.expect(&[b"LHLO ", host.as_slice()].concat(), 250)?;
    server.expect(&[b"MAIL FROM:<", sender.as_slice(), b">"].concat(), 250)?;
    server.expect(&[b"RCPT TO:<", recipient.as_slice(), b">"].concat(), 250)?;
    server.expect(b"DATA", 354)?;
    server.text(&front, &message)?;
    // One recipient was accepted, so one reply comes (RFC 2033 4.2).
    let last = server.verdict(250)?;
    server.quit();

    let said = last.text.get(4..).unwrap_or_default().trim_ascii_end();
    let said = base::bytes::printable(said);
    Err(Die::plain(
        0,
        [b"qmail-lmtp: ", said.as_slice(), b"\n"].concat(),
    ))
}

/// Whom the delivery is for: what `default` stood for in the name of the .qmail file, else the local part.
fn addressed() -> Result<Bytes, Die> {
    let local = match base::env("DEFAULT") {
        Some(default) => default,
        None => super::variable("LOCAL")?,
    };
    Ok([&local[..], b"@", &super::variable("HOST")?].concat())
}

/// An address that cannot break out of its command.
fn path(address: &[u8]) -> Result<Bytes, Die> {
    mail::quote::path(address)
        .ok_or_else(|| Die::fatal(PERMANENT, "an address cannot be sent by LMTP"))
}

struct Server {
    input: BufReader<Timed<OwnedFd>>,
    output: OwnedFd,
    end: Instant,
}

impl Server {
    fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Server> {
        for fd in [&input, &output] {
            sys::fd::nonblocking(fd, true)?;
        }
        Ok(Server {
            input: BufReader::new(Timed::new(input, WAIT)),
            output,
            end: Instant::now() + WHOLE,
        })
    }

    fn local(socket: &[u8]) -> io::Result<Server> {
        let input = sys::local::connect(socket, WAIT, WAIT)?;
        let output = input.try_clone()?;
        Server::new(input, output)
    }

    fn given() -> io::Result<Server> {
        Server::new(sys::fd::take(READ)?, sys::fd::take(WRITE)?)
    }

    /// Sends a command, if there is one, and reads its reply, which must be `wanted`.
    fn expect(&mut self, command: &[u8], wanted: u16) -> Result<(), Die> {
        if !command.is_empty() {
            self.send(&[command, b"\r\n"].concat())?;
        }
        self.verdict(wanted).map(|_| ())
    }

    fn verdict(&mut self, wanted: u16) -> Result<Reply, Die> {
        let limit = (Instant::now() + WAIT).min(self.end);
        self.input.get_mut().set_deadline(Some(limit));
        let reply = reply::read(&mut self.input)
            .map_err(|_| Die::fatal(TEMPORARY, "connection to the server died"))?;
        if reply.code == wanted {
            return Ok(reply);
        }
        self.quit();
        let said = base::bytes::printable(reply.text.trim_ascii_end());
        let code = if reply.is_permanent() {
            PERMANENT
        } else {
            TEMPORARY
        };
        Err(Die::fatal(
            code,
            [b"server said: ", said.as_slice()].concat(),
        ))
    }

    /// The text, with a line end for a last line that has none: a mailbox is the end of the way.
    fn text(&mut self, front: &[u8], message: &OwnedFd) -> Result<(), Die> {
        let mut stuff = Stuff::default();
        let mut out = Bytes::new();
        stuff.feed(front, &mut out);
        let mut piece = vec![0; PIECE];
        let mut last = b'\n';
        loop {
            let block = match sys::fd::read(message, &mut piece) {
                Ok(0) => break,
                Ok(count) => piece.get(..count).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                // The server drops what has no end.
                Err(e) => return Err(Die::unable("read message", &e)),
            };
            stuff.feed(block, &mut out);
            last = block.last().copied().unwrap_or(last);
            self.send(&out)?;
            out.clear();
        }
        if last != b'\n' {
            stuff.feed(b"\n", &mut out);
        }
        stuff
            .finish(&mut out)
            .map_err(|_| Die::fatal(PERMANENT, "the message has no last line end"))?;
        self.send(&out)
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), Die> {
        let died = |e: &io::Error| Die::unable("write to the server", e);
        while !bytes.is_empty() {
            match sys::fd::write(&self.output, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let left = self.end.saturating_duration_since(Instant::now());
                    let room = sys::poll::writable(&self.output, WAIT.min(left));
                    if !room.map_err(|e| died(&e))? {
                        return Err(died(&ErrorKind::TimedOut.into()));
                    }
                }
                Err(e) => return Err(died(&e)),
            }
        }
        Ok(())
    }

    /// Says good-bye without waiting for anything.
    fn quit(&mut self) {
        let _ = sys::fd::write(&self.output, b"QUIT\r\n");
    }
}
