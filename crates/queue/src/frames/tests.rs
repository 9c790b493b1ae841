use super::*;

fn command(count: usize) -> Command {
    Command {
        number: 70_000,
        message: b"3/123".to_vec(),
        sender: b"s@h".to_vec(),
        attempt: None,
        recipients: (0..count).map(|n| format!("r{n}@d").into()).collect(),
    }
}

fn one(bytes: &[u8]) -> Bytes {
    let mut frames = Frames::default();
    frames.feed(bytes);
    let frame = frames.next_frame().unwrap().unwrap().to_vec();
    assert!(frames.is_empty());
    frame
}

#[test]
fn what_is_encoded_can_be_decoded() {
    for count in [1, 2, RECIPIENT_LIMIT] {
        let there = command(count);
        let bytes = encode_command(&there).unwrap();
        assert_eq!(decode_command(&one(&bytes)), Some(there));
    }
    for past in [Past::Clean, Past::Unknown] {
        let mut there = command(1);
        there.attempt = Some(Attempt { at: u64::MAX, past });
        let bytes = encode_command(&there).unwrap();
        assert_eq!(decode_command(&one(&bytes)), Some(there));
    }
    let there = Report {
        number: u32::MAX,
        texts: vec![b"Kok\n".to_vec(), Bytes::new(), b"Z".to_vec()],
    };
    let bytes = encode_report(&there).unwrap();
    assert_eq!(decode_report(&one(&bytes)), Some(there));
}

#[test]
fn the_bytes_are_those_of_the_decision() {
    assert_eq!(
        encode_command(&command(1)).unwrap(),
        b"\x14\0\0\0\x70\x11\x01\x003/123\0s@h\0\0r0@d\0"
    );
    let mut again = command(1);
    again.attempt = Some(Attempt {
        at: 17,
        past: Past::Unknown,
    });
    assert_eq!(
        encode_command(&again).unwrap(),
        b"\x17\0\0\0\x70\x11\x01\x003/123\0s@h\x0017?\0r0@d\0"
    );
    let report = Report {
        number: 1,
        texts: vec![b"Kx".to_vec(), b"D".to_vec()],
    };
    assert_eq!(
        encode_report(&report).unwrap(),
        b"\x09\0\0\0\x01\0\0\0Kx\0D\0"
    );
    assert_eq!(probe(), b"\xffqmail-rs/3\0\0\0");
    assert_eq!(answer(500), b"\xffK3 500\0");
}

#[test]
fn limits_hold_on_both_sides() {
    assert_eq!(encode_command(&command(0)), None);
    assert_eq!(encode_command(&command(RECIPIENT_LIMIT + 1)), None);
    let mut long = command(1);
    long.sender = vec![b'a'; FRAME_LIMIT - 4 - 6 - 1 - 1 - 5];
    assert_eq!(encode_command(&long).unwrap().len(), FRAME_LIMIT + 4);
    long.sender.push(b'a');
    assert_eq!(encode_command(&long), None);
    let mut torn = command(1);
    torn.recipients[0].push(0);
    assert_eq!(encode_command(&torn), None);
    for bad in [
        &b""[..],
        b"\0\0\0",
        b"\0\0\0\0",
        b"\0\0\0\x003/123\0",
        b"\0\0\0\x003/123\0s\0",
        b"\0\0\0\x003/123\0s\0\0r",
        b"\0\0\0\x003/123\0s\0\0",
        b"\0\0\0\x003/123\0s\0?\0r\0",
        b"\0\0\0\x003/123\0s\x00x7\0r\0",
        b"\0\0\0\x003/123\0s\x0007\0r\0",
        b"\0\0\0\x003/123\0s\x007!\0r\0",
    ] {
        assert_eq!(decode_command(bad), None, "{bad:?}");
    }
    for bad in [&b""[..], b"\0\0\0", b"\0\0\0\0", b"\0\0\0\0Kok"] {
        assert_eq!(decode_report(bad), None, "{bad:?}");
    }
    let mut many = b"\0\0\0\0".to_vec();
    many.extend([0; RECIPIENT_LIMIT]);
    assert_eq!(decode_report(&many).unwrap().texts.len(), RECIPIENT_LIMIT);
    many.push(0);
    assert_eq!(decode_report(&many), None);
}

#[test]
fn frames_come_in_any_pieces() {
    let stream = [
        encode_command(&command(3)).unwrap(),
        vec![0; 4],
        encode_command(&command(1)).unwrap(),
    ]
    .concat();
    for size in 1..stream.len() {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for piece in stream.chunks(size) {
            frames.feed(piece);
            while let Some(frame) = frames.next_frame().unwrap() {
                found.push(decode_command(frame));
            }
        }
        assert_eq!(found, [Some(command(3)), None, Some(command(1))]);
        assert!(frames.is_empty());
    }
    let mut frames = Frames::default();
    frames.feed(&u32::try_from(FRAME_LIMIT + 1).unwrap().to_le_bytes());
    assert!(frames.next_frame().is_err());
}

#[test]
fn question_and_answer_are_told_from_others() {
    assert!(is_probe(255, b"qmail-rs/3", b"", b""));
    for (number, path, sender, recipient) in [
        (254, &b"qmail-rs/3"[..], &b""[..], &b""[..]),
        (255, b"qmail-rs/30", b"", b""),
        (255, b"qmail-rs/3", b"s", b""),
        (255, b"qmail-rs/3", b"", b"r"),
    ] {
        assert!(!is_probe(number, path, sender, recipient));
    }
    assert_eq!(read_answer(b"K3 500"), Some(500));
    for bad in [
        &b""[..],
        b"K3 ",
        b"K3 5x",
        b"K2 5",
        b"K3 4294967296",
        b"ZInternal error: delnum too big. (#4.3.5)\n",
    ] {
        assert_eq!(read_answer(bad), None);
    }
}

#[test]
fn random_bytes_never_stop_the_reader() {
    let mut seed = 7u64;
    for _ in 0..5_000 {
        let mut bytes = Bytes::new();
        for _ in 0..60 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.push(match seed >> 61 {
                0..5 => 0,
                5 => 9,
                _ => seed.to_le_bytes()[5],
            });
        }
        let mut frames = Frames::default();
        frames.feed(&bytes);
        while let Ok(Some(frame)) = frames.next_frame() {
            if let Some(command) = decode_command(frame) {
                assert_eq!(&encode_command(&command).unwrap()[4..], frame);
            }
            if let Some(report) = decode_report(frame) {
                assert_eq!(&encode_report(&report).unwrap()[4..], frame);
            }
        }
    }
}
