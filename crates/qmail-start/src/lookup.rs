//! Who is the recipient: users/cdb, else what bin/qmail-getpw answers.
//!
//! users/cdb stays open as long as it is the same file. qmail-getpw runs beside everything else; what it says of a name
//! counts for a few seconds, and is asked once for all deliveries that wait for it.
//!
//! Source  qmail-users(5), qmail-getpw(8)

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use base::Bytes;
use control::Owners;
use queue::spawner::Ticket;
use recipient::User;
use recipient::passwd::Trouble;
use recipient::users::Users;
use sys::poll::Wait;
use sys::process::End;
use sys::signal::{self, Signal};
use sys::spawn::Spawn;

use crate::qlx;
use crate::version::Version;

const GETPW: &str = "bin/qmail-getpw";
const USERS: &str = "users/cdb";
/// The longest answer of qmail-getpw, bytes.
const ANSWER_LIMIT: usize = 64 * 1024;
/// How long qmail-getpw may take.
const LOOKUP_LIMIT: Duration = Duration::from_mins(10);
/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(5);
/// The most answers that are kept.
const KEPT: usize = 1000;

/// What is known of a name at once.
#[derive(Debug)]
pub(crate) enum Found {
    /// the user, or the exit code that says why there is none
    Known(Result<User, u8>),
    /// qmail-getpw has been asked
    Asked,
}

/// qmail-getpw at work.
#[derive(Debug)]
struct Question {
    local: Bytes,
    pid: u32,
    since: Instant,
    /// `None` once it has said all
    pipe: Option<OwnedFd>,
    answer: Bytes,
    end: Option<End>,
    /// who wants to know
    tickets: Vec<Ticket>,
}

/// All that is known and asked.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// as whom qmail-getpw runs; `None`: as we do, single-uid mode
    owners: Option<Owners>,
    null: File,
    table: Option<(Version, Users)>,
    answers: HashMap<Bytes, (Instant, User)>,
    questions: Vec<Question>,
}

impl Lookup {
    pub(crate) fn new(owners: Option<Owners>) -> io::Result<Lookup> {
        Ok(Lookup {
            owners,
            null: File::options().read(true).write(true).open("/dev/null")?,
            table: None,
            answers: HashMap::new(),
            questions: Vec::new(),
        })
    }

    /// The user of `local`. If that takes longer, `advance` will tell.
    pub(crate) fn find(&mut self, local: &[u8], ticket: Ticket) -> Found {
        match self.assigned(local) {
            Ok(None) => {}
            Ok(Some(user)) => return Found::Known(Ok(user)),
            Err(_) => return Found::Known(Err(qlx::CDB)),
        }
        if let Some((when, user)) = self.answers.get(local)
            && when.elapsed() < FRESH
        {
            return Found::Known(Ok(user.clone()));
        }
        if let Some(asked) = self.questions.iter_mut().find(|q| q.local == local) {
            asked.tickets.push(ticket);
            return Found::Asked;
        }
        match self.ask(local, ticket) {
            Ok(question) => {
                self.questions.push(question);
                Found::Asked
            }
            Err(code) => Found::Known(Err(code)),
        }
    }

    /// What users/cdb says, as it is now.
    fn assigned(&mut self, local: &[u8]) -> io::Result<Option<User>> {
        let version = match fs::metadata(USERS) {
            Ok(found) => Version::of(&found),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                self.table = None;
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        if self.table.as_ref().is_none_or(|(open, _)| *open != version) {
            self.table = Users::open_to_keep()?.map(|users| (version, users));
        }
        match &self.table {
            Some((_, users)) => users.find(local),
            None => Ok(None),
        }
    }

    fn ask(&self, local: &[u8], ticket: Ticket) -> Result<Question, u8> {
        let (pipe, writer) = sys::fd::pipe().map_err(|_| qlx::SYSTEM)?;
        let mut getpw = Spawn::new(GETPW)
            .arg(local)
            .fd(0, self.null.as_fd())
            .fd(1, writer.as_fd())
            .fd(2, self.null.as_fd());
        if let Some(owners) = &self.owners {
            getpw = getpw.ids(owners.in_nofiles(owners.qmailp));
        }
        let pid = getpw.spawn().map_err(|_| qlx::EXEC_GETPW)?;
        Ok(Question {
            local: local.to_vec(),
            pid,
            since: Instant::now(),
            pipe: Some(pipe),
            answer: Bytes::new(),
            end: None,
            tickets: vec![ticket],
        })
    }

    /// Adds what is waited for. Returns when to look again at the latest.
    pub(crate) fn waits(&self, waits: &mut Vec<Wait>) -> Option<Duration> {
        let pipes = self.questions.iter().filter_map(|q| q.pipe.as_ref());
        waits.extend(pipes.map(Wait::readable));
        let oldest = self.questions.iter().map(|q| q.since.elapsed()).max()?;
        Some(LOOKUP_LIMIT.saturating_sub(oldest) + Duration::from_millis(1))
    }

    /// One turn. Returns who knows now what he wanted to know.
    pub(crate) fn advance(&mut self, waits: &[Wait]) -> Vec<(Ticket, Result<User, u8>)> {
        let open = self.questions.iter_mut().filter(|q| q.pipe.is_some());
        for (question, wait) in open.zip(waits) {
            if wait.is_ready() {
                question.collect();
            }
        }
        for question in &self.questions {
            if question.end.is_none() && question.since.elapsed() > LOOKUP_LIMIT {
                let _ = signal::send(question.pid, Signal::SIGKILL);
            }
        }
        let over = |q: &mut Question| q.end.is_some() && q.pipe.is_none();
        let over: Vec<Question> = self.questions.extract_if(.., over).collect();
        let mut known = Vec::new();
        for question in over {
            let user = self.judge(&question);
            if let Ok(user) = &user {
                self.keep(question.local, user);
            }
            known.extend(question.tickets.into_iter().map(|t| (t, user.clone())));
        }
        known
    }

    /// How many descriptors of `waits` are ours.
    pub(crate) fn open(&self) -> usize {
        self.questions.iter().filter(|q| q.pipe.is_some()).count()
    }

    fn keep(&mut self, local: Bytes, user: &User) {
        if self.answers.len() >= KEPT {
            self.answers.retain(|_, (when, _)| when.elapsed() < FRESH);
        }
        if self.answers.len() >= KEPT {
            self.answers.clear();
        }
        self.answers.insert(local, (Instant::now(), user.clone()));
    }

    /// What an answer means. A missing user for aliases is an answer, too: single-uid mode knows one.
    fn judge(&self, question: &Question) -> Result<User, u8> {
        let found = match question.end {
            Some(End::Exit(0)) => Ok(User::parse(&question.answer).ok_or(qlx::USAGE)?),
            Some(End::Exit(qlx::NO_ALIAS)) => Err(Trouble::NoAlias),
            Some(End::Exit(code)) => return Err(code),
            Some(End::Signal(_)) | None => return Err(qlx::SYSTEM),
        };
        let found = match self.owners {
            Some(_) => found,
            None => recipient::single::adapt(found, &question.local),
        };
        found.map_err(Trouble::code)
    }

    /// A child has ended.
    pub(crate) fn ended(&mut self, pid: u32, end: End) {
        for question in &mut self.questions {
            if question.pid == pid && question.end.is_none() {
                question.end = Some(end);
            }
        }
    }
}

impl Question {
    /// Takes what qmail-getpw said. The pipe is readable.
    fn collect(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let mut piece = [0; 4096];
        match sys::fd::read(pipe, &mut piece) {
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Ok(0) | Err(_) => self.pipe = None,
            Ok(count) => {
                let room = ANSWER_LIMIT.saturating_sub(self.answer.len()).min(count);
                self.answer
                    .extend_from_slice(piece.get(..room).unwrap_or_default());
            }
        }
    }
}
