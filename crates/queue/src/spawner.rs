//! The common loop of qmail-lspawn and qmail-rspawn: take commands, start one program per recipient, report.
//!
//! The two differ in a [`Deliver`]: how a program is started and what its end means. Everything that reads from
//! qmail-send or from the queue is here.
//!
//! Protocol   first one byte: how many deliveries may run at a time. Then commands come on descriptor 0: one byte
//!            delivery number, message name below `mess` NUL, sender NUL, recipient NUL; answers go to descriptor 1: the
//!            delivery number, a text that begins with K, Z or D, NUL.
//! Ends       when descriptor 0 has ended and the last program has been reported.
//!
//! Source  qmail-lspawn(8), qmail-rspawn(8)

mod command;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use base::bytes::rsplit_once;
use base::{Bytes, Die};
use sys::Dir;
use sys::poll::Wait;
use sys::process::End;
use sys::signal::Signal;

use command::{Command, Parser};

/// The most deliveries at a time (conf-spawn of the original); it must fit into one byte.
pub const CONCURRENCY: u8 = 120;
/// The longest name of a message, bytes with its NUL.
const NAME_LIMIT: usize = 100;
/// Bytes read at once from a program.
const PIECE: usize = 4096;
/// How long to rest when the kernel cannot even wait for us.
const REST: Duration = Duration::from_secs(1);

/// What a spawner does for one recipient.
pub trait Deliver {
    /// How many bytes of a program's output are kept; the rest is read and dropped.
    fn output_limit(&self) -> usize;

    /// What stands at the end of an output that was cut; it counts toward the limit.
    fn cut_note(&self) -> &'static [u8] {
        b""
    }

    /// Starts the program for one recipient and returns its process id.
    ///
    /// Shape   `message` stands at the start of the message; `report` is where the program's descriptors 1 and 2 go;
    ///         `at` is where the last `@` stands in `recipient`. Neither address holds a NUL.
    ///
    /// # Errors
    /// The text to report instead, beginning with K, Z or D.
    fn start(
        &mut self,
        message: File,
        report: OwnedFd,
        sender: &[u8],
        recipient: &[u8],
        at: usize,
    ) -> Result<u32, Bytes>;

    /// What to tell qmail-send of a program that ended: a letter K, Z or D and a text. What comes after a NUL is
    /// dropped.
    fn report(&self, end: End, output: &[u8]) -> Bytes;
}

/// One running delivery.
struct Delivery {
    pid: u32,
    /// how the program ended, once it has
    end: Option<End>,
    /// the program's output; `None` once all writers are gone
    pipe: Option<OwnedFd>,
    output: Bytes,
    cut: bool,
}

impl Delivery {
    /// Takes what the program wrote. The pipe is readable.
    fn collect(&mut self, limit: usize, note: &[u8]) {
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

/// Who may own a message: the queue's own user. Without root the whole suite may run as one user, so that one too; and
/// a root without such users has only itself.
fn trusted_owners() -> Vec<u32> {
    let [.., qmailq, _, _] = control::owners::user_names();
    let own = sys::ids::euid();
    match sys::users::local(qmailq.as_bytes()) {
        Ok(Some(account)) if own == 0 => vec![account.uid],
        Ok(Some(account)) => vec![account.uid, own],
        Ok(None) | Err(_) => vec![own],
    }
}

/// A spawner at work.
struct Spawner<D> {
    deliver: D,
    mess: Dir,
    owners: Vec<u32>,
    /// `None` once qmail-send has closed it
    input: Option<OwnedFd>,
    /// `None` once nobody reads it: deliveries go on, nobody is told
    output: Option<OwnedFd>,
    parser: Parser,
    deliveries: Vec<Option<Delivery>>,
}

impl<D: Deliver> Spawner<D> {
    /// Writes to qmail-send; when it is gone, never again.
    fn answer(&mut self, number: u8, text: &[u8]) {
        let text = text.split(|&b| b == 0).next().unwrap_or_default();
        let line = [&[number], text, b"\0"].concat();
        self.write(&line);
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(fd) = &self.output
            && sys::fd::write_all(fd, bytes).is_err()
        {
            self.output = None;
        }
    }

    /// Opens a message afresh, so that each delivery has its own place in it.
    fn open(&self, name: &[u8]) -> Result<File, &'static str> {
        let message = self
            .mess
            .open_read(name)
            .map_err(|_| "Zqmail-spawn unable to open message. (#4.3.0)\n")?;
        let stat = sys::dir::stat_fd(&message)
            .map_err(|_| "Zqmail-spawn unable to fstat message. (#4.3.0)\n")?;
        if !stat.is_file() {
            return Err("ZSorry, message has wrong type. (#4.3.5)\n");
        }
        if !self.owners.contains(&stat.uid) {
            return Err("ZSorry, message has wrong owner. (#4.3.5)\n");
        }
        Ok(message)
    }

    /// Starts one delivery.
    fn start(&mut self, command: &Command) -> Result<(), Bytes> {
        let refuse = |text: &str| Err(text.as_bytes().to_vec());
        if command.overlong {
            return refuse("Zqmail-spawn out of memory. (#4.3.0)\n");
        }
        match self.deliveries.get(usize::from(command.number)) {
            None => return refuse("ZInternal error: delnum too big. (#4.3.5)\n"),
            Some(Some(_)) => return refuse("ZInternal error: delnum in use. (#4.3.5)\n"),
            Some(None) => {}
        }
        let name = &command.message;
        let slash_first = name.first() == Some(&b'/');
        if slash_first || !name.iter().all(|&b| b.is_ascii_digit() || b == b'/') {
            return refuse("DInternal error: messid has nonnumerics. (#5.3.5)\n");
        }
        if name.len() >= NAME_LIMIT {
            return refuse("DInternal error: messid too long. (#5.3.5)\n");
        }
        if name.is_empty() {
            return refuse("DInternal error: messid too short. (#5.3.5)\n");
        }
        let Some((local, _)) = rsplit_once(&command.recipient, b'@') else {
            return refuse("DSorry, address must include host name. (#5.1.3)\n");
        };
        let message = self.open(name).map_err(str::as_bytes)?;
        let (pipe, report) =
            sys::fd::pipe().map_err(|_| b"Zqmail-spawn unable to create pipe. (#4.3.0)\n")?;
        let pid = self.deliver.start(
            message,
            report,
            &command.sender,
            &command.recipient,
            local.len(),
        )?;
        if let Some(place) = self.deliveries.get_mut(usize::from(command.number)) {
            *place = Some(Delivery {
                pid,
                end: None,
                pipe: Some(pipe),
                output: Bytes::new(),
                cut: false,
            });
        }
        Ok(())
    }

    /// Reads what came from qmail-send and does it.
    fn obey(&mut self) {
        let Some(input) = &self.input else { return };
        let mut piece = [0; PIECE];
        match sys::fd::read(input, &mut piece) {
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Ok(0) | Err(_) => self.input = None,
            Ok(count) => {
                for &byte in piece.iter().take(count) {
                    if let Some(command) = self.parser.feed(byte)
                        && let Err(text) = self.start(&command)
                    {
                        self.answer(command.number, &text);
                    }
                }
            }
        }
    }

    /// Notes which programs have ended.
    fn reap(&mut self) {
        while let Some((pid, end)) = sys::process::ended() {
            for delivery in self.deliveries.iter_mut().flatten() {
                if delivery.pid == pid && delivery.end.is_none() {
                    delivery.end = Some(end);
                }
            }
        }
    }

    /// Reports the deliveries that are over: the program has ended and nobody can write to its report any more.
    fn finish(&mut self) {
        for number in 0..CONCURRENCY {
            let Some(place) = self.deliveries.get_mut(usize::from(number)) else {
                return;
            };
            if let Some(Delivery {
                end: Some(end),
                pipe: None,
                output,
                ..
            }) = place
            {
                let text = self.deliver.report(*end, output);
                *place = None;
                self.answer(number, &text);
            }
        }
    }

    /// One turn: wait, then do all that can be done. `false`: nothing is left to do.
    fn turn(&mut self) -> io::Result<bool> {
        let wake = sys::signal::wake()?;
        self.reap();
        self.finish();
        if self.input.is_none() && self.deliveries.iter().all(Option::is_none) {
            return Ok(false);
        }
        let mut waits = vec![Wait::readable(&wake)];
        waits.extend(self.input.iter().map(Wait::readable));
        let open: Vec<usize> = self
            .deliveries
            .iter()
            .enumerate()
            .filter_map(|(n, d)| d.as_ref()?.pipe.as_ref().map(|_| n))
            .collect();
        let fixed = waits.len();
        waits.extend(open.iter().filter_map(|&n| {
            let pipe = self.deliveries.get(n)?.as_ref()?.pipe.as_ref()?;
            Some(Wait::readable(pipe))
        }));
        // A day: only so that the wait has an end.
        sys::poll::wait(&mut waits, Some(Duration::from_hours(24)))?;
        sys::signal::woken();
        let (limit, note) = (self.deliver.output_limit(), self.deliver.cut_note());
        for (wait, n) in waits.iter().skip(fixed).zip(open) {
            if wait.is_ready()
                && let Some(Some(delivery)) = self.deliveries.get_mut(n)
            {
                delivery.collect(limit, note);
            }
        }
        if self.input.is_some() && waits.get(1).is_some_and(Wait::is_ready) {
            self.obey();
        }
        Ok(true)
    }
}

/// Runs a spawner in home, on descriptors 0 and 1, to its end.
///
/// # Errors
/// No queue, no way to catch signals: 111, silently, as the original.
pub fn run(deliver: impl Deliver) -> Result<(), Die> {
    let broken = |_| Die::silent(base::die::TEMPORARY);
    let mess = Dir::open("queue/mess").map_err(broken)?;
    sys::signal::ignore(Signal::SIGPIPE).map_err(broken)?;
    sys::signal::wake().map_err(broken)?;
    sys::signal::catch(Signal::SIGCHLD).map_err(broken)?;
    sys::signal::unblock(Signal::SIGCHLD).map_err(broken)?;
    let mut spawner = Spawner {
        deliver,
        mess,
        owners: trusted_owners(),
        input: sys::fd::take(0).ok(),
        output: sys::fd::take(1).ok(),
        parser: Parser::default(),
        deliveries: (0..CONCURRENCY).map(|_| None).collect(),
    };
    spawner.write(&[CONCURRENCY]);
    loop {
        match spawner.turn() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => sys::signal::woken(),
            Err(_) => std::thread::sleep(REST),
        }
    }
}

/// Starts `program` as both spawners do: message on 0, report on 1 and 2.
pub fn plumb<'a>(
    program: sys::spawn::Spawn<'a>,
    message: &'a File,
    report: &'a OwnedFd,
) -> sys::spawn::Spawn<'a> {
    program
        .fd(0, message.as_fd())
        .fd(1, report.as_fd())
        .fd(2, report.as_fd())
}
