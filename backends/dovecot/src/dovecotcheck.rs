//! dovecotcheck: Dovecot says whether it is him, and who he becomes.

use std::time::Duration;

use aside::{Answer, Name, Row, Settings, Trouble, ask, identity};
use auth::accept::{Backend, Entry, Identity, check};
use auth::scheme::Bare;
use base::{Bytes, Call, Die};

use crate::talk::{Talk, service};

const AUTH: &str = "/run/dovecot/auth-client";
const USERDB: &str = "/run/dovecot/auth-userdb";
/// The word for no socket.
const NO_USERDB: &str = "none";
const WORDS: [&str; 3] = ["auth", "userdb", "service"];

struct Dovecot;

impl Backend for Dovecot {
    /// Dovecot holds responses only against challenges of its own, and says nothing that we could hold them against:
    /// only who somebody is.
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        let settings = Settings::read_if_there("dovecotcheck", "DOVECOTCHECK", &WORDS)?;
        let sockets = Sockets::of(&settings)?;
        let timeout = settings.timeout()?;
        let ids = settings.runas()?;
        let about = about(&settings);
        if Name::parse(name).is_none() || sockets.userdb == NO_USERDB {
            return Ok(None);
        }
        let job = || sockets.user(timeout, &about, name);
        let found = ask(timeout, ids.as_ref(), job)?;
        let found = found.map(|row| identity(name, &row, &settings));
        Ok(found.transpose()?.map(|identity| Entry {
            secrets: Vec::new(),
            bare: Bare::Crypt,
            identity,
        }))
    }

    fn judge(&self, name: &[u8], password: &[u8]) -> Result<Option<Option<Identity>>, Die> {
        let settings = Settings::read_if_there("dovecotcheck", "DOVECOTCHECK", &WORDS)?;
        let sockets = Sockets::of(&settings)?;
        let timeout = settings.timeout()?;
        let ids = settings.runas()?;
        let about = about(&settings);
        if Name::parse(name).is_none() || password.contains(&0) {
            auth::scheme::nobody(None, password);
            return Ok(Some(None));
        }

        let job = || {
            let talk = Talk::connect(&sockets.auth, timeout)?;
            let Some(fields) = talk.password(&about, name, password)? else {
                return Ok(None);
            };
            let told = row(fields);
            if sockets.userdb == NO_USERDB {
                return Ok(Some(told));
            }
            // Under the name that he was let in by.
            let user: Bytes = told.get("user").unwrap_or(name).to_vec();
            let found = sockets.user(timeout, &about, &user)?;
            let none = || Trouble::unable("talk with Dovecot", "it knows a password, but no user");
            found.map(Some).ok_or_else(none)
        };
        let row = ask(timeout, ids.as_ref(), job)?;
        let found = row.map(|row| identity(name, &row, &settings)).transpose()?;
        Ok(Some(found))
    }
}

/// Where Dovecot listens.
struct Sockets {
    auth: String,
    userdb: String,
}

impl Sockets {
    fn of(settings: &Settings) -> Result<Sockets, Die> {
        let socket = |word: &str, default: &str| {
            let text = settings.text(word)?;
            Ok::<_, Die>(text.unwrap_or_else(|| default.to_owned()))
        };
        Ok(Sockets {
            auth: socket("auth", AUTH)?,
            userdb: socket("userdb", USERDB)?,
        })
    }

    /// Who a name is.
    fn user(&self, timeout: Duration, about: &[Bytes], name: &[u8]) -> Result<Answer, Trouble> {
        let fields = Talk::connect(&self.userdb, timeout)?.user(about, name)?;
        Ok(fields.map(row))
    }
}

fn row(fields: Vec<(Bytes, Bytes)>) -> Row {
    let mut row = Row::default();
    for (word, value) in fields {
        row.add(word, value);
    }
    row
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
