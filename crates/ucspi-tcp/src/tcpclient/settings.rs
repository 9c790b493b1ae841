//! The options of tcpclient.

use std::net::Ipv6Addr;
use std::time::Duration;

use base::bytes::scan_number;
use base::opt::{Opt, Options};
use base::{Bytes, Die};
use net::ucspi::Form;
use sys::socket::mapped;

use crate::host::literal;
use crate::options::{Verbosity, leading, misuse};
use crate::port::low;

const NAME: &str = "tcpclient";
const LETTERS: &str = "46dDvqQhHrRi:p:t:T:l:I:";
const USAGE: &str = "[ -46hHrRdDqQv ] [ -i localip ] [ -p localport ] [ -T timeoutconn ] [ -l localname ] \
                     [ -t timeoutinfo ] [ -I interface ] host port program";

/// Which addresses are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Families {
    #[default]
    Both,
    /// `-4`: IPv4 only
    Four,
}

/// How tcpclient was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) verbosity: Verbosity,
    pub(super) families: Families,
    /// how IPv4 is shown; `-6`: as IPv6
    pub(super) form: Form,
    /// our address; IPv4 mapped
    pub(super) local_ip: Option<Ipv6Addr>,
    /// our port; 0: any
    pub(super) local_port: u16,
    /// `-I`: number of the interface of a link-local address
    pub(super) interface: u32,
    /// how long each address gets: at first, and again when all have had that
    pub(super) patience: [Duration; 2],
    /// our name, not looked up
    pub(super) local_name: Option<Bytes>,
    /// `-h`: look the server's name up
    pub(super) remote_name: bool,
    /// `-r`: ask for the user
    pub(super) ident: bool,
    /// how long ident may take
    pub(super) ident_time: Duration,
    /// `-D`: send small writes at once
    pub(super) no_delay: bool,
    pub(super) host: Bytes,
    pub(super) port: Bytes,
    /// the program and its arguments; not empty
    pub(super) program: Vec<Bytes>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            verbosity: Verbosity::default(),
            families: Families::default(),
            form: Form::default(),
            local_ip: None,
            local_port: 0,
            interface: 0,
            patience: [Duration::from_secs(2), Duration::from_secs(58)],
            local_name: None,
            remote_name: true,
            ident: true,
            ident_time: Duration::from_secs(26),
            no_delay: false,
            host: Bytes::new(),
            port: Bytes::new(),
            program: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads the command line.
    ///
    /// # Errors
    /// The usage, when it cannot be understood.
    pub(super) fn read(words: &[Bytes]) -> Result<Settings, Die> {
        let mut settings = Settings::default();
        let mut options = Options::new(words, LETTERS);
        for option in options.by_ref() {
            match &option {
                Opt::Flag(letter) => settings.flag(*letter),
                Opt::Value(letter, value) => settings.value(*letter, value)?,
                Opt::Unknown(_) | Opt::Missing(_) => {
                    return Err(misuse(NAME, Some(&option), USAGE));
                }
            }
        }
        let [host, port, program @ ..] = options.rest() else {
            return Err(misuse(NAME, None, USAGE));
        };
        if program.is_empty() {
            return Err(misuse(NAME, None, USAGE));
        }
        settings.host.clone_from(host);
        settings.port.clone_from(port);
        settings.program = program.to_vec();
        Ok(settings)
    }

    fn flag(&mut self, letter: u8) {
        match letter {
            b'4' => self.families = Families::Four,
            b'6' => self.form = Form::Six,
            b'v' => self.verbosity = Verbosity::All,
            b'Q' => self.verbosity = Verbosity::Trouble,
            b'q' => self.verbosity = Verbosity::Silent,
            b'h' => self.remote_name = true,
            b'H' => self.remote_name = false,
            b'r' => self.ident = true,
            b'R' => self.ident = false,
            b'd' => self.no_delay = false,
            b'D' => self.no_delay = true,
            _ => {}
        }
    }

    fn value(&mut self, letter: u8, value: &[u8]) -> Result<(), Die> {
        match letter {
            b'i' => {
                let ip = literal(value).ok_or_else(|| misuse(NAME, None, USAGE))?;
                self.local_ip = Some(mapped(ip));
            }
            b'p' => self.local_port = low(leading(value)),
            b'I' => self.interface = crate::host::interface(value),
            b'T' => self.set_patience(value),
            b'l' => self.local_name = Some(value.to_vec()),
            b't' => self.ident_time = Duration::from_secs(leading(value)),
            _ => {}
        }
        Ok(())
    }

    /// `x+y`, or `x`, which gives no second chance.
    fn set_patience(&mut self, value: &[u8]) {
        let (first, count) = scan_number(value);
        let rest = value.get(count..).unwrap_or_default();
        let rest = rest.strip_prefix(b"+").unwrap_or(rest);
        self.patience = [first, leading(rest)].map(Duration::from_secs);
    }
}
