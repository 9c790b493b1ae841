//! Finding and reading the .qmail file of a delivery. The working directory is the recipient's home.
//!
//! Source  dot-qmail(5), "security", "extension addresses"

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use base::{Bytes, Die};
use recipient::dot;

use crate::args::Args;
use crate::{die, instruction::Allowed};

/// The largest .qmail file, bytes.
const LIMIT: u64 = 8 << 20;
/// Written by others: nobody's instructions.
const OTHERS_WRITE: u32 = 0o002;
/// The owner's execute bit: only forwards are allowed.
const OWNER_EXECUTES: u32 = 0o100;

/// What a delivery is to do.
#[derive(Clone, Debug)]
pub(crate) struct Instructions {
    pub(crate) text: Bytes,
    pub(crate) allowed: Allowed,
    /// the part of the extension that `default` in the name of the file stood for
    pub(crate) default: Option<Bytes>,
}

/// The instructions of the first file that counts; the default delivery if it is empty, or if there is none and the
/// address has no extension.
pub(crate) fn find(args: &Args) -> Result<Instructions, Die> {
    let mut found = Instructions {
        text: Bytes::new(),
        allowed: Allowed::Everything,
        default: None,
    };
    match search(args)? {
        Some((file, default, allowed)) => {
            found.text = read(file)?;
            found.default = default;
            found.allowed = allowed;
        }
        None if args.dash.is_empty() => {}
        None => {
            return Err(die::permanent(
                "Sorry, no mailbox here by that name. (#5.1.1)",
            ));
        }
    }
    if found.text.is_empty() {
        found.text.clone_from(&args.default_delivery);
        found.allowed = Allowed::Everything;
    }
    Ok(found)
}

type Found = (File, Option<Bytes>, Allowed);

fn search(args: &Args) -> Result<Option<Found>, Die> {
    for candidate in dot::candidates(&args.dash, &args.ext) {
        if let Some((file, allowed)) = open(&candidate.name)? {
            let default = candidate
                .default
                .and_then(|at| args.ext.get(at..))
                .map(<[u8]>::to_vec);
            return Ok(Some((file, default, allowed)));
        }
    }
    Ok(None)
}

fn trouble(name: &[u8], error: &io::Error) -> Die {
    die::unable(&[b"open ", name].concat(), error, "#4.3.0")
}

/// Opens a candidate. `None`: not there, or not a regular file. One that is there and may not be read stops the
/// delivery: passing over it would deliver elsewhere.
fn open(name: &[u8]) -> Result<Option<(File, Allowed)>, Die> {
    let file = match sys::dir::open_read(name) {
        Ok(file) => file,
        Err(e) if sys::is_temporary(&e) || e.kind() == ErrorKind::PermissionDenied => {
            return Err(trouble(name, &e));
        }
        Err(_) => return Ok(None),
    };
    let stat = sys::dir::stat_fd(&file).map_err(|e| trouble(name, &e))?;
    if !stat.is_file() {
        return Ok(None);
    }
    if stat.mode & OTHERS_WRITE != 0 {
        return Err(die::temporary("Uh-oh: .qmail file is writable. (#4.7.0)"));
    }
    let allowed = if stat.mode & OWNER_EXECUTES == 0 {
        Allowed::Everything
    } else {
        Allowed::Forwards
    };
    Ok(Some((file, allowed)))
}

fn read(file: File) -> Result<Bytes, Die> {
    let mut text = Bytes::new();
    match file.take(LIMIT + 1).read_to_end(&mut text) {
        Ok(_) if text.len() as u64 <= LIMIT => Ok(text),
        _ => Err(die::temporary("Out of memory. (#4.3.0)")),
    }
}

/// The sender of forwards: the recipient's own `-owner` if there is such a file, with VERP if there is also
/// `-owner-default`; else the sender of the message. Bounces keep their special senders.
pub(crate) fn new_sender(args: &Args) -> Result<Bytes, Die> {
    let (owner, owner_default) = dot::owner_names(&args.dash, &args.ext);
    if args.sender.is_empty() || args.sender == b"#@[]" || !exists(&owner)? {
        return Ok(args.sender.clone());
    }
    let (local, host) = (args.local.as_slice(), args.host.as_slice());
    if exists(&owner_default)? {
        Ok([local, b"-owner-@", host, b"-@[]"].concat())
    } else {
        Ok([local, b"-owner@", host].concat())
    }
}

fn exists(name: &[u8]) -> Result<bool, Die> {
    match sys::dir::stat_path(name) {
        Ok(_) => Ok(true),
        Err(e) if sys::is_temporary(&e) => Err(trouble(name, &e)),
        Err(_) => Ok(false),
    }
}
