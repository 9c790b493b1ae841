use super::*;

const TO: Form = Form {
    keyword: "TO",
    spaces: true,
};

fn address(text: &str) -> Result<String, Fault> {
    let argument = format!("TO:{text}");
    parse(argument.as_bytes(), TO).map(|path| match path.mailbox {
        Some(mailbox) => String::from_utf8(mailbox.bytes()).unwrap(),
        None => String::new(),
    })
}

#[test]
fn good_addresses_lose_their_quotes_and_routes() {
    for (text, expected) in [
        ("<>", ""),
        ("<v@host.test>", "v@host.test"),
        ("<v@host.test.>", "v@host.test"),
        ("<v>", "v"),
        ("<Postmaster>", "Postmaster"),
        ("<a..b.@host.test>", "a..b.@host.test"),
        ("<.a@host.test>", ".a@host.test"),
        ("<v%x@host.test>", "v%x@host.test"),
        ("<x!v@host.test>", "x!v@host.test"),
        ("<v=x+y@h_o-1.test>", "v=x+y@h_o-1.test"),
        ("<\"a b\"@host.test>", "a b@host.test"),
        ("<\"a\".b@host.test>", "a.b@host.test"),
        ("<a.\"b\\\"c\"@host.test>", "a.b\"c@host.test"),
        ("<\"v@out.test\"@host.test>", "v@out.test@host.test"),
        ("<\"v@out.test\">", "v@out.test"),
        ("<v\\@out.test@host.test>", "v@out.test@host.test"),
        ("<\">\"@host.test>", ">@host.test"),
        ("<@a.test:v@b.test>", "v@b.test"),
        ("<@a.test,@[IPv6:::1]:v@b.test>", "v@b.test"),
        ("<v@[192.0.2.1]>", "v@[192.0.2.1]"),
        ("<v@[IPv6:::1]>", "v@[IPv6:::1]"),
        ("<v@127.0.0.1>", "v@127.0.0.1"),
        ("   <v@host.test>", "v@host.test"),
    ] {
        assert_eq!(address(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "",
        "v@host.test",
        "<v@host.test",
        "v@host.test>",
        "<v@host.test>,<v@out.test>",
        "<v@host.test>x",
        "<<v@host.test>>",
        "<v@out.test@host.test>",
        "<v@>",
        "<@host.test>",
        "<@host.test:>",
        "<@:v@host.test>",
        "<@a.test;v@host.test>",
        "<\"\"@host.test>",
        "<v @host.test>",
        "<\"v\" @host.test>",
        "<\"v\"x@host.test>",
        "<x\"v\"@host.test>",
        "<\"v@host.test>",
        "<v\\>",
        "<v@host.test%out.test>",
        "<v@host..test>",
        "<v@.host.test>",
        "<v@.>",
        "<v@host .test>",
        "<v@host.test >",
        "< v@host.test>",
        "<v@[]>",
        "<v@[1.2.3.4>",
        "<v@[1.2.3.4]x>",
        "<v,w@host.test>",
        "<v;w@host.test>",
        "<v:w@host.test>",
        "<v(c)@host.test>",
        "<v\t@host.test>",
        "<\"v\x07\"@host.test>",
        "<v\\\x01@host.test>",
        "<v\x7f@host.test>",
        "\t<v@host.test>",
    ] {
        assert_eq!(address(text), Err(Fault::Syntax), "{text}");
    }
    assert_eq!(address("<v\u{e9}@host.test>"), Err(Fault::NonAscii));
    assert_eq!(address("<v@h\u{f6}st.test>"), Err(Fault::NonAscii));
    let long = format!("<v@{}>", "a".repeat(256));
    assert_eq!(address(&long), Err(Fault::Syntax));
}

#[test]
fn the_keyword_is_needed_and_spaces_are_a_choice() {
    for argument in [
        "<v@host.test>",
        "T:<v@h>",
        "FROM:<v@h>",
        "TO <v@h>",
        "TO :<v@h>",
        "",
    ] {
        assert_eq!(parse(argument.as_bytes(), TO), Err(Fault::Syntax));
    }
    assert!(parse(b"to:<v@h>", TO).is_ok());
    let strict = Form {
        spaces: false,
        ..TO
    };
    assert_eq!(parse(b"TO: <v@h>", strict), Err(Fault::Syntax));
    assert!(parse(b"TO:<v@h>", strict).is_ok());
}

#[test]
fn parameters_stand_behind_a_space() {
    let path = parse(b"TO:<v@h> A=1 B=2", TO).unwrap();
    assert_eq!(path.parameters, b" A=1 B=2");
}

/// Whatever comes in, an address that comes out can stand in the envelope: printable, and cut at its last `@`
/// it gives back its parts.
#[test]
fn any_bytes_give_a_sound_address_or_none() {
    let alphabet = b"aab.@@\"\\:,[] <>\0\x80\r";
    let mut state = 1u64;
    let mut sound = 0;
    for _ in 0..200_000 {
        let mut argument = b"TO:<".to_vec();
        for _ in 0..=(state >> 40) % 8 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            argument.push(alphabet[(state >> 33) as usize % alphabet.len()]);
        }
        argument.push(b'>');
        let Ok(Path {
            mailbox: Some(mailbox),
            ..
        }) = parse(&argument, TO)
        else {
            continue;
        };
        sound += 1;
        let bytes = mailbox.bytes();
        assert!(bytes.iter().all(|b| (32..127).contains(b)), "{argument:?}");
        assert!(!mailbox.local.is_empty());
        if let Some(domain) = &mailbox.domain {
            assert!(!domain.is_empty() && !domain.contains(&b'@') || domain.starts_with(b"["));
            assert!(!domain.contains(&b' '));
        }
    }
    assert!(sound > 1000, "{sound}");
}
