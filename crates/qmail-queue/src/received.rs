//! The line that says how a message came into this queue.
//!
//! Source  qmail-header(5)

use base::Bytes;

/// Who called, as far as a reader of the header may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// alias: a forward from ~alias
    Alias,
    /// qmaild: a network server
    Network,
    /// qmails: qmail-send itself
    Bounce,
    /// anybody else
    Uid(u32),
}

/// The suite's users that a header names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    alias: Option<u32>,
    qmaild: Option<u32>,
    qmails: Option<u32>,
}

impl Known {
    /// Looks them up. These programs trust little: they read /etc/passwd themselves and ask no name service.
    ///
    /// Where the suite's users do not exist, everybody is a number.
    pub(crate) fn find() -> Known {
        let [alias, qmaild, .., qmails] = control::owners::user_names();
        let names = [alias, qmaild, qmails].map(str::as_bytes);
        let [alias, qmaild, qmails] = sys::users::local_uids(names).unwrap_or_default();
        Known {
            alias,
            qmaild,
            qmails,
        }
    }

    /// Whether `uid` is one of them.
    pub(crate) fn is_ours(self, uid: u32) -> bool {
        [self.alias, self.qmaild, self.qmails].contains(&Some(uid))
    }

    /// Who `uid` is.
    pub(crate) fn caller(self, uid: u32) -> Caller {
        let is = |account: Option<u32>| account == Some(uid);
        if is(self.alias) {
            Caller::Alias
        } else if is(self.qmaild) {
            Caller::Network
        } else if is(self.qmails) {
            Caller::Bounce
        } else {
            Caller::Uid(uid)
        }
    }
}

/// The line with its end.
pub(crate) fn line(pid: u32, caller: Caller, now: i64) -> Bytes {
    let by = match caller {
        Caller::Alias => "by alias".to_owned(),
        Caller::Network => "from network".to_owned(),
        Caller::Bounce => "for bounce".to_owned(),
        Caller::Uid(uid) => format!("by uid {uid}"),
    };
    let date = mail::date::rfc5322(now);
    format!("Received: (qmail {pid} invoked {by}); {date}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_the_original_writes_them() {
        for (caller, by) in [
            (Caller::Alias, "by alias"),
            (Caller::Network, "from network"),
            (Caller::Bounce, "for bounce"),
            (Caller::Uid(4_294_967_294), "by uid 4294967294"),
        ] {
            assert_eq!(
                line(12, caller, 0),
                format!("Received: (qmail 12 invoked {by}); 1 Jan 1970 00:00:00 -0000\n")
                    .as_bytes()
            );
        }
    }

    #[test]
    fn a_uid_that_nobody_has_is_a_number() {
        assert_eq!(
            Known::find().caller(3_999_999_999),
            Caller::Uid(3_999_999_999)
        );
    }
}
