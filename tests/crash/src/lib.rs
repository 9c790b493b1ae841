//! crash: what kills, errors and power cuts leave behind. See docs/crash.md.
//!
//! Programs   crash, a test program
//! Runs as    root; kills and errors also as an ordinary user
//! Reads      the programs under test
//! Writes     scratch directories and disks in memory
//! May use    sys kit
//! Source     docs/crash.md

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program ends by a panic and prints what it found"
)]
#![allow(clippy::missing_panics_doc, clippy::missing_errors_doc)]
#![allow(clippy::format_push_string, reason = "nothing here is hot")]

pub mod cut;
pub mod disk;
pub mod fuse;
pub mod kill;
pub mod report;
pub mod shape;
pub mod sink;
pub mod store;
pub mod story;
pub mod suite;
pub mod trace;
pub mod whole;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::disk::Kind;
use crate::report::Row;
use crate::suite::Suite;

const USAGE: &str = "crash: usage: crash [ short | long ] BIN";

/// The program: a whole run, or (called by it) one job.
pub fn run() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let row = match words.as_slice() {
        ["short", bin] => return whole::run(Path::new(bin), &whole::SHORT),
        ["long", bin] => return whole::run(Path::new(bin), &whole::LONG),
        ["cut", kind, layout, whose, rounds, states, bin] => {
            cut_job(kind, layout, whose, rounds, states, Path::new(bin))
        }
        ["trace", words @ ..] => return ended(trace::become_traced(words)),
        ["tracer", out, role, fault, of] => return ended(trace::run(out, role, fault, of)),
        ["hurt", kind, story, stride, bin] => hurt_job(kind, story, stride, Path::new(bin)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(100);
        }
    };
    match row {
        Ok(row) => {
            print!("{}", row.lines());
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("crash: fatal: {}: {e}", words.join(" "));
            ExitCode::from(111)
        }
    }
}

fn ended(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("crash: fatal: {e}");
            ExitCode::from(111)
        }
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse()
        .map_err(|_| io::Error::other(format!("{text} is no number")))
}

fn cut_job(
    kind: &str,
    layout: &str,
    whose: &str,
    rounds: &str,
    states: &str,
    bin: &Path,
) -> io::Result<Row> {
    let plan = cut::Plan {
        kind: Kind::from_name(kind).ok_or_else(|| io::Error::other("no such file system"))?,
        two: layout == "two",
        mails: cut::MAILS,
        states: number(states)?,
        subsets: 4,
        rounds: number(rounds)?,
    };
    let sink = sink::Sink::start()?;
    let suite = if whose == "C" {
        Suite::reference("cut", bin, sink.port)?
    } else {
        Suite::ours("cut", bin, sink.port)?
    };
    let at = suite.scratch.join("fuse");
    std::fs::create_dir(&at)?;
    let found = cut::run(&plan, &suite, &sink, &at)?;
    let name = format!(
        "{kind}, {}, {whose}",
        if plan.two {
            "two file systems"
        } else {
            "one file system"
        }
    );
    let mut row = Row::new("cut", &name)
        .with("states", found.states)
        .with("flushed", found.by_left[0])
        .with("issued", found.by_left[1])
        .with("subset", found.by_left[2])
        .with("newest", found.newest)
        .with("newest-lost", found.newest_lost)
        .with("lost", found.lost)
        .with("torn", found.torn)
        .with("stuck", found.stuck)
        .with("unmountable", found.unmountable)
        .with("twice", found.twice)
        .with("outside", found.outside)
        .with("copies", found.copies)
        .with("mails", found.mails)
        .with("flushes", found.flushes);
    row.findings = found.findings;
    Ok(row)
}

fn hurt_job(kind: &str, name: &str, stride: &str, bin: &Path) -> io::Result<Row> {
    let story = story::STORIES
        .iter()
        .find(|s| s.name == name)
        .ok_or_else(|| io::Error::other("no such story"))?;
    let (way, word) = story::Kind::ALL
        .into_iter()
        .find(|(_, word)| *word == kind)
        .ok_or_else(|| io::Error::other("no such kind"))?;
    let found = kill::Bench::new(bin, story)?.run(way, number(stride)?)?;
    let mut row = Row::new(word, story.name)
        .with("possible", found.possible)
        .with("cases", found.cases)
        .with("changes", found.changes)
        .with("lost", found.lost)
        .with("torn", found.torn)
        .with("stuck", found.stuck)
        .with("doubling", found.doubling)
        .with("doubling-changes", found.doubling_changes)
        .with("twice", found.twice)
        .with("outside", found.outside)
        .with("bounced", found.bounced)
        .with("kept", found.kept)
        .with("messages", found.messages)
        .with("acknowledged", found.acknowledged)
        .with("equal", found.equal);
    row.findings = found.findings;
    Ok(row)
}
