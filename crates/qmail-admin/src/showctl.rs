//! qmail-showctl: what is compiled in, and what every control file says.
//!
//! Source  qmail-control(5)

mod files;

use std::io;

use base::bytes::{number, printable};
use base::{Bytes, Call, Die};
use control::Owners;
use queue::names::Layout;
use sys::Dir;

use crate::output::Output;
use files::{CLASSIC, File, Kind, OTHER_QMAILS, OURS};

/// Mode bits that a home directory or a .qmail file must not have.
const PATERNALISM: u32 = 0o002;
/// Files of qmail-remote(8) that are not shown.
const HELD: [&str; 3] = ["clientcert.pem", "remotesecrets", "tlsroots.pem"];
/// Files with a line of their own in the report.
const SPECIAL: [&str; 3] = ["rcpthosts", "morercpthosts", "morercpthosts.cdb"];

/// Prints everything on descriptor 1; complaints go there too.
///
/// # Errors
/// 111 when there is no home or no control directory, or `me` cannot be read.
pub fn showctl(_: &Call) -> Result<(), Die> {
    let mut output = Output::open();
    let home = control::home::below("");
    let home = home.strip_suffix(b"/").unwrap_or(&home);
    let entered = control::home::enter();
    compiled_in(&mut output, home);

    if entered.is_err() {
        let text = [
            b"Oops! Unable to chdir to ",
            printable(home).as_slice(),
            b".\n",
        ]
        .concat();
        return Err(output.fail(text));
    }
    let Ok(directory) = Dir::open("control") else {
        return Err(output.fail("Oops! Unable to chdir to control.\n"));
    };
    let Ok(me) = control::line("me") else {
        return Err(output.fail("Oops! Trouble reading control/me."));
    };

    let mut report = Report {
        output,
        directory,
        me,
    };
    for file in CLASSIC {
        match file.name {
            "rcpthosts" => report.hosts(file),
            _ => {
                report.file(file);
            }
        }
    }
    report.others();
    report.output.close()
}

fn compiled_in(output: &mut Output, home: &[u8]) {
    let brk = control::home::user_break();
    output.put(&[b"qmail home directory: ", &printable(home), b".\n"]);
    output.put(&[b"user-ext delimiter: ", &[brk], b".\n"]);
    output.line(format!("paternalism (in decimal): {PATERNALISM}."));
    output.line(format!(
        "silent concurrency limit: {}.",
        queue::spawner::CONCURRENCY
    ));
    output.line(format!("subdirectory split: {}.", split()));
    let owner = Dir::open("queue").and_then(|q| q.stat(b"mess"));
    users(output, owner.ok().map(|stat| stat.uid));
}

/// The split of the queue, or that of a new one when there is none to be read.
fn split() -> String {
    match Dir::open("queue").and_then(|queue| Layout::read(&queue)) {
        Ok(layout) if layout.big_todo => format!("{} (todo too)", layout.split),
        Ok(layout) => layout.split.to_string(),
        Err(_) => control::home::default_split().to_string(),
    }
}

/// The ids of the suite, or who stands for all of them.
fn users(output: &mut Output, queue_owner: Option<u32>) {
    let found = Owners::find();
    let single = match (&found, queue_owner) {
        (Ok(owners), Some(uid)) if uid == owners.qmailq => None,
        (Ok(_), None) => None,
        (_, Some(uid)) => Some(uid),
        (Err(_), None) => Some(sys::ids::euid()),
    };
    let o = found.unwrap_or_else(|_| Owners::single());
    output.line(format!(
        "user ids: {}, {}, {}, {}, {}, {}, {}, {}.",
        o.alias, o.qmaild, o.qmaill, o.root, o.qmailp, o.qmailq, o.qmailr, o.qmails
    ));
    output.line(format!("group ids: {}, {}.", o.nofiles, o.qmail));
    output.line(format!(
        "sandbox beside the uids: {}.",
        sys::sandbox::level()
    ));
    match single {
        None => {}
        // root never stands for the others.
        Some(0) => output.line("Oops! The queue belongs to uid 0, not to qmailq."),
        Some(uid) => output.line(format!(
            "single-uid mode: the queue is not qmailq's; everything runs as uid {uid}."
        )),
    }
}

/// A line that may end with a name and a password, in any of the forms that qmail-remote(8) knows: the report is for others
/// to see.
fn without_password(line: &[u8]) -> Bytes {
    /// Stands for a password.
    const HIDDEN: &[u8] = b"...";
    let mark = |b: &u8| matches!(b, b'|' | b' ' | b'\t');
    let cut = |text: &[u8], at: usize| text.get(..=at).map(<[u8]>::to_vec);
    let after = |from: usize, is: &dyn Fn(&u8) -> bool| {
        let rest = line.get(from..)?;
        Some(from + rest.iter().position(is)?)
    };
    let end = after(0, &mark)
        .and_then(|first| after(first, &|b| !mark(b)))
        .and_then(|name| after(name, &mark));
    match end.and_then(|at| cut(line, at)) {
        Some(begin) => [begin.as_slice(), HIDDEN].concat(),
        None => line.to_vec(),
    }
}

/// What was found of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Missing,
    Present,
    Unreadable,
}

struct Report {
    output: Output,
    directory: Dir,
    me: Option<Bytes>,
}

impl Report {
    fn file(&mut self, file: &File) -> Found {
        self.output.put(&[b"\n", file.name.as_bytes(), b": "]);
        let found = match file.kind {
            Kind::Number { default } => self.number(file, default),
            Kind::Line { default, me } => self.line(file, default, me),
            Kind::List { default } => self.list(file, default, <[u8]>::to_vec),
            Kind::Secrets { default } => self.list(file, default, without_password),
        };
        found.unwrap_or_else(|_| {
            self.output.line("Oops! Trouble reading this file.");
            Found::Unreadable
        })
    }

    /// One sentence about a value.
    fn sentence(&mut self, file: &File, value: &[u8], end: &str) {
        self.output.put(&[
            file.before.as_bytes(),
            &question_marks(value),
            file.after.as_bytes(),
            end.as_bytes(),
            b"\n",
        ]);
    }

    fn default(&mut self) {
        self.output.put(&[b"(Default.) "]);
    }

    fn number(&mut self, file: &File, default: &str) -> io::Result<Found> {
        let line = control::line(file.name)?;
        let value = line.as_deref().and_then(|text| {
            let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
            number(text.get(..digits)?)
        });
        match value {
            Some(value) => self.sentence(file, value.to_string().as_bytes(), "."),
            None => {
                self.default();
                self.sentence(file, default.as_bytes(), ".");
            }
        }
        Ok(if line.is_some() {
            Found::Present
        } else {
            Found::Missing
        })
    }

    fn line(&mut self, file: &File, default: &str, me: bool) -> io::Result<Found> {
        if let Some(value) = control::line(file.name)? {
            self.sentence(file, &value, ".");
            return Ok(Found::Present);
        }
        self.default();
        let value = self.me.clone().filter(|_| me);
        let value = value.unwrap_or_else(|| default.as_bytes().to_vec());
        self.sentence(file, &value, ".");
        Ok(Found::Missing)
    }

    fn list(&mut self, file: &File, default: &str, shown: fn(&[u8]) -> Bytes) -> io::Result<Found> {
        let Some(lines) = control::list(file.name)? else {
            self.default();
            self.output.line(default);
            return Ok(Found::Missing);
        };
        self.output.line("");
        for value in lines {
            self.sentence(file, &shown(&value), "");
        }
        Ok(Found::Present)
    }

    /// rcpthosts and what goes with it: without it, the others mean nothing.
    fn hosts(&mut self, file: &File) {
        let more = if self.file(file) == Found::Missing {
            &files::IRRELEVANT_MORE
        } else {
            &files::MORE
        };
        self.file(more);
        let text = self.table();
        self.output
            .put(&[b"\nmorercpthosts.cdb: ", text.as_bytes(), b"\n"]);
    }

    fn table(&self) -> &'static str {
        let list = self.directory.stat(b"morercpthosts");
        let table = self.directory.stat(b"morercpthosts.cdb");
        match (list, table) {
            (Err(_), Err(_)) => "(Default.) No effect.",
            (Err(_), Ok(_)) => "Oops! morercpthosts.cdb exists but morercpthosts doesn't.",
            (Ok(_), Err(_)) => "Oops! morercpthosts exists but morercpthosts.cdb doesn't.",
            (Ok(list), Ok(table)) if list.mtime > table.mtime => {
                "Oops! morercpthosts.cdb is older than morercpthosts."
            }
            (Ok(_), Ok(_)) => "Modified recently enough; hopefully up to date.",
        }
    }

    /// The names that no original has: ours, those of other qmails, and the rest. In order, so that two reports can be
    /// compared.
    fn others(&mut self) {
        let Ok(entries) = self.directory.entries() else {
            self.output.line("Oops! Unable to open current directory.");
            return;
        };
        let mut names: Vec<Bytes> = entries.flatten().collect();
        names.sort_unstable();
        for name in names {
            let known = |file: &&File| file.name.as_bytes() == name;
            if CLASSIC.iter().any(|f| known(&f)) || SPECIAL.iter().any(|s| s.as_bytes() == name) {
                continue;
            }
            if let Some(file) = OURS.iter().find(known) {
                self.file(file);
                continue;
            }
            let text = if HELD.iter().any(|h| h.as_bytes() == name) {
                "The SMTP client reads this file; its contents are not for everybody."
            } else if OTHER_QMAILS.iter().any(|o| o.as_bytes() == name) {
                "This file belongs to another qmail; it has no effect here."
            } else {
                "I have no idea what this file does."
            };
            self.output
                .put(&[b"\n", &question_marks(&name), b": ", text.as_bytes(), b"\n"]);
        }
    }
}

/// As `printable`, tabs too.
fn question_marks(bytes: &[u8]) -> Bytes {
    printable(bytes)
        .into_iter()
        .map(|b| if b == b'\t' { b'?' } else { b })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (line, wanted) in [
            (":relay.test:587", ":relay.test:587"),
            ("a.test:", "a.test:"),
            (":relay.test|joe|secret|x y", ":relay.test|joe|..."),
            (":relay.test joe  secret", ":relay.test joe ..."),
            (":relay.test|joe", ":relay.test|joe"),
            ("s@a.test:|joe|secret", "s@a.test:|joe|..."),
        ] {
            assert_eq!(
                without_password(line.as_bytes()),
                wanted.as_bytes(),
                "{line}"
            );
        }
    }
}
