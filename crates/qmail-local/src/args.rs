//! What qmail-lspawn hands over on the command line.

use base::opt::{Opt, Options};
use base::{Bytes, Die};

const USAGE: &str = "qmail-local [ -nN ] user homedir local dash ext domain sender aliasempty";

/// Whether deliveries are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// make them
    Deliver,
    /// say what would be done
    Show,
}

/// The eight words, and the mode.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) mode: Mode,
    pub(crate) user: Bytes,
    pub(crate) home: Bytes,
    /// the recipient's name: user, dash and ext, or more if a virtual domain put something in front
    pub(crate) local: Bytes,
    pub(crate) dash: Bytes,
    pub(crate) ext: Bytes,
    pub(crate) host: Bytes,
    pub(crate) sender: Bytes,
    /// instructions that stand in for an empty or missing .qmail
    pub(crate) default_delivery: Bytes,
}

impl Args {
    /// Reads the words; the last of `-n` and `-N` counts.
    pub(crate) fn read(words: &[Bytes]) -> Result<Args, Die> {
        let mut mode = Mode::Deliver;
        let mut options = Options::new(words, "nN");
        for option in options.by_ref() {
            match option {
                Opt::Flag(b'n') => mode = Mode::Show,
                Opt::Flag(_) | Opt::Value(..) => mode = Mode::Deliver,
                Opt::Unknown(letter) | Opt::Missing(letter) => return Err(unknown(letter)),
            }
        }
        let [user, home, local, dash, ext, host, sender, default_delivery] = options.rest() else {
            return Err(Die::usage(USAGE));
        };
        if home.first() != Some(&b'/') {
            return Err(Die::usage(USAGE));
        }
        Ok(Args {
            mode,
            user: user.clone(),
            home: home.clone(),
            local: local.clone(),
            dash: dash.clone(),
            ext: ext.clone(),
            host: host.clone(),
            sender: sender.clone(),
            default_delivery: default_delivery.clone(),
        })
    }
}

fn unknown(letter: u8) -> Die {
    let letter = base::bytes::printable(&[letter]);
    let line = [b"qmail-local: illegal option -- ", letter.as_slice(), b"\n"].concat();
    let usage = Die::usage(USAGE).line("qmail-local");
    Die::plain(base::die::PERMANENT, [line, usage].concat())
}
