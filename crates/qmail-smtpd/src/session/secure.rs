//! STARTTLS, and what may not be said without it.
//!
//! What came before TLS may be another's words: nothing of it survives, and nothing may be sent ahead of it.
//!
//! Source  RFC 3207 4.2

use base::Bytes;
use net::starttls::VARIABLES;
use queue::submit::Change;

use super::{End, Offer, Session, close};
use crate::channel::Link;
use crate::reply::{self, Reply};
use crate::sink::Sink;
use crate::tls::EXPORTER;

impl<L: Link, S: Sink> Session<'_, L, S> {
    /// Whether STARTTLS is a word here at all.
    pub(super) fn knows_tls(&self) -> bool {
        self.settings.tls.offer != Offer::No || self.cover.is_some()
    }

    /// Whether EHLO offers it.
    pub(super) fn offers_tls(&self) -> bool {
        self.settings.tls.offer != Offer::No && self.cover.is_none()
    }

    pub(super) fn start_tls(&mut self, argument: &[u8]) -> Result<(), End> {
        if self.cover.is_some() {
            return self.answer(&reply::TLS_TWICE);
        }
        if !argument.is_empty() {
            return self.answer(&reply::TLS_ARGUMENT);
        }
        if self.envelope.open().is_some() {
            return self.answer(&reply::TLS_IN_TRANSACTION);
        }
        if self.channel.is_ahead() {
            return close(reply::TLS_AHEAD);
        }
        self.answer(&reply::READY_FOR_TLS)?;
        let cover = self.channel.start_tls()?;
        self.cover = Some(cover);
        self.helo = None;
        self.login = None;
        self.anew = true;
        Ok(())
    }

    /// Why neither mail nor a password is taken now.
    pub(super) fn unready(&self) -> Option<Reply> {
        if self.cover.is_none() && self.settings.tls.offer == Offer::Must {
            return Some(reply::WANT_TLS);
        }
        self.anew.then_some(reply::WANT_EHLO)
    }

    /// What a queue program's environment tells of this session, beyond our own.
    pub(super) fn changes(&self) -> Vec<Change> {
        let told = self.cover.iter().flat_map(|cover| &cover.told);
        let told = told.map(|(name, value)| (name.clone(), Some(value.clone())));
        // The descriptors that they name are not for others, and neither is what passwords are bound to.
        let secret = EXPORTER.as_bytes();
        let gone = VARIABLES.into_iter().chain([secret]);
        let gone = gone.map(|name| (name.to_vec(), None));
        let told = told.filter(|(name, _)| name != secret);
        gone.chain(told).chain(self.who()).collect()
    }

    /// The client that logged in, in all the words that filters know.
    fn who(&self) -> Vec<Change> {
        let Some(login) = &self.login else {
            return Vec::new();
        };
        let method = login.method().into_bytes();
        [
            ("RELAYCLIENT", Bytes::new()),
            ("TCPREMOTEINFO", login.name.clone()),
            ("AUTHUSER", login.name.clone()),
            ("AUTHPROTOCOL", method.clone()),
            ("SMTPAUTHUSER", login.name.clone()),
            ("SMTPAUTHMETHOD", method),
        ]
        .map(|(name, value)| (name.as_bytes().to_vec(), Some(value)))
        .to_vec()
    }

    /// The word of RFC 3848 in the Received line, and how the bytes were protected. Without TLS and without a name it
    /// is the classic one.
    pub(super) fn protocol(&self) -> String {
        let known = self.login.is_some();
        match &self.cover {
            Some(cover) => format!("ESMTPS{}{}", if known { "A" } else { "" }, cover.remark()),
            None if known => "ESMTPA".to_owned(),
            None => "SMTP".to_owned(),
        }
    }
}
