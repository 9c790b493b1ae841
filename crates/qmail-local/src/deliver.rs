//! Carrying out the instructions of a .qmail file, in order; the forwards come last, as one message.

use std::io::Write;

use base::bytes::printable;
use base::{Bytes, Die};
use mailbox::Trouble;
use mailbox::maildir::Arrival;
use mailbox::{maildir, mbox};
use queue::submit::Outcome;

use crate::args::{Args, Mode};
use crate::die;
use crate::dotfile::Instructions;
use crate::environment::Lines;
use crate::forwarding::{self, Failure};
use crate::instruction::{Allowed, Instruction, before_nul, lines};
use crate::message::Message;
use crate::once::Once;
use crate::program::{self, Next};

/// One delivery at work.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) args: &'a Args,
    pub(crate) lines: Lines,
    pub(crate) new_sender: Bytes,
    /// what programs get
    pub(crate) env: Vec<(Bytes, Bytes)>,
    pub(crate) message: Message,
    /// how it can be known again
    pub(crate) once: Option<Once>,
}

/// What was done, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    files: u64,
    /// of these, maildirs that had the message from an earlier attempt
    there: u64,
    forwards: u64,
    programs: u64,
    /// the queue program that took the forwards
    queued: Option<u32>,
}

impl Done {
    /// One maildir.
    pub(crate) fn one_maildir(arrival: &Arrival) -> Done {
        let mut done = Done {
            files: 1,
            ..Done::default()
        };
        done.note(arrival);
        done
    }

    fn note(&mut self, arrival: &Arrival) {
        self.there += u64::from(*arrival == Arrival::Before);
    }

    /// `did FILES+FORWARDS+PROGRAMS`; how many of the files were there before; `qp PID` after forwards.
    pub(crate) fn report(&self) -> String {
        let there = match self.there {
            0 => String::new(),
            count => format!("{count} there already\n"),
        };
        let queued = self
            .queued
            .map_or(String::new(), |pid| format!("qp {pid}\n"));
        format!(
            "did {}+{}+{}\n{there}{queued}",
            self.files, self.forwards, self.programs
        )
    }
}

impl Delivery<'_> {
    /// Carries all out. The first failure ends it; what was done stays done.
    pub(crate) fn run(&mut self, instructions: &Instructions) -> Result<Done, Die> {
        let mut done = Done::default();
        let mut allowed = instructions.allowed;
        let mut addresses: Vec<Bytes> = Vec::new();
        for (number, line) in lines(&instructions.text).enumerate() {
            match Instruction::parse(line) {
                Instruction::Blank if number == 0 => {
                    return Err(die::temporary(
                        "Uh-oh: first line of .qmail file is blank. (#4.2.1)",
                    ));
                }
                Instruction::Blank | Instruction::Nothing => {}
                Instruction::ForwardsOnly => allowed = Allowed::Forwards,
                Instruction::Maildir(dir) => {
                    done.files += 1;
                    may_have(allowed, "file")?;
                    if let Some(arrival) = self.maildir(number, dir)? {
                        done.note(&arrival);
                    }
                }
                Instruction::Mbox(file) => {
                    done.files += 1;
                    may_have(allowed, "file")?;
                    self.mbox(file)?;
                }
                Instruction::Program(command) => {
                    done.programs += 1;
                    may_have(allowed, "prog")?;
                    if self.program(command)? == Next::Stop {
                        break;
                    }
                }
                Instruction::Forward(address) => {
                    done.forwards += 1;
                    match self.args.mode {
                        Mode::Show => say("forward", address),
                        Mode::Deliver => addresses.push(before_nul(address).to_vec()),
                    }
                }
            }
        }
        if !addresses.is_empty() {
            done.queued = Some(self.forward(&addresses)?);
        }
        Ok(done)
    }

    /// `None`: it was only shown.
    fn maildir(&mut self, line: usize, dir: &[u8]) -> Result<Option<Arrival>, Die> {
        if self.args.mode == Mode::Show {
            say("maildir", dir);
            return Ok(None);
        }
        let header = self.lines.header();
        let opening = self.message.opening();
        let once = self.once.map(|once| once.of(self.args, opening, line));
        let message = self.message.rewound()?;
        maildir::deliver_once(before_nul(dir), &header, message, once)
            .map(Some)
            .map_err(maildir_trouble)
    }

    fn mbox(&mut self, file: &[u8]) -> Result<(), Die> {
        if self.args.mode == Mode::Show {
            say("mbox", file);
            return Ok(());
        }
        let file = before_nul(file);
        let header = self.lines.header();
        let lines = mbox::Lines {
            from: &self.lines.from,
            header: &header,
        };
        let message = self.message.rewound()?;
        mbox::deliver(file, lines, message).map_err(|trouble| match trouble {
            Trouble::Open(e) => die::unable(&[b"open ", file].concat(), &e, "#4.2.1"),
            Trouble::Slow => {
                die::temporary("File has been locked for 30 seconds straight. (#4.3.0)")
            }
            Trouble::Read(e) => die::unable(b"read message", &e, "#4.3.0"),
            Trouble::Write(e) => die::unable(&[b"write ", file].concat(), &e, "#4.3.0"),
        })
    }

    fn program(&mut self, command: &[u8]) -> Result<Next, Die> {
        if self.args.mode == Mode::Show {
            say("program", command);
            return Ok(Next::Line);
        }
        let message = self.message.rewound()?;
        program::run(before_nul(command), &self.env, message)
    }

    fn forward(&mut self, addresses: &[Bytes]) -> Result<u32, Die> {
        let (delivered_to, sender) = (&self.lines.delivered_to, &self.new_sender);
        let message = self.message.rewound()?;
        let refused = |code, text: &[u8]| {
            let line = [b"Unable to forward message: ", text, b"."].concat();
            Err(die::plain(code, &line))
        };
        match forwarding::send(delivered_to, message, sender, addresses) {
            Ok(pid) => Ok(pid),
            Err(Failure::Fork(e)) => Err(die::unable(b"fork", &e, "#4.3.0")),
            Err(Failure::Read(e)) => Err(die::unable(b"read message", &e, "#4.3.0")),
            Err(Failure::Queue(Outcome::Permanent(text))) => refused(base::die::PERMANENT, &text),
            Err(Failure::Queue(outcome)) => {
                let text = outcome.letter_text();
                refused(base::die::TEMPORARY, text.get(1..).unwrap_or_default())
            }
        }
    }
}

/// The last words after a maildir that could not be delivered to.
pub(crate) fn maildir_trouble(trouble: Trouble) -> Die {
    die::temporary(match trouble {
        Trouble::Open(e) if !sys::is_temporary(&e) => "Unable to chdir to maildir. (#4.2.1)",
        Trouble::Slow => "Timeout on maildir delivery. (#4.3.0)",
        Trouble::Read(_) => "Unable to read message. (#4.3.0)",
        Trouble::Open(_) | Trouble::Write(_) => "Temporary error on maildir delivery. (#4.3.0)",
    })
}

/// Files and programs are refused where only forwards are allowed.
fn may_have(allowed: Allowed, what: &str) -> Result<(), Die> {
    match allowed {
        Allowed::Everything => Ok(()),
        Allowed::Forwards => Err(die::temporary(&format!(
            "Uh-oh: .qmail has {what} delivery but has x bit set. (#4.7.0)"
        ))),
    }
}

/// One line for `-n`, as it stands in the file.
fn say(kind: &str, what: &[u8]) {
    report(&[kind.as_bytes(), b" ", what, b"\n"].concat());
}

/// Writes to the report. The delivery counts, not whether somebody hears of it.
pub(crate) fn report(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// Writes a warning to descriptor 2.
pub(crate) fn warn(text: &[u8]) {
    let _ = std::io::stderr().write_all(&[&printable(text), b"\n".as_slice()].concat());
}
