use super::*;

/// Everything that `input` holds, cut into parts of `step` bytes: texts joined, `None` for the end of one.
fn parse(input: &[u8], step: usize) -> Result<Vec<Option<Bytes>>, Malformed> {
    let mut pieces = Pieces::default();
    let mut found = Vec::new();
    let mut text = Bytes::new();
    for mut part in input.chunks(step) {
        while let Some(piece) = pieces.next(&mut part)? {
            match piece {
                Piece::Bytes(bytes) => text.extend_from_slice(bytes),
                Piece::End => {
                    found.push(Some(std::mem::take(&mut text)));
                    found.push(None);
                }
            }
        }
    }
    Ok(found)
}

#[test]
fn pieces_are_joined_however_they_come() {
    let mut input = Bytes::new();
    put_pieces(&mut input, b"hello, ");
    put_pieces(&mut input, b"0:,");
    input.extend_from_slice(END);
    input.extend_from_slice(END);
    let want = [Some(b"hello, 0:,".to_vec()), None, Some(Vec::new()), None];
    for step in 1..=input.len() {
        assert_eq!(parse(&input, step).as_deref(), Ok(&want[..]), "{step}");
    }
    let big = vec![b'x'; PIECE_LIMIT + 1];
    input.clear();
    put_pieces(&mut input, &big);
    input.extend_from_slice(END);
    assert_eq!(parse(&input, 1000), Ok(vec![Some(big), None]));
}

#[test]
fn what_is_no_netstring_is_refused() {
    for bad in [
        "x",
        ":",
        "-1:,",
        "01:x,",
        "00:,",
        "3:abc;",
        "0:x",
        "1048577:",
        "99999999999999999999:",
        "1 :x,",
        "\n",
    ] {
        assert_eq!(parse(bad.as_bytes(), 1), Err(Malformed), "{bad}");
    }
}

#[test]
fn answers_come_back_as_they_were() {
    for (code, text) in [(0, ""), (53, "out of disk space"), (BUSY, "")] {
        let answer = Answer {
            code,
            qp: 4_294_967_295,
            text: text.into(),
        };
        let bytes = answer.bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Answer::read(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(Answer::read(&bytes), Ok(Some(answer)));
    }
    for bad in ["x", "2:\0x,", "13:\x004294967296,", "1:x", "99999999:"] {
        assert_ne!(Answer::read(bad.as_bytes()).map(|a| a.is_some()), Ok(true));
    }
}
