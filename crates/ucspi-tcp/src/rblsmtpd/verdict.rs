//! What the lists say together.
//!
//! All are asked at once, and their answers are looked at in the order of the options: a client is refused as soon as
//! the points reach the minimum and nothing that follows can take them away again.

use std::time::Instant;

use base::Bytes;
use dns::{Batch, Resolver};

use super::settings::Settings;
use super::source::{Kind, Source, reversed};

/// The longest text in a reply, bytes; as in the original.
const TEXT_LIMIT: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// nothing is known of the client
    Unknown,
    /// somebody speaks for it
    Welcome,
    Refuse(Refusal),
}

/// Why mail is not taken, and whether for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    text: Bytes,
    bounce: bool,
}

impl Refusal {
    pub(super) fn new(text: &[u8], bounce: bool) -> Refusal {
        Refusal {
            text: text.to_vec(),
            bounce,
        }
    }

    /// Code and text, safe to print, without a line end.
    pub(super) fn message(&self) -> Bytes {
        let code = if self.bounce { b"553 " } else { b"451 " };
        let text = self.text.iter().take(TEXT_LIMIT);
        code.iter()
            .chain(text)
            .map(|&b| if (32..127).contains(&b) { b } else { b'?' })
            .collect()
    }
}

/// Asks the lists of the settings about `client`.
pub(super) fn of_lists(settings: &Settings, client: &[u8], start: Instant) -> Verdict {
    let sources = &settings.sources;
    // Nobody can have listed what is no address.
    let Some(name) = reversed(client).filter(|_| !sources.is_empty()) else {
        return Verdict::Unknown;
    };
    // Without resolvers every answer is temporary trouble, which is what -c and -C are about.
    let resolver = Resolver::from_system().unwrap_or_else(|_| Resolver::new(Vec::new(), false));
    let questions = sources
        .iter()
        .flat_map(|s| s.types().iter().map(|t| (s.name(&name), *t)));
    let end = start + settings.lookup_time;
    let answers = Answers {
        batch: resolver.ask_all(questions, end),
        next: 0,
        client,
    };
    weigh(settings, answers)
}

/// The answers in the order of the questions.
struct Answers<'a> {
    batch: Batch<'a>,
    next: usize,
    client: &'a [u8],
}

enum Said {
    Nothing,
    Trouble,
    Listed(Bytes),
}

impl Answers<'_> {
    fn of(&mut self, source: &Source) -> Said {
        let first = self.next;
        self.next += source.types().len();
        match source.listing(self.batch.take(first), self.client) {
            Err(_) => Said::Trouble,
            Ok(None) => Said::Nothing,
            Ok(Some(_)) if source.kind == Kind::Address => {
                Said::Listed(source.text(self.batch.take(first + 1), self.client))
            }
            Ok(Some(text)) => Said::Listed(text),
        }
    }
}

fn weigh(settings: &Settings, mut answers: Answers<'_>) -> Verdict {
    let (mut sum, mut must_not_bounce) = (0, false);
    let mut reasons: Option<Bytes> = None;
    let mut bounce = false;
    // What lists that are still to come may take away.
    let mut mercy: i64 = settings.sources.iter().map(may_take_away).sum();
    for source in &settings.sources {
        mercy -= may_take_away(source);
        let anti = source.kind == Kind::Anti;
        match answers.of(source) {
            Said::Nothing => {}
            Said::Listed(_) if anti => return Verdict::Welcome,
            Said::Listed(text) => {
                sum += source.points;
                if source.points > 0 {
                    reasons.get_or_insert(text);
                    bounce = source.bounce;
                }
            }
            Said::Trouble => {
                must_not_bounce = true;
                match (anti, source.fail_closed) {
                    (true, false) => return Verdict::Welcome,
                    (false, true) => {
                        let text = b"temporary RBL lookup error";
                        return Verdict::Refuse(Refusal::new(text, false));
                    }
                    _ => {}
                }
            }
        }
        if let Some(text) = &reasons
            && sum - mercy >= settings.minimum
        {
            return Verdict::Refuse(Refusal::new(text, bounce && !must_not_bounce));
        }
    }
    Verdict::Unknown
}

fn may_take_away(source: &Source) -> i64 {
    match source.kind {
        Kind::Anti => 0,
        _ => source.points.min(0).saturating_neg(),
    }
}
