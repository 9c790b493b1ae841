//! Whether a sender belongs to the account that logged in. Off unless the administrator asks for it.
//!
//! Source  qmail-smtpd(8), control/ownsender and control/senderlogins

use base::Bytes;
use base::bytes::{rsplit_once, split_once};

use crate::hosts::List;

/// Who may say that he is whom.
#[derive(Clone, Debug)]
pub struct Senders {
    /// lines `address:login` and `@domain:login`
    pub more: Vec<Bytes>,
    /// the domains of names without a domain: `locals`, else `me`
    pub local: List,
    /// between a name and its extension
    pub separator: u8,
}

impl Senders {
    /// Whether `login` may write as `sender`: the address of the account, one of its extensions, what a line of the
    /// file gives it, or nobody at all, as a receipt does.
    pub fn allows(&self, login: &[u8], sender: &[u8]) -> bool {
        sender.is_empty() || self.is_own(login, sender) || self.is_given(login, sender)
    }

    fn is_own(&self, login: &[u8], sender: &[u8]) -> bool {
        let Some((local, domain)) = rsplit_once(sender, b'@') else {
            return sender.eq_ignore_ascii_case(login);
        };
        match rsplit_once(login, b'@') {
            Some((name, host)) => domain.eq_ignore_ascii_case(host) && self.is_name(name, local),
            None => self.local.has(domain) && self.is_name(login, local),
        }
    }

    /// Whether a local part is the name, or an extension of it.
    fn is_name(&self, name: &[u8], local: &[u8]) -> bool {
        let Some((head, rest)) = local.split_at_checked(name.len()) else {
            return false;
        };
        head.eq_ignore_ascii_case(name) && rest.first().is_none_or(|b| *b == self.separator)
    }

    fn is_given(&self, login: &[u8], sender: &[u8]) -> bool {
        let domain = sender.iter().rposition(|&b| b == b'@');
        let domain = domain.and_then(|at| sender.get(at..));
        self.more
            .iter()
            .filter_map(|line| split_once(line, b':'))
            .filter(|(_, account)| account.eq_ignore_ascii_case(login))
            .any(|(what, _)| {
                what.eq_ignore_ascii_case(sender)
                    || domain.is_some_and(|d| what.eq_ignore_ascii_case(d))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_writes_as_itself() {
        let senders = Senders {
            more: vec![
                b"sales@host.test:joe".to_vec(),
                b"@shop.test:joe".to_vec(),
                b"info@v.test:sue@v.test".to_vec(),
            ],
            local: List::new(b"host.test\nother.test\n".to_vec()),
            separator: b'-',
        };
        for (login, sender, allowed) in [
            ("joe", "", true),
            ("joe", "joe@host.test", true),
            ("joe", "JOE@Other.Test", true),
            ("joe", "joe-list@host.test", true),
            ("joe", "joe", true),
            ("joe", "sales@host.test", true),
            ("joe", "anybody@shop.test", true),
            ("joe", "joel@host.test", false),
            ("joe", "jo@host.test", false),
            ("joe", "joe@out.example", false),
            ("joe", "sue@host.test", false),
            ("joe", "joe@host.test@out.example", false),
            ("joe", "x@sub.shop.test", false),
            ("sue@v.test", "sue@v.test", true),
            ("sue@v.test", "sue-x@V.TEST", true),
            ("sue@v.test", "info@v.test", true),
            ("sue@v.test", "sue@host.test", false),
            ("sue@v.test", "sales@host.test", false),
            ("sue", "info@v.test", false),
            ("", "joe@host.test", false),
        ] {
            let found = senders.allows(login.as_bytes(), sender.as_bytes());
            assert_eq!(found, allowed, "{login} {sender}");
        }
    }
}
