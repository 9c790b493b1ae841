//! pamcheck: the modules of PAM say whether it is him; the name service, or the settings, who he becomes.

use aside::{Name, Row, Settings, Trouble, ask, identity};
use auth::accept::{Backend, Entry, Identity, check};
use auth::scheme::Bare;
use base::{Bytes, Call, Die};
use libpam::Verdict;
use sys::ids::Ids;

/// The service of PAM where nothing else is said.
const SERVICE: &[u8] = b"qmail";
const WORDS: [&str; 1] = ["service"];

struct Pam;

impl Backend for Pam {
    /// PAM never tells what is stored, so there is nothing that SCRAM could be held against: only who somebody is.
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        if is_odd(name) {
            return Ok(None);
        }
        Ok(account(name)?.map(|identity| Entry {
            secrets: Vec::new(),
            bare: Bare::Crypt,
            identity,
        }))
    }

    fn judge(&self, name: &[u8], password: &[u8]) -> Result<Option<Option<Identity>>, Die> {
        let settings = Settings::read_if_there("pamcheck", "PAMCHECK", &WORDS)?;
        let service = settings.get("service").unwrap_or(SERVICE);
        let client = base::env("TCPREMOTEIP");
        // PAM would ask for an empty password again.
        if is_odd(name) || password.is_empty() || password.contains(&0) {
            auth::scheme::nobody(None, password);
            return Ok(Some(None));
        }

        let job = || match libpam::check(service, name, password, client.as_deref()) {
            Verdict::Accepted(user) => {
                let mut row = Row::default();
                row.add("user", user);
                Ok(Some(row))
            }
            Verdict::Refused => Ok(None),
            Verdict::Trouble(why) => Err(Trouble::unable("ask PAM", why)),
        };
        // Most modules work for root only.
        let Some(row) = ask(settings.timeout()?, None, job)? else {
            return Ok(Some(None));
        };
        let user: Bytes = row.get("user").unwrap_or(name).to_vec();
        let found = match account(&user)? {
            Some(identity) => identity,
            None => identity(name, &row, &settings)?,
        };
        Ok(Some(Some(found)))
    }
}

/// Names that no account has: modules make odd things of odd bytes.
fn is_odd(name: &[u8]) -> bool {
    name.starts_with(b"-") || name.iter().any(|b| b":/,".contains(b)) || Name::parse(name).is_none()
}

/// The account of the system with that name.
fn account(name: &[u8]) -> Result<Option<Identity>, Die> {
    let trouble = |e| Die::unable("look up the account", &e);
    let Some(account) = sys::users::any(name).map_err(trouble)? else {
        return Ok(None);
    };
    let groups = sys::users::groups_of(&account).map_err(trouble)?;
    Ok(Some(Identity {
        user: account.name,
        home: account.home,
        shell: account.shell,
        ids: Some(Ids {
            groups,
            ..Ids::new(account.uid, account.gid)
        }),
        environment: Vec::new(),
    }))
}

/// The program: see pamcheck(8).
pub fn pamcheck(call: &Call) -> Result<(), Die> {
    check(call, &Pam)
}
