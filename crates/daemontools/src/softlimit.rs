//! softlimit: run a program with resource limits.

use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use sys::limit::Resource;

use crate::child::Child;
use crate::options::complaint;

const USAGE: &str = "softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] \
                     [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child";

/// A soft limit to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    /// as much as the hard limit allows
    Hard,
    /// this much, or the hard limit if that is less
    Exact(u64),
}

/// Runs `softlimit [options] child`; returns only if the child could not be run.
pub fn run(call: &Call) -> Result<(), Die> {
    let mut limits = Vec::new();
    let mut options = Options::new(&call.args, "a:c:d:f:l:m:o:p:r:s:t:");
    for opt in options.by_ref() {
        let Opt::Value(letter, value) = &opt else {
            return Err(misuse(&complaint(call, &opt)));
        };
        let amount = amount(value).ok_or_else(|| misuse(b""))?;
        limits.extend(
            resources(*letter)
                .iter()
                .map(|&resource| (resource, amount)),
        );
    }
    let child = Child::new(options.rest()).ok_or_else(|| misuse(b""))?;

    // Last of all: under a small limit there is no memory left to prepare the child with.
    Err(child.exec_after(|| {
        limits
            .iter()
            .try_for_each(|&(resource, amount)| set(resource, amount))
    }))
}

fn misuse(complaint: &[u8]) -> Die {
    let usage = Die::usage(USAGE).line("softlimit");
    Die::plain(base::die::PERMANENT, [complaint, &usage].concat())
}

fn amount(value: &Bytes) -> Option<Amount> {
    if value == b"=" {
        return Some(Amount::Hard);
    }
    let (number, digits) = base::bytes::scan_number(value);
    (digits == value.len()).then_some(Amount::Exact(number))
}

fn resources(letter: u8) -> &'static [Resource] {
    match letter {
        b'a' => &[Resource::RLIMIT_AS],
        b'c' => &[Resource::RLIMIT_CORE],
        b'd' => &[Resource::RLIMIT_DATA],
        b'f' => &[Resource::RLIMIT_FSIZE],
        b'l' => &[Resource::RLIMIT_MEMLOCK],
        b'm' => &[
            Resource::RLIMIT_DATA,
            Resource::RLIMIT_STACK,
            Resource::RLIMIT_MEMLOCK,
            Resource::RLIMIT_AS,
        ],
        b'o' => &[Resource::RLIMIT_NOFILE],
        b'p' => &[Resource::RLIMIT_NPROC],
        b'r' => &[Resource::RLIMIT_RSS],
        b's' => &[Resource::RLIMIT_STACK],
        b't' => &[Resource::RLIMIT_CPU],
        _ => &[],
    }
}

fn set(resource: Resource, amount: Amount) -> Result<(), Die> {
    let failed = |call: &str, e: &std::io::Error| {
        Die::fatal(
            base::die::TEMPORARY,
            [call, " failed: ", &base::die::system_text(e)].concat(),
        )
    };
    let (_, hard) = sys::limit::read(resource).map_err(|e| failed("getrlimit", &e))?;
    let soft = match amount {
        Amount::Hard => hard,
        Amount::Exact(number) => number,
    };
    sys::limit::set_soft(resource, soft).map_err(|e| failed("setrlimit", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_or_an_equals_sign() {
        for (text, expected) in [
            ("=", Some(Amount::Hard)),
            ("0", Some(Amount::Exact(0))),
            ("", Some(Amount::Exact(0))),
            ("950000", Some(Amount::Exact(950_000))),
            ("99999999999999999999999", Some(Amount::Exact(u64::MAX))),
            ("12x", None),
            ("-5", None),
            ("==", None),
        ] {
            assert_eq!(amount(&text.as_bytes().to_vec()), expected, "{text}");
        }
    }
}
