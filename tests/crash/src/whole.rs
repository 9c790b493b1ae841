//! A whole run: the jobs, two at a time for each core (they mostly wait); tables; a verdict for each row.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::disk::{Kind, quiet};
use crate::report::{Row, table};
use crate::story::{Kind as Hurt, STORIES};

/// How much of everything.
#[derive(Debug)]
pub struct Size {
    rounds: usize,
    states: usize,
    reference_states: usize,
    /// every how manieth kill, error, short write
    strides: [usize; 3],
}

/// For each change: about a minute.
pub const SHORT: Size = Size {
    rounds: 1,
    states: 20,
    reference_states: 20,
    strides: [37, 331, 29],
};

/// All of it.
pub const LONG: Size = Size {
    rounds: 6,
    states: 400,
    reference_states: 300,
    strides: [1, 7, 1],
};

/// Of a hundred kills, at any call, fewer than so many may make a duplicate.
const TWICE_LIMIT: usize = 3;
/// Of fewer kills no share is taken.
const TWICE_LEAST: usize = 1000;

struct Job {
    args: Vec<String>,
    /// in a mount namespace of its own
    apart: bool,
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

/// The jobs that this machine and user can do; the others are said and counted.
fn jobs(bin: &Path, size: &Size) -> (Vec<Job>, usize) {
    let bin = bin.display().to_string();
    let mut jobs = Vec::new();
    let mut skipped = 0;
    let mut skip = |what: &str| {
        println!("SKIPPED: {what}");
        skipped += 1;
    };
    let may_mount = sys::ids::euid() == 0
        && Path::new("/dev/fuse").exists()
        && quiet(Command::new("unshare").args(["-m", "true"]));
    let reference = std::env::var("QMAIL_REFERENCE").ok();
    if !may_mount {
        skip("power cuts (needs root, mount namespaces and /dev/fuse)");
    }
    for kind in Kind::ALL.into_iter().filter(|_| may_mount) {
        if !kind.is_here() {
            skip(&format!("power cuts on {}", kind.name()));
            continue;
        }
        for layout in ["two", "one"] {
            let (rounds, states) = (size.rounds.to_string(), size.states.to_string());
            jobs.push(Job {
                args: words(["cut", kind.name(), layout, "ours", &rounds, &states, &bin]),
                apart: true,
            });
            if let Some(home) = &reference {
                let states = size.reference_states.to_string();
                jobs.push(Job {
                    args: words(["cut", kind.name(), layout, "C", "1", &states, home]),
                    apart: true,
                });
            }
        }
    }
    if may_mount && reference.is_none() {
        skip("the same with C programs (QMAIL_REFERENCE does not name their home)");
    }
    if sys::trace::CALLS.is_empty() {
        skip("kills and errors (this machine's registers are not known)");
    } else {
        for ((_, kind), stride) in Hurt::ALL.into_iter().zip(size.strides) {
            for story in STORIES {
                jobs.push(Job {
                    args: words(["hurt", kind, story.name, &stride.to_string(), &bin]),
                    apart: false,
                });
            }
        }
    }
    (jobs, skipped)
}

fn perform(job: &Job) -> Result<Row, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = if job.apart {
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private"]).arg(own);
        command
    } else {
        let mut command = Command::new(own);
        // Kills need no disk, only speed.
        if Path::new("/dev/shm").is_dir() && std::env::var_os("TMPDIR").is_none() {
            command.env("TMPDIR", "/dev/shm");
        }
        command
    };
    let output = command
        .args(&job.args)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    Row::read(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        format!(
            "no figures: {} {}",
            job.args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// Why a row is bad; nothing if it is good.
fn verdict(row: &Row) -> Option<String> {
    if row.name.ends_with(", C") {
        return (row.number("lost") == 0)
            .then(|| "the C programs lost nothing: the harness does not see".to_owned());
    }
    let bad: Vec<String> = ["lost", "torn", "stuck", "unmountable", "outside"]
        .iter()
        .filter(|n| row.number(n) > 0)
        .map(|n| format!("{} {n}", row.number(n)))
        .collect();
    if !bad.is_empty() {
        return Some(bad.join(", "));
    }
    let nothing = row.number("states") + row.number("cases") == 0;
    // A program whose writes all go to sockets has none that could be short.
    let no_wonder = row.section == "short" && row.number("possible") == 0;
    (nothing && !no_wonder).then(|| "nothing was tried".to_owned())
}

fn print(rows: &[Row]) {
    let of =
        |section: &str| -> Vec<&Row> { rows.iter().filter(|r| r.section == section).collect() };
    let cuts = of("cut");
    if !cuts.is_empty() {
        let columns = [
            "states",
            "flushed",
            "issued",
            "subset",
            "newest",
            "newest-lost",
            "lost",
            "torn",
            "stuck",
            "unmountable",
            "twice",
            "outside",
            "copies",
            "mails",
            "flushes",
        ];
        for whose in ["ours", "C"] {
            let end = format!(", {whose}");
            let rows: Vec<&Row> = cuts
                .iter()
                .copied()
                .filter(|r| r.name.ends_with(&end))
                .collect();
            if !rows.is_empty() {
                print!("{}", table("power cuts", &rows, &columns));
            }
        }
    }
    for (_, section) in Hurt::ALL {
        let rows = of(section);
        if !rows.is_empty() {
            let columns = [
                "possible",
                "cases",
                "changes",
                "messages",
                "acknowledged",
                "lost",
                "torn",
                "stuck",
                "doubling",
                "doubling-changes",
                "twice",
                "outside",
                "bounced",
                "kept",
                "equal",
            ];
            print!("{}", table(section, &rows, &columns));
        }
    }
}

/// Runs everything and prints the figures, then `N passed, N failed, N skipped`.
pub fn run(bin: &Path, size: &Size) -> ExitCode {
    let bin: PathBuf = match std::fs::canonicalize(bin) {
        Ok(bin) => bin,
        Err(e) => {
            eprintln!("crash: fatal: {}: {e}", bin.display());
            return ExitCode::from(111);
        }
    };
    let started = Instant::now();
    let (jobs, skipped) = jobs(&bin, size);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<Row, String>)>> = Mutex::new(Vec::new());
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..(at_a_time * 2).min(8) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some(job) = jobs.get(number) else { return };
                    let result = perform(job);
                    if let Ok(row) = &result {
                        println!("{}", row.line());
                    }
                    results.lock().unwrap().push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(number, _)| *number);
    let mut rows = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    for (_, result) in results {
        match result {
            Ok(row) => {
                match verdict(&row) {
                    None => passed += 1,
                    Some(why) => {
                        failed += 1;
                        println!("FAILED: {}: {}: {why}", row.section, row.name);
                    }
                }
                rows.push(row);
            }
            Err(why) => {
                failed += 1;
                println!("FAILED: {why}");
            }
        }
    }
    print(&rows);
    let kills: Vec<&Row> = rows.iter().filter(|r| r.section == "kills").collect();
    let sum = |name: &str| kills.iter().map(|r| r.number(name)).sum::<usize>();
    if sum("cases") > 0 {
        for (what, of, made) in [
            ("kills at any call", "cases", "doubling"),
            (
                "kills at calls that change something",
                "changes",
                "doubling-changes",
            ),
        ] {
            let (of, made) = (sum(of), sum(made));
            let thousandths = made * 1000 / of.max(1);
            let (whole, tenth) = (thousandths / 10, thousandths % 10);
            println!("{made} of {of} {what} made a duplicate: {whole}.{tenth}%");
        }
        if sum("cases") < TWICE_LEAST {
            println!("(too few for a verdict)");
        } else if sum("doubling") * 100 < sum("cases") * TWICE_LIMIT {
            passed += 1;
        } else {
            failed += 1;
            println!("FAILED: duplicates by kills: {TWICE_LIMIT}% or more");
        }
    }
    let verbose = std::env::var_os("CRASH_FINDINGS").is_some();
    for row in &rows {
        if verbose || verdict(row).is_some() {
            for finding in &row.findings {
                println!("{}: {}: {finding}", row.section, row.name);
            }
        }
    }
    println!("\ncrash: {} s", started.elapsed().as_secs());
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0))
}
