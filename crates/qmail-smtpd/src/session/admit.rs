//! Whether a recipient is taken: badmailfrom, relaying, rcpthosts, the limit, and whether anybody has that name.

use base::Bytes;
use base::bytes::rsplit_once;

use super::{End, RECIPIENTS_LIMIT, Session, is_deceptive};
use crate::address::Mailbox;
use crate::channel::Link;
use crate::judge::Verdict;
use crate::reply::{self, Reply};
use crate::sink::Sink;

impl<L: Link, S: Sink> Session<'_, L, S> {
    /// Decides about a recipient: the address for the envelope, or the refusal.
    pub(super) fn admit(
        &mut self,
        mailbox: &Mailbox,
        own: bool,
    ) -> Result<Result<Bytes, Reply>, End> {
        let settings = self.settings;
        let relay = self.relay().map(<[u8]>::to_vec);
        let Some(transaction) = self.envelope.open() else {
            return Ok(Err(reply::WANT_MAIL));
        };
        if transaction.barred {
            return Ok(Err(reply::BAD_SENDER));
        }
        let full = settings.max_recipients > 0
            && transaction.recipients.len() as u64 >= settings.max_recipients;
        let full = full || transaction.size() >= RECIPIENTS_LIMIT;

        // A local part with an `@` and no domain would become an address of another host in the envelope.
        if is_deceptive(mailbox) {
            return Ok(Err(reply::NO_DOMAIN));
        }
        let address = mailbox.bytes();
        let postmaster = mailbox.local.eq_ignore_ascii_case(b"postmaster");
        // The postmaster of this very host, by no name or by number, always has a mailbox.
        let always = postmaster && (mailbox.domain.is_none() || own);
        let (address, always) = match &relay {
            Some(suffix) => {
                let always = always && suffix.is_empty();
                ([address.as_slice(), suffix].concat(), always)
            }
            None if always => (address, always),
            None => match &mailbox.domain {
                None => return Ok(Err(reply::NO_DOMAIN)),
                Some(domain) if !self.allows(domain)? => return Ok(Err(reply::NO_GATEWAY)),
                Some(_) => (address, false),
            },
        };
        if full {
            return Ok(Err(reply::TOO_MANY_RECIPIENTS));
        }
        if always {
            return Ok(Ok(address));
        }
        Ok(self.judged(&address)?.map_or(Ok(address), Err))
    }

    fn allows(&mut self, domain: &[u8]) -> Result<bool, End> {
        let settings = self.settings;
        match settings.hosts.allow(domain) {
            Ok(allowed) => Ok(allowed),
            Err(error) => self.trouble(reply::NO_CONTROLS, "control/morercpthosts.cdb", &error),
        }
    }

    /// The refusal of an admitted address, if there is a reason for one.
    fn judged(&mut self, address: &[u8]) -> Result<Option<Reply>, End> {
        let verdict = match self.judge.verdict(address) {
            Ok(verdict) => verdict,
            Err(error) => return self.trouble(reply::NO_CONTROLS, "recipients", &error),
        };
        Ok(match verdict {
            Verdict::Accept => None,
            Verdict::Unknown => Some(reply::UNKNOWN_USER),
            Verdict::Trouble => Some(reply::CANNOT_JUDGE),
            // Rewriting (percenthack) must not open what rcpthosts has closed.
            Verdict::Remote(to) => match rsplit_once(&to, b'@') {
                Some((_, domain)) if self.relay().is_none() && !self.allows(domain)? => {
                    Some(reply::NO_GATEWAY)
                }
                _ => None,
            },
        })
    }
}
