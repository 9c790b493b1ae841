//! cmd5checkpw: names and clear passwords in /etc/poppasswd, for SMTP AUTH.

use auth::accept::{Backend, Entry, Identity, check};
use auth::scheme::Bare;
use base::bytes::split_once;
use base::{Bytes, Call, Die};
use sys::ids::Ids;

use crate::files;

const FILE: &[u8] = b"/etc/poppasswd";
/// The largest file that is read, bytes.
const LIMIT: u64 = 64 << 20;

struct PopPasswd;

impl Backend for PopPasswd {
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        if name.contains(&b':') || name.contains(&b'\n') {
            return Ok(None);
        }
        let file = std::env::var_os("POPPASSWD").filter(|_| !sys::ids::privileged_over_caller());
        let file = file.map_or(FILE.to_vec(), std::ffi::OsString::into_encoded_bytes);
        let text = files::whole(&file, LIMIT);
        let text = text.map_err(|e| Die::unable([b"read ", file.as_slice()].concat(), &e))?;
        let mut lines = text.split(|&b| b == b'\n');
        let Some(secret) = lines.find_map(|line| {
            let (found, secret) = split_once(line, b':')?;
            (found == name).then(|| secret.to_vec())
        }) else {
            return Ok(None);
        };
        Ok(Some(Entry {
            // An empty password opens nothing.
            secrets: Some(secret).filter(|s| !s.is_empty()).into_iter().collect(),
            bare: Bare::Plain,
            identity: identity(name)?,
        }))
    }

    fn model(&self) -> Option<Bytes> {
        Some(b"{PLAIN}model".to_vec())
    }
}

/// The account of that name if there is one; else the caller, without what the mode of the file gave us.
fn identity(name: &[u8]) -> Result<Identity, Die> {
    let trouble = |e| Die::unable("look up the account", &e);
    let here = || std::env::current_dir().unwrap_or_default();
    let caller = sys::ids::uid();
    if caller == 0 {
        let account = sys::users::any(name).map_err(trouble)?;
        if let Some(account) = account.filter(|a| a.uid != 0) {
            return Ok(Identity {
                user: account.name,
                home: account.home,
                shell: account.shell,
                ids: Some(Ids::new(account.uid, account.gid)),
                environment: Vec::new(),
            });
        }
        let [_, daemon, ..] = control::owners::user_names();
        let account = sys::users::local(daemon.as_bytes()).map_err(trouble)?;
        let nobody = "there is neither an account of that name nor one to become instead";
        let account = account.filter(|a| a.uid != 0);
        let account = account.ok_or_else(|| Die::fatal(base::die::TEMPORARY, nobody))?;
        return Ok(Identity {
            user: name.to_vec(),
            home: b"/".to_vec(),
            shell: account.shell,
            ids: Some(Ids::new(account.uid, account.gid)),
            environment: Vec::new(),
        });
    }
    Ok(Identity {
        user: name.to_vec(),
        home: here().into_os_string().into_encoded_bytes(),
        shell: b"/bin/sh".to_vec(),
        ids: Some(Ids::new(caller, sys::ids::gid())),
        environment: Vec::new(),
    })
}

/// The program: see cmd5checkpw(8).
pub fn cmd5checkpw(call: &Call) -> Result<(), Die> {
    check(call, &PopPasswd)
}
