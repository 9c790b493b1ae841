//! Kills and errors: one call of one process, by a tracer; then a restart, a drain and a count.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kit::until;

use crate::shape::{self, Copies};
use crate::sink::Sink;
use crate::story::{Kind, Need, Seen, Story, Way, faults};
use crate::suite::{Mail, Running, SESSION_LIMIT, Suite, Trace, USERS, files, outlast, wait};
use crate::trace::Fault;

/// Names the variable that holds one fault, as a finding says it: only that one is tried, and its log is shown.
const ONE: &str = "CRASH_FAULT";

/// How long one case may take to be drained after the restart.
const DRAIN: Duration = Duration::from_secs(30);
/// How long nothing need happen before a case counts as settled.
const CALM: Duration = Duration::from_millis(80);
/// How long before the fault: on a busy machine nothing may move for a while.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a case may go on without a sign of the fault.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many mails of cases before one may still see.
const EARLIER: usize = 16;
/// How often all faults are gone through until one has happened.
const ROUNDS: usize = 3;
/// More calls than this of one story are no work.
const MOST_CALLS: usize = 2000;
/// Where the other host's copies are counted.
const SINK: &str = "sink";
/// Who has a maildir without a forward in between, and by which address.
pub(crate) const MAILDIR: (&str, &str) = ("alice", "alice@host.test");

/// What was found, of one story.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// faults that there are, of which every so manieth was tried
    pub possible: usize,
    /// cases in which the fault happened
    pub cases: usize,
    /// of those, the ones at a call that changes something others can see
    pub changes: usize,
    /// and of those, the ones after which something was there more than once
    pub doubling_changes: usize,
    /// messages in them
    pub messages: usize,
    /// of those, acknowledged
    pub acknowledged: usize,
    /// acknowledged and gone
    pub lost: usize,
    /// a visible part of a message
    pub torn: usize,
    /// not drained after the restart
    pub stuck: usize,
    /// cases after which something was there more than once
    pub doubling: usize,
    /// copies too many
    pub twice: usize,
    /// of those, made outside the permitted window
    pub outside: usize,
    /// came back to the sender though its recipient is there
    pub bounced: usize,
    /// not acknowledged, yet delivered: allowed
    pub kept: usize,
    /// cases that left what an earlier one had left, so that the same restart was not made again
    pub equal: usize,
    /// findings in words
    pub findings: Vec<String>,
}

/// The place: a suite, another host, and what was learnt.
#[derive(Debug)]
pub struct Bench<'a> {
    suite: Suite,
    sink: Sink,
    out: PathBuf,
    story: &'a Story,
    /// what each shape became by a drain
    futures: HashMap<String, Copies>,
    count: usize,
    /// the service that runs beside, if the story needs it
    service: Option<Running>,
}

impl<'a> Bench<'a> {
    /// Makes the home for a story.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(bin: &Path, story: &'a Story) -> io::Result<Bench<'a>> {
        let sink = Sink::start()?;
        let mut suite = Suite::ours("kill", bin, sink.port)?;
        if story.needs(Need::Once) {
            suite.env.push(("QMAILREMOTE", "qmail-remote"));
        }
        if story.needs(Need::Exec) {
            fs::write(suite.home.join("control/localexec"), "1\n")?;
        }
        suite.make_queue()?;
        suite.make_mailboxes()?;
        let service = if story.needs(Need::Service) {
            Some(suite.serve()?)
        } else {
            None
        };
        let out = suite.scratch.join("trace");
        Ok(Bench {
            suite,
            sink,
            out,
            story,
            futures: HashMap::new(),
            count: 0,
            service,
        })
    }

    /// Nothing of an earlier case is left: no message, no litter, no memory of dead hosts.
    fn clear(&mut self) -> io::Result<()> {
        self.suite.trace = None;
        let _ = fs::remove_file(&self.out);
        for file in files(&self.suite.queue()) {
            if !file.starts_with(self.suite.queue().join("lock")) {
                fs::remove_file(file)?;
            }
        }
        fs::write(self.suite.queue().join("lock/tcpto"), [0; 1024])?;
        let _ = fs::remove_file(self.suite.queue().join("lock/tcpto6"));
        for user in USERS {
            for file in files(&self.suite.maildir(user)) {
                fs::remove_file(file)?;
            }
        }
        self.sink.take();
        self.sink.defer(0);
        if let Some(service) = &mut self.service
            && !service.runs()
        {
            self.service = Some(self.suite.serve()?);
        }
        Ok(())
    }

    fn arm(&mut self, fault: &Fault) {
        let _ = fs::remove_file(&self.out);
        self.suite.trace = Some(Trace {
            program: self.story.program(),
            out: self.out.clone(),
            role: self.story.role,
            fault: fault.clone(),
        });
    }

    /// What the tracer wrote so far.
    fn trace(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    fn happened(&self) -> bool {
        self.trace().contains("\nFIRED ")
    }

    /// Waits until the tracer has seen the last process end. Whether the fault happened.
    fn over(&self) -> bool {
        let _ = until(SESSION_LIMIT, || {
            self.trace().contains("\nOVER").then_some(())
        });
        self.happened()
    }

    fn mails(&mut self) -> Vec<Mail> {
        (0..self.story.mails)
            .map(|_| {
                self.count += 1;
                let mut mail = Mail::new("kill", self.count, self.story.recipients);
                if self.story.needs(Need::NoSender) {
                    mail.sender = "gone@host.test";
                }
                mail
            })
            .collect()
    }

    /// Gives the mails in, in the way of the story. Which were acknowledged.
    fn give(&self, way: Way, mails: &[Mail]) -> io::Result<Vec<bool>> {
        match way {
            Way::Queue | Way::Behind => mails
                .iter()
                .map(|mail| Ok(self.suite.submit(mail)?.is_some_and(|s| s.success())))
                .collect(),
            Way::Inject => mails.iter().map(|mail| self.suite.inject(mail)).collect(),
            Way::Service => std::thread::scope(|scope| {
                let at_work: Vec<_> = mails
                    .iter()
                    .map(|mail| scope.spawn(|| self.suite.inject(mail)))
                    .collect();
                at_work.into_iter().map(|w| w.join().unwrap()).collect()
            }),
            Way::Smtp => {
                let mut smtpd = self.suite.command("qmail-smtpd");
                smtpd
                    .env("RELAYCLIENT", "")
                    .env("TCPREMOTEIP", "127.0.0.1")
                    .env("TCPLOCALHOST", "host.test")
                    .env("PROTO", "TCP");
                session(&mut smtpd, mails)
            }
        }
    }

    /// Lets messages wait for a second attempt, and stops qmail-send.
    fn wait_for_later(&self) -> io::Result<()> {
        let mut running = self.suite.start()?;
        let queue = self.suite.queue();
        let done = until(DRAIN, || {
            let waits = files(&queue.join("info")).len() == self.story.mails
                && files(&queue.join("todo")).is_empty();
            waits.then_some(())
        });
        running.stop();
        let log = running.log();
        done.ok_or_else(|| io::Error::other(format!("nothing waits: {log}")))
    }

    /// The story with a fault. Which mails were acknowledged, and whether the fault happened.
    fn play(&mut self, mails: &[Mail], fault: &Fault) -> io::Result<(Vec<bool>, bool)> {
        let way = self.story.way;
        if self.story.needs(Need::Later) {
            self.sink.defer(mails.len());
        }
        let acknowledged;
        if way == Way::Behind {
            acknowledged = self.give(way, mails)?;
            if self.story.needs(Need::Stopped) {
                self.wait_for_later()?;
            }
            self.arm(fault);
            let mut running = self.suite.start()?;
            self.settle(&mut running);
            running.stop();
        } else if way == Way::Service {
            self.arm(fault);
            let mut service = self.suite.serve()?;
            acknowledged = self.give(way, mails)?;
            service.stop();
        } else {
            self.arm(fault);
            acknowledged = self.give(way, mails)?;
        }
        let happened = self.over();
        self.suite.trace = None;
        Ok((acknowledged, happened))
    }

    /// Waits until all is done, or the fault happened and nothing moves any more.
    fn settle(&self, running: &mut Running) {
        let mut last = (running.log().len(), self.trace().len());
        let mut since = Instant::now();
        let mut pushed = Instant::now();
        let started = Instant::now();
        while running.runs() && !self.suite.is_empty() && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(3));
            let log = running.log();
            if self.story.needs(Need::Later)
                && pushed.elapsed() > CALM
                && log.contains("status: ")
                && !self.happened()
            {
                running.push();
                pushed = Instant::now();
            }
            let now = (log.len(), self.trace().len());
            if now != last {
                last = now;
                since = Instant::now();
            }
            if since.elapsed() > CALM && (self.happened() || since.elapsed() > SILENCE) {
                return;
            }
        }
    }

    /// One case: the story with the fault, restart, drain, count.
    fn case(&mut self, fault: &Fault, figures: &mut Figures) -> io::Result<()> {
        self.clear()?;
        let mails = self.mails();
        let (acknowledged, happened) = self.play(&mails, fault)?;
        if !happened {
            return Ok(());
        }
        let fired = self.trace();
        let fired = fired.lines().find(|l| l.starts_with("FIRED")).unwrap_or("");
        if std::env::var_os(ONE).is_some() {
            println!("{}", self.trace());
            for log in ["log", "service"] {
                let log = fs::read(self.suite.scratch.join(log)).unwrap_or_default();
                println!("{}", String::from_utf8_lossy(&log));
            }
        }
        figures.cases += 1;
        let is_change = fired.contains(" change ");
        figures.changes += usize::from(is_change);
        let doubling = figures.doubling;
        figures.messages += mails.len();
        figures.acknowledged += acknowledged.iter().filter(|a| **a).count();
        let said = self.judge(&mails, &acknowledged, figures);
        if is_change {
            figures.doubling_changes += figures.doubling - doubling;
        }
        if !said.is_empty() {
            figures
                .findings
                .push(format!("{fired}: {}", said.join("; ")));
        }
        Ok(())
    }

    /// The copies at each place, and a sentence for each text that is no whole message.
    fn copies(&self, mails: &[Mail], sink: &[Vec<u8>]) -> (Copies, Vec<String>) {
        let mut copies = Copies::new();
        let mut parts = Vec::new();
        let places = USERS
            .iter()
            .map(|u| (*u, self.suite.delivered(u)))
            .chain([(SINK, sink.to_vec())]);
        for (place, texts) in places {
            for text in texts {
                match mails.iter().position(|m| m.ends(&text)) {
                    Some(n) => *copies.entry((n, place)).or_default() += 1,
                    None if self.is_earlier(mails, &text) => {}
                    None => parts.push(format!("{} bytes at {place}", text.len())),
                }
            }
        }
        (copies, parts)
    }

    /// Whether it is a whole message of a case before: on a busy machine the queue service, which stays, may finish one
    /// whose client is long gone when the next case has begun.
    fn is_earlier(&self, mails: &[Mail], text: &[u8]) -> bool {
        let earlier = self.count.saturating_sub(mails.len());
        (1..=earlier)
            .rev()
            .take(EARLIER)
            .any(|n| Mail::new("kill", n, self.story.recipients).ends(text))
    }

    fn judge(
        &mut self,
        mails: &[Mail],
        acknowledged: &[bool],
        figures: &mut Figures,
    ) -> Vec<String> {
        let mut said = Vec::new();
        for (id, text) in self.suite.visible() {
            if !mails.iter().any(|m| m.ends(&text)) && !self.is_earlier(mails, &text) {
                said.push(format!("queue entry {id} with {} bytes", text.len()));
            }
        }
        let mut sink = self.sink.take();
        let (before, parts) = self.copies(mails, &sink);
        said.extend(parts);
        let open: Vec<bool> = mails.iter().map(|m| self.is_open(m)).collect();
        let held: Vec<usize> = mails.iter().map(|m| self.held(m)).collect();
        let shape = shape::of(&self.suite, mails, &before);
        let after = if let (Some(future), true) = (self.futures.get(&shape), said.is_empty()) {
            figures.equal += 1;
            future.clone()
        } else {
            let mut stuck = false;
            if let Err(why) = self.suite.drain(DRAIN) {
                figures.stuck += 1;
                stuck = true;
                said.push(why);
            }
            sink.extend(self.sink.take());
            let (after, parts) = self.copies(mails, &sink);
            if parts.is_empty() && !stuck {
                self.futures.insert(shape, after.clone());
            }
            said.extend(parts);
            after
        };
        figures.torn += usize::from(said.iter().any(|s| s.contains(" bytes")));
        self.count_copies(
            acknowledged,
            &(open, held),
            &before,
            &after,
            figures,
            &mut said,
        );
        said
    }

    /// How many messages that qmail-send can see hold it.
    fn held(&self, mail: &Mail) -> usize {
        let all = self.suite.visible();
        all.iter().filter(|(_, text)| mail.ends(text)).count()
    }

    /// Whether a recipient of it is not marked as done: what is delivered after a restart is no surprise then.
    fn is_open(&self, mail: &Mail) -> bool {
        let queue = self.suite.queue();
        let texts: Vec<PathBuf> = files(&queue.join("mess"));
        let ours = texts
            .iter()
            .filter(|p| fs::read(p).is_ok_and(|text| mail.ends(&text)));
        ours.filter_map(|p| p.file_name()).any(|id| {
            files(&queue.join("todo"))
                .iter()
                .any(|p| p.file_name() == Some(id))
                || ["local", "remote", "bounce"].iter().any(|dir| {
                    files(&queue.join(dir)).iter().any(|p| {
                        let text = fs::read(p).unwrap_or_default();
                        p.file_name() == Some(id)
                            && text.split(|b| *b == 0).any(|r| {
                                r.first() == Some(&b'T') || *dir == "bounce" && !r.is_empty()
                            })
                    })
                })
        })
    }

    fn count_copies(
        &self,
        acknowledged: &[bool],
        (open, held): &(Vec<bool>, Vec<usize>),
        before: &Copies,
        after: &Copies,
        figures: &mut Figures,
        said: &mut Vec<String>,
    ) {
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        for recipient in self.story.recipients {
            let place = match recipient.split_once('@') {
                Some(("nobody", _)) => "bob",
                Some((_, "elsewhere.test")) => SINK,
                _ => "alice",
            };
            *expected.entry(place).or_default() += 1;
        }
        let mut doubled = false;
        for (n, acknowledged) in acknowledged.iter().enumerate() {
            let count =
                |copies: &Copies, place| copies.get(&(n, place)).copied().unwrap_or_default();
            let mut missing = Vec::new();
            for (place, wanted) in &expected {
                let place = [USERS[0], USERS[1], SINK]
                    .into_iter()
                    .find(|p| p == place)
                    .unwrap();
                let there = count(after, place);
                if there < *wanted {
                    missing.push(place);
                }
                let more = there.saturating_sub(*wanted);
                if more > 0 {
                    doubled = true;
                    figures.twice += more;
                    // Permitted: a delivery, forward or bounce that was made and not yet marked is made once more, by the
                    // restart, unless it is one to a maildir, which is known again. What the queue holds besides the message itself is a forward or a bounce of it.
                    let target = if expected.contains_key("bob") {
                        "bob"
                    } else {
                        "alice"
                    };
                    let more_held = if place == target {
                        held[n].saturating_sub(1)
                    } else {
                        0
                    };
                    let was = count(before, place) + more_held;
                    let is_known_again =
                        place == MAILDIR.0 && self.story.recipients.contains(&MAILDIR.1);
                    let permitted = was <= *wanted && more <= was && open[n] && !is_known_again;
                    figures.outside += if permitted { 0 } else { more };
                    let what = if permitted { "" } else { " OUTSIDE the window" };
                    said.push(format!("message {n}: {there} copies at {place}{what}"));
                }
            }
            let total: usize = USERS
                .into_iter()
                .chain([SINK])
                .map(|p| count(after, p))
                .sum();
            if !expected.contains_key("bob") && count(after, "bob") > 0 {
                figures.bounced += 1;
                said.push(format!("message {n} came back to the sender"));
                missing.clear();
            }
            if *acknowledged && !missing.is_empty() {
                figures.lost += 1;
                said.push(format!(
                    "message {n} was acknowledged, nothing at {missing:?}"
                ));
            }
            figures.kept += usize::from(!acknowledged && total > 0);
        }
        figures.doubling += usize::from(doubled);
    }

    /// What the processes of the story call.
    fn look(&mut self) -> io::Result<Vec<Seen>> {
        self.clear()?;
        let mails = self.mails();
        let (acknowledged, _) = self.play(&mails, &Fault::look())?;
        if acknowledged.contains(&false) {
            let text = format!("{}: not taken without a fault", self.story.name);
            return Err(io::Error::other(text));
        }
        let seen: Vec<Seen> = self
            .trace()
            .lines()
            .filter_map(|line| {
                let mut words = line.strip_prefix("CALL ")?.split(' ');
                let call = words.next()?.to_owned();
                Some((call, words.nth(1)? == "file"))
            })
            .collect();
        if std::env::var_os(ONE).is_some() {
            println!("{}", self.trace());
        }
        if seen.len() > MOST_CALLS {
            let text = format!("{} runs in circles: {} calls", self.story.role, seen.len());
            return Err(io::Error::other(text));
        }
        if seen.is_empty() {
            let log = fs::read(self.suite.scratch.join("log")).unwrap_or_default();
            return Err(io::Error::other(format!(
                "{}: {} was not seen: {} {}",
                self.story.name,
                self.story.role,
                self.trace(),
                String::from_utf8_lossy(&log),
            )));
        }
        Ok(seen)
    }

    /// Every `stride`-th fault of a kind.
    ///
    /// # Errors
    /// The harness itself failed.
    pub fn run(&mut self, kind: Kind, stride: usize) -> io::Result<Figures> {
        let mut figures = Figures::default();
        let seen = self.look()?;
        let mut all = faults(kind, &seen);
        if let Ok(one) = std::env::var(ONE) {
            all = vec![Fault::read(&one).ok_or_else(|| io::Error::other("no such fault"))?];
        }
        figures.possible = all.len();
        let first = self.story.name.len() % stride.min(all.len()).max(1);
        for fault in all.iter().skip(first).step_by(stride) {
            self.case(fault, &mut figures)?;
        }
        // How often a process that serves several calls the kernel is not the same each time: where few are picked, none
        // of them may have come.
        let others = std::iter::repeat_n(&all, ROUNDS).flatten();
        for fault in others {
            if figures.cases > 0 {
                break;
            }
            self.case(fault, &mut figures)?;
        }
        Ok(figures)
    }
}

/// One session with all mails, step by step. Which were acknowledged.
fn session(smtpd: &mut Command, mails: &[Mail]) -> io::Result<Vec<bool>> {
    let mut child = smtpd
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let group = child.id();
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("no pipes"));
    };
    let waiter = std::thread::spawn(move || {
        let end = wait(&mut child, SESSION_LIMIT);
        // Whoever of the group is left holds the pipes open.
        outlast(group);
        end
    });
    let mut replies = io::BufReader::new(stdout).lines();
    let mut reply = move || replies.next().and_then(Result::ok).unwrap_or_default();
    let mut ask = |text: &[u8]| {
        // One that is gone gives no reply.
        let _ = stdin.write_all(text);
        reply()
    };
    ask(b"");
    ask(b"HELO client.test\r\n");
    let mut acknowledged = Vec::new();
    for mail in mails {
        ask(format!("MAIL FROM:<{}>\r\n", mail.sender).as_bytes());
        for recipient in &mail.recipients {
            ask(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
        }
        let go = ask(b"DATA\r\n").starts_with("354");
        let mut text = Vec::new();
        for line in mail.body.split_inclusive(|b| *b == b'\n') {
            text.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b".\r\n");
        let end = if go { ask(&text) } else { String::new() };
        acknowledged.push(end.starts_with("250 ") && end.contains(" qp "));
    }
    ask(b"QUIT\r\n");
    drop(stdin);
    waiter
        .join()
        .map_err(|_| io::Error::other("the waiter ended"))??;
    Ok(acknowledged)
}
