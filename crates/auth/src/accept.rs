//! What every checker does with a claim: the proof is held against what is stored, then the process becomes the user
//! and his program. A new place for accounts is a `Backend`, and a main that calls `check`.
//!
//! Source  checkpassword's interface page; Dovecot's page on checkpassword, for AUTHORIZED

use std::io;

use base::{Bytes, Call, Die};
use sys::ids::Ids;
use sys::spawn::Spawn;

use crate::claim::{self, NoClaim, Proof};
use crate::scheme::{self, Bare, Unusable};
use crate::scram::{Stored, seed};

/// The exit code for "not him".
pub const REFUSED: u8 = 1;
/// The exit code for a call that makes no sense.
pub const MISUSED: u8 = 2;

/// How Dovecot says that it has checked the password itself, and hears that this was understood.
const AUTHORIZED: &str = "AUTHORIZED";
/// The program of Dovecot that a checker becomes.
const REPLY: &[u8] = b"checkpassword-reply";

/// What is known of a name.
#[derive(Clone)]
pub struct Entry {
    /// stored passwords. A password is held against the first; challenges and SCRAM take the first that can answer
    pub secrets: Vec<Bytes>,
    /// what a stored password without `{SCHEME}` is
    pub bare: Bare,
    /// who he becomes
    pub identity: Identity,
}

/// Who a process becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// USER
    pub user: Bytes,
    /// HOME, and the working directory
    pub home: Bytes,
    /// SHELL
    pub shell: Bytes,
    /// groups and user; `None`: he is that already
    pub ids: Option<Ids>,
    /// more variables
    pub environment: Vec<(Bytes, Bytes)>,
}

/// Where accounts are kept.
pub trait Backend {
    /// What is known of `name`. `Ok(None)`: nothing, there is no such name.
    ///
    /// # Errors
    /// The end of the program: temporary, exit 111.
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die>;

    /// A stored password like those of existing names, so that a check of others takes as long.
    fn model(&self) -> Option<Bytes> {
        None
    }

    /// Asks somebody else whether `password` is right, where stored ones cannot be had. `None`: they can.
    ///
    /// # Errors
    /// As `find`.
    fn judge(&self, name: &[u8], password: &[u8]) -> Result<Option<Option<Identity>>, Die> {
        let _ = (name, password);
        Ok(None)
    }
}

/// The whole of a checker: reads the claim, and ends with 1, or 111, or as the program in its arguments.
pub fn check(call: &Call, backend: &impl Backend) -> Result<(), Die> {
    if call.args.is_empty() {
        return Err(Die::usage("checker program").with_code(MISUSED));
    }
    let claim = claimed()?;

    // A checker of system accounts works without a qmail.
    let _ = control::home::enter();
    let who = if is_lookup(call) {
        look_up(&claim, backend)?
    } else {
        identify(claim, backend)?
    };
    let identity = who.ok_or(Die::silent(REFUSED))?;

    enter(&identity)?;
    Err(become_program(&identity, &call.args))
}

/// Whether Dovecot asks where a mailbox is, for a delivery, and no password is to be checked: AUTHORIZED=1.
///
/// Only root may ask, who could become anybody anyhow, and only for the program that answers Dovecot: the variable alone,
/// left over in the environment of some service, must open nothing.
fn is_lookup(call: &Call) -> bool {
    let program = call.args.first().map_or(&[][..], Bytes::as_slice);
    let name = program.rsplit(|&b| b == b'/').next().unwrap_or_default();
    base::env(AUTHORIZED).is_some_and(|v| v == b"1") && name == REPLY && sys::ids::uid() == 0
}

/// Who has this name; no proof is asked for, and Dovecot is told that this was understood.
fn look_up(claim: &claim::Claim, backend: &impl Backend) -> Result<Option<Identity>, Die> {
    let entry = backend.find(&claim.name)?;
    Ok(entry.map(|entry| {
        let mut identity = entry.identity;
        let understood = (AUTHORIZED.as_bytes().to_vec(), b"2".to_vec());
        identity.environment.push(understood);
        identity
    }))
}

/// The claim on descriptor 3.
///
/// # Errors
/// Refused if it is malformed; temporary if there is none.
pub fn claimed() -> Result<claim::Claim, Die> {
    claim::read().map_err(|no| match no {
        NoClaim::Malformed => Die::silent(REFUSED),
        NoClaim::NotCalled => Die::fatal(
            base::die::TEMPORARY,
            "unable to read descriptor 3: I am to be run by a server",
        ),
        NoClaim::TimedOut => Die::fatal(base::die::TEMPORARY, "nothing came on descriptor 3"),
    })
}

/// Who it is, if the proof is right.
///
/// # Errors
/// Temporary trouble, as the end of the program.
pub fn identify(claim: claim::Claim, backend: &impl Backend) -> Result<Option<Identity>, Die> {
    let claim::Claim { name, proof } = claim;
    // Before the look-up, which may give up the right to read it.
    let seed = seed(&site_secret(), &name);
    if let Proof::Secret { secret, .. } = &proof
        && let Some(verdict) = backend.judge(&name, secret)?
    {
        return Ok(verdict);
    }
    let entry = backend.find(&name)?;
    let model = backend.model();
    let right = is_right(proof, &name, entry.as_ref(), model.as_deref(), &seed)?;
    Ok(entry.filter(|_| right).map(|e| e.identity))
}

/// Holds a proof against an entry. Without an entry the same work is done, and the proof is wrong.
///
/// # Errors
/// Temporary trouble: a stored password that cannot be used, or a conversation that broke off.
///
/// `seed` is `scram::seed` of the site's secret and the name.
pub fn is_right(
    proof: Proof,
    name: &[u8],
    entry: Option<&Entry>,
    model: Option<&[u8]>,
    seed: &[u8],
) -> Result<bool, Die> {
    match (proof, entry) {
        (Proof::Token(_), _) => Ok(false),
        (Proof::Secret { secret, .. }, None) => Ok(scheme::nobody(model, &secret)),
        (Proof::Secret { secret, challenge }, Some(entry)) => {
            let answered = challenge.is_some_and(|c| {
                let mut each = entry.secrets.iter();
                each.any(|s| scheme::answers(s, &c, &secret, entry.bare) == Ok(Some(true)))
            });
            match entry.secrets.first() {
                _ if answered => Ok(true),
                None => Ok(scheme::nobody(model, &secret)),
                Some(stored) if scheme::is_locked(stored) => Ok(scheme::nobody(model, &secret)),
                Some(stored) => {
                    scheme::verify(stored, &secret, entry.bare).map_err(|why| unusable(name, why))
                }
            }
        }
        (Proof::Scram(talk), entry) => {
            let keys = entry.and_then(|e| {
                let mut each = e.secrets.iter();
                each.find_map(|s| {
                    scheme::scram_keys(s, talk.hash(), seed, e.bare)
                        .ok()
                        .flatten()
                })
            });
            let is_known = keys.is_some();
            let keys = keys.unwrap_or_else(|| Stored::imaginary(talk.hash(), seed));
            let proved = talk
                .is_proved(&keys)
                .map_err(|e| Die::unable("go on with SCRAM", &e))?;
            Ok(proved && is_known)
        }
    }
}

fn unusable(name: &[u8], why: Unusable) -> Die {
    let why: &[u8] = match why {
        Unusable::Scheme => b"it has a scheme that I do not know",
        Unusable::Form => b"it is damaged",
    };
    let text = [b"unable to use the stored password of ", name, b": ", why];
    Die::fatal(base::die::TEMPORARY, text.concat())
}

/// The secret of this site that makes the salts of names that do not exist: control/scramsecret, for root's eyes only.
/// Without it they can be told from real ones, by who knows how they are made.
fn site_secret() -> Bytes {
    control::line("scramsecret")
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// Becomes the user: groups, gid, uid, and his home. Root is nobody's mail account.
///
/// # Errors
/// Temporary, save for root, who is refused.
pub fn enter(identity: &Identity) -> Result<(), Die> {
    if let Some(ids) = &identity.ids {
        if ids.uid == 0 {
            return Err(Die::silent(REFUSED));
        }
        let me = sys::ids::euid();
        // A post office of one user: there is nobody else to become.
        if me == 0 || me != ids.uid || sys::ids::uid() != ids.uid {
            sys::ids::become_for_good(ids)
                .map_err(|e| Die::unable([b"become ", identity.user.as_slice()].concat(), &e))?;
        }
    }
    std::env::set_current_dir(sys::dir::path(&identity.home))
        .map_err(|e: io::Error| Die::unable([b"enter ", identity.home.as_slice()].concat(), &e))
}

/// Becomes the program. Comes back only if that failed.
pub fn become_program(identity: &Identity, words: &[Bytes]) -> Die {
    let Some((program, args)) = words.split_first() else {
        return Die::usage("checker program").with_code(MISUSED);
    };
    let mut spawn = Spawn::new(program)
        .args(args)
        .set("USER", &identity.user)
        .set("HOME", &identity.home)
        .set("SHELL", &identity.shell);
    for (name, value) in &identity.environment {
        spawn = spawn.set(name, value);
    }
    let error = spawn.exec();
    Die::unable([b"run ", program.as_slice()].concat(), &error)
}
