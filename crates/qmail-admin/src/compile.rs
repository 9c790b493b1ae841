//! qmail-newu and qmail-newmrh: text files into tables, whole or not at all.
//!
//! Source  qmail-users(5), qmail-newmrh(8)

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use base::bytes::{lower, split_once, trim_end};
use base::{Bytes, Call, Die};
use sys::sandbox::{Access, Promises};

/// A table cannot be written by others than its maker.
const MODE: u32 = 0o644;

type Record = (Bytes, Bytes);

/// Compiles users/assign into users/cdb.
///
/// # Errors
/// 111 for everything, a line of another form among them; users/cdb is then as it was.
pub fn newu(_: &Call) -> Result<(), Die> {
    let unable = |what: &str| Die::fatal(111, format!("unable to {what}"));
    sys::process::umask(0o033);
    control::home::enter().map_err(|_| unable("chdir"))?;

    newu_promises().enforce();

    let text = match control::file::whole("users/assign") {
        Ok(Some(text)) => text,
        Ok(None) => return Err(unable("open users/assign")),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Err(unable("open users/assign"));
        }
        Err(_) => return Err(unable("read users/assign")),
    };
    let records =
        assignments(&text).ok_or_else(|| Die::fatal(111, "bad format in users/assign"))?;

    make("users/cdb", "users/cdb.tmp", records).map_err(|(step, _)| match step {
        Step::Open => unable("open users/cdb.tmp"),
        Step::Write => unable("write users/cdb.tmp"),
        Step::Move => unable("move users/cdb.tmp to users/cdb"),
    })
}

/// What qmail-newu promises before it reads the text: to work in `users`.
pub fn newu_promises() -> Promises {
    Promises::new()
        .path("users", Access::Make)
        .path("users/assign", Access::Read)
}

/// Compiles control/morercpthosts into control/morercpthosts.cdb.
///
/// # Errors
/// 111 for everything; the table is then as it was.
pub fn newmrh(_: &Call) -> Result<(), Die> {
    sys::process::umask(0o033);
    control::home::enter().map_err(|e| {
        let home: Bytes = [b"chdir to ".as_slice(), &control::home::below("")].concat();
        Die::unable(home.strip_suffix(b"/").unwrap_or(&home), &e)
    })?;

    newmrh_promises().enforce();

    let unreadable = |e: io::Error| Die::unable("read control/morercpthosts", &e);
    // Opened first for the kernel's own error: a missing file is one here.
    File::open("control/morercpthosts").map_err(unreadable)?;
    let text = control::file::whole("control/morercpthosts")
        .map_err(unreadable)?
        .unwrap_or_default();

    make(
        "control/morercpthosts.cdb",
        "control/morercpthosts.tmp",
        hosts(&text),
    )
    .map_err(|(step, e)| match step {
        Step::Open | Step::Write => Die::unable("write to control/morercpthosts.tmp", &e),
        Step::Move => Die::unable(
            "move control/morercpthosts.tmp to control/morercpthosts.cdb",
            &e,
        ),
    })
}

/// What qmail-newmrh promises before it reads the text: to work in `control`.
pub fn newmrh_promises() -> Promises {
    Promises::new()
        .path("control", Access::Make)
        .path("control/morercpthosts", Access::Read)
}

/// What went wrong with a table.
enum Step {
    Open,
    Write,
    Move,
}

/// Writes a table; its temporary file does not stay when that fails.
fn make(path: &str, temporary: &str, records: Vec<Record>) -> Result<(), (Step, io::Error)> {
    control::table::make(Path::new(path), Path::new(temporary), MODE, records).map_err(|e| {
        let step = match std::fs::remove_file(temporary) {
            Err(_) => Step::Open,
            Ok(()) if Path::new(path).is_dir() => Step::Move,
            Ok(()) => Step::Write,
        };
        (step, e)
    })
}

/// The records of users/assign: one for each line up to the one that begins with a dot, and one with the last bytes of
/// all prefixes. `None`: a line of another form, or no such last line.
fn assignments(text: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut last_bytes = Bytes::new();
    let mut rest = text;
    while rest.first() != Some(&b'.') {
        let (line, after) = split_once(rest, b'\n')?;
        rest = after;
        records.push(assignment(line, &mut last_bytes)?);
    }
    records.push((Bytes::new(), last_bytes));
    Some(records)
}

/// `=local:user:uid:gid:home:dash:ext:` or `+prefix:user:uid:gid:home:dash:pre:`. More after that is not looked at.
fn assignment(line: &[u8], last_bytes: &mut Bytes) -> Option<Record> {
    if line.contains(&0) {
        return None;
    }
    let (front, data) = split_once(line, b':')?;
    let (&letter, name) = front.split_first()?;
    let mut key = [b"!", lower(name).as_slice()].concat();
    if letter == b'+' {
        last_bytes.extend(name.last().filter(|b| !last_bytes.contains(b)));
    } else {
        key.push(0);
    }
    let fields: Vec<&[u8]> = data.splitn(7, |&b| b == b':').collect();
    let fields = fields.get(..6).filter(|_| fields.len() == 7)?;
    Some((key, fields.join(&0)))
}

/// The hosts of morercpthosts in lower case, with nothing as their value.
fn hosts(text: &[u8]) -> Vec<Record> {
    text.split(|&b| b == b'\n')
        .map(trim_end)
        .filter(|line| line.first().is_some_and(|&b| b != b'#'))
        .map(|line| (lower(line), Bytes::new()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<Vec<String>> {
        let show = |b: &[u8]| String::from_utf8_lossy(b).replace('\0', "|");
        let records = assignments(text.as_bytes())?;
        let line = |(key, data): &Record| format!("{} -> {}", show(key), show(data));
        Some(records.iter().map(line).collect())
    }

    #[test]
    fn lines_become_records() {
        let text = "=Joe:joe:1:2:/h:-:X:\n+Joe-:joe:1:2:/h:-::more:x\n+:a:3:4:/a:-::\n+b-:b:5:6:/b:::\n*q:q:::/:::\n.\nx";
        assert_eq!(
            shown(text).unwrap(),
            [
                "!joe| -> joe|1|2|/h|-|X",
                "!joe- -> joe|1|2|/h|-|",
                "! -> a|3|4|/a|-|",
                "!b- -> b|5|6|/b||",
                "!q| -> q|||/||",
                " -> -",
            ]
        );
        assert_eq!(shown(".").unwrap(), [" -> "]);
    }

    #[test]
    fn other_lines_are_refused() {
        for text in [
            "",
            "=a:a:1:1:/a:::\n",
            "\n.\n",
            "# comment\n.\n",
            "=a:a:1:1:/a::\n.\n",
            ":a:a:1:1:/a:::\n.\n",
            "=a\0:a:1:1:/a:::\n.\n",
            "=abc\n.\n",
        ] {
            assert_eq!(shown(text), None, "{text:?}");
        }
    }

    #[test]
    fn hosts_are_trimmed_and_small() {
        let found = hosts(b"A.test\n# no\n\n \t\n.b.TEST  \t\nlast");
        let keys: Vec<_> = found.into_iter().map(|r| r.0).collect();
        assert_eq!(keys, [&b"a.test"[..], b".b.test", b"last"]);
    }
}
