//! The options of sslclient: those of tcpclient, those of ucspi-ssl, and one of our own.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base::die::system_text;
use base::{Bytes, Die, env};
use sys::dir::path;
use tls::client::{Config, Pin, Trust};
use ucspi_tcp::client::{self, Dialect, More, Settings, Unknown};

const SSLCLIENT: Dialect = Dialect {
    name: "sslclient",
    letters: "46dDvqQhHrRi:p:t:T:l:I:eEsSnNxX3a:A:c:k:C:z:V:w:",
    usage: "[ -46hHrRdDqQveEsSnxX ] [ -i localip ] [ -p localport ] [ -T timeoutconn ] [ -l localname ] \
            [ -t timeoutinfo ] [ -I interface ] [ -a cafile ] [ -A cadir ] [ -c certfile ] [ -k keyfile ] \
            [ -w progtimeout ] host port program",
    ident: false,
};

/// Where systems keep the certificates of the authorities that they believe.
const BUNDLES: [&[u8]; 3] = [
    b"/etc/ssl/certs/ca-certificates.crt",
    b"/etc/pki/tls/certs/ca-bundle.crt",
    b"/etc/ssl/cert.pem",
];
/// The largest file of certificates, bytes.
const FILE_LIMIT: u64 = 16 << 20;

/// What only sslclient has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// `-e`: the variables of TCP too
    pub(super) tcp_variables: bool,
    pub(super) handshake_time: Duration,
    /// `-w`: how long both sides may be silent
    pub(super) idle_time: Duration,
    /// `-X`: anybody is believed
    anybody: bool,
    /// `--pin`: who is, whatever the certificate says
    pins: Vec<Pin>,
    /// `-a`, `-A`
    authorities: Option<Bytes>,
    authority_directory: Option<Bytes>,
    /// `-c`, `-k`
    certificate: Option<Bytes>,
    key: Option<Bytes>,
    refused: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Options {
        let variable = |name| env(name).filter(|value| !value.is_empty());
        Options {
            tcp_variables: false,
            handshake_time: Duration::from_mins(1),
            idle_time: Duration::from_hours(1),
            anybody: false,
            pins: Vec::new(),
            authorities: variable("CAFILE"),
            authority_directory: variable("CADIR"),
            certificate: variable("CERTFILE"),
            key: variable("KEYFILE"),
            refused: None,
        }
    }
}

impl More for Options {
    fn letter(&mut self, letter: u8, value: &[u8]) {
        let given = || Some(value.to_vec()).filter(|v| !v.is_empty());
        match letter {
            b'e' => self.tcp_variables = true,
            b'E' => self.tcp_variables = false,
            b'x' => self.anybody = false,
            b'X' => self.anybody = true,
            b'a' => self.authorities = given(),
            b'A' => self.authority_directory = given(),
            b'c' => self.certificate = given(),
            b'k' => self.key = given(),
            b'w' => self.idle_time = Duration::from_secs(client::leading(value)),
            b'3' => self.refused = Some("keys with a password are not supported"),
            b'N' => self.refused = Some("the server's name is always compared: use --pin or -X"),
            b'C' | b'z' => self.refused = Some("ciphers cannot be chosen"),
            // -s, -S: programs are always told. -n: the default. -V: paths have a limit of their own.
            _ => {}
        }
    }

    fn long(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unknown> {
        match name {
            b"pin" => self.pins.push(pin(value).ok_or(Unknown)?),
            _ => return Err(Unknown),
        }
        Ok(())
    }
}

/// The name that the server must have: that of the arguments.
pub(super) fn name(host: &[u8]) -> &[u8] {
    if matches!(host, b"" | b"0") {
        return b"localhost";
    }
    let bare = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]"));
    bare.unwrap_or(host)
}

/// 64 hexadecimal digits, with or without colons, perhaps behind `SHA256:`.
fn pin(value: &[u8]) -> Option<Pin> {
    let value = value.strip_prefix(b"SHA256:").unwrap_or(value);
    let digits: Vec<u8> = value
        .iter()
        .filter(|b| **b != b':')
        .map(|b| {
            char::from(*b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        })
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

impl Options {
    /// # Errors
    /// Certificates that cannot be read or used.
    pub(super) fn config(&self, host: &[u8]) -> Result<Config, Die> {
        let identity = self.identity()?;
        let trust = if self.anybody {
            Trust::Anybody
        } else if self.pins.is_empty() {
            Trust::Authorities {
                roots: Arc::new(self.roots()?),
                names: vec![name(host).to_vec()],
            }
        } else {
            Trust::Pins(self.pins.clone())
        };
        Config::new(trust, identity.as_deref())
            .map_err(|why| Die::fatal(111, format!("unable to set up TLS: {why}")))
    }

    /// Certificate and key, one behind the other.
    fn identity(&self) -> Result<Option<Bytes>, Die> {
        let Some(certificate) = &self.certificate else {
            return Ok(None);
        };
        let mut text = read(certificate)?;
        if let Some(key) = &self.key {
            text.push(b'\n');
            text.extend(read(key)?);
        }
        Ok(Some(text))
    }

    fn roots(&self) -> Result<Bytes, Die> {
        let mut text = Bytes::new();
        if let Some(file) = &self.authorities {
            text.extend(read(file)?);
        }
        if let Some(directory) = &self.authority_directory {
            let failed = |e| Die::unable([b"read ", directory.as_slice()].concat(), &e);
            for entry in fs::read_dir(path(directory)).map_err(failed)? {
                let file = entry.map_err(failed)?.path();
                if file.is_file() {
                    text.extend(read(file.as_os_str().as_encoded_bytes())?);
                    text.push(b'\n');
                }
            }
        }
        if self.authorities.is_none() && self.authority_directory.is_none() {
            let there = |file: &&&[u8]| path(file).exists();
            if let Some(file) = BUNDLES.iter().find(there) {
                text = read(file)?;
            }
        }
        Ok(text)
    }
}

fn read(file: &[u8]) -> Result<Bytes, Die> {
    let failed = |why: &str| {
        let text = [b"unable to read ", file, b": ", why.as_bytes()].concat();
        Die::fatal(111, text)
    };
    let about = fs::metadata(path(file)).map_err(|e| failed(&system_text(&e)))?;
    if about.len() > FILE_LIMIT {
        return Err(failed("file too large"));
    }
    fs::read(path(file)).map_err(|e| failed(&system_text(&e)))
}

/// Reads the command line and the environment.
///
/// # Errors
/// The usage, when it cannot be understood, or what cannot be done.
pub(super) fn read_line(words: &[Bytes]) -> Result<(Settings, Options), Die> {
    let mut options = Options::default();
    let settings = Settings::read(words, &SSLCLIENT, &mut options)?;
    if let Some(why) = options.refused {
        let die = Die::fatal(100, why);
        return Err(client::last_word(die, settings.verbosity));
    }
    Ok((settings, options))
}

#[cfg(test)]
mod tests {
    use ucspi_tcp::client::Verbosity;

    use super::*;

    fn of(line: &str) -> Result<(Settings, Options), Die> {
        let words: Vec<Bytes> = line.split(' ').map(Bytes::from).collect();
        read_line(&words)
    }

    #[test]
    fn a_line_of_ucspi_ssl() {
        let (settings, options) =
            of("-seRHv -a ca.pem -c my.pem -k my.key -w 30 h.test 995 prog").unwrap();
        assert!(options.tcp_variables && !options.anybody);
        assert_eq!(options.authorities.as_deref(), Some(&b"ca.pem"[..]));
        assert_eq!(options.idle_time, Duration::from_secs(30));
        assert_eq!(settings.verbosity, Verbosity::All);
        for line in [
            "-N h 1 p",
            "-C x h 1 p",
            "-3 h 1 p",
            "--pin=12 h 1 p",
            "--x h 1 p",
            "h 1",
        ] {
            assert_eq!(of(line).unwrap_err().code, 100, "{line}");
        }
    }

    #[test]
    fn fingerprints_have_some_forms() {
        let plain = "00ff".repeat(16);
        let want: Pin = [0, 255].repeat(16).try_into().unwrap();
        assert_eq!(pin(plain.as_bytes()), Some(want));
        assert_eq!(
            pin(format!("SHA256:{}", plain.to_uppercase()).as_bytes()),
            Some(want)
        );
        assert_eq!(
            pin("00:ff:".repeat(16).trim_end_matches(':').as_bytes()),
            Some(want)
        );
        for wrong in ["", "00", "zz", &"0".repeat(63)] {
            assert_eq!(pin(wrong.as_bytes()), None);
        }
    }

    #[test]
    fn the_name_is_that_of_the_arguments() {
        assert_eq!(name(b"0"), b"localhost");
        assert_eq!(name(b"[::1]"), b"::1");
        assert_eq!(name(b"h.test"), b"h.test");
    }
}
