//! dovecotcheck: Dovecot says whether it is him, and who he becomes.

use aside::{Name, Row, Settings, ask, identity};
use auth::accept::{Backend, Entry, Identity, check};
use base::{Bytes, Call, Die};

use crate::talk::{Talk, service};

const AUTH: &str = "/run/dovecot/auth-client";
const USERDB: &str = "/run/dovecot/auth-userdb";
const WORDS: [&str; 3] = ["auth", "userdb", "service"];

struct Dovecot;

impl Backend for Dovecot {
    /// Dovecot holds responses only against challenges of its own, so there is nothing that we could ask.
    fn find(&self, _: &[u8]) -> Result<Option<Entry>, Die> {
        Ok(None)
    }

    fn judge(&self, name: &[u8], password: &[u8]) -> Result<Option<Option<Identity>>, Die> {
        let settings = Settings::read_if_there("dovecotcheck", "DOVECOTCHECK", &WORDS)?;
        let socket = |word: &str, default: &str| {
            let text = settings.text(word)?;
            Ok::<_, Die>(text.unwrap_or_else(|| default.to_owned()))
        };
        let (auth, userdb) = (socket("auth", AUTH)?, socket("userdb", USERDB)?);
        let timeout = settings.timeout()?;
        let ids = settings.runas()?;
        let about = about(&settings);
        if Name::parse(name).is_none() || password.contains(&0) {
            auth::scheme::nobody(None, password);
            return Ok(Some(None));
        }

        let job = || {
            let talk = Talk::connect(&auth, timeout)?;
            let Some(fields) = talk.password(&about, name, password)? else {
                return Ok(None);
            };
            let mut row = Row::default();
            for (word, value) in fields {
                row.add(word, value);
            }
            if userdb == "none" {
                return Ok(Some(row));
            }
            // Under the name that he was let in by.
            let user: Bytes = row.get("user").unwrap_or(name).to_vec();
            let Some(fields) = Talk::connect(&userdb, timeout)?.user(&about, &user)? else {
                let why = "it knows a password, but no user";
                return Err(aside::Trouble::unable("talk with Dovecot", why));
            };
            let mut row = Row::default();
            for (word, value) in fields {
                row.add(word, value);
            }
            Ok(Some(row))
        };
        let row = ask(timeout, ids.as_ref(), job)?;
        let found = row.map(|row| identity(name, &row, &settings)).transpose()?;
        Ok(Some(found))
    }
}

/// What Dovecot is told of the session. `secured`: whether a password may come in clear was our server's question;
/// `no-penalty`: who guesses waits there already, and all its clients would wait here.
fn about(settings: &Settings) -> Vec<Bytes> {
    let port = base::env("TCPLOCALPORT");
    let by_port = service(port.as_deref()).as_bytes();
    let service = settings.get("service").unwrap_or(by_port);
    let mut list = vec![
        [b"service=", service].concat(),
        b"secured".to_vec(),
        b"nologin".to_vec(),
        b"no-penalty".to_vec(),
    ];
    let variables = [
        ("rip", "TCPREMOTEIP"),
        ("rport", "TCPREMOTEPORT"),
        ("lip", "TCPLOCALIP"),
        ("lport", "TCPLOCALPORT"),
    ];
    for (word, variable) in variables {
        if let Some(value) = base::env(variable).filter(|v| !v.is_empty()) {
            list.push([word.as_bytes(), b"=", &value].concat());
        }
    }
    list
}

/// The program: see dovecotcheck(8).
pub fn dovecotcheck(call: &Call) -> Result<(), Die> {
    check(call, &Dovecot)
}
