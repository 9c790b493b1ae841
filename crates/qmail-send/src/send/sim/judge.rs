//! What must hold, whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use base::Bytes;
use queue::frames::{Attempt, Past};

use crate::send::channel::Channel;
use crate::send::comm::verp;

/// What begins the text of each message; its token follows, and a line end.
pub(super) const TOKEN: &[u8] = b"token=";

/// A message on its way in.
#[derive(Clone)]
pub(super) struct Mail {
    pub(super) sender: Bytes,
    pub(super) recipients: Vec<Bytes>,
    /// without its token
    pub(super) text: Bytes,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let to: Vec<String> = self.recipients.iter().map(|r| show(r)).collect();
        write!(f, "{} to {}", show(&self.sender), to.join(" "))
    }
}

/// What happened to one recipient.
#[derive(Debug, Default)]
struct Fate {
    /// when it was tried, by the clock that nobody can set
    tries: Vec<Duration>,
    /// deliveries and failures: when, and when qmail-send could know
    done: Vec<(Duration, Option<Duration>)>,
    successes: u32,
    failures: u32,
    /// bounces that name it, and when they were in the queue
    bounced: Vec<Duration>,
    is_running: bool,
    /// its place in the list of its channel, as the spawner was told
    at: Option<u64>,
}

#[derive(Debug)]
struct Message {
    mail: Mail,
    born: Duration,
    is_acknowledged: bool,
    fates: Vec<Fate>,
}

/// Something after which recipients may be served again.
#[derive(Clone, Copy, Debug)]
struct Crash {
    when: Duration,
    /// what qmail-send has known for longer must not be forgotten
    window: Duration,
}

/// What may run at a destination.
#[derive(Debug, Default)]
struct Destination {
    running: usize,
    good: usize,
    starts: Vec<Duration>,
}

/// What a life may do.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// by channel
    pub(super) running: [usize; 2],
    /// seconds, true ones
    pub(super) lifetime: u64,
    /// whether messages may be given up too soon: the clock was wrong across a restart
    pub(super) is_lifetime_known: bool,
    /// whether a message may be served again at any time: the disk fails
    pub(super) may_repeat: bool,
}

#[derive(Debug)]
pub(super) struct Judge {
    pub(super) limits: Limits,
    messages: Vec<Message>,
    crashes: Vec<Crash>,
    running: [usize; 2],
    destinations: BTreeMap<Bytes, Destination>,
    pub(super) repeated: u32,
}

/// Deliveries at a destination that nothing is known of.
const FIRST_WINDOW: usize = 5;
/// Deliveries at one destination, as the control file says: `capped.test:2`, `rated.test::3`.
pub(super) const CAPPED: (&[u8], usize) = (b"capped.test", 2);
pub(super) const RATED: (&[u8], usize) = (b"rated.test", 3);

/// One recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    message: usize,
    recipient: usize,
}

pub(super) type Verdict<T> = Result<T, String>;

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn domain(address: &[u8]) -> Bytes {
    address.rsplit(|&b| b == b'@').next().unwrap().to_vec()
}

impl Judge {
    pub(super) fn new(limits: Limits) -> Judge {
        Judge {
            limits,
            messages: Vec::new(),
            crashes: Vec::new(),
            running: [0; 2],
            destinations: BTreeMap::new(),
            repeated: 0,
        }
    }

    /// A message begins its way in; returns its token.
    pub(super) fn arrives(&mut self, mail: Mail, when: Duration) -> usize {
        let fates = mail.recipients.iter().map(|_| Fate::default()).collect();
        self.messages.push(Message {
            mail,
            born: when,
            is_acknowledged: false,
            fates,
        });
        self.messages.len() - 1
    }

    pub(super) fn mail(&self, token: usize) -> &Mail {
        &self.messages[token].mail
    }

    /// What stands in `mess`.
    pub(super) fn text(&self, token: usize) -> Bytes {
        let text = &self.messages[token].mail.text;
        [TOKEN, format!("{token}\n").as_bytes(), text].concat()
    }

    /// The message is acknowledged.
    pub(super) fn acknowledged(&mut self, token: usize, when: Duration) -> Verdict<()> {
        self.messages[token].is_acknowledged = true;
        let mail = self.messages[token].mail.clone();
        if mail.sender.is_empty() || mail.sender == b"#@[]" {
            self.bounced(&mail, when)?;
        }
        Ok(())
    }

    /// A bounce is in the queue: whom is it about?
    fn bounced(&mut self, bounce: &Mail, when: Duration) -> Verdict<()> {
        let text = show(&bounce.text);
        let Some((head, copy)) = text.split_once("\nReturn-Path: <") else {
            // Somebody else's.
            return Ok(());
        };
        let token = copy
            .split_once(">\ntoken=")
            .and_then(|(_, rest)| rest.split('\n').next()?.parse::<usize>().ok());
        let Some(message) = token.and_then(|t| self.messages.get_mut(t)) else {
            return Err(format!("a bounce without its message: {text}"));
        };
        let named: Vec<&str> = head
            .lines()
            .filter_map(|l| l.strip_prefix('<')?.strip_suffix(">:"))
            .collect();
        if named.is_empty() {
            return Err(format!("a bounce about nobody: {text}"));
        }
        for name in named {
            let place = message
                .mail
                .recipients
                .iter()
                .position(|r| r == name.as_bytes());
            let Some(fate) = place.map(|p| &mut message.fates[p]) else {
                return Err(format!("a bounce about a stranger: {name}"));
            };
            let age = when.saturating_sub(message.born).as_secs();
            if fate.failures == 0 && age + 2 < self.limits.lifetime && self.limits.is_lifetime_known
            {
                return Err(format!("{name} was given up after {age} s"));
            }
            fate.bounced.push(when);
        }
        Ok(())
    }

    /// From now on what was not known for `window` may happen again.
    pub(super) fn crashes(&mut self, when: Duration, window: Duration) {
        self.crashes.push(Crash { when, window });
    }

    /// Nothing runs any more.
    pub(super) fn all_end(&mut self) {
        self.running = [0; 2];
        for message in &mut self.messages {
            for fate in &mut message.fates {
                fate.is_running = false;
            }
        }
        // Another life knows nothing of destinations.
        self.destinations.clear();
    }

    /// A delivery starts: `text` is what the spawner finds in `mess`.
    pub(super) fn starts(
        &mut self,
        channel: Channel,
        text: &[u8],
        (sender, recipients): (&[u8], &[Bytes]),
        when: Duration,
    ) -> Verdict<Vec<Who>> {
        let line = text.split(|&b| b == b'\n').next().unwrap();
        let token: Option<usize> = line
            .strip_prefix(TOKEN)
            .and_then(|t| show(t).parse().ok())
            .filter(|&t| t < self.messages.len());
        let Some(token) = token else {
            return Err(format!("torn: {}", show(text)));
        };
        if self.text(token) != text {
            return Err(format!("torn: {}", show(text)));
        }
        let side = channel as usize;
        self.running[side] += 1;
        if self.running[side] > self.limits.running[side] {
            return Err(format!("{} run on channel {channel:?}", self.running[side]));
        }
        if channel == Channel::Remote {
            self.start_there(&domain(&recipients[0]), when)?;
        }
        let mut all = Vec::new();
        for address in recipients {
            all.push(self.starts_one(token, sender, address, when)?);
        }
        Ok(all)
    }

    /// What the local spawner is told of an attempt that starts: it must be able to know the delivery again, and to know
    /// when that is needed.
    pub(super) fn attempts(
        &mut self,
        channel: Channel,
        all: &[Who],
        attempt: Attempt,
    ) -> Verdict<()> {
        let &[who] = all else {
            return Err(format!("{attempt:?} for {} recipients", all.len()));
        };
        if channel == Channel::Remote {
            return Err(format!("{attempt:?} for another host"));
        }
        let fates = &mut self.messages[who.message].fates;
        let others = fates
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != who.recipient);
        if others.map(|(_, f)| f.at).any(|at| at == Some(attempt.at)) {
            return Err(format!("{who:?} is taken for another one: {attempt:?}"));
        }
        let fate = &mut fates[who.recipient];
        if *fate.at.get_or_insert(attempt.at) != attempt.at {
            return Err(format!("{who:?} is not known again: {attempt:?}, {fate:?}"));
        }
        if fate.tries.len() > 1 && attempt.past == Past::Clean {
            return Err(format!("{who:?} goes as if for the first time: {fate:?}"));
        }
        Ok(())
    }

    fn start_there(&mut self, name: &[u8], when: Duration) -> Verdict<()> {
        let there = self.destinations.entry(name.to_vec()).or_default();
        there.running += 1;
        there.starts.push(when);
        let limit = if name == CAPPED.0 {
            CAPPED.1
        } else {
            usize::MAX
        };
        if there.running > limit.min(FIRST_WINDOW + there.good) {
            return Err(format!("{} run at {}", there.running, show(name)));
        }
        // A minute of the program may begin at any second, so that two of them touch one of ours.
        let minute = Duration::from_secs(59);
        let recent = there.starts.iter().filter(|s| **s + minute > when).count();
        if name == RATED.0 && recent > 2 * RATED.1 {
            return Err(format!("{recent} started at {} in a minute", show(name)));
        }
        Ok(())
    }

    fn starts_one(
        &mut self,
        token: usize,
        sender: &[u8],
        address: &Bytes,
        when: Duration,
    ) -> Verdict<Who> {
        let message = &mut self.messages[token];
        let place = message.mail.recipients.iter().position(|r| r == address);
        let Some(place) = place else {
            return Err(format!(
                "message {token} goes to a stranger: {}",
                show(address)
            ));
        };
        if verp(&message.mail.sender, address) != sender {
            return Err(format!(
                "message {token} comes from a stranger: {}",
                show(sender)
            ));
        }
        let fate = &mut message.fates[place];
        if fate.is_running {
            return Err(format!("message {token} runs twice to {}", show(address)));
        }
        fate.is_running = true;
        fate.tries.push(when);
        if let Some(&(done, known)) = fate.done.last() {
            self.repeated += 1;
            let is_excused = self
                .crashes
                .iter()
                .any(|c| c.when >= done && known.is_none_or(|k| k + c.window >= c.when));
            if !is_excused && !self.limits.may_repeat {
                return Err(format!(
                    "message {token} goes to {} again at {when:?}, done at {done:?}, known at {known:?}",
                    show(address)
                ));
            }
        }
        Ok(Who {
            message: token,
            recipient: place,
        })
    }

    fn fate(&mut self, who: Who) -> &mut Fate {
        &mut self.messages[who.message].fates[who.recipient]
    }

    /// The other side has taken the message, refused it, or neither.
    pub(super) fn delivered(&mut self, who: Who, letter: u8, when: Duration) {
        let fate = self.fate(who);
        match letter {
            b'K' => fate.successes += 1,
            b'D' => fate.failures += 1,
            _ => return,
        }
        fate.done.push((when, None));
    }

    /// The report of a delivery has been written.
    pub(super) fn reported(&mut self, channel: Channel, all: &[(Who, u8)], when: Duration) {
        let side = channel as usize;
        self.running[side] = self.running[side].saturating_sub(1);
        let Some(&(first, _)) = all.first() else {
            return;
        };
        let mail = &self.messages[first.message].mail;
        let name = domain(&mail.recipients[first.recipient]);
        if channel == Channel::Remote
            && let Some(there) = self.destinations.get_mut(&name)
        {
            there.running = there.running.saturating_sub(1);
            there.good += usize::from(all.iter().any(|(_, l)| matches!(l, b'K' | b'D')));
        }
        for &(who, letter) in all {
            let fate = self.fate(who);
            fate.is_running = false;
            if matches!(letter, b'K' | b'D')
                && let Some(last) = fate.done.last_mut()
            {
                last.1 = Some(when);
            }
        }
    }

    /// At the end, with an empty queue.
    pub(super) fn ends(&self, now: Duration) -> Verdict<()> {
        for (token, message) in self.messages.iter().enumerate() {
            for (address, fate) in message.mail.recipients.iter().zip(&message.fates) {
                let what = || format!("message {token} to {}: {fate:?}", show(address));
                // Of a double bounce nobody is told; when its time is over a host that was down is not tried again.
                let is_old = now.saturating_sub(message.born).as_secs() >= self.limits.lifetime;
                let is_silent =
                    message.mail.sender == b"#@[]" && (is_old || !fate.tries.is_empty());
                let is_settled = fate.successes > 0 || !fate.bounced.is_empty() || is_silent;
                if message.is_acknowledged && !is_settled {
                    return Err(format!("lost: {}", what()));
                }
                for pair in fate.bounced.windows(2) {
                    // Between the two the message has failed again, or qmail-send was lost with the news.
                    let is_excused = self
                        .crashes
                        .iter()
                        .any(|c| c.when <= pair[1] && pair[0] + c.window >= c.when);
                    if !is_excused && !self.limits.may_repeat {
                        return Err(format!("bounced twice: {}, {:?}", what(), self.crashes));
                    }
                }
            }
        }
        Ok(())
    }

    /// When a recipient of a message was tried, since the message came; seconds.
    pub(super) fn tries(&self, token: usize, recipient: usize) -> Vec<u64> {
        let message = &self.messages[token];
        let since = |t: &Duration| t.saturating_sub(message.born).as_secs();
        message.fates[recipient].tries.iter().map(since).collect()
    }
}
