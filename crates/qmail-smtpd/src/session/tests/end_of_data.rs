//! Where a message ends: every short sequence of the bytes that matter, against an oracle that looks at the whole.

use super::*;

const SYMBOLS: [u8; 4] = [b'\r', b'\n', b'.', 0];

const SECOND: &[u8] =
    b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n";

/// What must be stored of all that follows the first DATA line, and whether the session lives to its QUIT.
fn oracle(after_data: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let text = [b"\r\n", after_data].concat();
    let end = text.windows(5).position(|w| w == b"\r\n.\r\n").unwrap();
    let body = &text[..end + 2];
    if !is_clean(body) {
        return (Vec::new(), false);
    }
    let lines = String::from_utf8(body.to_vec()).unwrap();
    let stored = lines
        .split_inclusive("\r\n")
        .skip(1)
        .map(|l| l.strip_prefix('.').unwrap_or(l).replace("\r\n", "\n"))
        .collect::<String>();
    let first = stored.into_bytes();
    // The rest are commands, perhaps with litter in front: the second unclean line ends the session, and the second
    // message is real if nothing stands in front of MAIL on its line.
    let rest = &text[end + 5..];
    let unclean = rest
        .split_inclusive(|&b| b == b'\n')
        .filter(|line| !is_clean(line))
        .count();
    if unclean > 1 {
        return (vec![first], false);
    }
    match rest.strip_suffix(SECOND) {
        Some(litter) if litter.last().is_none_or(|&b| b == b'\n') => {
            (vec![first, b"second\n".to_vec()], true)
        }
        // Spoiled, or text of the first message.
        _ => (vec![first], true),
    }
}

/// Whether every CR has its LF, every LF its CR, and there is no NUL.
fn is_clean(text: &[u8]) -> bool {
    (0..text.len()).all(|i| match text[i] {
        b'\n' => i > 0 && text[i - 1] == b'\r',
        b'\r' => text.get(i + 1) == Some(&b'\n'),
        byte => byte != 0,
    })
}

#[test]
fn only_crlf_dot_crlf_ends_a_message() {
    let mut random = Random(1);
    let mut messages = [0usize; 3];
    for before in [&b"line"[..], b"", b"line\r\n"] {
        let mut tails: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..6 {
            tails = tails
                .iter()
                .flat_map(|t| SYMBOLS.map(|s| [t.as_slice(), &[s]].concat()))
                .collect();
            for tail in &tails {
                let after_data = [before, tail, SECOND].concat();
                let (expected, lives) = oracle(&after_data);
                let wire = [ENVELOPE.as_bytes(), &after_data].concat();
                let whole = run(&wire);
                let pieces = run_acts(segments(&wire, &mut random));
                for left in [whole, pieces] {
                    let stored: Vec<_> = left.stored.iter().map(|m| m.text.clone()).collect();
                    assert_eq!(stored, expected, "{before:?} {tail:?}");
                    assert_eq!(left.end == End::Quit, lives, "{before:?} {tail:?}");
                }
                messages[expected.len()] += 1;
            }
        }
    }
    assert_eq!(messages.iter().sum::<usize>(), 3 * 5460);
    assert!(messages.iter().all(|&n| n > 0), "{messages:?}");
}

#[test]
fn dots_at_every_edge_of_a_block_come_through() {
    for dots in 1..=5usize {
        for edge in [1024usize, 16 * 1024, 32 * 1024] {
            for shift in 0..9 {
                let filler = "x".repeat(edge + shift - ENVELOPE.len() - 8);
                let line = ".".repeat(dots) + "end";
                let left = run(message(&format!("\r\n{filler}\r\n.{line}\r\n.{line}")));
                let text = format!("\n{filler}\n{line}\n{line}\n");
                assert_eq!(
                    left.stored[0].text,
                    text.as_bytes(),
                    "{dots} {edge} {shift}"
                );
            }
        }
    }
}

#[test]
fn all_bytes_but_three_come_through() {
    for byte in 1..=255u8 {
        if matches!(byte, b'\r' | b'\n') {
            continue;
        }
        let wire = [ENVELOPE.as_bytes(), b"\r\na", &[byte], b"b\r\n.\r\n"].concat();
        assert_eq!(run(wire).stored[0].text, [b'\n', b'a', byte, b'b', b'\n']);
    }
    let says = |text: &str| {
        let left = run(message(text));
        assert!(left.stored.is_empty());
        assert!(matches!(left.end, End::Closed(_)));
        left.told.lines().last().unwrap().to_owned()
    };
    assert_eq!(
        says("\r\na\nb"),
        "451 4.6.0 See https://cr.yp.to/docs/smtplf.html."
    );
    assert_eq!(
        says("\r\na\rb"),
        "554 5.6.0 sorry, that message has a CR without LF (#5.6.0)"
    );
    assert_eq!(
        says("\r\na\0b"),
        "554 5.6.0 sorry, that message has a NUL in it (#5.6.0)"
    );
}
