//! The dialogue with one host: once a greeting, then one transaction after the other.
//!
//! Source  RFC 5321 3.3, 4.1, 4.3.2; RFC 1870 (SIZE), 2920 (PIPELINING), 6152 (8BITMIME), 3207 (STARTTLS), 4954 (AUTH)

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use base::Bytes;
use base::bytes::number;
use wire::reply::{Reply, Trouble};
use wire::stuff::Stuff;

use crate::login::{self, Failure, Login};
use crate::message::{BLOCK, Message};
use crate::peer::Peer;
use crate::policy::Wanted;
use crate::report::{self, Danger, Report, Verdict};

/// The longest wait for the greeting and for the reply to EHLO (RFC 5321 4.5.3.2): another host may do better.
const GREETING_TIME: Duration = Duration::from_mins(5);
/// The most commands in one write: their replies fit into the buffers between us, so that nobody waits for ever. Room for
/// a whole job of qmail-rspawn: its recipients, RSET, MAIL and DATA.
const PIPELINE_LIMIT: usize = queue::frames::RECIPIENT_LIMIT + 3;
/// The reply of a server that is about to close the connection.
const CLOSING: u16 = 421;
/// Room for what stuffing adds to a common message, bytes.
const TEXT_ROOM: usize = 4096;

/// How an attempt at a transaction ended.
#[derive(Debug)]
pub(crate) enum End {
    /// the message is delivered, or refused; nothing more is to be done
    Decided(Verdict),
    /// a connection that had served before was no longer of use: nothing has been said of this message, and a new
    /// connection may be tried
    Stale,
}

/// Why a transaction goes no further.
enum Stop {
    Verdict(Verdict),
    Stale,
}

impl From<Verdict> for Stop {
    fn from(verdict: Verdict) -> Stop {
        Stop::Verdict(verdict)
    }
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// it is broken: not a byte more
    Dead,
    /// the other side listens, but it must not serve again
    Leave,
    /// every command has been answered: it may serve again
    Idle,
}

/// A host that has greeted us and taken our name.
#[derive(Debug)]
pub(crate) struct Link {
    peer: Peer,
    /// the reply that names the extensions
    hello: Reply,
    fate: Fate,
    /// transactions so far
    served: u32,
}

/// Who sends to whom, in the words of SMTP.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    sender: Bytes,
    /// `None` stands for an address that cannot be sent
    recipients: Vec<Option<Bytes>>,
}

impl Envelope {
    /// # Errors
    /// The sender cannot be named in SMTP.
    pub(crate) fn new(sender: &[u8], recipients: &[Bytes]) -> Result<Envelope, Verdict> {
        Ok(Envelope {
            sender: mail::quote::path(sender).ok_or_else(report::bad_sender)?,
            recipients: recipients.iter().map(|r| mail::quote::path(r)).collect(),
        })
    }
}

/// One step of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// the end of whatever was before, and a look whether the other side still listens
    Reset,
    Mail,
    Recipient,
    /// a recipient that is refused without a word to the other side
    Unspeakable,
    Data,
}

/// How a dialogue begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) helohost: &'a [u8],
    pub(crate) wanted: &'a Wanted,
    /// TLS comes before the first word
    pub(crate) is_implicit: bool,
    /// the host that we think this is
    pub(crate) name: &'a [u8],
    pub(crate) login: Option<&'a Login>,
}

/// Why a host is of no use.
#[derive(Debug)]
pub(crate) enum Refused {
    /// it would not begin; the verdict counts if there is no other host
    Verdict(Verdict),
    /// its TLS does not work, or is not what is wanted
    Tls(Verdict),
}

impl From<Verdict> for Refused {
    fn from(verdict: Verdict) -> Refused {
        Refused::Verdict(verdict)
    }
}

impl Opening<'_> {
    /// A fresh connection becomes a link: greeting and EHLO, or HELO when EHLO is not known; TLS where it is wanted, and
    /// EHLO again; a login.
    ///
    /// # Errors
    /// This host is of no use.
    pub(crate) fn greet(&self, mut peer: Peer) -> Result<Link, Refused> {
        if self.is_implicit {
            self.secure(&mut peer)?;
        }
        let greeting = peer
            .reply_within(GREETING_TIME)
            .map_err(|t| died(&peer, &t, Danger::None))?;
        if greeting.code != 220 {
            return Err(refused(&mut peer, " but greeting failed", &greeting).into());
        }
        let mut hello = self.introduce(&mut peer)?;
        if !peer.is_secure() && self.wanted.config.is_some() {
            if hello.extension("STARTTLS").is_some() {
                self.start_tls(&mut peer)?;
                // What was said in clear counts for nothing.
                hello = self.introduce(&mut peer)?;
            } else if self.wanted.is_strict() {
                peer.quit();
                return Err(Refused::Tls(report::no_tls(peer.address)));
            }
        }
        if let Some(login) = self.login {
            log_in(&mut peer, &hello, login)?;
        }
        Ok(Link {
            peer,
            hello,
            fate: Fate::Idle,
            served: 0,
        })
    }

    /// EHLO, or HELO.
    fn introduce(&self, peer: &mut Peer) -> Result<Reply, Verdict> {
        let mut hello = |verb: &[u8]| {
            peer.send(&[verb, self.helohost, b"\r\n"].concat())
                .map_err(|e| died(peer, &Trouble::Lost(e), Danger::None))?;
            peer.reply_within(GREETING_TIME)
                .map_err(|t| died(peer, &t, Danger::None))
        };
        let mut reply = hello(b"EHLO ")?;
        if reply.is_permanent() {
            reply = hello(b"HELO ")?;
            // What a reply to HELO says of extensions means nothing.
            if reply.code == 250 {
                reply.text.clear();
            }
        }
        if reply.code != 250 {
            return Err(refused(peer, " but my name was rejected", &reply));
        }
        Ok(reply)
    }

    /// STARTTLS and the handshake. Not a byte may come between the two: it would be taken for something said under TLS
    /// (CVE-2011-0411).
    fn start_tls(&self, peer: &mut Peer) -> Result<(), Refused> {
        peer.send(b"STARTTLS\r\n")
            .map_err(|e| died(peer, &Trouble::Lost(e), Danger::None))?;
        let reply = peer
            .reply_within(GREETING_TIME)
            .map_err(|t| died(peer, &t, Danger::None))?;
        if reply.code != 220 {
            return Err(Refused::Tls(refused(peer, " but STARTTLS failed", &reply)));
        }
        if !peer.is_quiet() {
            return Err(Refused::Verdict(report::tls(
                peer.address,
                "it spoke between STARTTLS and TLS",
            )));
        }
        self.secure(peer)
    }

    fn secure(&self, peer: &mut Peer) -> Result<(), Refused> {
        let Some(config) = &self.wanted.config else {
            return Err(report::tls(peer.address, "control/tlspolicy forbids TLS").into());
        };
        peer.secure(config, self.name)
            .map_err(|why| Refused::Tls(report::tls(peer.address, &why)))
    }
}

fn log_in(peer: &mut Peer, hello: &Reply, login: &Login) -> Result<(), Verdict> {
    let Err(failure) = login::log_in(peer, hello, login) else {
        return Ok(());
    };
    let verdict = match failure {
        Failure::NoWay => report::no_login(peer.address),
        Failure::Refused(reply) => report::blame(
            "ZConnected to ",
            peer.address,
            " but it did not accept our login",
            reply.as_ref(),
        ),
        Failure::Lost(trouble) => return Err(died(peer, &trouble, Danger::None)),
    };
    peer.quit();
    Err(verdict)
}

/// It will not be asked anything more.
fn refused(peer: &mut Peer, what: &str, reply: &Reply) -> Verdict {
    peer.quit();
    report::blame("ZConnected to ", peer.address, what, Some(reply))
}

impl Link {
    /// One message: envelope, text, verdict.
    pub(crate) fn transact(
        &mut self,
        envelope: &Envelope,
        message: &mut Message,
        report: &mut Report,
    ) -> End {
        // Until the end is known, it is broken.
        self.fate = Fate::Dead;
        self.peer.begin();
        let mut talk = Talk {
            alive: self.served == 0,
            link: self,
            report,
            accepted: false,
        };
        let end = talk.transact(envelope, message);
        self.served = self.served.saturating_add(1);
        match end {
            Ok(verdict) | Err(Stop::Verdict(verdict)) => End::Decided(verdict),
            Err(Stop::Stale) => End::Stale,
        }
    }

    /// Transactions so far.
    pub(crate) fn served(&self) -> u32 {
        self.served
    }

    /// Whether it may serve again: everything is answered, and no more has come. A host that speaks without being asked
    /// is about to close, or up to no good; what comes later the caller sees by waiting for this descriptor.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.fate == Fate::Idle && self.peer.is_quiet()
    }

    /// Says good-bye, if there is somebody to hear it.
    pub(crate) fn leave(&mut self) {
        if self.fate != Fate::Dead {
            self.peer.quit();
        }
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.peer.as_raw_fd()
    }
}

struct Talk<'a> {
    link: &'a mut Link,
    report: &'a mut Report,
    /// this connection is known to work: it is fresh, or it has answered to this message
    alive: bool,
    /// somebody would get the message
    accepted: bool,
}

impl Talk<'_> {
    fn transact(&mut self, envelope: &Envelope, message: &mut Message) -> Result<Verdict, Stop> {
        let mail = self.mail_command(envelope, message)?;
        let window = match self.link.hello.extension("PIPELINING") {
            Some(_) => PIPELINE_LIMIT,
            None => 1,
        };
        let mut steps = steps(mail, envelope);
        if self.link.served > 0 {
            steps.insert(0, (Step::Reset, b"RSET\r\n".to_vec()));
        }
        for batch in steps.chunks(window) {
            self.batch(batch)?;
        }
        self.text(message)?;
        self.judge()
    }

    /// MAIL with what the other side offered to take. A message that it would refuse for its size is not offered.
    fn mail_command(&mut self, envelope: &Envelope, message: &Message) -> Result<Bytes, Verdict> {
        let extensions = &self.link.hello;
        let mut command = [b"MAIL FROM:<", envelope.sender.as_slice(), b">"].concat();
        let Some(survey) = message.survey() else {
            command.extend_from_slice(b"\r\n");
            return Ok(command);
        };
        if let Some(words) = extensions.extension("SIZE") {
            let limit = words.get(1).and_then(|w| number(w)).unwrap_or(0);
            if limit > 0 && survey.size() > limit {
                self.link.fate = Fate::Idle;
                return Err(report::too_large(self.link.peer.address, limit));
            }
            command.extend_from_slice(format!(" SIZE={}", survey.size()).as_bytes());
        }
        if survey.is_eight_bit() && extensions.extension("8BITMIME").is_some() {
            command.extend_from_slice(b" BODY=8BITMIME");
        }
        command.extend_from_slice(b"\r\n");
        Ok(command)
    }

    /// Sends some commands at once, then reads their replies.
    fn batch(&mut self, batch: &[(Step, Bytes)]) -> Result<(), Stop> {
        // DATA alone is not sent for nobody.
        if !self.accepted && batch.first().is_some_and(|(step, _)| *step == Step::Data) {
            return Err(self.end(Fate::Idle, "DGiving up on ", "", None).into());
        }
        let commands: Bytes = batch.iter().flat_map(|(_, c)| c.iter().copied()).collect();
        self.send(&commands, Danger::None)?;
        let mut unread = batch.len();
        for (step, _) in batch {
            unread -= 1;
            match step {
                Step::Reset => self.reset_reply()?,
                Step::Mail => self.mail_reply(unread)?,
                Step::Recipient => self.recipient_reply()?,
                Step::Unspeakable => self.report.unspeakable(),
                Step::Data => self.data_reply()?,
            }
        }
        Ok(())
    }

    fn reset_reply(&mut self) -> Result<(), Stop> {
        if self.reply(Danger::None)?.is_success() {
            return Ok(());
        }
        self.link.fate = Fate::Leave;
        Err(Stop::Stale)
    }

    /// `unread` replies come after this one.
    fn mail_reply(&mut self, unread: usize) -> Result<(), Stop> {
        let reply = self.reply(Danger::None)?;
        if !self.alive && reply.code == CLOSING {
            return Err(Stop::Stale);
        }
        self.alive = true;
        if reply.is_success() {
            return Ok(());
        }
        let letter = if reply.is_permanent() { "D" } else { "Z" };
        let before = format!("{letter}Connected to ");
        let fate = if unread == 0 {
            fate(&reply)
        } else {
            Fate::Leave
        };
        Err(self
            .end(fate, &before, " but sender was rejected", Some(&reply))
            .into())
    }

    fn recipient_reply(&mut self) -> Result<(), Stop> {
        let reply = self.reply(Danger::None)?;
        if reply.is_success() {
            self.report.accepted();
            self.accepted = true;
        } else {
            let letter = if reply.is_permanent() { b'h' } else { b's' };
            self.report.refused(letter, self.link.peer.address, &reply);
        }
        Ok(())
    }

    fn data_reply(&mut self) -> Result<(), Stop> {
        let reply = self.reply(Danger::None)?;
        let goes_ahead = reply.code == 354;
        if !self.accepted {
            let mut fate = fate(&reply);
            if goes_ahead {
                // Nobody gets this; the other side waits for an end (RFC 2920 3.1).
                let _ = self.link.peer.send(b".\r\n");
                fate = Fate::Leave;
            }
            return Err(self.end(fate, "DGiving up on ", "", None).into());
        }
        if goes_ahead {
            return Ok(());
        }
        // A text for a host that did not ask for it would be read as commands.
        let letter = if reply.is_permanent() { "D" } else { "Z" };
        Err(self
            .end(
                fate(&reply),
                letter,
                " failed on DATA command",
                Some(&reply),
            )
            .into())
    }

    /// The text and its end.
    fn text(&mut self, message: &mut Message) -> Result<(), Stop> {
        let mut stuff = Stuff::default();
        let mut out = Bytes::with_capacity(message.head_size() + TEXT_ROOM);
        message.blocks(
            || Stop::Verdict(report::unreadable()),
            |block| {
                stuff.feed(block, &mut out);
                if out.len() >= BLOCK {
                    self.send(&out, Danger::None)?;
                    out.clear();
                }
                Ok(())
            },
        )?;
        // Leaving now without another byte leaves the other side without a message.
        stuff.finish(&mut out).map_err(|_| report::partial_line())?;
        self.send(&out, Danger::Duplicate)
    }

    /// What the other side says to the whole.
    fn judge(&mut self) -> Result<Verdict, Stop> {
        let reply = self.reply(Danger::Duplicate)?;
        let fate = fate(&reply);
        if reply.is_success() {
            let agreed = self.link.peer.agreed();
            let verdict = self.end(fate, "K", " accepted message", Some(&reply));
            return Ok(match agreed {
                Some(agreed) => verdict.under(&agreed),
                None => verdict,
            });
        }
        let letter = if reply.is_permanent() { "D" } else { "Z" };
        Ok(self.end(
            fate,
            letter,
            " failed after I sent the message",
            Some(&reply),
        ))
    }

    fn reply(&mut self, danger: Danger) -> Result<Reply, Stop> {
        self.link.peer.reply().map_err(|t| self.died(&t, danger))
    }

    /// Sends, and if that fails, looks whether the other side has said why.
    fn send(&mut self, bytes: &[u8], danger: Danger) -> Result<(), Stop> {
        let Err(error) = self.link.peer.send(bytes) else {
            return Ok(());
        };
        if !self.accepted {
            return Err(self.died(&Trouble::Lost(error), danger));
        }
        let last = self.link.peer.last_words();
        let Some(reply) = last.filter(|r| matches!(r.code, 400..600)) else {
            return Err(self.died(&Trouble::Lost(error), danger));
        };
        let letter = if reply.is_permanent() { "D" } else { "Z" };
        Err(self
            .end(
                Fate::Leave,
                letter,
                " failed after I sent the message",
                Some(&reply),
            )
            .into())
    }

    fn died(&self, trouble: &Trouble, danger: Danger) -> Stop {
        if self.alive {
            Stop::Verdict(died(&self.link.peer, trouble, danger))
        } else {
            Stop::Stale
        }
    }

    /// Decides on the connection, and names the host in the verdict.
    fn end(&mut self, fate: Fate, before: &str, after: &str, reply: Option<&Reply>) -> Verdict {
        self.link.fate = fate;
        report::blame(before, self.link.peer.address, after, reply)
    }
}

/// What becomes of a connection after a reply that nothing follows.
fn fate(reply: &Reply) -> Fate {
    match reply.code {
        CLOSING | 0 => Fate::Leave,
        _ => Fate::Idle,
    }
}

fn died(peer: &Peer, trouble: &Trouble, danger: Danger) -> Verdict {
    let how = match trouble {
        Trouble::Lost(_) => "connection died",
        Trouble::Endless => "its reply did not end",
    };
    report::died(peer.address, how, danger)
}

/// All commands of the envelope, in order.
fn steps(mail: Bytes, envelope: &Envelope) -> Vec<(Step, Bytes)> {
    let mut steps = vec![(Step::Mail, mail)];
    steps.extend(envelope.recipients.iter().map(|recipient| match recipient {
        Some(path) => (
            Step::Recipient,
            [b"RCPT TO:<", path.as_slice(), b">\r\n"].concat(),
        ),
        None => (Step::Unspeakable, Bytes::new()),
    }));
    steps.push((Step::Data, b"DATA\r\n".to_vec()));
    steps
}
