//! The options of tcpclient.

use std::net::Ipv6Addr;
use std::time::Duration;

use base::bytes::scan_number;
use base::opt::{Opt, Options};
use base::{Bytes, Die};
use net::ucspi::Form;
use sys::socket::mapped;

use crate::host::literal;
use crate::options::{Verbosity, Word, leading, misuse, next};
use crate::port::low;
use crate::tcpserver::settings::{Dialect, More};

/// The letters of tcpclient.
pub const LETTERS: &str = "46dDvqQhHrRi:p:t:T:l:I:";

/// tcpclient itself.
pub(super) const TCPCLIENT: Dialect = Dialect {
    name: "tcpclient",
    letters: LETTERS,
    usage: USAGE,
    ident: true,
};

const USAGE: &str = "[ -46hHrRdDqQv ] [ -i localip ] [ -p localport ] [ -T timeoutconn ] [ -l localname ] \
                     [ -t timeoutinfo ] [ -I interface ] host port program";

/// Which addresses are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv6 and IPv4
    #[default]
    Both,
    /// `-4`: IPv4 only
    Four,
}

/// How tcpclient was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// what stands in front of sentences
    pub name: &'static str,
    /// how much is said
    pub verbosity: Verbosity,
    /// which addresses are tried
    pub families: Families,
    /// how IPv4 is shown; `-6`: as IPv6
    pub form: Form,
    /// our address; IPv4 mapped
    pub local_ip: Option<Ipv6Addr>,
    /// our port; 0: any
    pub local_port: u16,
    /// `-I`: number of the interface of a link-local address
    pub interface: u32,
    /// how long each address gets: at first, and again when all have had that
    pub patience: [Duration; 2],
    /// our name, not looked up
    pub local_name: Option<Bytes>,
    /// `-h`: look the server's name up
    pub remote_name: bool,
    /// `-r`: ask for the user
    pub ident: bool,
    /// how long ident may take
    pub ident_time: Duration,
    /// `-D`: send small writes at once
    pub no_delay: bool,
    /// whom to call
    pub host: Bytes,
    /// the port, as given
    pub port: Bytes,
    /// the program and its arguments; not empty
    pub program: Vec<Bytes>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name: TCPCLIENT.name,
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
    pub fn read(words: &[Bytes], dialect: &Dialect, more: &mut impl More) -> Result<Settings, Die> {
        let Dialect { name, usage, .. } = dialect;
        let mut settings = Settings {
            name,
            ident: dialect.ident,
            ..Settings::default()
        };
        let mut options = Options::new(words, dialect.letters);
        while let Some(word) = next(&mut options) {
            match word {
                Word::Letter(Opt::Flag(letter)) if is_ours(letter) => settings.flag(letter),
                Word::Letter(Opt::Value(letter, value)) if is_ours(letter) => {
                    settings.value(letter, &value, dialect)?;
                }
                Word::Letter(Opt::Flag(letter)) => more.letter(letter, b""),
                Word::Letter(Opt::Value(letter, value)) => more.letter(letter, &value),
                Word::Letter(wrong) => return Err(misuse(name, Some(&wrong), usage)),
                Word::Long(word, value) => more
                    .long(&word, &value)
                    .map_err(|_| misuse(name, Some(&Opt::Unknown(b'-')), usage))?,
            }
        }
        let [host, port, program @ ..] = options.rest() else {
            return Err(misuse(name, None, usage));
        };
        if program.is_empty() {
            return Err(misuse(name, None, usage));
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

    fn value(&mut self, letter: u8, value: &[u8], dialect: &Dialect) -> Result<(), Die> {
        match letter {
            b'i' => {
                let ip = literal(value).ok_or_else(|| misuse(dialect.name, None, dialect.usage))?;
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

/// Whether tcpclient knows `letter`.
fn is_ours(letter: u8) -> bool {
    letter != b':' && LETTERS.as_bytes().contains(&letter)
}
