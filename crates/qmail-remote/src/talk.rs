//! The dialogue with one host.
//!
//! Source  RFC 5321 3.3, 4.1, 4.3.2; RFC 1870 (SIZE), 2920 (PIPELINING), 6152 (8BITMIME)

use std::time::Duration;

use base::Bytes;
use base::bytes::number;
use wire::reply::{Reply, Trouble};
use wire::stuff::Stuff;

use crate::message::{BLOCK, Message};
use crate::peer::Peer;
use crate::report::{self, Danger, Report, Verdict};

/// The longest wait for the greeting and for the reply to EHLO (RFC 5321 4.5.3.2): another host may do better.
const GREETING_TIME: Duration = Duration::from_mins(5);
/// The most commands in one write: their replies fit into the buffers between us, so that nobody waits for ever.
const PIPELINE_LIMIT: usize = 100;

/// How a dialogue ended.
#[derive(Debug)]
pub(crate) enum End {
    /// the message is delivered, or refused; nothing more is to be done
    Decided(Verdict),
    /// this host would not even begin; the verdict counts if there is no other
    NextHost(Verdict),
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
            sender: path(sender).ok_or_else(report::bad_sender)?,
            recipients: recipients.iter().map(|r| path(r)).collect(),
        })
    }
}

/// An address with its local part quoted. `None` when it would break out of its command: a line end anywhere, or in the
/// host, which cannot be quoted, a byte that ends a path.
fn path(address: &[u8]) -> Option<Bytes> {
    let is_line_end = |b: &u8| matches!(b, b'\r' | b'\n' | 0);
    let host = base::bytes::rsplit_once(address, b'@').map_or(&b""[..], |(_, host)| host);
    let breaks = |b: &u8| *b <= b' ' || matches!(b, b'<' | b'>' | 127);
    if address.iter().any(is_line_end) || host.iter().any(breaks) {
        return None;
    }
    Some(mail::quote::address(address))
}

/// One step of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Mail,
    Recipient,
    /// a recipient that is refused without a word to the other side
    Unspeakable,
    Data,
}

struct Talk<'a> {
    peer: Peer,
    report: &'a mut Report,
    accepted: bool,
}

/// Offers the message to a host that has just been reached.
pub(crate) fn talk(
    peer: Peer,
    helohost: &[u8],
    envelope: &Envelope,
    message: &mut Message,
    report: &mut Report,
) -> End {
    let mut talk = Talk {
        peer,
        report,
        accepted: false,
    };
    let extensions = match talk.greet(helohost) {
        Ok(reply) => reply,
        Err(verdict) => return End::NextHost(verdict),
    };
    let verdict = talk
        .transact(&extensions, envelope, message)
        .unwrap_or_else(|early| early);
    End::Decided(verdict)
}

impl Talk<'_> {
    /// Greeting and EHLO, or HELO when EHLO is not known. Gives the reply that names the extensions.
    fn greet(&mut self, helohost: &[u8]) -> Result<Reply, Verdict> {
        let greeting = self
            .peer
            .reply_within(GREETING_TIME)
            .map_err(|t| self.died(&t, Danger::None))?;
        if greeting.code != 220 {
            return Err(self.leave("ZConnected to ", " but greeting failed", Some(&greeting)));
        }
        let mut hello = self.hello(b"EHLO ", helohost)?;
        if hello.is_permanent() {
            hello = self.hello(b"HELO ", helohost)?;
            // What a reply to HELO says of extensions means nothing.
            hello.text.truncate(if hello.code == 250 {
                0
            } else {
                hello.text.len()
            });
        }
        if hello.code != 250 {
            return Err(self.leave("ZConnected to ", " but my name was rejected", Some(&hello)));
        }
        Ok(hello)
    }

    fn hello(&mut self, verb: &[u8], helohost: &[u8]) -> Result<Reply, Verdict> {
        self.send(&[verb, helohost, b"\r\n"].concat(), Danger::None)?;
        self.peer
            .reply_within(GREETING_TIME)
            .map_err(|t| self.died(&t, Danger::None))
    }

    /// Envelope, text, verdict.
    fn transact(
        &mut self,
        extensions: &Reply,
        envelope: &Envelope,
        message: &mut Message,
    ) -> Result<Verdict, Verdict> {
        let mail = self.mail_command(extensions, envelope, message)?;
        let window = match extensions.extension("PIPELINING") {
            Some(_) => PIPELINE_LIMIT,
            None => 1,
        };
        let steps = steps(mail, envelope);
        for batch in steps.chunks(window) {
            self.batch(batch)?;
        }
        self.text(message)?;
        self.judge()
    }

    /// MAIL with what the other side offered to take. A message that it would refuse for its size is not offered.
    fn mail_command(
        &mut self,
        extensions: &Reply,
        envelope: &Envelope,
        message: &Message,
    ) -> Result<Bytes, Verdict> {
        let mut command = [b"MAIL FROM:<", envelope.sender.as_slice(), b">"].concat();
        let Some(survey) = message.survey() else {
            command.extend_from_slice(b"\r\n");
            return Ok(command);
        };
        if let Some(words) = extensions.extension("SIZE") {
            let limit = words.get(1).and_then(|w| number(w)).unwrap_or(0);
            if limit > 0 && survey.size() > limit {
                self.peer.quit();
                return Err(report::too_large(self.peer.address, limit));
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
    fn batch(&mut self, batch: &[(Step, Bytes)]) -> Result<(), Verdict> {
        // DATA alone is not sent for nobody.
        if !self.accepted && batch.first().is_some_and(|(step, _)| *step == Step::Data) {
            return Err(self.leave("DGiving up on ", "", None));
        }
        let commands: Bytes = batch.iter().flat_map(|(_, c)| c.iter().copied()).collect();
        self.send(&commands, Danger::None)?;
        for (step, _) in batch {
            match step {
                Step::Unspeakable => self.report.unspeakable(),
                Step::Mail => self.mail_reply()?,
                Step::Recipient => self.recipient_reply()?,
                Step::Data => self.data_reply()?,
            }
        }
        Ok(())
    }

    fn mail_reply(&mut self) -> Result<(), Verdict> {
        let reply = self.reply(Danger::None)?;
        if reply.is_success() {
            return Ok(());
        }
        let letter = if reply.is_permanent() { "D" } else { "Z" };
        let before = format!("{letter}Connected to ");
        Err(self.leave(&before, " but sender was rejected", Some(&reply)))
    }

    fn recipient_reply(&mut self) -> Result<(), Verdict> {
        let reply = self.reply(Danger::None)?;
        if reply.is_success() {
            self.report.accepted();
            self.accepted = true;
        } else {
            let letter = if reply.is_permanent() { b'h' } else { b's' };
            self.report.refused(letter, self.peer.address, &reply);
        }
        Ok(())
    }

    fn data_reply(&mut self) -> Result<(), Verdict> {
        let reply = self.reply(Danger::None)?;
        let goes_ahead = reply.code == 354;
        if !self.accepted {
            if goes_ahead {
                // Nobody gets this; the other side waits for an end (RFC 2920 3.1).
                let _ = self.peer.send(b".\r\n");
            }
            return Err(self.leave("DGiving up on ", "", None));
        }
        if goes_ahead {
            return Ok(());
        }
        // A text for a host that did not ask for it would be read as commands.
        let letter = if reply.is_permanent() { "D" } else { "Z" };
        Err(self.leave(letter, " failed on DATA command", Some(&reply)))
    }

    /// The text and its end.
    fn text(&mut self, message: &mut Message) -> Result<(), Verdict> {
        let mut stuff = Stuff::default();
        let mut out = Bytes::with_capacity(2 * BLOCK);
        message.blocks(report::unreadable, |block| {
            stuff.feed(block, &mut out);
            if out.len() >= BLOCK {
                self.send(&out, Danger::None)?;
                out.clear();
            }
            Ok(())
        })?;
        // Leaving now without another byte leaves the other side without a message.
        stuff.finish(&mut out).map_err(|_| report::partial_line())?;
        self.send(&out, Danger::Duplicate)
    }

    /// What the other side says to the whole.
    fn judge(&mut self) -> Result<Verdict, Verdict> {
        let reply = self.reply(Danger::Duplicate)?;
        if reply.is_success() {
            return Ok(self.leave("K", " accepted message", Some(&reply)));
        }
        let letter = if reply.is_permanent() { "D" } else { "Z" };
        Ok(self.leave(letter, " failed after I sent the message", Some(&reply)))
    }

    fn reply(&mut self, danger: Danger) -> Result<Reply, Verdict> {
        self.peer.reply().map_err(|t| self.died(&t, danger))
    }

    /// Sends, and if that fails, looks whether the other side has said why.
    fn send(&mut self, bytes: &[u8], danger: Danger) -> Result<(), Verdict> {
        let Err(error) = self.peer.send(bytes) else {
            return Ok(());
        };
        let refusal = self
            .peer
            .last_words()
            .filter(|r| self.accepted && matches!(r.code, 400..600));
        Err(match refusal {
            Some(reply) if reply.is_permanent() => {
                self.leave("D", " failed after I sent the message", Some(&reply))
            }
            Some(reply) => self.leave("Z", " failed after I sent the message", Some(&reply)),
            None => self.died(&Trouble::Lost(error), danger),
        })
    }

    fn died(&self, trouble: &Trouble, danger: Danger) -> Verdict {
        let how = match trouble {
            Trouble::Lost(_) => "connection died",
            Trouble::Endless => "its reply did not end",
        };
        report::died(self.peer.address, how, danger)
    }

    /// Says good-bye and names the host in the verdict.
    fn leave(&self, before: &str, after: &str, reply: Option<&Reply>) -> Verdict {
        self.peer.quit();
        report::blame(before, self.peer.address, after, reply)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_cannot_break_out_of_its_command() {
        assert_eq!(path(b"joe@a.test").unwrap(), b"joe@a.test");
        assert_eq!(path(b"").unwrap(), b"");
        assert_eq!(path(b"a> b@a.test").unwrap(), b"\"a> b\"@a.test");
        for bad in [
            &b"a\nb@a.test"[..],
            b"a\r@a.test",
            b"a@b> SIZE=1",
            b"a@b\nDATA",
            b"a@b c",
            b"a@<b",
        ] {
            assert_eq!(path(bad), None, "{}", bad.escape_ascii());
        }
    }
}
