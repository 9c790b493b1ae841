//! Random sessions against a model that a reader can check: a message needs a sender and an accepted recipient of the
//! same transaction, and every ending of a transaction ends all of it.

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
}

const HOPS: &str =
    "Received: x\r\nReceived: x\r\nReceived: x\r\nReceived: x\r\nReceived: x\r\n.\r\n";
const LARGE: &str = "\r\n0123456789012345678901234567890123456789\r\n.\r\n";

const COMMANDS: [(&str, Kind); 25] = [
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
    ("RCPT TO:<x@out.example>", Kind::BadRcpt(553)),
    ("RCPT TO:<trouble@host.test>", Kind::BadRcpt(451)),
    ("RCPT TO:<>", Kind::BadRcpt(501)),
    ("RSET", Kind::End),
    ("HELO x", Kind::End),
    ("EHLO y", Kind::End),
    ("NOOP", Kind::Nothing(250)),
    ("VRFY x", Kind::Nothing(252)),
    ("HELP", Kind::Nothing(214)),
    ("AUTH PLAIN x", Kind::Nothing(502)),
    ("RSET x\0", Kind::Nothing(501)),
    ("DATA", Kind::Data("\r\none\r\n.\r\n", 250)),
    ("DATA", Kind::Data(HOPS, 554)),
    ("DATA", Kind::Data(LARGE, 552)),
];

#[derive(Default)]
struct Model {
    open: Option<(&'static str, Vec<&'static str>)>,
    stored: Vec<(&'static str, Vec<&'static str>)>,
}

impl Model {
    /// The codes of the replies, and what the client sends next because of them.
    fn step(&mut self, kind: Kind) -> (Vec<u16>, &'static str) {
        let code = match kind {
            Kind::Mail(sender) => {
                self.open = Some((sender, Vec::new()));
                250
            }
            Kind::BadMail(code) => {
                self.open = None;
                code
            }
            Kind::Rcpt(to) => match &mut self.open {
                None => 503,
                Some((sender, _)) if *sender == "spam@bad.test" => 553,
                Some((_, list)) if list.len() == 3 => 452,
                Some((_, list)) => {
                    list.push(to);
                    250
                }
            },
            Kind::BadRcpt(code) => match &self.open {
                None => 503,
                // Syntax is looked at before anything else, the limit before the mailbox.
                Some(_) if code == 501 => 501,
                Some((sender, _)) if *sender == "spam@bad.test" => 553,
                Some((_, list)) if list.len() == 3 && code != 553 => 452,
                Some(_) => code,
            },
            Kind::End => {
                self.open = None;
                250
            }
            Kind::Nothing(code) => code,
            Kind::Data(text, code) => match self.open.take_if(|(_, list)| !list.is_empty()) {
                None => 503,
                Some(transaction) => {
                    if code == 250 {
                        self.stored.push(transaction);
                    }
                    return (vec![354, code], text);
                }
            },
        };
        (vec![code], "")
    }
}

#[test]
fn no_message_without_its_own_sender_and_recipient() {
    let mut random = Random(7);
    let mut play = Play::new(settings());
    play.settings.max_errors = 0;
    play.settings.data.databytes = 30;
    play.settings.data.header.hops = 2;
    let mut stored = 0;
    for _ in 0..20_000 {
        let mut model = Model::default();
        let (mut wire, mut codes, mut story) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=random.below(14) {
            // Every second command is one that a good client would send.
            let any = random.below(COMMANDS.len());
            let choice = [any, any, any, 0, 7, 22][random.below(6)];
            let (command, kind) = COMMANDS[choice];
            let (told, text) = model.step(kind);
            wire.extend_from_slice(format!("{command}\r\n{text}").as_bytes());
            codes.extend(told);
            story.push(command);
        }
        let left = play.run(segments(&wire, &mut random));
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
    assert!(stored > 500, "{stored}");
}

/// Whatever comes in: no panic, and all that is stored is clean.
#[test]
fn any_bytes_at_all() {
    let words: [&[u8]; 16] = [
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
    for _ in 0..20_000 {
        let mut wire = ENVELOPE.as_bytes().to_vec();
        for _ in 0..random.below(30) {
            wire.extend_from_slice(words[random.below(words.len())]);
        }
        let left = run_acts(segments(&wire, &mut random));
        stored += left.stored.len();
        for message in &left.stored {
            assert!(!message.recipients.is_empty());
            assert!(!message.text.iter().any(|b| matches!(b, 0 | b'\r')));
            assert!(message.text.is_empty() || message.text.ends_with(b"\n"));
        }
    }
    assert!(stored > 100, "{stored}");
}
