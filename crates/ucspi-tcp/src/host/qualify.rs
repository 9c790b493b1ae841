//! Completing host names: `mx` becomes `mx.example.com`.
//!
//! Rules rewrite the name one after the other: a letter, the suffix that a name must have, a colon, and what stands in
//! its place. `=`: the whole name; `*`: any name with the suffix; `?`: one without dot, colon and brackets before the
//! suffix; `-`: as `*`, but the whole name is replaced. Pluses in the result then separate alternatives:
//! `mx+.a.test+.b.test` is `mx.a.test`, then `mx.b.test`.
//!
//! Source  "How to use DNSREWRITEFILE" in djbdns: dns_qualify

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use base::Bytes;
use base::bytes::split_once;

/// The most bytes of a file that are read.
const FILE_LIMIT: u64 = 64 * 1024;

/// The rules of this machine: the lines of DNSREWRITEFILE or /etc/dnsrewrite; else made from LOCALDOMAIN, from `search`
/// or `domain` in /etc/resolv.conf, or from the domain of the machine's own name.
///
/// # Errors
/// A file is there but cannot be read.
pub(super) fn rules() -> io::Result<Vec<Bytes>> {
    let file = base::env("DNSREWRITEFILE").unwrap_or_else(|| b"/etc/dnsrewrite".to_vec());
    if let Some(text) = read(&file)? {
        return Ok(text
            .split(|&b| b == b'\n')
            .map(|line| line.trim_ascii_end().to_vec())
            .collect());
    }
    if let Some(domains) = base::env("LOCALDOMAIN") {
        return Ok(of_domains(&domains));
    }
    let text = read(b"/etc/resolv.conf")?.unwrap_or_default();
    Ok(searched(&text).unwrap_or_else(|| of_hostname(&sys::process::hostname())))
}

fn read(path: &[u8]) -> io::Result<Option<Bytes>> {
    let mut text = Bytes::new();
    match File::open(sys::dir::path(path)) {
        Ok(file) => {
            file.take(FILE_LIMIT).read_to_end(&mut text)?;
            Ok(Some(text))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Every rule list ends so: a last dot says that the name is whole, and goes.
fn finished(first: Option<Bytes>) -> Vec<Bytes> {
    first.into_iter().chain([b"*.:".to_vec()]).collect()
}

/// Rules that try each of these domains, which blanks separate.
fn of_domains(domains: &[u8]) -> Vec<Bytes> {
    let mut rule = b"?:".to_vec();
    for domain in domains
        .split(u8::is_ascii_whitespace)
        .filter(|d| !d.is_empty())
    {
        rule.extend_from_slice(b"+.");
        rule.extend_from_slice(domain);
    }
    finished(Some(rule))
}

/// Rules from the first `search` or `domain` line of a resolv.conf.
fn searched(text: &[u8]) -> Option<Vec<Bytes>> {
    text.split(|&b| b == b'\n')
        .find_map(|line| {
            let rest = line
                .strip_prefix(b"search")
                .or_else(|| line.strip_prefix(b"domain"))?;
            matches!(rest.first(), Some(b' ' | b'\t')).then_some(rest)
        })
        .map(of_domains)
}

fn of_hostname(host: &[u8]) -> Vec<Bytes> {
    let domain = split_once(host, b'.').map(|(_, domain)| [b"?:.", domain].concat());
    finished(domain)
}

/// The names to try for `host`, in order.
pub(super) fn names(host: &[u8], rules: &[Bytes]) -> Vec<Bytes> {
    let whole = rules
        .iter()
        .fold(host.to_vec(), |name, rule| rewritten(name, rule));
    match split_once(&whole, b'+') {
        None => vec![whole],
        Some((base, rest)) => rest
            .split(|&b| b == b'+')
            .map(|end| [base, end].concat())
            .collect(),
    }
}

fn rewritten(name: Bytes, rule: &[u8]) -> Bytes {
    let Some((kind, rule)) = rule.split_first() else {
        return name;
    };
    let Some((suffix, new)) = split_once(rule, b':') else {
        return name;
    };
    let Some((before, end)) = name
        .len()
        .checked_sub(suffix.len())
        .and_then(|at| name.split_at_checked(at))
    else {
        return name;
    };
    let single = || {
        !before
            .iter()
            .any(|b| matches!(b, b'.' | b':' | b'[' | b']'))
    };
    let fits = end.eq_ignore_ascii_case(suffix)
        && match kind {
            b'=' => before.is_empty(),
            b'*' | b'-' => true,
            b'?' => single(),
            _ => false,
        };
    match kind {
        _ if !fits => name,
        b'-' => new.to_vec(),
        _ => [before, new].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(host: &str, rules: &[&str]) -> Vec<String> {
        let rules: Vec<Bytes> = rules.iter().map(|r| Bytes::from(*r)).collect();
        text(names(host.as_bytes(), &rules))
    }

    fn text(list: Vec<Bytes>) -> Vec<String> {
        list.into_iter()
            .map(|n| String::from_utf8(n).unwrap())
            .collect()
    }

    #[test]
    fn short_names_get_each_domain() {
        let rules = ["?:+.a.test+.b.test", "*.:"];
        assert_eq!(tried("mx", &rules), ["mx.a.test", "mx.b.test"]);
        assert_eq!(tried("mx.c.test", &rules), ["mx.c.test"]);
        assert_eq!(tried("mx.", &rules), ["mx"]);
        assert_eq!(tried("::2", &rules), ["::2"]);
        assert_eq!(tried("", &rules), [".a.test", ".b.test"]);
    }

    #[test]
    fn each_letter_has_its_meaning() {
        assert_eq!(tried("me", &["=ME:127.0.0.1"]), ["127.0.0.1"]);
        assert_eq!(tried("not-me", &["=me:127.0.0.1"]), ["not-me"]);
        assert_eq!(tried("x.a", &["*.a:.af.mil"]), ["x.af.mil"]);
        assert_eq!(tried("x.a", &["?.a:.af.mil"]), ["x.af.mil"]);
        assert_eq!(tried("y.x.a", &["?.a:.af.mil"]), ["y.x.a"]);
        assert_eq!(tried("x.internal", &["-.internal:"]), [""]);
        assert_eq!(tried("x", &["", "#", "=x", "zx:y"]), ["x"]);
    }

    #[test]
    fn rules_come_from_the_resolver_configuration() {
        let found = searched(b"nameserver 127.0.0.1\nsearch  a.test\tb.test \n").unwrap();
        assert_eq!(text(found), ["?:+.a.test+.b.test", "*.:"]);
        assert_eq!(searched(b"searching a.test\n"), None);
        assert_eq!(text(of_hostname(b"me.a.test")), ["?:.a.test", "*.:"]);
        assert_eq!(text(of_hostname(b"me")), ["*.:"]);
    }
}
