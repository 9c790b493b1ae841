//! crash: what kills, errors and power cuts leave behind. See docs/crash.md.
//!
//! Programs   crash, a test program
//! Runs as    root in a mount namespace of its own; kills and errors also as an ordinary user
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
pub mod sink;
pub mod store;
pub mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::disk::Kind;
use crate::suite::Suite;

/// The program.
pub fn run() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cut", kind, layout, whose, mails, states, bin] => {
            let plan = cut::Plan {
                kind: Kind::from_name(kind).unwrap(),
                two: *layout == "two",
                mails: mails.parse().unwrap(),
                states: states.parse().unwrap(),
                subsets: 3,
            };
            let suite = if *whose == "ours" {
                Suite::ours("cut", &PathBuf::from(bin), 1).unwrap()
            } else {
                Suite::reference("cut", &PathBuf::from(bin)).unwrap()
            };
            let at = suite.scratch.join("fuse");
            std::fs::create_dir(&at).unwrap();
            let figures = cut::run(&plan, &suite, &at);
            println!("{figures:#?}");
            ExitCode::SUCCESS
        }
        ["kill", kind, only, stride, bin] => {
            let mut bench = kill::Bench::new(&PathBuf::from(bin)).unwrap();
            let kind = if *kind == "kills" {
                kill::Kind::Kills
            } else {
                kill::Kind::Errors
            };
            for story in kill::STORIES.iter().filter(|s| s.name.contains(only)) {
                let started = std::time::Instant::now();
                let figures = bench.run(story, kind, stride.parse().unwrap());
                println!("{} {:?} {figures:#?}", story.name, started.elapsed());
            }
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(100),
    }
}
