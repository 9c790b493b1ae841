//! qmail-lspawn(8): the local spawner.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use base::bytes::rsplit_once;
use base::{Bytes, Call, Die};
use control::Owners;
use qmail_local::once::Once;
use queue::spawner::{Deliver, Step, Ticket, Work};
use recipient::User;
use sys::limit::Resource;
use sys::poll::Wait;
use sys::process::End;

use crate::job::Job;
use crate::lookup::{Found, Lookup};
use crate::pool::{News, Pool};
use crate::program::Program;
use crate::qlx;

/// The longest report of one delivery, bytes: the original's 3000, less the 3 that it leaves free when it cuts.
const REPORT_LIMIT: usize = 2997;
const CUT_NOTE: &[u8] = b"\nError report too long, sorry.\n";
/// The most deliveries at a time for a qmail-send that can count so far.
const DELIVERIES: u64 = 1000;
/// Descriptors of a delivery, at most: message, report, its share of a worker.
const DESCRIPTORS: u64 = 3;
/// Descriptors that are always there, and some to spare.
const OTHERS: u64 = 64;
/// Not even then fewer.
const FEWEST: u64 = 20;

/// A delivery whose user is being looked up.
#[derive(Debug)]
struct Held {
    message: File,
    sender: Bytes,
    local: Bytes,
    host: Bytes,
    once: Option<Once>,
}

/// What the spawner's loop asks of us.
#[derive(Debug)]
struct Local {
    /// instructions for an empty .qmail
    aliasempty: Bytes,
    /// `None`: not root, single-uid mode
    owners: Option<Owners>,
    limit: u32,
    lookup: Lookup,
    held: BTreeMap<Ticket, Held>,
    program: Program,
    pool: Pool,
}

/// The program.
pub fn lspawn(call: &Call) -> Result<(), Die> {
    let Some(aliasempty) = call.args.first() else {
        return Err(Die::silent(base::die::PERMANENT));
    };

    control::home::enter().map_err(|e| Die::unable("switch to the home of qmail", &e))?;
    let owners = match sys::ids::euid() {
        0 => Some(Owners::find().map_err(|e| Die::unable("find the users of qmail", &e))?),
        _ => None,
    };
    let program = Program::choose().map_err(|e| Die::unable("read control/localexec", &e))?;
    // Descriptors that we do not know are not for the users' programs.
    sys::fd::close_on_exec_from(3);

    let null = |e| Die::unable("open /dev/null", &e);
    queue::spawner::run(Local {
        limit: limit(),
        lookup: Lookup::new(owners.clone()).map_err(null)?,
        held: BTreeMap::new(),
        program,
        pool: Pool::new(owners.is_some(), aliasempty).map_err(null)?,
        aliasempty: aliasempty.clone(),
        owners,
    })
}

/// As many deliveries as descriptors allow.
fn limit() -> u32 {
    let files = sys::limit::read(Resource::RLIMIT_NOFILE).map_or(256, |(soft, _)| soft);
    let fit = (files.saturating_sub(OTHERS) / DESCRIPTORS).clamp(FEWEST, DELIVERIES);
    u32::try_from(fit).unwrap_or(u32::MAX)
}

impl Local {
    /// The user is known: who makes the delivery?
    fn dispatch(&mut self, ticket: Ticket, held: Held, user: Result<User, u8>) -> Step {
        let user = match user.and_then(|user| self.judge(user)) {
            Ok(user) => user,
            Err(code) => return Step::done(qlx::report(End::Exit(code), b"")),
        };
        if self.owners.is_none() && user.uid != sys::ids::euid() {
            return Step::done(not_root(&user));
        }
        let job = Job {
            message: held.message,
            sender: held.sender,
            local: held.local,
            host: held.host,
            user,
            once: held.once,
        };
        if self.program.is_ours() {
            self.pool.take(ticket, job);
            return Step::Later;
        }
        self.run(&job)
    }

    /// Nobody's mail is delivered as root, or as a user that cannot be.
    fn judge(&self, user: User) -> Result<User, u8> {
        match (user.uid, user.gid) {
            (0, _) => Err(qlx::ROOT),
            (u32::MAX, _) | (_, u32::MAX) if self.owners.is_some() => Err(qlx::USAGE),
            _ => Ok(user),
        }
    }

    fn run(&self, job: &Job) -> Step {
        self.program
            .run(job, &self.aliasempty, self.owners.as_ref())
    }

    fn looked_up(&mut self, waits: &[Wait]) -> Vec<(Ticket, Step)> {
        let known = self.lookup.advance(waits);
        known
            .into_iter()
            .filter_map(|(ticket, user)| {
                let held = self.held.remove(&ticket)?;
                Some((ticket, self.dispatch(ticket, held, user)))
            })
            .collect()
    }
}

/// The report when there is only one user and it is another one's mail.
fn not_root(user: &User) -> Bytes {
    let name = base::bytes::printable(&user.name);
    let text = [
        b"ZUnable to become user ".as_slice(),
        &name,
        b": not started by root. (#4.3.5)\n",
    ];
    text.concat()
}

/// Cuts a report that did not come through the pipe of a program as if it had.
fn cut(mut report: Bytes) -> Bytes {
    // The letter is not counted.
    if report.len() > REPORT_LIMIT + 1 {
        report.truncate(REPORT_LIMIT + 1 - CUT_NOTE.len());
        report.extend_from_slice(CUT_NOTE);
    }
    report
}

impl Deliver for Local {
    fn output_limit(&self) -> usize {
        REPORT_LIMIT
    }

    fn cut_note(&self) -> &'static [u8] {
        CUT_NOTE
    }

    fn limit(&self) -> u32 {
        self.limit
    }

    fn report(&self, end: End, output: &[u8]) -> Bytes {
        qlx::report(end, output)
    }

    fn begin(&mut self, ticket: Ticket, work: Work<'_>) -> Step {
        let recipient = work.recipients.first().map_or(&[][..], Vec::as_slice);
        let (local, host) = rsplit_once(recipient, b'@').unwrap_or((recipient, b""));
        // Mail to nobody is taken, and gone.
        if local.is_empty() {
            return Step::done(b"K");
        }
        let held = Held {
            message: work.message,
            sender: work.sender.to_vec(),
            local: local.to_vec(),
            host: host.to_vec(),
            once: work.attempt.map(|attempt| Once::new(&work.stat, attempt)),
        };
        match self.lookup.find(local, ticket) {
            Found::Known(user) => self.dispatch(ticket, held, user),
            Found::Asked => {
                self.held.insert(ticket, held);
                Step::Later
            }
        }
    }

    fn waits(&self, waits: &mut Vec<Wait>) -> Option<Duration> {
        let lookup = self.lookup.waits(waits);
        let pool = self.pool.waits(waits);
        lookup.into_iter().chain(pool).min()
    }

    fn advance(&mut self, waits: &[Wait]) -> Vec<(Ticket, Step)> {
        let (lookup, pool) = waits
            .split_at_checked(self.lookup.open())
            .unwrap_or_default();
        // Workers first: those that are hired for the new jobs were not waited for.
        let news = self.pool.advance(pool);
        let mut steps = self.looked_up(lookup);
        self.pool.hand_out();
        for (ticket, news) in news {
            let step = match news {
                News::Report(text) => Step::done(cut(text)),
                News::Elsewhere(job) => self.run(&job),
            };
            steps.push((ticket, step));
        }
        steps
    }

    fn reported(&mut self) {
        self.pool.reported();
    }

    fn ended(&mut self, pid: u32, end: End) {
        self.lookup.ended(pid, end);
        self.pool.ended(pid, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_cut_as_one_that_came_through_a_pipe() {
        let letter = |n: usize| [b"D".as_slice(), &vec![b'x'; n]].concat();
        assert_eq!(cut(letter(2997)).len(), 2998);
        let cut = cut(letter(2998));
        assert_eq!(cut.len(), 2998);
        assert!(cut.ends_with(b"x\nError report too long, sorry.\n"));
    }
}
