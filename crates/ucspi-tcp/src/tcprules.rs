//! tcprules: rules as text on descriptor 0 become a table.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader};

use base::io::{Line, line};
use base::{Bytes, Call, Die};
use control::table::Maker;
use sys::sandbox::{Access, Promises, directory_of};

use crate::network::Size;
use crate::rules::SIZES;
use crate::ruletext::{parse, trimmed};

/// The longest line of rules, bytes.
const LINE_LIMIT: usize = 1 << 20;
/// Mode of a table, before the umask.
const MODE: u32 = 0o644;

/// Compiles rules. See tcprules(1).
///
/// # Errors
/// A line that cannot be read (100), or trouble with the files (111). The old table then stays.
pub fn tcprules(call: &Call) -> Result<(), Die> {
    let [table, temporary, ..] = call.args.as_slice() else {
        return Err(Die::usage("tcprules rules.cdb rules.tmp"));
    };

    let (path, aside) = (sys::dir::path(table), sys::dir::path(temporary));
    let mut maker = Maker::create(aside, MODE)
        .map_err(|e| Die::unable([b"create ", temporary.as_slice()].concat(), &e))?;

    promises(table, temporary).enforce();

    compile(&mut BufReader::new(Input), &mut maker, temporary)?;

    maker.commit().map_err(|e| unable_to_write(temporary, &e))?;
    Maker::rename(aside, path).map_err(|e| {
        Die::unable(
            [b"move ", temporary.as_slice(), b" to ", table].concat(),
            &e,
        )
    })
}

/// What tcprules promises before it reads the first rule: to work in the directories of the two files.
pub fn promises(table: &[u8], temporary: &[u8]) -> Promises {
    Promises::new()
        .path(directory_of(table), Access::Make)
        .path(directory_of(temporary), Access::Make)
}

/// Descriptor 0 as the caller gave it: reading fails if it was closed.
struct Input;

impl io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        sys::fd::read(&sys::fd::inherited(0)?, buffer)
    }
}

fn compile(input: &mut impl BufRead, maker: &mut Maker, temporary: &[u8]) -> Result<(), Die> {
    let mut text = Bytes::new();
    let mut sizes = BTreeSet::new();
    loop {
        match line(input, b'\n', LINE_LIMIT, &mut text)
            .map_err(|e| Die::unable("read input", &e))?
        {
            Line::Whole | Line::Partial => {}
            Line::End => {
                return add_sizes(&sizes, maker).map_err(|e| unable_to_write(temporary, &e));
            }
            Line::TooLong => return Err(unreadable(&text)),
        }
        let rule = trimmed(&text);
        let Some(records) = parse(rule).map_err(|_| unreadable(rule))? else {
            continue;
        };
        sizes.extend(&records.sizes);
        for key in &records.keys {
            maker
                .add(key, &records.data)
                .map_err(|e| unable_to_write(temporary, &e))?;
        }
    }
}

/// A table without networks is what it always was.
fn add_sizes(sizes: &BTreeSet<Size>, maker: &mut Maker) -> io::Result<()> {
    if sizes.is_empty() {
        return Ok(());
    }
    let data: Bytes = sizes.iter().flat_map(|s| [s.family, s.bits]).collect();
    maker.add(SIZES, &data)
}

/// The line is the administrator's own, so it is shown as it is, like the original does.
fn unreadable(line: &[u8]) -> Die {
    let line = [b"tcprules: fatal: unable to parse this line: ", line, b"\n"];
    Die::plain(100, line.concat())
}

fn unable_to_write(temporary: &[u8], error: &io::Error) -> Die {
    Die::unable([b"write to ", temporary].concat(), error)
}
