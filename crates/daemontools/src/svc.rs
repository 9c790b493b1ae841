//! svc: control services.

use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use sys::Dir;
use sys::signal::Signal;

use crate::announce;
use crate::options::complaint;

const NAME: &str = "svc";

/// The letters, each once, in the order in which the caller gave them. Those after `x` are not of the original, and not
/// in its usage line.
const LETTERS: &str = "udopchaitkxq12wLl";

/// The most letters at once: what every FIFO takes whole.
const COMMANDS: usize = 256;

const USAGE: &str = "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, i interrupt, \
                     t term, k kill\n";

/// Runs `svc [ -udopchaitkxq12wLl ] service ...`: 0 even if some service could not be told.
pub fn run(call: &Call) -> Result<(), Die> {
    let mut commands = Bytes::new();
    let mut told = 0;
    let mut options = Options::new(&call.args, LETTERS);
    for opt in options.by_ref() {
        match opt {
            // Now for another program: what was said to the first is not said to this one.
            Opt::Flag(letter @ (b'L' | b'l')) => {
                commands.push(letter);
                told = commands.len();
            }
            Opt::Flag(letter) if commands.iter().skip(told).any(|&c| c == letter) => {}
            Opt::Flag(letter) => commands.push(letter),
            bad => {
                let text = [complaint(call, &bad).as_slice(), USAGE.as_bytes()].concat();
                return Err(Die::plain(base::die::PERMANENT, text));
            }
        }
    }

    if commands.contains(&b'L') {
        // What comes next, from whomever, is for the service.
        commands.push(b'l');
    }
    if commands.len() > COMMANDS {
        let text = b"too many options";
        return Err(Die::fatal(base::die::PERMANENT, text));
    }

    // A supervise that ends while it is told something is one sentence, not our end.
    let _ = sys::signal::ignore(Signal::SIGPIPE);
    let start = Dir::open(".").map_err(|e| Die::unable("open current directory", &e))?;

    for service in options.rest() {
        tell(service, &commands);
        start.enter().map_err(|e| {
            let text = ["unable to set directory: ", &base::die::system_text(&e)].concat();
            Die::fatal(base::die::TEMPORARY, text)
        })?;
    }
    Ok(())
}

fn tell(service: &[u8], commands: &[u8]) {
    if let Err(e) = std::env::set_current_dir(sys::dir::path(service)) {
        return announce::unable(NAME, [b"chdir to ", service].concat(), &e);
    }
    match sys::dir::open_write(b"supervise/control") {
        Ok(control) => {
            // The FIFO takes these few bytes whole, or not at all: then supervise has not read for long.
            if let Err(e) = sys::fd::write_all(&control, commands) {
                let text = base::die::system_text(&e);
                base::warn(
                    NAME,
                    [
                        b"error writing commands to ",
                        service,
                        b": ",
                        text.as_bytes(),
                    ]
                    .concat(),
                );
            }
        }
        Err(e) if sys::dir::is_without_reader(&e) => {
            base::warn(
                NAME,
                [b"unable to control ", service, b": supervise not running"].concat(),
            );
        }
        Err(e) => announce::unable(NAME, [b"control ", service].concat(), &e),
    }
}
