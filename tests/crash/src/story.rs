//! The stories: each process that a message meets on its way, in each of its rôles.

use crate::trace::{Deed, Fault};

/// What ENOSPC and its like may hit.
const ERRORS: [&str; 9] = [
    "ENOSPC", "EIO", "EMFILE", "ENFILE", "ENOMEM", "EDQUOT", "EROFS", "EINTR", "EACCES",
];
/// What fork and exec may answer.
const FORK_ERRORS: [&str; 5] = ["EAGAIN", "ENOMEM", "EIO", "EMFILE", "EACCES"];
/// How much of a write a full disk or a signal may take.
const SHORTS: [&str; 4] = ["one", "half", "less", "full"];

/// One way of a message, and the processes on it that are hurt.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// what the table calls it
    pub name: &'static str,
    /// who is hurt: a program, `-w` as a worker; `/child`: a copy of it before or without another program
    pub role: &'static str,
    /// how messages come in
    pub way: Way,
    /// how many
    pub mails: usize,
    /// where each goes
    pub recipients: &'static [&'static str],
    /// what else must be so
    pub needs: &'static [Need],
}

/// How messages come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// by qmail-queue, where the fault is
    Queue,
    /// in one session with qmail-smtpd, where the fault is or below
    Smtp,
    /// by qmail-inject, where the fault is or below
    Inject,
    /// from several programs at once to the queue service, where the fault is
    Service,
    /// by qmail-queue, before the fault: it is behind the queue
    Behind,
}

/// What else must be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// qmail-local is run for each delivery
    Exec,
    /// qmail-remote is run for each recipient
    Once,
    /// the queue service is there
    Service,
    /// the other host first says "later"
    Later,
    /// and qmail-send has been stopped after that
    Stopped,
    /// the sender does not exist
    NoSender,
}

const ALICE: &[&str] = &["alice@host.test"];
const COPY: &[&str] = &["alice-copy@host.test"];
const NOBODY: &[&str] = &["nobody@host.test"];
const FAR: &[&str] = &["far@elsewhere.test"];
const BOTH: &[&str] = &["alice@host.test", "far@elsewhere.test"];
const THREE: &[&str] = &[
    "far@elsewhere.test",
    "further@elsewhere.test",
    "furthest@elsewhere.test",
];
const MIXED: &[&str] = &["nobody@host.test", "alice@host.test"];

const fn story(
    name: &'static str,
    role: &'static str,
    way: Way,
    mails: usize,
    recipients: &'static [&'static str],
    needs: &'static [Need],
) -> Story {
    Story {
        name,
        role,
        way,
        mails,
        recipients,
        needs,
    }
}

/// All of them.
#[rustfmt::skip]
pub const STORIES: [Story; 38] = [
    story("queue: qmail-queue", "qmail-queue", Way::Queue, 1, ALICE, &[]),
    story("queue: qmail-queued, eight at once", "qmail-queued", Way::Service, 8, ALICE, &[]),
    story("receive: qmail-smtpd, two messages", "qmail-smtpd", Way::Smtp, 2, ALICE, &[]),
    story("receive: child of smtpd", "qmail-smtpd/child", Way::Smtp, 1, ALICE, &[]),
    story("receive: qmail-queue under smtpd", "qmail-queue", Way::Smtp, 2, ALICE, &[]),
    story("receive: qmail-smtpd to the service", "qmail-smtpd", Way::Smtp, 2, ALICE, &[Need::Service]),
    story("receive: qmail-inject", "qmail-inject", Way::Inject, 1, ALICE, &[]),
    story("receive: qmail-inject to the service", "qmail-inject", Way::Inject, 1, ALICE, &[Need::Service]),
    story("schedule: qmail-send", "qmail-send", Way::Behind, 1, BOTH, &[]),
    story("schedule: qmail-send, four messages", "qmail-send", Way::Behind, 4, ALICE, &[]),
    story("schedule: qmail-send, second attempt", "qmail-send", Way::Behind, 1, BOTH, &[Need::Later]),
    story("schedule: qmail-send, after a restart", "qmail-send", Way::Behind, 1, BOTH, &[Need::Later, Need::Stopped]),
    story("schedule: qmail-send, after a restart, four", "qmail-send", Way::Behind, 4, FAR, &[Need::Later, Need::Stopped]),
    story("clean: qmail-clean", "qmail-clean", Way::Behind, 1, ALICE, &[]),
    story("clean: qmail-clean, four messages", "qmail-clean", Way::Behind, 4, ALICE, &[]),
    story("clean: qmail-clean, second attempt", "qmail-clean", Way::Behind, 1, BOTH, &[Need::Later]),
    story("deliver: qmail-lspawn", "qmail-lspawn", Way::Behind, 1, ALICE, &[]),
    story("deliver: qmail-lspawn, four messages", "qmail-lspawn", Way::Behind, 4, ALICE, &[]),
    story("deliver: worker of lspawn", "qmail-lspawn/child", Way::Behind, 1, ALICE, &[]),
    story("deliver: worker of lspawn, four messages", "qmail-lspawn/child", Way::Behind, 4, ALICE, &[]),
    story("deliver: qmail-lspawn, with qmail-local", "qmail-lspawn", Way::Behind, 1, ALICE, &[Need::Exec]),
    story("deliver: child of lspawn", "qmail-lspawn/child", Way::Behind, 1, ALICE, &[Need::Exec]),
    story("deliver: qmail-local", "qmail-local", Way::Behind, 1, ALICE, &[Need::Exec]),
    story("forward: qmail-local", "qmail-local", Way::Behind, 1, COPY, &[]),
    story("forward: qmail-local to the service", "qmail-local", Way::Behind, 1, COPY, &[Need::Service]),
    story("forward: qmail-queue under local", "qmail-queue", Way::Behind, 1, COPY, &[]),
    story("bounce: qmail-send", "qmail-send", Way::Behind, 1, MIXED, &[]),
    story("bounce: qmail-send, double", "qmail-send", Way::Behind, 1, NOBODY, &[Need::NoSender]),
    story("bounce: qmail-send to the service", "qmail-send", Way::Behind, 1, NOBODY, &[Need::Service]),
    story("bounce: child of send", "qmail-send/child", Way::Behind, 1, NOBODY, &[]),
    story("bounce: qmail-queue under send", "qmail-queue", Way::Behind, 1, NOBODY, &[]),
    story("bounce: qmail-getpw", "qmail-getpw", Way::Behind, 1, NOBODY, &[]),
    story("relay: qmail-rspawn", "qmail-rspawn", Way::Behind, 1, FAR, &[]),
    story("relay: worker qmail-remote -w", "qmail-remote -w", Way::Behind, 1, THREE, &[]),
    story("relay: worker qmail-remote -w, four messages", "qmail-remote -w", Way::Behind, 4, FAR, &[]),
    story("relay: qmail-rspawn, with qmail-remote", "qmail-rspawn", Way::Behind, 1, FAR, &[Need::Once]),
    story("relay: child of rspawn", "qmail-rspawn/child", Way::Behind, 1, FAR, &[Need::Once]),
    story("relay: qmail-remote", "qmail-remote", Way::Behind, 1, FAR, &[Need::Once]),
];

impl Story {
    /// The program that the harness starts and whose processes are traced.
    pub fn program(&self) -> &'static str {
        match self.way {
            Way::Queue => "qmail-queue",
            Way::Smtp => "qmail-smtpd",
            Way::Inject => "qmail-inject",
            Way::Service => "qmail-queued",
            Way::Behind => "qmail-start",
        }
    }

    /// Whether it has this need.
    pub fn needs(&self, need: Need) -> bool {
        self.needs.contains(&need)
    }
}

/// Kills, errors or short writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SIGKILL in place of the call
    Kills,
    /// the call fails
    Errors,
    /// a write to a file or a pipe takes less, and what follows may fail
    Short,
}

impl Kind {
    /// All of them, with the word for each.
    pub const ALL: [(Kind, &'static str); 3] = [
        (Kind::Kills, "kills"),
        (Kind::Errors, "errors"),
        (Kind::Short, "short"),
    ];
}

/// Calls that were seen: each with whether it is a write that can be short.
pub type Seen = (String, bool);

/// Every fault of a kind for the calls that were seen, in the order of the calls.
pub fn faults(kind: Kind, seen: &[Seen]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut counts = std::collections::HashMap::new();
    for (call, short) in seen {
        let counted = match kind {
            Kind::Kills => true,
            Kind::Errors => call != "exit_group",
            Kind::Short => *short,
        };
        if !counted {
            continue;
        }
        let n = counts.entry(call.clone()).or_insert(0);
        *n += 1;
        let deeds: Vec<Deed> = match kind {
            Kind::Kills => vec![Deed::Kill],
            Kind::Errors => errors(call)
                .iter()
                .map(|e| Deed::Fail((*e).to_owned()))
                .collect(),
            Kind::Short => SHORTS
                .iter()
                .map(|s| Deed::Short((*s).to_owned()))
                .collect(),
        };
        faults.extend(deeds.into_iter().map(|deed| Fault {
            deed,
            call: call.clone(),
            n: *n,
        }));
    }
    faults
}

fn errors(call: &str) -> &'static [&'static str] {
    match call {
        "clone" | "clone3" | "fork" | "vfork" | "execve" => &FORK_ERRORS,
        "mmap" => &["ENOMEM", "EACCES"],
        _ => &ERRORS,
    }
}
