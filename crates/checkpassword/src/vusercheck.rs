//! vusercheck: virtual users, by the tables that vuser keeps in the directories of their domains.

use auth::accept::{Backend, Entry, Identity, check, enter};
use auth::scheme::Bare;
use base::{Bytes, Call, Die};

use crate::quota::Quota;
use crate::{place, vtable};

struct Virtual;

impl Backend for Virtual {
    fn find(&self, name: &[u8]) -> Result<Option<Entry>, Die> {
        let Some(user) = place::find(name)? else {
            return Ok(None);
        };
        let mut identity = Identity {
            user: name.to_vec(),
            home: user.home.clone(),
            shell: b"/bin/false".to_vec(),
            ids: Some(place::ids(&user)),
            environment: Vec::new(),
        };
        // From here on with the rights of the domain's owner: what he wrote is read by himself.
        enter(&identity)?;
        let unable = |e| {
            let what = [
                b"read ",
                user.home.as_slice(),
                b"/",
                vtable::TABLE.as_bytes(),
            ]
            .concat();
            Die::unable(what, &e)
        };
        let record = vtable::find(&user.ext).map_err(unable)?;
        Ok(record.map(|record| {
            if record.dir != b"." {
                identity.home = [user.home.as_slice(), b"/", &record.dir].concat();
            }
            identity.environment = for_dovecot(&record.quota);
            Entry {
                secrets: record.secrets,
                bare: Bare::Crypt,
                identity,
            }
        }))
    }
}

/// The quota as Dovecot's checkpassword-reply hands it on: the variables that EXTRA names. Nothing else reads them.
fn for_dovecot(quota: &[u8]) -> Vec<(Bytes, Bytes)> {
    let quota = Quota::parse(quota).unwrap_or_default();
    if quota.is_none() {
        return Vec::new();
    }
    let part = |name, limit| match limit {
        0 => String::new(),
        limit => format!(":{name}={limit}"),
    };
    let (bytes, messages) = (part("bytes", quota.bytes), part("messages", quota.messages));
    let rule = ["*", &bytes, &messages].concat();
    let name = b"userdb_quota_rule".to_vec();
    vec![(b"EXTRA".to_vec(), name.clone()), (name, rule.into_bytes())]
}

/// The program: see vusercheck(8).
pub fn vusercheck(call: &Call) -> Result<(), Die> {
    check(call, &Virtual)
}
