//! Asking who would get a message, once the address is admitted at all.

use std::io;

use base::Bytes;
use recipient::{Rewrite, Route};

/// What is known of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// somebody here gets it, or it cannot be told
    Accept,
    /// nobody here has this name
    Unknown,
    /// it goes to another host, under this address
    Remote(Bytes),
    /// it cannot be judged now
    Trouble,
}

/// Whoever judges recipients.
pub trait Judge {
    /// Judges an address as it will stand in the envelope.
    ///
    /// # Errors
    /// Its tables cannot be read: a temporary refusal of the whole session.
    fn verdict(&mut self, address: &[u8]) -> io::Result<Verdict>;
}

/// The judge of this host: the rules and tables that the delivery will follow, read at the first question.
#[derive(Debug)]
pub struct Here {
    check: bool,
    rules: Option<Rules>,
}

#[derive(Debug)]
enum Rules {
    Whole(recipient::Judge),
    Rewrite(Rewrite),
}

impl Here {
    /// With `check` off every local address is accepted, as in the original; addresses that lead to other hosts are
    /// still seen.
    pub fn new(check: bool) -> Here {
        Here { check, rules: None }
    }

    /// Reads the rules now: for a program that will not be able to. Trouble comes again with the first question.
    pub fn prepare(&mut self) {
        let _ = self.rules();
    }

    fn rules(&mut self) -> io::Result<&Rules> {
        if self.rules.is_none() {
            self.rules = Some(if self.check {
                Rules::Whole(recipient::Judge::load()?)
            } else {
                Rules::Rewrite(Rewrite::load()?)
            });
        }
        self.rules
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Judge for Here {
    fn verdict(&mut self, address: &[u8]) -> io::Result<Verdict> {
        let (rewrite, judge) = match self.rules()? {
            Rules::Whole(judge) => (judge.rewrite(), Some(judge)),
            Rules::Rewrite(rewrite) => (rewrite, None),
        };
        if let Route::Remote(address) = rewrite.route(address) {
            return Ok(Verdict::Remote(address));
        }
        Ok(match judge.map(|j| j.verdict(address)) {
            Some(recipient::Verdict::Unknown) => Verdict::Unknown,
            Some(recipient::Verdict::Trouble) => Verdict::Trouble,
            _ => Verdict::Accept,
        })
    }
}
