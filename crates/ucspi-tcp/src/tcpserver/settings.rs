//! The options of tcpserver, and of servers that have more of them.

mod long;

use std::time::Duration;

use base::opt::{Opt, Options};
use base::{Bytes, Die};
use net::ucspi::{self, Change, Connection, Form};

use crate::host;
use crate::names::Belief;
use crate::options::{Verbosity, Word, leading, misuse, next};
pub use long::{Extras, Unknown};

/// A program with the options of tcpserver.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// what stands in front of its sentences
    pub name: &'static str,
    /// its letters, as for getopt(3): those of tcpserver, and more
    pub letters: &'static str,
    /// what follows its name in the usage
    pub usage: &'static str,
    /// whether the client's host is asked for the user, without an option that says so
    pub ident: bool,
}

/// The letters of tcpserver.
pub const LETTERS: &str = "46dDvqQhHrR1UXx:t:u:g:l:b:B:c:I:pPoO";

/// tcpserver itself.
pub(super) const TCPSERVER: Dialect = Dialect {
    name: "tcpserver",
    letters: LETTERS,
    usage: USAGE,
    ident: true,
};

/// The options that one server has and tcpserver has not.
pub trait More {
    /// Takes a letter. `value` is empty for one without.
    fn letter(&mut self, letter: u8, value: &[u8]);

    /// Takes the option `--name=value`.
    ///
    /// # Errors
    /// It is not known, or its value is not one.
    fn long(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unknown>;
}

impl More for () {
    fn letter(&mut self, _: u8, _: &[u8]) {}

    fn long(&mut self, _: &[u8], _: &[u8]) -> Result<(), Unknown> {
        Err(Unknown)
    }
}

/// Which variables tell a program of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// those of TCP
    #[default]
    Tcp,
    /// those of TLS
    Ssl,
    /// both; PROTO is that of TCP
    Both,
}

impl Protocol {
    /// What changes in the environment of the program.
    pub fn variables(self, connection: &Connection, form: Form) -> Vec<Change> {
        let tcp = ucspi::of_server(connection, form);
        match self {
            Protocol::Tcp => tcp,
            Protocol::Ssl => {
                let none = tcp.into_iter().map(|(name, _)| (name, None));
                none.chain(ucspi::of_tls_server(connection, form)).collect()
            }
            Protocol::Both => {
                let ssl = ucspi::of_tls_server(connection, form);
                ssl.into_iter().chain(tcp).collect()
            }
        }
    }
}

const USAGE: &str = "[ -461UXpPhHrRoOdDqQv ] [ -c limit ] [ -x rules.cdb ] [ -B banner ] [ -g gid ] [ -u uid ] \
                     [ -b backlog ] [ -l localname ] [ -t timeout ] [ -I interface ] host port program";

/// Which sockets are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sockets {
    /// IPv6, which takes IPv4 too; IPv4 where the machine or the address has no other
    #[default]
    Both,
    /// `-4`: IPv4 only
    Four,
}

/// How tcpserver was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// what stands in front of sentences
    pub name: &'static str,
    /// what programs are told of their connection
    pub protocol: Protocol,
    /// how much is said
    pub verbosity: Verbosity,
    /// which sockets are made
    pub sockets: Sockets,
    /// how IPv4 clients are shown; `-6`: as IPv6
    pub form: Form,
    /// `-1`: print the port
    pub print_port: bool,
    /// the most children at once
    pub limit: u64,
    /// connections that the kernel holds for us
    pub backlog: u32,
    /// the file of compiled rules
    pub rules: Option<Bytes>,
    /// `-X`: without a rules file, everybody is let through
    pub rules_may_miss: bool,
    /// sent to every client at once
    pub banner: Bytes,
    /// 0: stays
    pub gid: u32,
    /// 0: stays
    pub uid: u32,
    /// our name, not looked up
    pub local_name: Option<Bytes>,
    /// `-h`: look the client's name up
    pub remote_name: bool,
    /// how far names are believed
    pub belief: Belief,
    /// `-r`: ask for the user
    pub ident: bool,
    /// how long ident may take
    pub ident_time: Duration,
    /// `-o`: leave IP options alone
    pub keep_ip_options: bool,
    /// `-D`: send small writes at once
    pub no_delay: bool,
    /// `-I`: number of the interface of a link-local address
    pub interface: u32,
    /// what the original does not have
    pub extras: Extras,
    /// where to listen, as given
    pub host: Bytes,
    /// the port, as given
    pub port: Bytes,
    /// the program and its arguments; not empty
    pub program: Vec<Bytes>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name: TCPSERVER.name,
            protocol: Protocol::default(),
            verbosity: Verbosity::default(),
            sockets: Sockets::default(),
            form: Form::default(),
            print_port: false,
            limit: 40,
            backlog: 20,
            rules: None,
            rules_may_miss: false,
            banner: Bytes::new(),
            gid: 0,
            uid: 0,
            local_name: None,
            remote_name: true,
            belief: Belief::default(),
            ident: true,
            ident_time: Duration::from_secs(26),
            keep_ip_options: false,
            no_delay: false,
            interface: 0,
            extras: Extras::default(),
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
                    settings.value(letter, &value);
                }
                Word::Letter(Opt::Flag(letter)) => more.letter(letter, b""),
                Word::Letter(Opt::Value(letter, value)) => more.letter(letter, &value),
                Word::Letter(wrong) => return Err(misuse(name, Some(&wrong), usage)),
                Word::Long(word, value) => settings
                    .extras
                    .take(&word, &value)
                    .or_else(|_| more.long(&word, &value))
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

    /// Whether all that there is to know of a client is known at once, and its program can be started without a
    /// process that finds out.
    pub fn is_quick(&self) -> bool {
        self.local_name.is_some() && !self.remote_name && !self.ident && self.banner.is_empty()
    }

    /// Whether clients may be denied without a process. The log of `-v` would show it.
    pub fn denies_early(&self) -> bool {
        let wanted = self.extras.deny_early || self.verbosity != Verbosity::All;
        wanted && self.rules.is_some() && !self.ident && self.banner.is_empty()
    }

    fn flag(&mut self, letter: u8) {
        match letter {
            b'4' => self.sockets = Sockets::Four,
            b'6' => self.form = Form::Six,
            b'1' => self.print_port = true,
            b'v' => self.verbosity = Verbosity::All,
            b'Q' => self.verbosity = Verbosity::Trouble,
            b'q' => self.verbosity = Verbosity::Silent,
            b'X' => self.rules_may_miss = true,
            b'p' => self.belief = Belief::Paranoid,
            b'P' => self.belief = Belief::Any,
            b'h' => self.remote_name = true,
            b'H' => self.remote_name = false,
            b'r' => self.ident = true,
            b'R' => self.ident = false,
            b'o' => self.keep_ip_options = true,
            b'O' => self.keep_ip_options = false,
            b'd' => self.no_delay = false,
            b'D' => self.no_delay = true,
            b'U' => self.take_ids(base::env("UID"), base::env("GID")),
            _ => {}
        }
    }

    fn value(&mut self, letter: u8, value: &[u8]) {
        match letter {
            b'c' => self.limit = leading(value),
            b'b' => self.backlog = id(value),
            b'x' => self.rules = Some(value.to_vec()),
            b'B' => self.banner = value.to_vec(),
            b'g' => self.gid = id(value),
            b'u' => self.uid = id(value),
            b'l' => self.local_name = Some(value.to_vec()),
            b't' => self.ident_time = Duration::from_secs(leading(value)),
            b'I' => self.interface = host::interface(value),
            _ => {}
        }
    }

    fn take_ids(&mut self, uid: Option<Bytes>, gid: Option<Bytes>) {
        if let Some(uid) = uid {
            self.uid = id(&uid);
        }
        if let Some(gid) = gid {
            self.gid = id(&gid);
        }
    }
}

/// Whether tcpserver knows `letter`.
fn is_ours(letter: u8) -> bool {
    letter != b':' && LETTERS.as_bytes().contains(&letter)
}

/// A number of 32 bits. One that is too large becomes the largest, which no system call accepts as an id.
fn id(value: &[u8]) -> u32 {
    u32::try_from(leading(value)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Settings, Die> {
        let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
        Settings::read(&words, &TCPSERVER, &mut ())
    }

    #[test]
    fn a_run_script_of_qmail() {
        let got = read("-vR -c40 -p -u7791 -g 2108 -x smtp.cdb 0 smtp prog -v").unwrap();
        let want = Settings {
            verbosity: Verbosity::All,
            ident: false,
            limit: 40,
            belief: Belief::Paranoid,
            uid: 7791,
            gid: 2108,
            rules: Some(b"smtp.cdb".to_vec()),
            host: b"0".to_vec(),
            port: b"smtp".to_vec(),
            program: vec![b"prog".to_vec(), b"-v".to_vec()],
            ..Settings::default()
        };
        assert_eq!(got, want);
    }

    #[test]
    fn the_last_of_two_opposites_counts() {
        let got = read("-pP -hH -rR -oO -dD -qQ 0 0 prog").unwrap();
        let want = Settings {
            remote_name: false,
            ident: false,
            no_delay: true,
            host: b"0".to_vec(),
            port: b"0".to_vec(),
            program: vec![b"prog".to_vec()],
            ..Settings::default()
        };
        assert_eq!(got, want);
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        let got = read("-c5x -b -t26s -uroot -g99999999999 h p prog").unwrap();
        assert_eq!((got.limit, got.backlog), (5, 0));
        assert_eq!((got.uid, got.gid), (0, u32::MAX));
    }

    #[test]
    fn misuse_shows_the_usage() {
        for line in ["", "0", "0 0", "-Z 0 0 prog", "-c"] {
            assert_eq!(read(line).unwrap_err().code, 100, "{line}");
        }
    }
}
