//! multilog: write selected lines into rotated logs.
//!
//! The loop reads a block, gives it to `lines`, which runs the script on every line, and writes everything out before
//! it waits for the next block. So nothing that was read waits in memory while the input is quiet.

mod directory;
mod input;
mod lines;
mod pattern;
mod pause;
mod restart;
mod rotate;
mod script;
mod status;
mod unsafe_files;

use base::{Bytes, Call, Die};
use sys::Dir;
use sys::sandbox::{Access, Promises};
use sys::signal::Signal;

use crate::multilog::input::{Input, Next};
use crate::multilog::lines::Lines;
use crate::multilog::script::Script;

/// What multilog without a processor promises before it reads the first line: to work in its log directories. `words`
/// are its arguments.
pub fn promises(words: &[Bytes]) -> Promises {
    let logs = words.iter().filter(|word| script::is_directory(word));
    logs.fold(Promises::new().with_threads(), |all, log| {
        all.path(log, Access::Make)
    })
}

const NAME: &str = "multilog";

/// Runs `multilog script` until descriptor 0 ends, or until the end of a line after SIGTERM.
pub fn run(call: &Call) -> Result<(), Die> {
    sys::process::umask(0o022);
    let start = Dir::open(".").map_err(|e| Die::unable("switch to current directory", &e))?;

    let mut input = Input::open()?;
    // A caller that ignores the ends of its children would keep that of a processor from us.
    let _ = sys::signal::default(Signal::SIGCHLD);
    // A file size limit is then an error that can be dealt with, not the end; and who reads descriptor 2 may leave
    // without taking the logs along. A processor finds both as usual.
    for signal in [Signal::SIGXFSZ, Signal::SIGPIPE] {
        sys::signal::catch(signal).map_err(|e| Die::unable("catch signals", &e))?;
    }
    let script = Script::read(&start, &call.args)?;
    // A processor must be free to do its work, and would inherit every wall.
    if !script.has_processor() {
        promises(&call.args).enforce();
        // Where the system was too short of something to keep a log within the walls, another start may do better.
        script.reach()?;
    }
    let mut lines = Lines::new(script);

    loop {
        lines.flush();
        match input.next() {
            Next::Block(block) => lines.feed(block),
            Next::Rotate => lines.rotate(),
            Next::End => break,
        }
    }

    lines.finish();
    Ok(())
}
