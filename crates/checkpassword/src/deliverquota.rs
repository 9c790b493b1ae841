//! deliverquota: a message on descriptor 0 into a maildir that has a quota.
//!
//! Source  the program of that name in Courier

use std::fs::File;

use base::bytes::number;
use base::opt::{Opt, Options};
use base::{Call, Die};

use crate::quota::Quota;
use crate::store::{Stored, store, warn};

const USAGE: &str = "deliverquota [ -w percent ] maildir [ quota ]";
/// To qmail-local: a hard error; to others: not permitted.
const OVER: u8 = 77;
/// The text of a warning, in the working directory.
const WARNING: &[u8] = b".quotawarn.msg";

/// The program: see deliverquota(8).
pub fn deliverquota(call: &Call) -> Result<(), Die> {
    let mut warning = None;
    let mut options = Options::new(&call.args, "cw:");
    for option in options.by_ref() {
        match option {
            Opt::Flag(b'c') => {}
            Opt::Value(b'w', percent) => {
                warning = Some(number(&percent).ok_or_else(|| Die::usage(USAGE))?);
            }
            _ => return Err(Die::usage(USAGE)),
        }
    }
    let (maildir, quota) = match options.rest() {
        [maildir] => (maildir, Some(Quota::default())),
        [maildir, quota] => (maildir, Quota::parse(quota)),
        _ => return Err(Die::usage(USAGE)),
    };
    let quota =
        quota.ok_or_else(|| Die::fatal(base::die::TEMPORARY, "unable to read the quota"))?;

    let mut message = sys::fd::take(0)
        .map(File::from)
        .map_err(|e| Die::unable("read the message", &e))?;

    match store(maildir, quota, &mut message)? {
        Stored::Delivered { percent } => {
            if warning.is_some_and(|w| percent >= w) {
                warn(maildir, WARNING);
            }
            Ok(())
        }
        Stored::OverQuota => Err(Die::plain(OVER, "The mailbox is full. (#5.2.2)\n")),
    }
}
