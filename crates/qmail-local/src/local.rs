//! qmail-local(8): one message, one recipient.

use base::{Call, Die};

use crate::args::{Args, Mode};
use crate::deliver::{Delivery, report, warn};
use crate::environment::{Lines, variables};
use crate::message::Message;
use crate::once::{self, Once};
use crate::{die, dotfile, program};

/// A home directory in this state belongs to others too.
const OTHERS_WRITE: u32 = 0o002;
/// The owner's sign that he is editing his .qmail files.
const STICKY: u32 = 0o1000;

/// The program.
pub fn local(call: &Call) -> Result<(), Die> {
    // Others look for it in this program's file.
    std::hint::black_box(&crate::identity::MARK);
    let args = Args::read(&call.args)?;

    sys::process::umask(0o077);
    for signal in program::HELD_BACK {
        sys::signal::ignore(signal).map_err(|e| Die::unable("ignore signals", &e))?;
    }
    enter_home(&args)?;

    let lines = Lines::new(&args, base::tai::unix_now());
    let mut message = Message::take();
    if args.mode == Mode::Deliver {
        message.refuse_loop(&lines.delivered_to)?;
    }
    let instructions = dotfile::find(&args)?;
    let new_sender = dotfile::new_sender(&args)?;
    let env = variables(
        &args,
        &lines,
        &new_sender,
        instructions.default.as_deref(),
        sys::spawn::environment(),
    );

    let mut delivery = Delivery {
        args: &args,
        lines,
        new_sender,
        env,
        message,
        once: base::env(once::VARIABLE).and_then(|word| Once::read(&word)),
    };
    let done = delivery.run(&instructions)?;

    report(done.report().as_bytes());
    Ok(())
}

/// Makes the recipient's home the working directory, and looks whether it is in a state to deliver.
pub(crate) fn enter_home(args: &Args) -> Result<(), Die> {
    std::env::set_current_dir(sys::dir::path(&args.home)).map_err(|e| {
        die::unable(
            &[b"switch to ", args.home.as_slice()].concat(),
            &e,
            "#4.3.0",
        )
    })?;
    let stat =
        sys::dir::stat_path(b".").map_err(|e| die::unable(b"stat home directory", &e, "#4.3.0"))?;
    if stat.mode & OTHERS_WRITE != 0 {
        return Err(die::temporary(
            "Uh-oh: home directory is writable. (#4.7.0)",
        ));
    }
    if stat.mode & STICKY != 0 {
        if args.mode == Mode::Deliver {
            return Err(die::temporary(
                "Home directory is sticky: user is editing his .qmail file. (#4.2.1)",
            ));
        }
        warn(b"Warning: home directory is sticky.");
    }
    Ok(())
}
