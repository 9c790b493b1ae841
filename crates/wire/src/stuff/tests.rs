//! Every short message and many long ones through the writer, then through two receivers that were written apart from
//! it: one strict, one that takes every line end that was ever seen in the field.

use super::*;

fn send(message: &[u8], cuts: &[usize]) -> Option<Bytes> {
    let mut stuff = Stuff::default();
    let mut out = Bytes::new();
    let mut from = 0;
    for &cut in cuts.iter().chain([&message.len()]) {
        stuff.feed(&message[from..cut], &mut out);
        from = cut;
    }
    stuff.finish(&mut out).ok()?;
    Some(out)
}

/// The lines of the message, as the strict reading of SMTP has them; `None` unless the stream is one whole message.
fn strict(stream: &[u8]) -> Option<Vec<Bytes>> {
    let mut lines = Vec::new();
    let mut line = Bytes::new();
    let mut at = 0;
    while at < stream.len() {
        match stream[at] {
            b'\r' if stream.get(at + 1) == Some(&b'\n') => {
                at += 2;
                if line == b"." {
                    return (at == stream.len()).then_some(lines);
                }
                if line.first() == Some(&b'.') {
                    line.remove(0);
                }
                lines.push(std::mem::take(&mut line));
            }
            b'\r' | b'\n' => return None,
            byte => {
                line.push(byte);
                at += 1;
            }
        }
    }
    None
}

/// Where a careless receiver sees the end of the message: CR, LF, CR LF, CR CR LF and NUL all end a line for it, and it
/// drops NUL beside a dot.
fn lenient_end(stream: &[u8]) -> Option<usize> {
    let is_end = |b: u8| matches!(b, b'\r' | b'\n');
    let mut line = Bytes::new();
    let mut at = 0;
    while at < stream.len() {
        let byte = stream[at];
        at += 1;
        if !is_end(byte) {
            if byte != 0 {
                line.push(byte);
            }
            continue;
        }
        if line == b"." {
            while stream.get(at).copied().is_some_and(is_end) {
                at += 1;
            }
            return Some(at);
        }
        line.clear();
    }
    None
}

/// What the receiver must see: the queue file by its LFs, a CR before LF gone, other CRs spaces, and a dot more behind NULs that
/// begin a line.
fn wanted(message: &[u8]) -> Vec<Bytes> {
    let mut lines: Vec<Bytes> = message
        .split(|&b| b == b'\n')
        .map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let mut line: Bytes = line
                .iter()
                .map(|&b| if b == b'\r' { b' ' } else { b })
                .collect();
            let nuls = line.iter().take_while(|&&b| b == 0).count();
            if nuls > 0 && line.get(nuls) == Some(&b'.') {
                line.insert(nuls, b'.');
            }
            line
        })
        .collect();
    assert_eq!(lines.pop(), Some(Bytes::new()));
    lines
}

fn check(message: &[u8], cuts: &[usize]) {
    let shown = || format!("{} cut at {cuts:?}", message.escape_ascii());
    let mut survey = Survey::default();
    let mut from = 0;
    for &cut in cuts.iter().chain([&message.len()]) {
        survey.feed(&message[from..cut]);
        from = cut;
    }
    let whole = message.is_empty() || message.ends_with(b"\n");
    assert_eq!(survey.is_partial(), !whole, "{}", shown());
    assert_eq!(survey.is_eight_bit(), message.iter().any(|&b| b > 127));
    let Some(stream) = send(message, cuts) else {
        assert!(!whole, "{}", shown());
        return;
    };
    assert!(whole, "{}", shown());
    let lines = strict(&stream).unwrap_or_else(|| panic!("not one message: {}", shown()));
    assert_eq!(lines, wanted(message), "{}", shown());
    assert_eq!(lenient_end(&stream), Some(stream.len()), "{}", shown());
    let size: usize = message
        .split_inclusive(|&b| b == b'\n')
        .map(|l| l.len() + usize::from(!l.ends_with(b"\r\n")))
        .sum();
    assert_eq!(survey.size(), size as u64, "{}", shown());
}

/// All byte sequences of a length over an alphabet.
fn each(alphabet: &[u8], length: u32, mut body: impl FnMut(&[u8])) {
    for number in 0..alphabet.len().pow(length) {
        let mut left = number;
        let message: Bytes = (0..length)
            .map(|_| {
                let byte = alphabet[left % alphabet.len()];
                left /= alphabet.len();
                byte
            })
            .collect();
        body(&message);
    }
}

#[test]
fn every_short_message_is_exactly_one() {
    for length in 0..=6 {
        each(b"\r\n.\0a", length, |message| {
            check(message, &[]);
            check(&[b"x\n", message, b"\n"].concat(), &[]);
        });
    }
}

#[test]
fn cuts_between_blocks_change_nothing() {
    for length in 1..=5 {
        each(b"\r\n.a", length, |message| {
            let message = [message, b"\n"].concat();
            for cut in 0..=message.len() {
                check(&message, &[cut]);
            }
            check(&message, &(0..=message.len()).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_second_message_cannot_be_smuggled() {
    let second = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nevil\r\n.\r\n";
    for length in 1..=6 {
        each(b"\r\n.\0", length, |end| {
            check(&[b"body", end, second, b"\n"].concat(), &[]);
        });
    }
}

#[test]
fn random_messages_of_all_sizes() {
    // A fixed sequence: a failure can be repeated.
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap()
    };
    for _ in 0..3000 {
        let alphabet = b"\r\n..\0ab \xff\n";
        let mut message: Bytes = (0..next() % 300)
            .map(|_| alphabet[next() % alphabet.len()])
            .collect();
        if next() % 4 > 0 {
            message.push(b'\n');
        }
        let mut cuts: Vec<usize> = (0..next() % 5)
            .map(|_| next() % (message.len() + 1))
            .collect();
        cuts.sort_unstable();
        check(&message, &cuts);
    }
}

#[test]
fn leading_dots_around_block_edges() {
    for dots in 1..=5 {
        for before in 1020..1028 {
            let line = [
                vec![b'x'; before],
                b"\n".to_vec(),
                vec![b'.'; dots],
                b"\n".to_vec(),
            ]
            .concat();
            check(&line, &[1024.min(line.len())]);
        }
    }
}

#[test]
fn a_partial_last_line_is_refused() {
    for partial in [&b"a"[..], b"a\nb", b"a\r", b"\r", b".", b"a\n."] {
        assert_eq!(send(partial, &[]), None);
    }
    assert_eq!(send(b"", &[]).unwrap(), b".\r\n");
}
