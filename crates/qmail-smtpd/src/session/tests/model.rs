//! Random sessions against a model that a reader can check: a message needs a sender and an accepted recipient of the
//! same transaction, and every ending of a transaction ends all of it. Where there is AUTH, who may relay is who has
//! logged in since TLS began, if it did.

use super::logins::service;
use super::*;

/// What a command does, as the model sees it.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// begins a transaction, whatever was before
    Mail(&'static str),
    /// fails, and ends what was before
    BadMail(u16),
    /// adds a recipient
    Rcpt(&'static str),
    /// is refused with this code
    BadRcpt(u16),
    /// ends the transaction
    End,
    /// changes nothing
    Nothing(u16),
    /// DATA, with a text that gets this answer
    Data(&'static str, u16),
    /// a recipient that only who may relay can have
    Relay(&'static str),
    /// STARTTLS; nothing may follow it in its segment
    StartTls,
    /// AUTH, with the lines that follow and the codes that it gets; the last tells what came of it
    Login(&'static [&'static str], &'static [u16]),
    /// changes nothing, but for giving a name, which STARTTLS has taken away
    Name,
}

const HOPS: &str =
    "Received: x\r\nReceived: x\r\nReceived: x\r\nReceived: x\r\nReceived: x\r\n.\r\n";
const LARGE: &str = "\r\n0123456789012345678901234567890123456789\r\n.\r\n";

const COMMANDS: [(&str, Kind); 32] = [
    ("MAIL FROM:<a@b.test>", Kind::Mail("a@b.test")),
    ("MAIL FROM:<>", Kind::Mail("")),
    ("mail from:<c@b.test> BODY=7BIT", Kind::Mail("c@b.test")),
    ("MAIL FROM:<spam@bad.test>", Kind::Mail("spam@bad.test")),
    ("MAIL FROM:broken", Kind::BadMail(501)),
    ("MAIL FROM:<a@b.test> X=1", Kind::BadMail(555)),
    ("MAIL FROM:<a@b.test> SIZE=31", Kind::BadMail(552)),
    ("RCPT TO:<v@host.test>", Kind::Rcpt("v@host.test")),
    ("RCPT TO:<w@host.test>", Kind::Rcpt("w@host.test")),
    ("rcpt to:<postmaster>", Kind::Rcpt("postmaster")),
    ("RCPT TO:<unknown@host.test>", Kind::BadRcpt(550)),
    ("RCPT TO:<x@out.example>", Kind::Relay("x@out.example")),
    ("RCPT TO:<trouble@host.test>", Kind::BadRcpt(451)),
    ("RCPT TO:<>", Kind::BadRcpt(501)),
    ("RSET", Kind::End),
    ("HELO x", Kind::Name),
    ("EHLO y", Kind::Name),
    ("STARTTLS", Kind::StartTls),
    ("AUTH PLAIN AGFsaWNlAHNlY3JldA==", Kind::Login(&[], &[235])),
    ("AUTH PLAIN AGFsaWNlAHdyb25n", Kind::Login(&[], &[535])),
    (
        "AUTH LOGIN",
        Kind::Login(&["YWxpY2U=", "c2VjcmV0"], &[334, 334, 235]),
    ),
    ("AUTH LOGIN YWxpY2U=", Kind::Login(&["*"], &[334, 501])),
    ("AUTH PLAIN", Kind::Login(&["RSET"], &[334, 501])),
    ("AUTH NONE", Kind::Login(&[], &[504])),
    ("NOOP", Kind::Nothing(250)),
    ("VRFY x", Kind::Nothing(252)),
    ("HELP", Kind::Nothing(214)),
    ("EXPN x", Kind::Nothing(502)),
    ("RSET x\0", Kind::Nothing(501)),
    ("DATA", Kind::Data("\r\none\r\n.\r\n", 250)),
    ("DATA", Kind::Data(HOPS, 554)),
    ("DATA", Kind::Data(LARGE, 552)),
];

type Envelope = (&'static str, Vec<&'static str>);

/// What a service has besides the plain commands.
#[derive(Clone, Copy, Default)]
struct Service {
    tls: bool,
    auth: bool,
    required: bool,
}

#[derive(Default)]
struct Model {
    service: Service,
    open: Option<Envelope>,
    stored: Vec<Envelope>,
    tls: bool,
    /// STARTTLS has taken the name away
    nameless: bool,
    login: bool,
}

impl Model {
    /// The codes of the replies, and what the client sends next because of them.
    fn step(&mut self, kind: Kind) -> (Vec<u16>, String) {
        let code = match kind {
            Kind::Mail(_) | Kind::BadMail(_) if self.bars_mail().is_some() => {
                self.open = None;
                self.bars_mail().unwrap()
            }
            Kind::Mail(sender) => {
                self.open = Some((sender, Vec::new()));
                250
            }
            Kind::BadMail(code) => {
                self.open = None;
                code
            }
            Kind::Rcpt(to) => self.rcpt(to),
            Kind::Relay(to) if self.login => self.rcpt(to),
            Kind::Relay(_) => self.bad_rcpt(553),
            Kind::BadRcpt(code) => self.bad_rcpt(code),
            Kind::End => {
                self.open = None;
                250
            }
            Kind::Name => {
                self.open = None;
                self.nameless = false;
                250
            }
            Kind::Nothing(code) => code,
            Kind::StartTls => self.start_tls(),
            Kind::Login(lines, codes) => return self.log_in(lines, codes),
            Kind::Data(text, code) => match self.open.take_if(|(_, list)| !list.is_empty()) {
                None => 503,
                Some(transaction) => {
                    if code == 250 {
                        self.stored.push(transaction);
                    }
                    return (vec![354, code], text.to_owned());
                }
            },
        };
        (vec![code], String::new())
    }

    fn bars_mail(&self) -> Option<u16> {
        let barred = self.service.required && !self.login;
        self.nameless.then_some(503).or(barred.then_some(530))
    }

    fn rcpt(&mut self, to: &'static str) -> u16 {
        match &mut self.open {
            None => 503,
            Some((sender, _)) if *sender == "spam@bad.test" => 553,
            Some((_, list)) if list.len() == 3 => 452,
            Some((_, list)) => {
                list.push(to);
                250
            }
        }
    }

    fn bad_rcpt(&self, code: u16) -> u16 {
        match &self.open {
            None => 503,
            // Syntax is looked at before anything else, the limit before the mailbox.
            Some(_) if code == 501 => 501,
            Some((sender, _)) if *sender == "spam@bad.test" => 553,
            Some((_, list)) if list.len() == 3 && code != 553 => 452,
            Some(_) => code,
        }
    }

    fn start_tls(&mut self) -> u16 {
        if !self.service.tls {
            return 502;
        }
        if self.tls || self.open.is_some() {
            return 503;
        }
        self.tls = true;
        self.nameless = true;
        self.login = false;
        220
    }

    fn log_in(&mut self, lines: &[&str], codes: &[u16]) -> (Vec<u16>, String) {
        if !self.service.auth {
            return (vec![502], String::new());
        }
        if self.login || self.open.is_some() || self.nameless {
            return (vec![503], String::new());
        }
        self.login = codes.ends_with(&[235]);
        let text = lines.iter().flat_map(|l| [*l, "\r\n"]).collect();
        (codes.to_vec(), text)
    }
}

/// Random sessions on a service: every reply and every stored message is what the model says.
fn compare(service: Service, settings: Settings, sessions: usize, seed: u64) -> usize {
    let mut random = Random(seed);
    let mut play = Play::new(settings);
    play.settings.max_errors = 0;
    play.settings.data.databytes = 30;
    play.settings.data.header.hops = 2;
    let mut stored = 0;
    for _ in 0..sessions {
        let mut model = Model {
            service,
            ..Model::default()
        };
        let (mut wire, mut codes, mut story) = (Vec::new(), Vec::new(), Vec::new());
        let mut acts = Vec::new();
        for _ in 0..=random.below(14) {
            // Every second command is one that a good client would send.
            let any = random.below(COMMANDS.len());
            let choice = [any, any, any, 0, 7, 29][random.below(6)];
            let (command, kind) = COMMANDS[choice];
            let (told, text) = model.step(kind);
            wire.extend_from_slice(format!("{command}\r\n{text}").as_bytes());
            if told == [220] {
                acts.extend(segments(&wire, &mut random));
                wire.clear();
            }
            codes.extend(told);
            story.push(command);
        }
        acts.extend(segments(&wire, &mut random));
        let left = play.run(acts);
        assert_eq!(left.codes(), codes, "{story:?}");
        let got: Vec<(&str, Vec<&str>)> = left
            .stored
            .iter()
            .map(|m| {
                let list = m.recipients.iter().map(String::as_str);
                (m.sender.as_str(), list.collect())
            })
            .collect();
        assert_eq!(got, model.stored, "{story:?}");
        stored += got.len();
    }
    stored
}

#[test]
fn no_message_without_its_own_sender_and_recipient() {
    let stored = compare(Service::default(), settings(), 20_000, 7);
    assert!(stored > 500, "{stored}");
}

/// The same with STARTTLS and AUTH, offered and required.
#[test]
fn nobody_relays_who_has_not_logged_in_since_tls_began() {
    for (tls, auth, required) in [
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (true, true, true),
    ] {
        let switch = if required { "!+cram" } else { "+cram" };
        let mut settings = if auth {
            service(&[("INTRANET", ""), ("SMTPAUTH", switch)])
        } else {
            settings()
        };
        settings.login.max_failures = 0;
        settings.tls = Tls {
            offer: if tls { Offer::May } else { Offer::No },
            cover: None,
        };
        let service = Service {
            tls,
            auth,
            required,
        };
        let stored = compare(service, settings, 10_000, 11);
        assert!(stored > 50, "{stored}");
    }
}

/// Whatever comes in: no panic, and all that is stored is clean.
#[test]
fn any_bytes_at_all() {
    let words: [&[u8]; 22] = [
        b"STARTTLS\r\n",
        b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
        b"AUTH LOGIN\r\n",
        b"AUTH CRAM-MD5\r\n",
        b"YWxpY2U=\r\n",
        b"*\r\n",
        b"MAIL FROM:<a@b.test>\r\n",
        b"RCPT TO:<v@host.test>\r\n",
        b"DATA\r\n",
        b"\r\n.\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b".",
        b"\0",
        b"RSET\r\n",
        b"Received: x\r\n",
        b"EHLO x\r\n",
        b"\xff",
        b"text ",
        b"RCPT TO:<",
        b"> SIZE=1\r\n",
    ];
    let mut random = Random(99);
    let mut stored = 0;
    let mut play = Play::new(service(&[("INTRANET", "")]));
    play.settings.tls = Tls {
        offer: Offer::May,
        cover: None,
    };
    for _ in 0..20_000 {
        let mut wire = ENVELOPE.as_bytes().to_vec();
        for _ in 0..random.below(30) {
            wire.extend_from_slice(words[random.below(words.len())]);
        }
        let left = play.run(segments(&wire, &mut random));
        stored += left.stored.len();
        for message in &left.stored {
            assert!(!message.recipients.is_empty());
            assert!(!message.text.iter().any(|b| matches!(b, 0 | b'\r')));
            assert!(message.text.is_empty() || message.text.ends_with(b"\n"));
        }
    }
    assert!(stored > 100, "{stored}");
}
