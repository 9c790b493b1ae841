use super::*;

/// Feeds `wire` in blocks of `size` bytes.
fn read(wire: &[u8], size: usize) -> (Vec<u8>, Step, Unstuff) {
    let mut unstuff = Unstuff::default();
    let mut text = Vec::new();
    let mut before = 0;
    for block in wire.chunks(size) {
        let step = unstuff.feed(block, |piece| match piece {
            Piece::Text(bytes) => text.extend_from_slice(bytes),
            Piece::Newline => text.push(b'\n'),
        });
        match step {
            Step::More => before += block.len(),
            Step::End(n) => return (text, Step::End(before + n), unstuff),
            Step::BareLf(n) => return (text, Step::BareLf(before + n), unstuff),
        }
    }
    (text, Step::More, unstuff)
}

#[test]
fn takes_stuffing_away_and_finds_the_end() {
    let cases: [(&[u8], &[u8]); 7] = [
        (b".\r\n", b""),
        (b"a\r\n.\r\n", b"a\n"),
        (b"..\r\n.\r\n", b".\n"),
        (b".a\r\n.\r\n", b"a\n"),
        (b"...\r\n\r\n.\r\n", b"..\n\n"),
        (b"a.\r\nb .c\r\n.\r\n", b"a.\nb .c\n"),
        (b"\xff\x80\r\n.\r\n", b"\xff\x80\n"),
    ];
    for (wire, text) in cases {
        let followed = [wire, b"QUIT\r\n"].concat();
        for size in 1..=followed.len() {
            let (got, step, unstuff) = read(&followed, size);
            assert_eq!(got, text);
            assert_eq!(step, Step::End(wire.len()));
            assert!(!unstuff.saw_bare_cr() && !unstuff.saw_nul());
        }
    }
}

#[test]
fn a_lone_lf_stops_everything() {
    for (wire, at) in [
        (&b"a\nb"[..], 1),
        (b"\n.\r\n", 0),
        (b".\n", 1),
        (b"a\r\n.\n", 4),
        (b"a\r\n\n", 3),
    ] {
        for size in 1..=wire.len() {
            assert_eq!(read(wire, size).1, Step::BareLf(at), "{wire:?}");
        }
    }
}

#[test]
fn a_lone_cr_ends_nothing_and_is_noticed() {
    for wire in [
        &b"a\r.\r\n.\r\n"[..],
        b"\r.\r\r\n.\r\n",
        b"a\r\n.\r.\r\n.\r\n",
        b"a\r\r\n.\r\n",
        b"\r\r\n.\r\n",
    ] {
        for size in 1..=wire.len() {
            let (_, step, unstuff) = read(wire, size);
            assert_eq!(step, Step::End(wire.len()), "{wire:?}");
            assert!(unstuff.saw_bare_cr());
        }
    }
}

#[test]
fn a_nul_is_noticed() {
    let (text, step, unstuff) = read(b"a\0b\r\n.\r\n", 2);
    assert_eq!((text.as_slice(), step), (&b"a\0b\n"[..], Step::End(8)));
    assert!(unstuff.saw_nul());
}
