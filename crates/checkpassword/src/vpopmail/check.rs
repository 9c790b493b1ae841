//! vchkpw: passwords of vpopmail, with its services, log lines and exit codes.

use std::net::IpAddr;

use auth::accept::{Entry as Known, Identity, become_program, is_right};
use auth::claim::{self, NoClaim, Proof};
use auth::scheme::{self, Bare};
use auth::scram;
use base::bytes::{find as find_bytes, number, split_once};
use base::{Bytes, Call, Die};
use sys::ids::Ids;

use super::syslog::Log;
use super::{Accounts, Entry, Files, Told, domain, flag, home, is_name, opensmtp, split};
use crate::store::make_maildir;

/// Letters of a traditional crypt.
const DES_LENGTH: usize = 13;

/// Exit codes of vpopmail.
mod code {
    pub(super) const DENIED: u8 = 1;
    pub(super) const WRONG: u8 = 3;
    pub(super) const NO_SETUID: u8 = 5;
    pub(super) const NO_DIR: u8 = 6;
    pub(super) const NOT_CALLED: u8 = 11;
    pub(super) const NO_NAME: u8 = 12;
    pub(super) const NO_PASSWORD: u8 = 13;
    pub(super) const NO_MAKE: u8 = 14;
    pub(super) const NONE_STORED: u8 = 15;
    pub(super) const ODD: u8 = 20;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Smtp,
    Pop,
    Imap,
    Webmail,
}

/// Which service asks: by its port, or by what we shall become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    kind: Kind,
    name: String,
}

impl Service {
    pub(super) fn of(port: Option<u64>, program: &[u8], client: Option<IpAddr>) -> Service {
        let (kind, name) = match port {
            Some(25) => (Kind::Smtp, "smtp".to_owned()),
            Some(110) => (Kind::Pop, "pop3".to_owned()),
            Some(143) => (Kind::Imap, "imap".to_owned()),
            Some(465) => (Kind::Smtp, "smtps".to_owned()),
            Some(587) => (Kind::Smtp, "submission".to_owned()),
            Some(993) => (Kind::Imap, "imaps".to_owned()),
            Some(995) => (Kind::Pop, "pop3s".to_owned()),
            other => {
                let kind = if find_bytes(program, b"true").is_some() {
                    Kind::Smtp
                } else if find_bytes(program, b"imap").is_some() {
                    Kind::Imap
                } else {
                    Kind::Pop
                };
                (kind, other.map_or(String::new(), |port| port.to_string()))
            }
        };
        let is_here = client.is_some_and(|c| c == IpAddr::from([127, 0, 0, 1]));
        if is_here && kind != Kind::Smtp {
            return Service {
                kind: Kind::Webmail,
                name: "vchkpw-webmail".to_owned(),
            };
        }
        Service {
            kind,
            name: format!("vchkpw-{name}"),
        }
    }

    /// The words for a service that is forbidden, if it is.
    fn denied(&self, flags: u64) -> Option<&'static str> {
        let (flag, words) = match self.kind {
            Kind::Smtp => (flag::NO_SMTP, "smtp access denied"),
            Kind::Pop => (flag::NO_POP, "pop access denied"),
            Kind::Imap => (flag::NO_IMAP, "imap access denied"),
            Kind::Webmail => (flag::NO_WEBMAIL, "webmail access denied"),
        };
        (flags & flag != 0).then_some(words)
    }
}

/// One run: where to, and how to log it.
struct Attempt {
    log: Log,
    service: Service,
    /// the client's address, as told
    ip: Bytes,
}

impl Attempt {
    /// `vchkpw-pop3: WORDS WHO:IP`
    fn line(&self, words: &str, who: &[u8]) -> Bytes {
        let name = self.service.name.as_bytes();
        [name, b": ", words.as_bytes(), b" ", who, b":", &self.ip].concat()
    }

    fn fail(&self, code: u8, words: &str, who: &[u8]) -> Die {
        self.log.error(&self.line(words, who));
        Die::silent(code)
    }
}

/// The program: see vchkpw(8).
pub fn vchkpw(call: &Call) -> Result<(), Die> {
    vchkpw_with(call, &Files)
}

/// The same with users that are kept elsewhere.
pub fn vchkpw_with(call: &Call, users: &impl Accounts) -> Result<(), Die> {
    let claim = match claim::read() {
        Ok(claim) => claim,
        Err(NoClaim::Malformed) => return Err(Die::silent(code::NO_PASSWORD)),
        Err(_) => {
            let text =
                "vchkpw is run by a server, which tells names and passwords on descriptor 3\n";
            return Err(Die::plain(code::NOT_CALLED, text));
        }
    };
    let program = call.args.first().cloned().unwrap_or_default();
    let _ = control::home::enter();
    let ip = base::env("TCPREMOTEIP").unwrap_or_default();
    let address: Option<IpAddr> = std::str::from_utf8(&ip).ok().and_then(|t| t.parse().ok());
    let port = base::env("TCPLOCALPORT").and_then(|p| number(&p));
    let attempt = Attempt {
        log: Log::find(),
        service: Service::of(port, &program, address),
        ip,
    };
    let home = home();

    let login = claim.name.clone();
    let (user, named) = split(&login, &home);
    if let Proof::Secret { secret, .. } = &claim.proof
        && secret.is_empty()
    {
        return Err(attempt.fail(code::NO_PASSWORD, "null password given", &login));
    }
    if user.is_empty() {
        return Err(attempt.fail(code::NO_NAME, "null user name given", &login));
    }
    if !is_name(&user) || !is_name(&named) {
        return Err(attempt.fail(code::ODD, "invalid user/domain characters", &login));
    }
    let tcprules = opensmtp::tcprules();
    // While we may read them.
    let secret = control::line("scramsecret")
        .ok()
        .flatten()
        .unwrap_or_default();
    let seed = scram::seed(&secret, &login);
    let place = domain(&named).map_err(|e| Die::unable("read users/cdb", &e))?;
    let Some(place) = place else {
        let who = [user.as_slice(), b"@", &named].concat();
        is_right(claim.proof, &login, None, None, &seed)?;
        return Err(attempt.fail(code::WRONG, "vpopmail user not found", &who));
    };
    let who = [user.as_slice(), b"@", &place.name].concat();

    drop_to(&place)?;

    let Told {
        entry,
        model,
        limits,
    } = users.find(&home, &place, &user)?;
    let Some(entry) = entry else {
        is_right(claim.proof, &login, None, model.as_deref(), &seed)?;
        return Err(attempt.fail(code::WRONG, "vpopmail user not found", &who));
    };
    if entry.password.is_empty() && entry.clear.is_empty() {
        return Err(attempt.fail(code::NONE_STORED, "user has no password", &who));
    }
    let identity = Identity {
        user: user.clone(),
        home: entry.dir.clone(),
        shell: b"NOLOGIN".to_vec(),
        ids: None,
        environment: vec![(b"VPOPUSER".to_vec(), login.clone())],
    };
    let known = Known {
        secrets: secrets(&entry),
        bare: Bare::Crypt,
        identity: identity.clone(),
    };
    let method = method(&claim.proof, &known, &attempt.service);
    if !is_right(claim.proof, &login, Some(&known), model.as_deref(), &seed)? {
        return Err(attempt.fail(code::WRONG, "password fail", &who));
    }
    let flags = entry.flags_under(limits);
    if let Some(words) = attempt.service.denied(flags) {
        return Err(attempt.fail(code::DENIED, words, &who));
    }
    attempt
        .log
        .success(&attempt.line(&format!("({method}) login success"), &who));

    if attempt.service.kind != Kind::Smtp {
        if let Some(address) = address.filter(|_| flags & flag::NO_RELAY == 0) {
            // Who cannot be noted can read his mail all the same.
            if let Err(e) = opensmtp::note(&home, address, &tcprules) {
                base::warn("vchkpw", format!("unable to note an address: {e}"));
            }
        }
        enter(&entry.dir)?;
    }
    let error = become_program(&identity, &call.args);
    Err(error.with_code(base::die::TEMPORARY))
}

/// Becomes the owner of the domain. Where we have no other rights, we are he already.
fn drop_to(place: &recipient::User) -> Result<(), Die> {
    if sys::ids::euid() == place.uid && sys::ids::uid() == place.uid {
        return Ok(());
    }
    let ids = Ids::new(place.uid, place.gid);
    sys::ids::become_for_good(&ids).map_err(|_| Die::silent(code::NO_SETUID))
}

/// Enters the directory of a user, making it if it is missing.
fn enter(dir: &[u8]) -> Result<(), Die> {
    let path = sys::dir::path(dir);
    if std::env::set_current_dir(path).is_ok() {
        return Ok(());
    }
    if !dir.starts_with(b"/") {
        return Err(Die::silent(code::NO_DIR));
    }
    make_maildir(&[dir, b"/Maildir"].concat()).map_err(|_| Die::silent(code::NO_MAKE))?;
    std::env::set_current_dir(path).map_err(|_| Die::silent(code::NO_DIR))
}

/// What is stored: the crypt first, then the clear text. A scheme in braces before a crypt is passed over; others are
/// Dovecot's, and understood.
fn secrets(entry: &Entry) -> Vec<Bytes> {
    let mut list = Vec::new();
    if !entry.password.is_empty() {
        let stripped = entry.password.strip_prefix(b"{");
        let stripped = stripped.and_then(|rest| split_once(rest, b'}'));
        let is_crypt = |text: &[u8]| text.starts_with(b"$") || text.len() == DES_LENGTH;
        list.push(match stripped {
            Some((_, text)) if is_crypt(text) => text.to_vec(),
            _ => entry.password.clone(),
        });
    }
    if !entry.clear.is_empty() {
        let text = auth::encoding::encode(&entry.clear);
        list.push([b"{PLAIN.B64}", text.as_slice()].concat());
    }
    list
}

/// The word for the log: LOGIN is PLAIN too.
fn method(proof: &Proof, known: &Known, service: &Service) -> &'static str {
    match proof {
        Proof::Secret {
            secret,
            challenge: Some(challenge),
        } if known
            .secrets
            .iter()
            .any(|s| scheme::answers(s, challenge, secret, known.bare) == Ok(Some(true))) =>
        {
            if service.kind == Kind::Smtp {
                "CRAM-MD5"
            } else {
                "APOP"
            }
        }
        Proof::Secret { .. } => "PLAIN",
        Proof::Token(_) => "XOAUTH2",
        Proof::Scram(_) => "SCRAM",
    }
}
