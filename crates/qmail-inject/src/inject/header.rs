//! The header: each field as it comes, then what is missing.
//!
//! Source  qmail-header(5)

use base::bytes::printable;
use base::{Bytes, Die};
use mail::field::{Field, known};
use mail::token::{Kind, Malformed, Token, Words};
use mail::{list, newfield, quote};

use super::complete::{Completion, setting};
use super::envelope::{Addresses, Envelope, check};
use super::settings::{Arguments, Settings};
use super::sink::Sink;

/// Rewritten fields are broken into lines of about so many bytes.
const WIDTH: usize = 80;

/// A header as far as it has been read.
#[derive(Debug)]
pub(super) struct Header {
    settings: Settings,
    completion: Completion,
    words: Words,
    id_host: Bytes,
    seen: Seen,
    /// the fields that stay, rewritten
    kept: Bytes,
    /// recipients of To and Cc; empty unless they are looked up
    visible: Addresses,
    envelope: Envelope,
    now: i64,
}

/// What an address in a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// a recipient whom others see
    Visible,
    /// a recipient
    Recipient,
    /// a recipient of a message that is sent once more
    Resent,
    /// the envelope sender, if none is set yet
    ReturnPath,
    /// somebody else
    Other,
}

impl Role {
    fn of(field: Field) -> Option<Role> {
        Some(match field {
            Field::To | Field::Cc => Role::Visible,
            Field::Bcc | Field::ApparentlyTo => Role::Recipient,
            Field::ResentTo | Field::ResentCc | Field::ResentBcc => Role::Resent,
            Field::ReturnPath => Role::ReturnPath,
            Field::Sender
            | Field::From
            | Field::ReplyTo
            | Field::ReturnReceiptTo
            | Field::ErrorsTo
            | Field::ResentSender
            | Field::ResentFrom
            | Field::ResentReplyTo => Role::Other,
            _ => return None,
        })
    }

    /// Whether a field that cannot be read is passed on as it is: the recipients may all be among the arguments.
    fn may_fail(self) -> bool {
        matches!(self, Role::Visible | Role::Recipient | Role::Resent)
    }
}

/// The set of fields that came.
#[derive(Clone, Copy, Debug, Default)]
struct Seen(u64);

impl Seen {
    fn add(&mut self, field: Field) {
        self.0 |= 1 << field as u32;
    }

    fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u32) != 0
    }

    fn any_resent(self) -> bool {
        [
            Field::ResentSender,
            Field::ResentFrom,
            Field::ResentReplyTo,
            Field::ResentTo,
            Field::ResentCc,
            Field::ResentBcc,
            Field::ResentDate,
            Field::ResentMessageId,
        ]
        .into_iter()
        .any(|field| self.has(field))
    }
}

/// Why an address list was not rewritten.
enum Trouble {
    Malformed(Malformed),
    Die(Die),
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Trouble {
        Trouble::Malformed(malformed)
    }
}

/// Those whom a field may name.
struct People<'a> {
    /// `None` when nobody asks for them
    visible: Option<&'a mut Addresses>,
    envelope: &'a mut Envelope,
    sender_per_recipient: bool,
}

impl People<'_> {
    fn take(&mut self, role: Role, address: impl FnOnce() -> Bytes) -> Result<(), Die> {
        match role {
            Role::Visible => {
                let address = address();
                if let Some(visible) = &mut self.visible {
                    visible.push(&address)?;
                }
                self.envelope.from_header.push(&address)
            }
            Role::Recipient => self.envelope.from_header.push(&address()),
            Role::Resent => self.envelope.from_resent.push(&address()),
            Role::ReturnPath if self.envelope.sender.is_none() => {
                let mut sender = address();
                if self.sender_per_recipient {
                    sender.extend_from_slice(b"-@[]");
                }
                check(&sender)?;
                self.envelope.sender = Some(sender);
                Ok(())
            }
            Role::ReturnPath | Role::Other => Ok(()),
        }
    }
}

impl Header {
    /// Reads the control files.
    pub(super) fn new(settings: Settings) -> Result<Header, Die> {
        let mut words = Words::new();
        Ok(Header {
            settings,
            completion: Completion::read(&mut words)?,
            words,
            id_host: setting("idhost", "QMAILIDHOST")?,
            seen: Seen::default(),
            kept: Bytes::new(),
            visible: Addresses::default(),
            envelope: Envelope::default(),
            now: base::tai::unix_now(),
        })
    }

    pub(super) fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The sender and the recipients of the command line. An address there is not in the form of a header: its local
    /// part stands as it is, without quotes.
    pub(super) fn envelope_from_arguments(&mut self, arguments: &Arguments<'_>) -> Result<(), Die> {
        if let Some(sender) = &arguments.sender {
            let quoted = quote::address(sender);
            let sender = self
                .plain_address(&quoted)
                .map_err(|malformed| line_error(malformed, &quoted))?;
            check(&sender)?;
            self.envelope.sender = Some(sender);
        }
        if !arguments.recipients.reads_arguments() {
            return Ok(());
        }
        for word in arguments.words {
            let recipient = self.plain_address(&quote::address(word)).map_err(|_| {
                let text = [b"unable to parse address: ", word.as_slice()].concat();
                Die::fatal(100, text)
            })?;
            self.envelope.from_arguments.push(&recipient)?;
        }
        Ok(())
    }

    /// One address, made whole.
    fn plain_address(&mut self, quoted: &[u8]) -> Result<Bytes, Malformed> {
        let mark = self.words.mark();
        let mut tokens = self.words.parse(quoted)?;
        self.completion.complete(&self.words, &mut tokens);
        let address = self.words.unquote(&tokens);
        self.words.forget(mark);
        Ok(address)
    }

    /// Takes one field of the message.
    pub(super) fn field(&mut self, line: Bytes) -> Result<(), Die> {
        let Some(field) = known(&line) else {
            self.kept.extend(line);
            return Ok(());
        };
        if self.is_dropped(field) {
            return Ok(());
        }
        self.seen.add(field);
        let rewritten = match Role::of(field) {
            Some(role) => self.addresses(&line, role)?,
            None => None,
        };
        let goes = [
            Field::Bcc,
            Field::ResentBcc,
            Field::ReturnPath,
            Field::ContentLength,
        ];
        if !goes.contains(&field) {
            self.kept.extend(rewritten.unwrap_or(line));
        }
        Ok(())
    }

    fn is_dropped(&self, field: Field) -> bool {
        match field {
            Field::From => self.settings.drop_from,
            Field::MessageId => self.settings.drop_message_id,
            Field::ReturnPath => self.settings.drop_return_path,
            _ => false,
        }
    }

    /// Rewrites the addresses of a field, and takes those for the envelope. `None`: it could not be read, and need not.
    fn addresses(&mut self, line: &[u8], role: Role) -> Result<Option<Bytes>, Die> {
        let mark = self.words.mark();
        let result = self.rewrite(line, role);
        self.words.forget(mark);
        match result {
            Ok(rewritten) => Ok(Some(rewritten)),
            Err(Trouble::Malformed(Malformed::Syntax)) if role.may_fail() => Ok(None),
            Err(Trouble::Malformed(malformed)) => Err(line_error(malformed, line)),
            Err(Trouble::Die(die)) => Err(die),
        }
    }

    fn rewrite(&mut self, line: &[u8], role: Role) -> Result<Bytes, Trouble> {
        let tokens = self.words.parse(line)?;
        let words: &Words = &self.words;
        let mut people = People {
            visible: self.settings.lists.is_some().then_some(&mut self.visible),
            envelope: &mut self.envelope,
            sender_per_recipient: self.settings.sender_per_recipient,
        };
        let rewritten = list::rewrite(&tokens, |address| {
            self.completion.complete(words, address);
            people
                .take(role, || words.unquote(address))
                .map_err(Trouble::Die)
        })?;
        Ok(words.unparse(&rewritten, WIDTH))
    }

    /// Writes the whole header: what was missing, then what came.
    pub(super) fn finish(&mut self, sink: &mut Sink) -> Result<(), Die> {
        self.envelope.is_resent = self.seen.any_resent();
        if self.envelope.sender.is_none() {
            let field = self.default_return_path()?;
            self.addresses(&field, Role::ReturnPath)?;
        }
        if sink.is_print() {
            let sender = quote::address(self.envelope.sender.as_deref().unwrap_or_default());
            sink.write(&[b"Return-Path: <", sender.as_slice(), b">\n"].concat())?;
        }
        if self.envelope.is_resent {
            self.new_fields(sink, RESENT)?;
        } else {
            self.new_fields(sink, ORIGINAL)?;
            self.followup(sink)?;
        }
        sink.write(&self.kept)
    }

    fn new_fields(&mut self, sink: &mut Sink, kind: Kinds) -> Result<(), Die> {
        let mut put = |field: &[u8]| {
            sink.write(kind.prefix.as_bytes())?;
            sink.write(field)
        };
        if !self.seen.has(kind.date) {
            put(&newfield::date(self.now))?;
        }
        if !self.seen.has(kind.message_id) {
            let id = newfield::message_id(self.now, std::process::id(), &self.id_host);
            put(&id)?;
        }
        if !self.seen.has(kind.from) {
            put(&self.default_from()?)?;
        }
        if !self.seen.has(kind.to) && !self.seen.has(kind.cc) {
            put(b"Cc: recipient list not shown: ;\n")?;
        }
        Ok(())
    }

    /// A field `NAME: user@host` of words that may need quotes.
    fn author_field(
        &mut self,
        name: &str,
        user: (Kind, &[u8]),
        host: Option<&[u8]>,
    ) -> Result<[Vec<Token>; 2], Malformed> {
        let words = &mut self.words;
        let front = vec![
            words.word(Kind::Atom, name.as_bytes())?,
            Token::mark(Kind::Colon),
        ];
        let mut address = vec![words.word(user.0, user.1)?];
        if let Some(host) = host {
            address.push(Token::mark(Kind::At));
            address.push(words.word(Kind::Atom, host)?);
        }
        Ok([front, address])
    }

    /// The From of somebody who gave none.
    fn default_from(&mut self) -> Result<Bytes, Die> {
        let line = self.author().map_err(|e| line_error(e, b"From:\n"))?;
        let rewritten = self.addresses(&line, Role::Other)?;
        Ok(rewritten.unwrap_or(line))
    }

    fn author(&mut self) -> Result<Bytes, Malformed> {
        let user = self.settings.user.clone();
        let host = self.settings.host.clone();
        let name = self.settings.name.clone();
        let kind = if quote::needs_quotes(&user) {
            Kind::Quote
        } else {
            Kind::Atom
        };
        let [mut tokens, address] = self.author_field("From", (kind, &user), host.as_deref())?;
        match name {
            None => tokens.extend(address),
            Some(name) if self.settings.name_as_comment => {
                tokens.extend(address);
                tokens.push(self.words.word(Kind::Comment, &name)?);
            }
            Some(name) => {
                tokens.push(self.words.word(Kind::Quote, &name)?);
                tokens.push(Token::mark(Kind::Left));
                tokens.extend(address);
                tokens.push(Token::mark(Kind::Right));
            }
        }
        Ok(self.words.unparse(&tokens, WIDTH))
    }

    /// The Return-Path of somebody who gave none. It says which message or which recipient a bounce is about, if asked.
    fn default_return_path(&mut self) -> Result<Bytes, Die> {
        let mut user = self.settings.sender_user.clone();
        if self.settings.sender_per_message {
            user.extend(format!("-{}.{}", self.now, std::process::id()).into_bytes());
        }
        if self.settings.sender_per_recipient {
            user.push(b'-');
        }
        let host = self.settings.sender_host.clone();
        let tokens = self
            .author_field("Return-Path", (Kind::Quote, &user), host.as_deref())
            .map_err(|e| line_error(e, b"Return-Path:\n"))?
            .concat();
        Ok(self.words.unparse(&tokens, WIDTH))
    }

    /// Mail to a known mailing list asks for answers to the list and the other recipients, not to the author.
    fn followup(&self, sink: &mut Sink) -> Result<(), Die> {
        let Some(lists) = &self.settings.lists else {
            return Ok(());
        };
        if self.seen.has(Field::MailFollowupTo) || !self.visible.iter().any(|a| lists.has(a)) {
            return Ok(());
        }
        let addresses: Vec<Bytes> = self.visible.iter().rev().map(quote::address).collect();
        let list = addresses.join(&b",\n  "[..]);
        sink.write(&[b"Mail-Followup-To: ", list.as_slice(), b"\n"].concat())
    }
}

/// The fields that a message must have, under their two sets of names.
#[derive(Clone, Copy)]
struct Kinds {
    prefix: &'static str,
    date: Field,
    message_id: Field,
    from: Field,
    to: Field,
    cc: Field,
}

const ORIGINAL: Kinds = Kinds {
    prefix: "",
    date: Field::Date,
    message_id: Field::MessageId,
    from: Field::From,
    to: Field::To,
    cc: Field::Cc,
};

const RESENT: Kinds = Kinds {
    prefix: "Resent-",
    date: Field::ResentDate,
    message_id: Field::ResentMessageId,
    from: Field::ResentFrom,
    to: Field::ResentTo,
    cc: Field::ResentCc,
};

/// The end of a message with a field that cannot be read; the field is shown.
pub(super) fn line_error(malformed: Malformed, line: &[u8]) -> Die {
    if malformed == Malformed::TooLong {
        return Die::fatal(100, "too many words in a header field");
    }
    let shown: Vec<Bytes> = line.split(|&b| b == b'\n').map(printable).collect();
    Die::plain(
        100,
        [
            &b"qmail-inject: fatal: unable to parse this line:\n"[..],
            &shown.join(&b'\n'),
        ]
        .concat(),
    )
}
