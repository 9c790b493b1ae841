//! setlock: run a program while a file is locked.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use base::opt::{Opt, Options};
use base::{Call, Die};

use crate::child::Child;
use crate::options::complaint;

const USAGE: &str = "setlock [ -nNxX ] file program [ arg ... ]";

/// What to do when somebody else holds the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Wait,
    GiveUp,
}

/// What to do when there is no lock to be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Complain,
    LeaveQuietly,
}

/// Runs `setlock [ -nNxX ] file program`; returns only if the program could not be run.
pub fn run(call: &Call) -> Result<(), Die> {
    let mut held = Held::Wait;
    let mut trouble = Trouble::Complain;
    let mut options = Options::new(&call.args, "nNxX");
    for opt in options.by_ref() {
        match opt {
            Opt::Flag(b'n') => held = Held::GiveUp,
            Opt::Flag(b'N') => held = Held::Wait,
            Opt::Flag(b'x') => trouble = Trouble::LeaveQuietly,
            Opt::Flag(b'X') => trouble = Trouble::Complain,
            bad => return Err(misuse(&complaint(call, &bad))),
        }
    }
    let (file, rest) = options.rest().split_first().ok_or_else(|| misuse(b""))?;
    let child = Child::new(rest).ok_or_else(|| misuse(b""))?;

    let locked = open(file)
        .map_err(|e| Die::unable([b"open ", file.as_slice()].concat(), &e))
        .and_then(|open| {
            lock(&open, held).map_err(|e| Die::unable([b"lock ", file.as_slice()].concat(), &e))?;
            Ok(open)
        });
    match (locked, trouble) {
        // The lock lives as long as the file is open, so the program has to inherit it.
        (Ok(_open), _) => Err(child.exec()),
        (Err(_), Trouble::LeaveQuietly) => Ok(()),
        (Err(die), Trouble::Complain) => Err(die),
    }
}

fn misuse(complaint: &[u8]) -> Die {
    let usage = Die::usage(USAGE).line("setlock");
    Die::plain(base::die::PERMANENT, [complaint, &usage].concat())
}

fn open(path: &[u8]) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(sys::dir::path(path))?;
    sys::fd::close_on_exec(&file, false)?;
    Ok(file)
}

fn lock(file: &File, held: Held) -> io::Result<()> {
    match held {
        Held::Wait => sys::lock::exclusive(file),
        Held::GiveUp => sys::lock::exclusive_now(file),
    }
}
