use std::thread;

use super::*;

fn of(pairs: &[(&str, &str)]) -> Option<Offer> {
    let env = |name: &str| {
        let found = pairs.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| v.as_bytes().to_vec())
    };
    offer(env, |number| number < 10)
}

#[test]
fn an_offer_is_whole_or_none() {
    let fds = [("SSLCTLFD", "5"), ("SSLREADFD", "6"), ("SSLWRITEFD", "7")];
    let with = |word| [&[("UCSPITLS", word)], &fds[..]].concat();
    let want = Offer {
        control: 5,
        read: 6,
        write: 7,
        required: false,
    };
    assert_eq!(of(&with("")), Some(want));
    assert_eq!(of(&with("1")), Some(want));
    assert!(of(&with("!")).unwrap().required);
    assert_eq!(of(&with("-")), None);
    assert_eq!(of(&fds), None);
    for n in 1..4 {
        let mut all = with("");
        all.remove(n);
        assert_eq!(of(&all), None);
        for wrong in ["", "x", "0", "2", "-5", "5x", "10", "99999999999"] {
            let mut all = with("");
            all[n].1 = wrong;
            assert_eq!(of(&all), None, "{wrong}");
        }
    }
}

/// What `begin` says to a server that sends `answer` in pieces of `size` bytes after one byte has come.
fn asked(answer: &'static [u8], size: usize) -> (u8, io::Result<Told>) {
    let (ours, theirs) = sys::local::pair().unwrap();
    let server = thread::spawn(move || {
        let mut byte = [0];
        sys::fd::read(&theirs, &mut byte).unwrap();
        for piece in answer.chunks(size) {
            let _ = sys::local::send(&theirs, piece);
        }
        byte[0]
    });
    let told = begin(ours, Duration::from_secs(10));
    (server.join().unwrap(), told)
}

#[test]
fn the_server_tells_what_was_agreed_on() {
    let answer = b"SSL_PROTOCOL=TLSv1.3\0SSL_CIPHER=X=Y\0PATH=/evil\0SSL_=\0SSL-X=1\0junk\0\0";
    for size in [1, 7, 1000] {
        let (byte, told) = asked(answer, size);
        let told = told.unwrap();
        assert_eq!(byte, b'Y');
        assert_eq!(value(&told, b"SSL_PROTOCOL"), Some(&b"TLSv1.3"[..]));
        assert_eq!(value(&told, b"SSL_CIPHER"), Some(&b"X=Y"[..]));
        assert_eq!(value(&told, b"SSL_"), Some(&b""[..]));
        assert_eq!(told.len(), 3);
    }
}

#[test]
fn trouble_is_an_error() {
    static LONG: [u8; 70_000] = [b'x'; 70_000];
    for (answer, kind) in [
        (&b""[..], ErrorKind::UnexpectedEof),
        (b"SSL_PROTOCOL=TLSv1.3\0", ErrorKind::UnexpectedEof),
        (b"\0\0", ErrorKind::InvalidData),
        (&LONG, ErrorKind::InvalidData),
    ] {
        assert_eq!(asked(answer, 4096).1.unwrap_err().kind(), kind);
    }
    let (ours, theirs) = sys::local::pair().unwrap();
    let silent = begin(ours, Duration::from_millis(20)).unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::TimedOut);
    drop(theirs);
    let (ours, theirs) = sys::local::pair().unwrap();
    drop(theirs);
    let gone = begin(ours, Duration::from_secs(1)).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
}
