//! tcprulescheck: what tcpserver would do with the client in TCPREMOTEIP, TCPREMOTEHOST and TCPREMOTEINFO.

use base::{Bytes, Call, Die};
use sys::sandbox::{Access, Promises};

use crate::rulefile::{Found, look};
use crate::rules::{Client, Instruction, Rule, instructions};

/// Shows the rule of a client. See tcprulescheck(1).
///
/// # Errors
/// The rules cannot be read, or the answer not written (111).
pub fn tcprulescheck(call: &Call) -> Result<(), Die> {
    let Some(path) = call.args.first() else {
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
    let answer = match look(path, &client).map_err(|e| unable(&e))? {
        Found::Rule(rule) => describe(&rule),
        Found::Default => b"default:\nallow connection\n".to_vec(),
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

/// A denial ends the description, as nothing else counts then.
fn describe(rule: &Rule) -> Bytes {
    let mut out = [b"rule ", rule.key.as_slice(), b":\n"].concat();
    for instruction in instructions(&rule.data) {
        match instruction {
            Instruction::Deny => {
                out.extend_from_slice(b"deny connection\n");
                return out;
            }
            Instruction::Set(set) => {
                out.extend_from_slice(&[b"set environment variable ", set, b"\n"].concat());
            }
        }
    }
    out.extend_from_slice(b"allow connection\n");
    out
}
