//! What the administrator and the environment say.
//!
//! A file that is missing has a default. A file that is there and cannot be read stops the session: a server that does
//! not know its rules accepts nothing.
//!
//! Source  qmail-smtpd(8), qmail-control(5)

use std::io;
use std::time::Duration;

use base::Bytes;
use base::bytes::scan_number;
use control::Table;
use control::file::{lines, whole};
use net::peer::Peer;

use crate::data::Rules;
use crate::header::Limits;
use crate::hosts::{Hosts, List};
use crate::login::Rules as LoginRules;
use crate::own::Own;
use crate::senders::Senders;
use crate::tls::Tls;
use crate::words::{self, Unclear, Words};

/// A message with this many Received and Delivered-To lines is looping.
const HOPS: u64 = 100;

/// A file that is there and cannot be read.
#[derive(Debug)]
pub struct Trouble {
    /// its name below home
    pub file: String,
    /// why
    pub error: io::Error,
}

/// Everything that a session is told before it begins.
#[derive(Debug)]
pub struct Settings {
    /// `smtpgreeting`: begins with the name of this host
    pub greeting: Bytes,
    /// the two ends of the connection
    pub peer: Peer,
    /// who does TLS
    pub tls: Tls,
    /// who may log in, and how
    pub login: LoginRules,
    /// who checks passwords
    pub words: Result<Option<Words>, Unclear>,
    /// `ownsender`: which senders an account may use; `None`: all
    pub senders: Option<Senders>,
    /// which literals are this host
    pub own: Own,
    /// RELAYCLIENT: the client may write to anybody, and this is appended to every recipient
    pub relay: Option<Bytes>,
    /// the domains that strangers may write to
    pub hosts: Hosts,
    /// `badmailfrom`
    pub bad_senders: List,
    /// whether recipients are judged: `checkrecipients`
    pub check_recipients: bool,
    /// whether spaces between the colon and an address are tolerated: not `strictaddress`
    pub spaces: bool,
    /// limits of a message
    pub data: Rules,
    /// recipients of one message; 0: no limit
    pub max_recipients: u64,
    /// errors of one session; 0: no limit
    pub max_errors: u64,
    /// limit of each wait
    pub idle: Duration,
    /// limit of the session
    pub total: Option<Duration>,
    /// our process id, for the log
    pub pid: u32,
}

fn named<T>(name: &str, result: io::Result<T>) -> Result<T, Trouble> {
    result.map_err(|error| Trouble {
        file: format!("control/{name}"),
        error,
    })
}

fn int(name: &str, default: u64) -> Result<u64, Trouble> {
    named(name, control::int(name, default))
}

/// A first line that says something.
fn line(name: &str) -> Result<Option<Bytes>, Trouble> {
    Ok(named(name, control::line(name))?.filter(|l| !l.is_empty()))
}

fn list(name: &str) -> Result<Option<Bytes>, Trouble> {
    named(name, whole(name))
}

/// rcpthosts and its table; without rcpthosts, the local domains alone.
fn hosts(me: Option<&Bytes>) -> Result<Hosts, Trouble> {
    if let Some(text) = list("rcpthosts")? {
        let table = named(
            "morercpthosts.cdb",
            Table::open("control/morercpthosts.cdb"),
        )?;
        return Ok(Hosts::new(List::new(text), table));
    }
    Ok(Hosts::new(List::new(locals(me)?), None))
}

/// What AUTH means. Nothing is read where there is nobody to check passwords.
fn login(words: &Result<Option<Words>, Unclear>, peer: &Peer) -> Result<LoginRules, Trouble> {
    if matches!(words, Ok(None)) {
        return Ok(LoginRules::new(words, base::env, &[], peer.local()));
    }
    let knows = named("checkerknows", auth::checker::knows())?;
    Ok(LoginRules {
        max_failures: int("maxlogins", 3)?,
        ..LoginRules::new(words, base::env, &knows, peer.local())
    })
}

/// Which senders an account may use, if that is asked for by the file or by the variable that s/qmail has for it.
fn senders(me: Option<&Bytes>) -> Result<Option<Senders>, Trouble> {
    let wanted = int("ownsender", 0)? != 0 || base::env("LOCALMFCHECK").is_some_and(|v| v == b"=");
    if !wanted {
        return Ok(None);
    }
    Ok(Some(Senders {
        more: lines(&list("senderlogins")?.unwrap_or_default()),
        local: List::new(locals(me)?),
        separator: control::home::user_break(),
    }))
}

fn locals(me: Option<&Bytes>) -> Result<Bytes, Trouble> {
    Ok(match list("locals")? {
        Some(text) => text,
        None => me.cloned().unwrap_or_default(),
    })
}

fn databytes() -> Result<u64, Trouble> {
    let file = int("databytes", 0)?;
    Ok(base::env("DATABYTES").map_or(file, |text| scan_number(&text).0))
}

/// 0 stands for no limit.
fn unlimited(number: u64) -> u64 {
    if number == 0 { u64::MAX } else { number }
}

fn seconds(number: u64) -> Option<Duration> {
    (number > 0).then(|| Duration::from_secs(number.min(1 << 32)))
}

impl Settings {
    /// Reads the control files below the working directory, and the environment. `args` may name a checker.
    ///
    /// # Errors
    /// A file is there and cannot be read; or there is neither smtpgreeting nor me.
    pub fn load(args: &[Bytes]) -> Result<Settings, Trouble> {
        let me = line("me")?;
        let greeting = match line("smtpgreeting")? {
            Some(greeting) => greeting,
            None => me.clone().ok_or_else(|| Trouble {
                file: "control/me".to_owned(),
                error: io::ErrorKind::NotFound.into(),
            })?,
        };
        let peer = Peer::from_env();
        let words = words::parse(args, base::env("PATH").as_deref());
        Ok(Settings {
            greeting,
            own: Own {
                name: line("localiphost")?.or_else(|| me.clone()),
                address: peer.local_address(),
                interfaces: sys::socket::interfaces,
            },
            relay: base::env("RELAYCLIENT"),
            hosts: hosts(me.as_ref())?,
            bad_senders: List::new(list("badmailfrom")?.unwrap_or_default()),
            check_recipients: int("checkrecipients", 1)? != 0,
            spaces: int("strictaddress", 0)? == 0,
            data: Rules {
                databytes: databytes()?,
                header: Limits {
                    bytes: unlimited(int("maxheaderbytes", 1 << 20)?),
                    lines: unlimited(int("maxheaderlines", 10_000)?),
                    hops: HOPS,
                },
                progress: seconds(int("timeoutsmtpdprogress", 300)?),
            },
            max_recipients: int("maxrcpt", 1_000)?,
            max_errors: int("maxerrors", 20)?,
            idle: Duration::from_secs(int("timeoutsmtpd", 1_200)?.clamp(1, 1 << 32)),
            total: seconds(int("timeoutsmtpdtotal", 3_600)?),
            pid: std::process::id(),
            tls: Tls::from_env(),
            login: login(&words, &peer)?,
            senders: senders(me.as_ref())?,
            words,
            peer,
        })
    }
}
