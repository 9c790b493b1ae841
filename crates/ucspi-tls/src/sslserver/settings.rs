//! The options of sslserver: those of tcpserver, those of ucspi-ssl, and those of our own, which have names.

use std::time::Duration;

use base::bytes::number;
use base::{Bytes, Die, env};
use ucspi_tcp::server::{self, Dialect, More, Protocol, Settings, Unknown, Verbosity};

use tls::server::Version;

/// sslserver, to those who know tcpserver.
const SSLSERVER: Dialect = Dialect {
    name: "sslserver",
    letters: "46dDvqQhHrR1UXx:t:u:g:l:b:B:c:I:pPoO3VeEsSnNzZmT:w:",
    usage: "[ -146UXpPhHrRoOdDqQvVeEsSnNzZm ] [ -c limit ] [ -x rules.cdb ] [ -B banner ] [ -g gid ] [ -u uid ] \
            [ -b backlog ] [ -l localname ] [ -t timeout ] [ -T ssltimeout ] [ -w progtimeout ] [ -I interface ] \
            host port program",
    ident: false,
};

/// The most processes that speak TLS.
const PROCESSES_LIMIT: u64 = 64;
/// As many at most, if nobody asked for a number.
const PROCESSES_DEFAULT: usize = 4;

/// What is asked of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    #[default]
    Nothing,
    /// `--client-cert=ask`
    Certificate,
    /// `-m`, `--client-cert=require`
    CertificateOrNothing,
}

/// What only sslserver has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// `-n`: TLS begins when the program asks for it
    pub(super) delayed: bool,
    /// `-e`: the variables of TCP too
    pub(super) tcp_variables: bool,
    /// `-T`: how long a handshake may take
    pub(super) handshake_time: Duration,
    /// `-w`: how long both sides may be silent
    pub(super) idle_time: Duration,
    pub(super) asked: Asked,
    /// `--min-tls`
    pub(super) oldest: Version,
    /// `--alpn`; `None`: what belongs to the port
    pub(super) protocols: Option<Vec<Bytes>>,
    /// `--processes`
    pub(super) processes: usize,
    /// `--tls-user`
    pub(super) user: Option<Bytes>,
    /// `--ticket-key`
    pub(super) ticket_key: Option<Bytes>,
    /// `--cert-dir`
    pub(super) directory: Option<Bytes>,
    /// `-V`: as `-v`
    loud: bool,
    /// `-3`, `-z`: what cannot be done
    refused: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            delayed: false,
            tcp_variables: false,
            handshake_time: Duration::from_secs(26),
            idle_time: Duration::from_hours(1),
            asked: Asked::default(),
            oldest: Version::default(),
            protocols: None,
            processes: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(PROCESSES_DEFAULT),
            user: None,
            ticket_key: env("TICKETKEYFILE"),
            directory: env("CERTDIR"),
            loud: false,
            refused: None,
        }
    }
}

impl More for Options {
    fn letter(&mut self, letter: u8, value: &[u8]) {
        let seconds = || Duration::from_secs(server::leading(value));
        match letter {
            b'n' => self.delayed = true,
            b'N' => self.delayed = false,
            b'e' => self.tcp_variables = true,
            b'E' => self.tcp_variables = false,
            b'T' => self.handshake_time = seconds(),
            b'w' => self.idle_time = seconds(),
            b'm' => self.asked = Asked::CertificateOrNothing,
            b'Z' => self.asked = Asked::Nothing,
            b'V' => self.loud = true,
            b'3' => self.refused = Some("keys with a password are not supported"),
            b'z' => {
                self.refused = Some("names of clients are not compared with certificates: use -m");
            }
            // -s and -S: programs are always told.
            _ => {}
        }
    }

    fn long(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unknown> {
        match name {
            b"client-cert" => {
                self.asked = match value {
                    b"ask" => Asked::Certificate,
                    b"require" => Asked::CertificateOrNothing,
                    b"ignore" => Asked::Nothing,
                    _ => return Err(Unknown),
                }
            }
            b"min-tls" => {
                self.oldest = match value {
                    b"1.2" => Version::Tls12,
                    b"1.3" => Version::Tls13,
                    _ => return Err(Unknown),
                }
            }
            b"alpn" => self.protocols = Some(protocols(value)?),
            b"processes" => self.processes = processes(value)?,
            b"tls-user" if !value.is_empty() => self.user = Some(value.into()),
            b"ticket-key" if !value.is_empty() => self.ticket_key = Some(value.into()),
            b"cert-dir" if !value.is_empty() => self.directory = Some(value.into()),
            _ => return Err(Unknown),
        }
        Ok(())
    }
}

fn processes(value: &[u8]) -> Result<usize, Unknown> {
    number(value)
        .filter(|n| (1..=PROCESSES_LIMIT).contains(n))
        .and_then(|n| usize::try_from(n).ok())
        .ok_or(Unknown)
}

/// Names with commas between; none at all means that every name is as good as the next.
fn protocols(list: &[u8]) -> Result<Vec<Bytes>, Unknown> {
    let names = list.split(|&b| b == b',').filter(|name| !name.is_empty());
    let names: Vec<Bytes> = names.map(Bytes::from).collect();
    if names.iter().all(|name| name.len() < 256) {
        Ok(names)
    } else {
        Err(Unknown)
    }
}

impl Options {
    /// The protocols that a client of `port` may name: a browser that was sent here by a trick goes away (ALPACA).
    ///
    /// Source  IANA's list of ALPN ids; for SMTP, what other servers take
    pub(super) fn protocols_at(&self, port: u16) -> Vec<Bytes> {
        let of_port: &[&str] = match port {
            25 | 465 | 587 => &["smtp", "esmtp", "submission"],
            110 | 995 => &["pop3"],
            143 | 993 => &["imap"],
            _ => &[],
        };
        let default = || of_port.iter().map(|name| Bytes::from(*name)).collect();
        self.protocols.clone().unwrap_or_else(default)
    }
}

/// Reads the command line and the environment.
///
/// # Errors
/// The usage, when it cannot be understood, or what cannot be done.
pub(super) fn read(words: &[Bytes]) -> Result<(Settings, Options), Die> {
    let mut options = Options::default();
    let mut settings = Settings::read(words, &SSLSERVER, &mut options)?;
    if let Some(why) = options.refused {
        return Err(Die::fatal(100, why));
    }
    settings.protocol = if options.tcp_variables {
        Protocol::Both
    } else {
        Protocol::Ssl
    };
    if options.loud {
        settings.verbosity = Verbosity::All;
    }
    Ok((settings, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<(Settings, Options), Die> {
        let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
        read(&words)
    }

    #[test]
    fn a_run_script_of_ucspi_ssl() {
        let (settings, options) =
            of("-seVn -Rp -T30 -w 600 -x r.cdb -u 7 -g 8 0 587 prog -n").unwrap();
        assert!(options.delayed && options.tcp_variables);
        assert_eq!(options.handshake_time, Duration::from_secs(30));
        assert_eq!(options.idle_time, Duration::from_mins(10));
        assert_eq!(settings.verbosity, Verbosity::All);
        assert_eq!(settings.protocol, Protocol::Both);
        assert_eq!((settings.uid, settings.gid, settings.ident), (7, 8, false));
        assert_eq!(settings.program, [b"prog".to_vec(), b"-n".to_vec()]);
    }

    #[test]
    fn options_with_names() {
        let line =
            "--alpn=smtp,x --processes=3 --min-tls=1.3 --client-cert=ask --per-address=5 0 0 prog";
        let (settings, options) = of(line).unwrap();
        assert_eq!(options.protocols_at(25), [b"smtp".to_vec(), b"x".to_vec()]);
        assert_eq!((options.processes, options.oldest), (3, Version::Tls13));
        assert_eq!(options.asked, Asked::Certificate);
        assert_eq!(settings.extras.per_address, Some(5));
        let (_, plain) = of("0 0 prog").unwrap();
        assert_eq!(plain.protocols_at(995), [b"pop3".to_vec()]);
        assert!(plain.protocols_at(0).is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for line in [
            "-3 0 0 prog",
            "-z 0 0 prog",
            "--processes=0 0 0 prog",
            "--min-tls=1.0 0 0 prog",
            "-k 0 0 prog",
        ] {
            assert_eq!(of(line).unwrap_err().code, 100, "{line}");
        }
    }
}
