use std::time::Duration;

use super::*;

fn again(text: &[u8]) -> Result<Bytes, Malformed> {
    let mut words = Words::new();
    let tokens = words.parse(text)?;
    Ok(words.unparse(&tokens, 80))
}

fn kinds(text: &str) -> Vec<(Kind, String)> {
    let mut words = Words::new();
    let tokens = words.parse(text.as_bytes()).unwrap();
    tokens
        .iter()
        .map(|t| (t.kind, String::from_utf8(words.text(t).to_vec()).unwrap()))
        .collect()
}

#[test]
fn cuts_words_and_marks() {
    use Kind::{At, Atom, Colon, Comma, Comment, Dot, Left, Literal, Quote, Right, Semi};
    let expect = [
        (Atom, "Joe"),
        (Quote, "a\"b"),
        (Comment, "one two) x"),
        (Left, ""),
        (Atom, "j+x"),
        (At, ""),
        (Literal, "1.2[.3"),
        (Right, ""),
        (Semi, ""),
        (Colon, ""),
        (Comma, ""),
        (Dot, ""),
        (Quote, "x)y"),
        (Quote, "z "),
    ];
    let found = kinds("Joe \"a\\\"b\"\n (one (two\\)) x)<j+x@[1.2[.3]>;:,. x)y z\\ ");
    assert_eq!(found.len(), expect.len());
    for ((kind, text), expected) in found.iter().zip(expect) {
        assert_eq!((*kind, text.as_str()), expected);
    }
}

#[test]
fn what_is_open_or_closes_nothing_is_refused() {
    for text in [
        "\"a", "(a", "[a", ")", "]", "a )", "\"a\\", "(a\\", "((a)", "[\\",
    ] {
        assert_eq!(again(text.as_bytes()), Err(Malformed::Syntax), "{text}");
    }
}

#[test]
fn writes_what_it_read() {
    let cases: [(&str, &str); 14] = [
        ("To:a@b", "To: a@b\n"),
        ("To: a . b @ c", "To: a.b@c\n"),
        ("To: Joe<a@b>(x)", "To: Joe <a@b>(x)\n"),
        ("To: a,b ,c", "To: a, b, c\n"),
        ("To: \"a\\b\" \\(", "To: \"ab\" \\(\n"),
        ("To: a)b", "To: \"a\\)b\"\n"),
        ("To: \u{e9}", "To: \"\u{e9}\"\n"),
        ("To: [a[b\\]]", "To: [a\\[b\\]]\n"),
        ("a b", "a b\n"),
        ("a;b", "a;b\n"),
        ("\\", "\"\"\n"),
        ("", "\n"),
        ("\t \r\n", "\n"),
        ("To: a,", "To: a,\n"),
    ];
    for (text, expected) in cases {
        let got = again(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), expected, "{text}");
    }
}

#[test]
fn long_lists_are_broken_after_commas() {
    let mut words = Words::new();
    let tokens = words.parse(b"To: aaaa@b, cccc@d, eeee@f, g").unwrap();
    let broken = |width| words.unparse(&tokens, width);
    assert_eq!(broken(0), b"To: aaaa@b, cccc@d, eeee@f, g\n");
    assert_eq!(broken(1), b"To: aaaa@b,\n  cccc@d,\n  eeee@f,\n  g\n");
    assert_eq!(broken(21), b"To: aaaa@b, cccc@d,\n  eeee@f, g\n");
}

#[test]
fn unquotes_addresses() {
    let mut words = Words::new();
    let tokens = words.parse(b"\"a b\"(x)@[1.2]").unwrap();
    assert_eq!(words.unquote(&tokens), b"a b@[1.2]");
}

#[test]
fn double_byte_text_is_opaque() {
    // The bytes between the escapes are quotes, brackets, commas and backslashes to a careless eye.
    for run in [
        &b"\x1b$B\",<>@()\\\x1b(B"[..],
        b"\x1b$@(,\x1b$B\"<\x1b(J",
        b"\x1b$(D))\x1b(B",
        b"\x1b(I(\x1b(B",
    ] {
        let field = [b"To: ", run, b"x <a@b>, c@d\n"].concat();
        let expected = [b"To: \"", run, b"x\" <a@b>, c@d\n"].concat();
        assert_eq!(again(&field).unwrap(), expected);
        assert_eq!(again(&expected).unwrap(), expected);
        let comment = [b"To: a@b (", run, b")\n"].concat();
        assert_eq!(again(&comment).unwrap(), comment);
    }
}

#[test]
fn an_escape_that_begins_no_whole_run_is_an_ordinary_byte() {
    for text in [
        &b"To: \x1b$Bab <a@b>\n"[..],
        b"To: \x1b$Bab <a@b> (\x1b)\n",
        b"To: \x1b <a@b>\n",
        b"To: \x1b$ <a@b>\n",
        b"To: \x1b$B\n\x1b$@ <a@b>\n",
    ] {
        let mut words = Words::new();
        let tokens = words.parse(text).unwrap();
        assert!(tokens.iter().any(|t| t.kind == Kind::Left), "{text:?}");
    }
    // Half a character, a line end inside, a return without a beginning: the parenthesis is open.
    for text in [
        &b"\x1b$Babc\x1b(B <a@b>"[..],
        b"\x1b$Bab\n\x1b(B",
        b"\x1b(B",
    ] {
        assert_eq!(again(text), Err(Malformed::Syntax), "{text:?}");
    }
    assert_eq!(again(b"\x1b$B,"), Ok(b"\"\x1b$B\",\n".to_vec()));
}

/// A small generator of numbers: the same ones each time.
fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    }
}

#[test]
fn any_bytes_are_read_without_harm_and_read_again_the_same() {
    let mut number = numbers(0x5eed_cafe_1234_5678);
    let pieces: [&[u8]; 24] = [
        b"a", b"b+", b".", b"@", b",", b"<", b">", b":", b";", b"(", b")", b"[", b"]", b"\"",
        b"\\", b" ", b"\n", b"\t", b"\r", b"\xff", b"\0", b"\x1b$B", b"\x1b(B", b"\x1b",
    ];
    let mut read = 0;
    for _ in 0..30_000 {
        let text: Bytes = (0..number(20))
            .flat_map(|_| pieces[number(pieces.len())].to_vec())
            .collect();
        let mut words = Words::new();
        let Ok(tokens) = words.parse(&text) else {
            continue;
        };
        read += 1;
        let once = words.unparse(&tokens, 10);
        let mut second = Words::new();
        let tokens_again = second
            .parse(&once)
            .unwrap_or_else(|e| panic!("{text:?} became {once:?}: {e:?}"));
        assert_eq!(second.unparse(&tokens_again, 10), once, "{text:?}");
        assert_eq!(
            words.unquote(&tokens),
            second.unquote(&tokens_again),
            "{text:?}"
        );
    }
    assert!(read > 5_000, "only {read}");
}

/// The time that this thread has had on a processor: what else the machine does is not in it. Where the kernel does not
/// tell, the time of day.
fn own_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match text.split(' ').next().and_then(|n| n.parse().ok()) {
        Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        None => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap(),
    }
}

#[test]
fn time_grows_with_the_length() {
    let families: [&[u8]; 12] = [
        b"a@b,",
        b",",
        b"(",
        b"\\a",
        b"\"a\" ",
        b"\x1b$B",
        b"\x1b$Bab",
        b"\x1b",
        b"a ",
        b"(a)",
        b"[a]",
        b"\x1b$B\x1b(B",
    ];
    for family in families {
        let time = |count: usize, times: usize| {
            let text = family.repeat(count / family.len());
            let begin = own_time();
            for _ in 0..times {
                let _ = again(&text);
            }
            own_time().saturating_sub(begin).as_secs_f64()
        };
        let small = time(10_000, 32);
        let large = time(320_000, 1);
        // As much text; a quadratic reader would need 32 times the time.
        assert!(large < 0.05 + small * 6.0, "{family:?}: {small} {large}");
    }
}

#[test]
fn the_number_of_tokens_has_a_limit() {
    let mut words = Words::new();
    assert_eq!(
        words.parse(&b",".repeat(TOKEN_LIMIT + 1)),
        Err(Malformed::TooLong)
    );
}

#[test]
fn forgotten_text_makes_room() {
    let mut words = Words::new();
    let kept = words.word(Kind::Atom, b"kept").unwrap();
    let mark = words.mark();
    words.parse(b"gone gone").unwrap();
    words.forget(mark);
    assert_eq!(words.mark(), 4);
    assert_eq!(words.text(&kept), b"kept");
    assert_eq!(words.text(&kept.shortened()), b"kep");
}
