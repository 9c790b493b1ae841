//! Lists of addresses in header fields (djb's `token822_addrlist`).
//!
//! Source  RFC 822 6.1; qmail-header(5)

use crate::token::{Kind, Malformed, Token};

/// Tokens of the name of a field and its colon.
const NAME: usize = 2;

/// Finds the addresses of a field and lets `change` rewrite each.
///
/// Shape   `tokens` begin with the name of the field and a colon. The result is the whole field with the rewritten
///         addresses, with commas where they were missing. `change` gets the tokens of one address, comments among
///         them; an empty one stands for `<>`.
/// Order   such lists are easy to read from right to left, so the last address comes first.
///
/// # Errors
/// What `change` says. `Syntax`: a group without its name, a group in a group, or an angle bracket that was never opened; `change` has
/// seen the addresses to the right of it then.
pub fn rewrite<E: From<Malformed>>(
    tokens: &[Token],
    change: impl FnMut(&mut Vec<Token>) -> Result<(), E>,
) -> Result<Vec<Token>, E> {
    let (name, list) = tokens.split_at(NAME.min(tokens.len()));
    let mut walk = Walk {
        left: list,
        out: Vec::with_capacity(tokens.len()),
        address: Vec::new(),
        change,
    };
    walk.list()?;
    walk.out.extend(name.iter().rev());
    walk.out.reverse();
    Ok(walk.out)
}

/// A walk over a list from right to left. `out` and `address` are in that order too.
struct Walk<'a, F> {
    left: &'a [Token],
    out: Vec<Token>,
    address: Vec<Token>,
    change: F,
}

impl<E, F> Walk<'_, F>
where
    E: From<Malformed>,
    F: FnMut(&mut Vec<Token>) -> Result<(), E>,
{
    fn list(&mut self) -> Result<(), E> {
        let mut in_group = false;
        let mut word_may_follow = true;
        while let Some(kind) = self.next_kind() {
            match kind {
                Kind::Semi => {
                    self.end_address_with_comma()?;
                    if in_group {
                        return Err(Malformed::Syntax.into());
                    }
                    in_group = true;
                    word_may_follow = true;
                    self.keep();
                }
                Kind::Colon => {
                    self.end_address()?;
                    if !in_group {
                        return Err(Malformed::Syntax.into());
                    }
                    in_group = false;
                    self.keep_while(|kind| kind != Kind::Comma);
                    self.keep();
                    word_may_follow = true;
                }
                Kind::Right => {
                    self.angle()?;
                    word_may_follow = false;
                }
                Kind::Atom | Kind::Quote | Kind::Literal => {
                    if !word_may_follow {
                        self.end_address_with_comma()?;
                    }
                    word_may_follow = false;
                    self.take();
                }
                // A comment is only a blank: it changes nothing for the word before it.
                Kind::Comment => self.keep(),
                Kind::Comma => {
                    self.end_address()?;
                    word_may_follow = true;
                    self.keep();
                }
                Kind::Left | Kind::At | Kind::Dot => {
                    word_may_follow = true;
                    self.take();
                }
            }
        }
        self.end_address()
    }

    /// An address in angle brackets, with the phrase in front of it. `<>` is an address too.
    fn angle(&mut self) -> Result<(), E> {
        self.end_address_with_comma()?;
        self.keep();
        while self.next_kind().is_some_and(|kind| kind != Kind::Left) {
            self.take();
        }
        self.finish_address()?;
        if self.left.is_empty() {
            return Err(Malformed::Syntax.into());
        }
        self.keep();
        self.keep_while(|kind| {
            matches!(
                kind,
                Kind::Comment | Kind::Atom | Kind::Quote | Kind::At | Kind::Dot
            )
        });
        Ok(())
    }

    fn next_kind(&self) -> Option<Kind> {
        self.left.last().map(|token| token.kind)
    }

    fn pop(&mut self) -> Option<Token> {
        let (last, rest) = self.left.split_last()?;
        self.left = rest;
        Some(*last)
    }

    /// The next token goes to the result as it is.
    fn keep(&mut self) {
        let token = self.pop();
        self.out.extend(token);
    }

    fn keep_while(&mut self, wanted: impl Fn(Kind) -> bool) {
        while self.next_kind().is_some_and(&wanted) {
            self.keep();
        }
    }

    /// The next token is part of the address.
    fn take(&mut self) {
        let token = self.pop();
        self.address.extend(token);
    }

    fn finish_address(&mut self) -> Result<(), E> {
        self.address.reverse();
        (self.change)(&mut self.address)?;
        self.out.extend(self.address.drain(..).rev());
        Ok(())
    }

    fn end_address(&mut self) -> Result<(), E> {
        if self.address.is_empty() {
            return Ok(());
        }
        self.finish_address()
    }

    fn end_address_with_comma(&mut self) -> Result<(), E> {
        if self.address.is_empty() {
            return Ok(());
        }
        self.finish_address()?;
        self.out.push(Token::mark(Kind::Comma));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Words;

    /// The rewritten field and the addresses in the order they were found.
    fn read(field: &str) -> Result<(String, Vec<String>), Malformed> {
        let mut words = Words::new();
        let tokens = words.parse(field.as_bytes())?;
        let mut found = Vec::new();
        let out = rewrite::<Malformed>(&tokens, |address| {
            found.push(String::from_utf8(words.unquote(address)).unwrap());
            Ok(())
        })?;
        let text = String::from_utf8(words.unparse(&out, 80)).unwrap();
        Ok((text.trim_end().to_owned(), found))
    }

    #[test]
    fn lists_are_found_from_right_to_left() {
        let cases: [(&str, &str, &[&str]); 12] = [
            ("To: a@b, c@d", "To: a@b, c@d", &["c@d", "a@b"]),
            ("To:a@b c@d", "To: a@b, c@d", &["c@d", "a@b"]),
            (
                "To: Joe Doe <j@d>, (x) y (z)",
                "To: Joe Doe <j@d>, y (x) (z)",
                &["y", "j@d"],
            ),
            (
                "To: f: a@a, b@b;, c@c",
                "To: f: a@a, b@b;, c@c",
                &["c@c", "b@b", "a@a"],
            ),
            ("To: nobody: ;", "To: nobody: ;", &[]),
            ("To: <>", "To: <>", &[""]),
            ("To: <@a,@b:c@d>", "To: <@a, @b: c@d>", &["@a,@b:c@d"]),
            ("To: a@b,,c@d,", "To: a@b, , c@d,", &["c@d", "a@b"]),
            ("To: a . b @ c", "To: a.b@c", &["a.b@c"]),
            ("To: <a@b", "To: <a@b", &["<a@b"]),
            ("To: \"a b\"@c", "To: \"a b\"@c", &["a b@c"]),
            ("To: a@[1.2]", "To: a@[1.2]", &["a@[1.2]"]),
        ];
        for (field, text, addresses) in cases {
            let (got, found) = read(field).unwrap();
            assert_eq!(got, text, "{field}");
            assert_eq!(found, addresses, "{field}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for field in ["To: a: b@c", "To: f: g: a;;", "To: a@b>", "To: a;b;"] {
            assert_eq!(read(field), Err(Malformed::Syntax), "{field}");
        }
    }

    #[test]
    fn a_field_without_a_list_stays() {
        assert_eq!(read("To:").unwrap(), ("To:".to_owned(), vec![]));
        assert_eq!(read("To").unwrap(), ("To".to_owned(), vec![]));
        assert_eq!(read("").unwrap(), (String::new(), vec![]));
    }
    #[test]
    fn any_list_is_read_without_harm_and_no_word_is_lost() {
        let pieces = [
            "a", "b", "\"q\"", "[l]", "(c)", "<", ">", "@", ",", ";", ":", ".", "g:", "<x@y>",
        ];
        let mut seed = 0x1234_5678_9abc_def1u64;
        let mut number = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).unwrap()
        };
        // Comments may move to the end of their address, and commas come in.
        let words = |text: &str| {
            let mut bytes = text.replace([' ', ',', '\n'], "").into_bytes();
            bytes.sort_unstable();
            bytes
        };
        let mut read_well = 0;
        for _ in 0..20_000 {
            let list: Vec<&str> = (0..number(12)).map(|_| pieces[number(14)]).collect();
            let field = format!("To: {}", list.join(" "));
            let Ok((once, addresses)) = read(&field) else {
                continue;
            };
            read_well += 1;
            assert_eq!(words(&once), words(&field), "{field}");
            let (twice, again) = read(&once).unwrap_or_else(|e| panic!("{field}: {once}: {e:?}"));
            assert_eq!((&twice, &again), (&once, &addresses), "{field}");
        }
        assert!(read_well > 3_000, "only {read_well}");
    }
}
