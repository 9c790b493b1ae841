//! preline(1).

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use sys::process::End;
use sys::signal::Signal;
use sys::spawn::Spawn;

const USAGE: &str = "preline cmd [ arg ... ]";
/// Bytes copied at a time.
const PIECE: usize = 64 * 1024;

/// Runs a program with the message on its descriptor 0, behind the three lines of the delivery. Its exit code is ours.
pub fn preline(call: &Call) -> Result<(), Die> {
    let line = |name| base::env(name).ok_or_else(|| Die::usage(USAGE));
    let lines = [
        (b'f', line("UFLINE")?),
        (b'r', line("RPLINE")?),
        (b'd', line("DTLINE")?),
    ];
    let (without, words) = options(&call.args)?;
    let (program, args) = words.split_first().ok_or_else(|| Die::usage(USAGE))?;

    let (reader, writer) = sys::fd::pipe().map_err(|e| Die::unable("create pipe", &e))?;
    let pid = start(program, args, &reader)?;
    drop(reader);

    let front: Bytes = lines
        .into_iter()
        .filter(|(letter, _)| !without.contains(letter))
        .flat_map(|(_, line)| line)
        .collect();
    copy(&front, writer).map_err(|e| Die::unable("copy input", &e))?;

    match sys::process::wait_for(pid) {
        Ok(End::Exit(0)) => Ok(()),
        Ok(End::Exit(code)) => Err(Die::silent(code)),
        Ok(End::Signal(_)) => Err(Die::fatal(base::die::TEMPORARY, "child crashed")),
        Err(e) => Err(Die::fatal(
            base::die::TEMPORARY,
            format!("wait failed: {}", base::die::system_text(&e)),
        )),
    }
}

/// The letters of the lines to leave out, and the rest of the words.
fn options(words: &[Bytes]) -> Result<(Vec<u8>, &[Bytes]), Die> {
    let mut without = Vec::new();
    let mut options = Options::new(words, "frdFRD");
    for option in options.by_ref() {
        match option {
            Opt::Flag(letter) => {
                without.retain(|&l| l != letter.to_ascii_lowercase());
                if letter.is_ascii_lowercase() {
                    without.push(letter);
                }
            }
            Opt::Unknown(letter) | Opt::Missing(letter) | Opt::Value(letter, _) => {
                let letter = base::bytes::printable(&[letter]);
                let line = [b"preline: illegal option -- ", letter.as_slice(), b"\n"].concat();
                let usage = Die::usage(USAGE).line("preline");
                return Err(Die::plain(base::die::PERMANENT, [line, usage].concat()));
            }
        }
    }
    Ok((without, options.rest()))
}

fn start(program: &Bytes, args: &[Bytes], input: &OwnedFd) -> Result<u32, Die> {
    let signals = |e| Die::unable("set SIGPIPE", &e);
    sys::signal::default(Signal::SIGPIPE).map_err(signals)?;
    let pid = Spawn::new(program).args(args).fd(0, input.as_fd()).spawn();
    sys::signal::ignore(Signal::SIGPIPE).map_err(signals)?;
    pid.map_err(|e| {
        let die = Die::unable([b"run ", program.as_slice()].concat(), &e);
        if sys::is_temporary(&e) {
            die
        } else {
            die.with_code(base::die::PERMANENT)
        }
    })
}

/// Writes `front` and all of descriptor 0. A program that wants no more is left in peace.
fn copy(front: &[u8], to: OwnedFd) -> io::Result<()> {
    let input = sys::fd::take(0)?;
    if !put(&to, front)? {
        return Ok(());
    }
    let mut piece = vec![0; PIECE];
    loop {
        match sys::fd::read(&input, &mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) if put(&to, piece.get(..count).unwrap_or_default())? => {}
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether the program still reads.
fn put(to: &impl AsRawFd, bytes: &[u8]) -> io::Result<bool> {
    match sys::fd::write_all(to, bytes) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(e),
    }
}
