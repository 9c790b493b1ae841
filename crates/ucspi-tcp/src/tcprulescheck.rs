//! tcprulescheck: what tcpserver would do with the client in TCPREMOTEIP, TCPREMOTEHOST and TCPREMOTEINFO.

use base::{Bytes, Call, Die};
use sys::sandbox::{Access, Promises};

use crate::rulefile::{Found, look};
use crate::rules::{Client, Instruction, Order, Rule, instructions, verdict};

/// Shows the rule of a client. See tcprulescheck(1).
///
/// # Errors
/// The rules cannot be read, or the answer not written (111).
pub fn tcprulescheck(call: &Call) -> Result<(), Die> {
    let (order, words) = match call.args.split_first() {
        Some((first, rest)) if first == b"--both-rules" => (Order::Both, rest),
        _ => (Order::First, call.args.as_slice()),
    };
    let Some(path) = words.first() else {
        return Err(Die::usage("tcprulescheck rules.cdb"));
    };
    let ip = base::env("TCPREMOTEIP").unwrap_or_else(|| b"0.0.0.0".to_vec());
    let (host, info) = (base::env("TCPREMOTEHOST"), base::env("TCPREMOTEINFO"));
    let client = Client {
        ip: &ip,
        host: host.as_deref(),
        info: info.as_deref(),
    };

    promises(path).enforce();

    let unable = |text: &str| {
        Die::fatal(
            111,
            [b"unable to read ", path.as_slice(), b": ", text.as_bytes()].concat(),
        )
    };
    let answer = match look(path, order, &client).map_err(|e| unable(&e))? {
        Found::Rules(rules) => describe(&rules),
        Found::NoFile => return Err(unable("file does not exist")),
    };

    sys::fd::inherited(1)
        .and_then(|out| sys::fd::write_all(&out, &answer))
        .map_err(|e| Die::unable("write output", &e))
}

/// What tcprulescheck promises before it opens the table: to read it.
pub fn promises(table: &[u8]) -> Promises {
    Promises::new().path(table, Access::Read)
}

/// A denial ends the description of a rule, as nothing else counts then.
fn describe(rules: &[Rule]) -> Bytes {
    let mut out = Bytes::new();
    if rules.is_empty() {
        out.extend_from_slice(b"default:\n");
    }
    let mut names: Vec<&[u8]> = Vec::new();
    for rule in rules {
        out.extend_from_slice(&[b"rule ", rule.key.as_slice(), b":\n"].concat());
        let before = names.clone();
        for set in settings(rule) {
            let name = set.split(|&b| b == b'=').next().unwrap_or_default();
            if !before.contains(&name) {
                names.push(name);
                out.extend_from_slice(&[b"set environment variable ", set, b"\n"].concat());
            }
        }
    }
    out.extend_from_slice(match verdict(rules) {
        None => b"deny connection\n",
        Some(_) => b"allow connection\n",
    });
    out
}

fn settings(rule: &Rule) -> impl Iterator<Item = &[u8]> {
    instructions(&rule.data).map_while(|instruction| match instruction {
        Instruction::Deny => None,
        Instruction::Set(set) => Some(set),
    })
}
