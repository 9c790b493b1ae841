//! Making addresses whole: what a user leaves out, the control files fill in.
//!
//! Source  qmail-header(5)

use base::{Bytes, Die};
use mail::token::{Kind, Malformed, Token, Words};

use super::header::line_error;
use super::read_error;

/// What stands for a missing host, a missing domain and an ending plus sign.
#[derive(Debug)]
pub(super) struct Completion {
    host: Vec<Token>,
    domain: Vec<Token>,
    plus: Vec<Token>,
}

impl Completion {
    /// Reads the control files and the variables in front of them. The texts live in `words`.
    pub(super) fn read(words: &mut Words) -> Result<Completion, Die> {
        let domain = part(words, b".", "defaultdomain", "QMAILDEFAULTDOMAIN")?;
        let host = part(words, b"@", "defaulthost", "QMAILDEFAULTHOST")?;
        let plus = part(words, b".", "plusdomain", "QMAILPLUSDOMAIN")?;
        Ok(Completion { host, domain, plus })
    }

    /// Makes one address whole. A route in front goes; so do a dot or an at sign at the end. Two addresses stay:
    /// the empty one, and one with the empty literal host, which VERP uses.
    pub(super) fn complete(&self, words: &Words, address: &mut Vec<Token>) {
        if let [.., at, host] = address.as_slice()
            && at.kind == Kind::At
            && host.kind == Kind::Literal
            && words.text(host).is_empty()
        {
            return;
        }
        drop_route(address);
        drop_last(address, Kind::Dot);
        drop_last(address, Kind::At);
        if address.is_empty() {
            return;
        }
        if !address.iter().any(|token| token.kind == Kind::At) {
            address.extend_from_slice(&self.host);
        }
        if let Some(last) = address.last_mut()
            && last.kind == Kind::Atom
            && words.text(last).ends_with(b"+")
        {
            *last = last.shortened();
            address.extend_from_slice(&self.plus);
        }
        if !has_domain(address) {
            address.extend_from_slice(&self.domain);
        }
    }
}

/// Whether the part after the last at sign has a dot or is a literal.
fn has_domain(address: &[Token]) -> bool {
    address
        .iter()
        .rev()
        .take_while(|token| token.kind != Kind::At)
        .any(|token| matches!(token.kind, Kind::Dot | Kind::Literal))
}

/// `@a,@b:c@d` becomes `c@d`.
fn drop_route(address: &mut Vec<Token>) {
    if address.first().is_some_and(|token| token.kind == Kind::At) {
        let colon = address.iter().position(|token| token.kind == Kind::Colon);
        address.drain(..colon.map_or(address.len(), |at| at + 1));
    }
}

fn drop_last(address: &mut Vec<Token>, kind: Kind) {
    if address.last().is_some_and(|token| token.kind == kind) {
        address.pop();
    }
}

fn part(words: &mut Words, mark: &[u8], file: &str, variable: &str) -> Result<Vec<Token>, Die> {
    let text = [mark, &setting(file, variable)?].concat();
    words
        .parse(&text)
        .map_err(|malformed: Malformed| line_error(malformed, &text))
}

/// A variable, else the control file, else `me`, else the name of the file. The file must be readable in any case.
pub(super) fn setting(file: &str, variable: &str) -> Result<Bytes, Die> {
    let line = control::line_or_me(file).map_err(|_| read_error())?;
    Ok(base::env(variable).unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(address: &str) -> String {
        let mut words = Words::new();
        let completion = Completion {
            host: words.parse(b"@dh.test").unwrap(),
            domain: words.parse(b".dd.test").unwrap(),
            plus: words.parse(b".pd.test").unwrap(),
        };
        let mut tokens = words.parse(address.as_bytes()).unwrap();
        completion.complete(&words, &mut tokens);
        String::from_utf8(words.unquote(&tokens)).unwrap()
    }

    #[test]
    fn addresses_are_made_whole() {
        let cases = [
            ("joe", "joe@dh.test"),
            ("joe@h", "joe@h.dd.test"),
            ("joe@h.", "joe@h.dd.test"),
            ("joe@h+", "joe@h.pd.test"),
            ("joe@h.t+", "joe@h.t.pd.test"),
            ("joe@h.test", "joe@h.test"),
            ("joe@\"h+\"", "joe@h+.dd.test"),
            ("joe+", "joe+@dh.test"),
            ("joe@[1.2.3.4]", "joe@[1.2.3.4]"),
            ("a.b", "a.b@dh.test"),
            ("a.b@c", "a.b@c.dd.test"),
            ("a@b@c", "a@b@c.dd.test"),
            ("joe@[]", "joe@[]"),
            ("@[]", "@[]"),
            ("@a,@b:c@d.t", "c@d.t"),
            ("@a:", ""),
            ("@a", ""),
            ("joe@", "joe@dh.test"),
            ("joe@.", "joe@dh.test"),
            ("joe.", "joe@dh.test"),
            (".", ""),
            ("@", ""),
            ("", ""),
            ("(comment)", "@dh.test"),
            ("+", "+@dh.test"),
            ("a@+", "a@.pd.test"),
        ];
        for (given, expected) in cases {
            assert_eq!(complete(given), expected, "{given}");
        }
    }
}
