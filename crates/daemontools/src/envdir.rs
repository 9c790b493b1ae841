//! envdir: run a program with variables from the files of a directory.

use std::io::{self, ErrorKind, Read};

use base::{Bytes, Call, Die};
use sys::Dir;

use crate::child::Child;

/// The largest file that is read, bytes. No kernel takes a variable of more.
const FILE_LIMIT: u64 = 16 << 20;

type Environment = Vec<(Bytes, Bytes)>;

/// Runs `envdir dir child`; returns only if the child could not be run.
pub fn run(call: &Call) -> Result<(), Die> {
    // Misuse is 111 here, where the siblings say 100.
    let usage = || Die::usage("envdir dir child").with_code(base::die::TEMPORARY);
    let (name, rest) = call.args.split_first().ok_or_else(usage)?;
    let child = Child::new(rest).ok_or_else(usage)?;

    let mut env = sys::spawn::environment();
    read_directory(name, &mut env)?;

    Err(child.with_env(env).exec())
}

fn read_directory(name: &[u8], env: &mut Environment) -> Result<(), Die> {
    let unable = |what: &[u8], e: &io::Error| Die::unable([what, b" directory ", name].concat(), e);
    // The read permission is wanted second: a directory that may only be entered fails with the other sentence.
    let here = Dir::open(".").map_err(|e| Die::unable("switch to current directory", &e))?;
    std::env::set_current_dir(sys::dir::path(name)).map_err(|e| unable(b"switch to", &e))?;
    let dir = Dir::open(".").map_err(|e| unable(b"read", &e))?;
    for file in dir.entries().map_err(|e| unable(b"read", &e))? {
        let file = file.map_err(|e| unable(b"read", &e))?;
        if file.first() != Some(&b'.') {
            let content = read_file(&dir, &file)
                .map_err(|e| Die::unable([b"read ", name, b"/", &file].concat(), &e))?;
            assign(env, &file, value(&content).as_deref());
        }
    }
    here.enter()
        .map_err(|e| Die::unable("switch to starting directory", &e))
}

/// The content of a file; one that is gone, or a link to nowhere, counts as empty.
fn read_file(dir: &Dir, name: &[u8]) -> io::Result<Bytes> {
    let mut content = Bytes::new();
    match dir.open_read(name) {
        Ok(file) => {
            if file.take(FILE_LIMIT + 1).read_to_end(&mut content)? as u64 > FILE_LIMIT {
                return Err(ErrorKind::FileTooLarge.into());
            }
            Ok(content)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(content),
        Err(e) => Err(e),
    }
}

/// The value that a file stands for: its first line without trailing blanks, NUL made newline. An empty file takes
/// the variable away.
fn value(content: &[u8]) -> Option<Bytes> {
    if content.is_empty() {
        return None;
    }
    let line = content.split(|&b| b == b'\n').next().unwrap_or_default();
    let text = base::bytes::trim_end(line);
    Some(
        text.iter()
            .map(|&b| if b == 0 { b'\n' } else { b })
            .collect(),
    )
}

/// Sets a variable, or takes it away.
///
/// A name with an equals sign means what the text `NAME=VALUE` means as a whole: the name ends at the first one.
pub(crate) fn assign(env: &mut Environment, name: &[u8], value: Option<&[u8]>) {
    let text = value.map_or(name.to_vec(), |value| [name, b"=", value].concat());
    match base::bytes::split_once(&text, b'=') {
        Some((name, value)) => {
            remove(env, name);
            env.push((name.to_vec(), value.to_vec()));
        }
        None => remove(env, &text),
    }
}

fn remove(env: &mut Environment, name: &[u8]) {
    if let Some(at) = env.iter().position(|(n, _)| n == name) {
        env.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_first_line_without_trailing_blanks() {
        for (content, expected) in [
            ("", None),
            ("\n", Some("")),
            ("x", Some("x")),
            ("x \t\nmore", Some("x")),
            ("  x\r\n", Some("  x\r")),
            ("a\0b\n", Some("a\nb")),
            (" \t", Some("")),
        ] {
            assert_eq!(
                value(content.as_bytes()),
                expected.map(|e| e.as_bytes().to_vec()),
                "{content:?}"
            );
        }
    }

    #[test]
    fn a_name_with_an_equals_sign_ends_at_the_first() {
        let mut env = vec![
            (b"A".to_vec(), b"1".to_vec()),
            (b"Z".to_vec(), b"9".to_vec()),
        ];
        assign(&mut env, b"A=B", Some(b"x"));
        assert_eq!(
            env,
            [
                (b"Z".to_vec(), b"9".to_vec()),
                (b"A".to_vec(), b"B=x".to_vec())
            ]
        );
        assign(&mut env, b"A", None);
        assign(&mut env, b"nosuch", None);
        assert_eq!(env, [(b"Z".to_vec(), b"9".to_vec())]);
    }
}
