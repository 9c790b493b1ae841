//! config-fast: the first control files, made from the name of this host.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use base::{Bytes, Call, Die};

use crate::output::Output;

const MODE: u32 = 0o644;

/// Writes `me`, `defaultdomain` and `plusdomain`, and adds the host to `locals` and `rcpthosts`.
///
/// # Errors
/// 100 without a name, or with one that is none; 111 when a file cannot be written.
pub fn config_fast(call: &Call) -> Result<(), Die> {
    let host = match call.args.as_slice() {
        [host, ..] if is_host(host) => host.as_slice(),
        _ => return Err(Die::usage("config-fast host")),
    };

    control::home::enter().map_err(|e| {
        Die::unable(
            [b"chdir to ".as_slice(), &control::home::below("")].concat(),
            &e,
        )
    })?;

    let mut output = Output::open();
    output.put(&[b"Your fully qualified host name is ", host, b".\n"]);
    for (name, value) in [
        ("me", host),
        ("defaultdomain", default_domain(host)),
        ("plusdomain", plus_domain(host)),
    ] {
        put(&mut output, name, value, OpenOptions::new().truncate(true))?;
    }
    for name in ["locals", "rcpthosts"] {
        put(&mut output, name, host, OpenOptions::new().append(true))?;
    }
    output.put(&[
        b"Now qmail will refuse to accept SMTP messages except to ",
        host,
        b".\n",
    ]);
    output.line("Make sure to change rcpthosts if you add hosts to locals or virtualdomains!");
    output.close()
}

/// Printable, without blanks or slashes: one line of a file, and harmless where it is shown.
fn is_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host
            .iter()
            .all(|&b| (33..127).contains(&b) && b != b'/' && b != b'\\')
}

/// The host without its first label, if two are left.
fn default_domain(host: &[u8]) -> &[u8] {
    let parent = base::bytes::split_once(host, b'.').map(|(_, parent)| parent);
    parent.filter(|p| p.contains(&b'.')).unwrap_or(host)
}

/// The last two labels of the host.
fn plus_domain(host: &[u8]) -> &[u8] {
    let dots = host.iter().enumerate().rev().filter(|(_, b)| **b == b'.');
    match dots.map(|(at, _)| at).nth(1) {
        Some(second_last) => host.get(second_last + 1..).unwrap_or(host),
        None => host,
    }
}

fn put(
    output: &mut Output,
    name: &str,
    value: &[u8],
    options: &mut OpenOptions,
) -> Result<(), Die> {
    let path = format!("control/{name}");
    output.put(&[b"Putting ", value, b" into ", path.as_bytes(), b"...\n"]);
    write(&path, value, options).map_err(|e| Die::unable(format!("write {path}"), &e))
}

fn write(path: &str, value: &[u8], options: &mut OpenOptions) -> io::Result<()> {
    let line: Bytes = [value, b"\n"].concat();
    let mut file: File = options.write(true).create(true).mode(MODE).open(path)?;
    // A private file of an earlier time would be no use to the servers.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(&line)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_cut_as_the_script_did() {
        for (host, default, plus) in [
            ("h.x.y.test", "x.y.test", "y.test"),
            ("h.x.test", "x.test", "x.test"),
            ("x.test", "x.test", "x.test"),
            ("x", "x", "x"),
        ] {
            assert_eq!(default_domain(host.as_bytes()), default.as_bytes());
            assert_eq!(plus_domain(host.as_bytes()), plus.as_bytes());
        }
    }
}
